"""The stage of a run: its hosts up, its images on them, and all of it once more where a host was lost."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.records import BadRecord, from_plain
from orchestrator import __version__
from orchestrator.campaign.origin import Origin, changes, parts_of
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.errors import UsageError
from orchestrator.facts import Case
from orchestrator.fleet import ceilings
from orchestrator.fleet.cluster import Fleet, nodes_for, own_nodes_here
from orchestrator.fleet.hosts import HostLost, Placed
from orchestrator.fleet.nodes import LOOPBACK
from orchestrator.fleet.place import Machine, Placement, commanded, local_machine, machines_of
from orchestrator.run.events import Event, Say
from orchestrator.run.images import provide
from orchestrator.run.loop import RunContext
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import Loaded, load, load_inventory
from orchestrator.spec.models import Campaign, Place
from orchestrator.stored.folder import RunStore, read_environment, read_plan

Show = Callable[[Event], None]
# A host that was lost has a moment to come back.
RENEWED_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts of a run: an inventory and the folder its paths are relative to; by default this machine alone."""

    inventory: Inventory | None = None
    folder: Path = Path()

    @staticmethod
    def of(origin: Origin) -> Hosts:
        """Give the hosts that a run was started with. Raises ConfigurationError."""
        if origin.hosts is None:
            return Hosts()
        return Hosts(load_inventory(Path(origin.hosts)), Path(origin.hosts).parent)

    def machines(self) -> list[Machine]:
        """Give the hosts as the placement sees them."""
        return [local_machine(LOOPBACK)] if self.inventory is None else machines_of(self.inventory)

    def where(self, campaign: Campaign) -> Place:
        """Give what the placement must respect; one machine is always shared."""
        return Place(share=True) if self.inventory is None else campaign.place

    def commanded(self, campaign: Campaign, placements: dict[str, Placement]) -> list[str]:
        """Give the hosts that are only there for commands. Raises UsageError for one that is in no inventory."""
        return commanded(campaign, placements, [machine.name for machine in self.machines()])

    def fleet(self, run: str, placements: dict[str, Placement], others: list[str]) -> Fleet:
        """Give the fleet, not up yet; others: hosts beside those of the placements. Raises HostError."""
        chosen = list(placements.values())
        if self.inventory is None:
            hold, machines = own_nodes_here(run)
            return Fleet(run, hold, machines, chosen, others)
        used = {*(host for placement in chosen for host in placement.hosts), *others}
        machines = [machine for machine in self.machines() if machine.name in used]
        return Fleet(run, nodes_for(run, self.inventory, self.folder, machines), machines, chosen, others)

    def ceilings_per_s(self) -> dict[str, float]:
        """What agents can send at the most, where calibration saw the generator itself give way."""
        found = ceilings.known(self.inventory)
        return {name: each.per_s for name, each in found.items() if each.limited_by == ceilings.LimitedBy.GENERATOR}


@dataclass(frozen=True, slots=True)
class Session:
    """What a run is played on. placements: by case; targets: by name, those whose images are needed.

    label: of its processes; not that of a run before whose guards may still be cleaning up.
    """

    loaded: Loaded
    targets: list[str]
    placements: dict[str, Placement]
    store: RunStore
    hosts: Hosts
    label: str

    def run(self, policy: RunRetryPolicy, say: Say, part: Callable[[RunContext], None]) -> None:
        """Bring the hosts up and play; once more where a host was lost, as often as the campaign allows.

        part: may be called again after a HostLost, and then has to go on where it was. Raises VolleyError.
        """
        label = self.label
        while True:
            try:
                self._run_once(label, say, part)
                return
            except HostLost as error:
                if not policy.renew():
                    raise
                say(Event("renew", f"{error.message}; the hosts are brought up again in {RENEWED_AFTER_S:.0f} s"))
                time.sleep(RENEWED_AFTER_S)
                label = f"again{policy.renewals}-{os.getpid()}-{self.store.name}"

    def _run_once(self, label: str, say: Say, part: Callable[[RunContext], None]) -> None:
        campaign, hosts = self.loaded.campaign, self.hosts
        with hosts.fleet(label, self.placements, hosts.commanded(campaign, self.placements)) as fleet:
            fleet.up(lambda text: say(Event("host", text)))
            say(Event("placed", f"hosts are up: {', '.join(fleet.hosts)}"))
            targets = {name: campaign.targets[name] for name in self.targets}
            send = hosts.inventory is not None and hosts.inventory.images == "send"
            images = provide(targets, self.loaded.folder, fleet.staff.server, send, say)
            _same_images(self.store, images)
            self.store.write_json("environment.json", environment(fleet.staff.described, images))

            def reserve(case: Case) -> AbstractContextManager[Placed]:
                return fleet.reserve(self.placements[case.name])

            part(
                RunContext(
                    campaign, self.loaded.folder, label, images, reserve, fleet.accepted_keys, hosts.ceilings_per_s()
                )
            )
            say(Event("leaving", "cleaning up", passing=True))


def telling(store: RunStore, show: Show) -> Say:
    """Give what tells the person who waits, and the journal what is not only passing."""

    def say(event: Event) -> None:
        show(event)
        if not event.passing:
            store.journal(event.kind, event.text, event.facts)

    return say


def planned_from(run: Path) -> tuple[Origin, Loaded]:
    """Read again what a stored run was planned from. Raises UsageError where that is not known, or has changed since."""
    document = read_plan(run)
    try:
        origin = from_plain(Origin, document.get("origin"))
    except BadRecord:
        raise UsageError(
            f"{run} does not say what it was made from",
            "only 'volley run CAMPAIGN' and 'volley saturate' can be resumed",
        ) from None
    file = run / origin.file
    loaded = load(file, origin.overrides, parts=["saturation"])
    if changed := changes(document.get("parts", {}), parts_of(loaded.plain)):
        raise UsageError(f"{file} is not what {run.name} was planned from: {', '.join(changed)}", "start a new run")
    return origin, loaded


def another_label(store: RunStore) -> str:
    """Give the label of a run that goes on: the guards of the one that was stopped may still be cleaning up."""
    return f"resumed-{os.getpid()}-{store.name}"


def _same_images(store: RunStore, images: dict[str, str]) -> None:
    """Refuse to go on with other images than the trials before had. Raises UsageError."""
    before = read_environment(store.path).get("images", images)
    different = [f"{name} was {before.get(name)}" for name in images if before.get(name) != images[name]]
    if different:
        raise UsageError(f"images changed since {store.name} began: {'; '.join(different)}", "start a new run")


def environment(hosts: list[dict[str, Any]], images: dict[str, str]) -> dict[str, Any]:
    """Gather what a reader in a year will want to know of the hosts."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "format": 1,
        "volley": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "governor": governor.read_text().strip() if governor.exists() else None,
        "hosts": hosts,
        "images": images,
    }
