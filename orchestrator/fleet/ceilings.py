"""What calibration found one agent on each host to be able to send; kept with the state of the inventory."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.fleet.place import LOCAL
from orchestrator.fleet.state import digest_of, state_root
from orchestrator.spec.inventory import Inventory

GENERATOR = "generator"
# Plan with less than all of it: the finding generator-cpu begins above this share.
USED = 0.9


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One host's. per_s: the highest rate that held; limited_by: 'generator', or 'server' when the trivial server gave way
    first, 'nothing' when it was asked to end there: per_s is a lower bound then. cpu_us_per_request: h2load's, at that
    rate; by_cpu_per_s: the rate at which that fills 70 % of a core. served_from: the trivial server's host. at: ISO time.
    """

    host: str
    per_s: float
    limited_by: str
    cpu_us_per_request: float
    by_cpu_per_s: float
    served_from: str
    h2load: str
    at: str

    @property
    def usable_per_s(self) -> float:
        """What to plan with: measured where the generator gave way, else estimated from its CPU time."""
        return self.per_s if self.limited_by == GENERATOR else max(self.per_s, self.by_cpu_per_s)


def file_of(inventory: Inventory | None) -> Path:
    """Where the ceilings of these hosts are; None: this machine."""
    return state_root() / "ceilings" / f"{LOCAL if inventory is None else digest_of(inventory)}.json"


def known(inventory: Inventory | None) -> dict[str, Ceiling]:
    """Give what was found, by host; hosts that were never calibrated are not in it."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = [Ceiling(**each) for each in json.loads(file_of(inventory).read_text())]
        return {each.host: each for each in found}
    return {}


def keep(inventory: Inventory | None, found: list[Ceiling]) -> Path:
    """Write what was found now over what was known of these hosts."""
    file = file_of(inventory)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    merged = known(inventory) | {each.host: each for each in found}
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps([asdict(each) for each in merged.values()], indent=2) + "\n")
    draft.rename(file)
    return file
