"""The published claims and how each is run, read from claims.yaml. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLAIMS = Path(__file__).with_name("claims.yaml")
CAMPAIGNS = "configs/campaigns"


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a comparison. verb: run or saturate. quick: values for short windows.

    twice: the value that gets twice the highest throughput of the step before, as a rate; empty for none.
    """

    file: str
    verb: str = "run"
    only: str = ""
    quick: dict[str, str] = field(default_factory=dict)
    twice: str = ""

    @property
    def path(self) -> str:
        """The campaign file, from the folder of the repository."""
        return f"{CAMPAIGNS}/{self.file}"

    def arguments(self, quick: bool, throughput_per_s: float | None = None) -> list[str]:
        """Return the arguments of `volley`. throughput_per_s: the highest of the step before."""
        sets = dict(self.quick) if quick else {}
        if self.twice and throughput_per_s is not None:
            sets[self.twice] = f"{2 * throughput_per_s:.0f}/s"
        only = ["--only", self.only] if self.only else []
        return [self.verb, self.path, *only, *(word for pair in sets.items() for word in ("--set", "=".join(pair)))]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published comparison: what was claimed, how it is run, what that can show and what not."""

    name: str
    title: str
    claims: list[str]
    shows: str
    limits: str
    change: str
    steps: list[Step]


def read_claims(path: Path = CLAIMS) -> list[Comparison]:
    """Return the comparisons in the order of the page."""
    from ruamel.yaml import YAML

    return [_comparison(plain) for plain in YAML(typ="safe").load(path)]


def _comparison(plain: Mapping[str, Any]) -> Comparison:
    return Comparison(
        name=plain["name"],
        title=plain["title"],
        claims=plain["claims"],
        shows=plain["shows"],
        limits=plain["not"],
        change=plain["change"],
        steps=[_step(step) for step in plain["steps"]],
    )


def _step(plain: Mapping[str, Any]) -> Step:
    quick = {name: str(value) for name, value in plain.get("quick", {}).items()}
    return Step(plain["file"], plain.get("verb", "run"), plain.get("only", ""), quick, plain.get("twice", ""))
