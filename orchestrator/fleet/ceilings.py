"""How much one agent on each host can send with each generator, as measured by calibration; kept by inventory."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agents.records import GeneratorKind, from_plain, to_plain
from orchestrator.counted import MESSAGES, REQUESTS
from orchestrator.fleet.place import LOCAL
from orchestrator.fleet.state import digest_of, state_root
from orchestrator.spec.inventory import Inventory

# Plans use this share of the ceiling: the finding generator-cpu begins above it.
USED = 0.9
# What can be calibrated: a user's own program has nothing to do with the trivial server.
CALIBRATED = (GeneratorKind.H2LOAD, GeneratorKind.PACED, GeneratorKind.WEBSOCKET)
# A host and a generator.
Key = tuple[str, GeneratorKind]


class LimitedBy(StrEnum):
    """What ended a calibration. SERVER: the trivial server reached its limit first. NOTHING: the allowed maximum."""

    GENERATOR = "generator"
    SERVER = "server"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One host's ceiling with one generator.

    per_s: the highest rate that held; a lower bound unless limited_by is GENERATOR.
    cpu_us_per_request: the generator's, at that rate. by_cpu_per_s: the rate at which that
    fills 70 % of a core. served_from: the trivial server's host. at: ISO time.
    h2load: its version, None for another generator.
    """

    host: str
    per_s: float
    limited_by: LimitedBy
    cpu_us_per_request: float
    by_cpu_per_s: float
    served_from: str
    h2load: str | None
    at: str
    # Files from before paced could be calibrated do not have it.
    generator: GeneratorKind = GeneratorKind.H2LOAD

    @property
    def key(self) -> Key:
        """Return what a ceiling is known by."""
        return self.host, self.generator

    @property
    def unit(self) -> str:
        """Return the unit of its rates."""
        return (MESSAGES if self.generator is GeneratorKind.WEBSOCKET else REQUESTS).per_s

    @property
    def usable_per_s(self) -> float:
        """The rate to plan with: measured if the generator was the limit, else estimated from its CPU time."""
        return self.per_s if self.limited_by == LimitedBy.GENERATOR else max(self.per_s, self.by_cpu_per_s)


def file_of(inventory: Inventory | None) -> Path:
    """Return the file with the ceilings of an inventory's hosts; None: of this machine."""
    return state_root() / "ceilings" / f"{LOCAL if inventory is None else digest_of(inventory)}.json"


def known(inventory: Inventory | None) -> dict[Key, Ceiling]:
    """Return the ceilings by host and generator, without those that were never calibrated."""
    with contextlib.suppress(OSError, ValueError):
        ceilings = [from_plain(Ceiling, plain) for plain in json.loads(file_of(inventory).read_text())]
        return {ceiling.key: ceiling for ceiling in ceilings}
    return {}


def keep(inventory: Inventory | None, measured: list[Ceiling]) -> Path:
    """Store new ceilings beside those of other hosts and generators; return the file."""
    file = file_of(inventory)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    merged = known(inventory) | {ceiling.key: ceiling for ceiling in measured}
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps([to_plain(ceiling) for ceiling in merged.values()], indent=2) + "\n")
    draft.rename(file)
    return file
