"""How much one agent on each host can send, as measured by calibration; kept by inventory."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agents.records import from_plain, to_plain
from orchestrator.fleet.place import LOCAL
from orchestrator.fleet.state import digest_of, state_root
from orchestrator.spec.inventory import Inventory

# Plans use this share of the ceiling: the finding generator-cpu begins above it.
USED = 0.9


class LimitedBy(StrEnum):
    """What ended a calibration. SERVER: the trivial server reached its limit first. NOTHING: the allowed maximum."""

    GENERATOR = "generator"
    SERVER = "server"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One host's ceiling.

    per_s: the highest rate that held; a lower bound unless limited_by is GENERATOR.
    cpu_us_per_request: the generator's, at that rate. by_cpu_per_s: the rate at which that
    fills 70 % of a core. served_from: the trivial server's host. at: ISO time.
    """

    host: str
    per_s: float
    limited_by: LimitedBy
    cpu_us_per_request: float
    by_cpu_per_s: float
    served_from: str
    h2load: str
    at: str

    @property
    def usable_per_s(self) -> float:
        """The rate to plan with: measured if the generator was the limit, else estimated from its CPU time."""
        return self.per_s if self.limited_by == LimitedBy.GENERATOR else max(self.per_s, self.by_cpu_per_s)


def file_of(inventory: Inventory | None) -> Path:
    """Return the file with the ceilings of an inventory's hosts; None: of this machine."""
    return state_root() / "ceilings" / f"{LOCAL if inventory is None else digest_of(inventory)}.json"


def known(inventory: Inventory | None) -> dict[str, Ceiling]:
    """Return the ceilings by host, without hosts that were never calibrated."""
    with contextlib.suppress(OSError, ValueError):
        ceilings = [from_plain(Ceiling, plain) for plain in json.loads(file_of(inventory).read_text())]
        return {ceiling.host: ceiling for ceiling in ceilings}
    return {}


def keep(inventory: Inventory | None, measured: list[Ceiling]) -> Path:
    """Store new ceilings beside those of the other hosts; return the file."""
    file = file_of(inventory)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    merged = known(inventory) | {ceiling.host: ceiling for ceiling in measured}
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps([to_plain(ceiling) for ceiling in merged.values()], indent=2) + "\n")
    draft.rename(file)
    return file
