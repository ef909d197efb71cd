"""The hosts of a run: an inventory, or this machine alone.

Hosts of an inventory are Ray nodes: Volley's own, or those of a cluster that is already there (docs/adr/0027). On one
machine hosts are child processes, unless Ray is asked for (docs/adr/0015).
What needs Ray or SSH is imported only where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agents.records import GeneratorKind
from orchestrator.extras import require_ray
from orchestrator.fleet import ceilings
from orchestrator.fleet.actors import Fleet
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.place import LOOPBACK, Machine, Placement, commanded, load_hosts, local_machine, machines_of
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.models import Campaign, Place
from orchestrator.spec.service import Service
from orchestrator.stored.documents import Origin


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts of a run.

    inventory: None for this machine alone; folder: the one that its paths are relative to. ray: whether this machine
    alone is a Ray node, too. wait_s: how long to wait for hosts that another run uses, 0 not at all.
    """

    inventory: Inventory | None = None
    folder: Path = Path()
    ray: bool = False
    wait_s: float = 0.0
    # The nodes of an existing cluster, once they were asked for: one answer for the whole run.
    _nodes: list[Machine] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise UsageError where Ray is needed and not installed."""
        if self.ray or self.inventory is not None:
            require_ray()

    @staticmethod
    def of(origin: Origin, wait_s: float = 0.0) -> Hosts:
        """Return the hosts that a run was started with. Raises ConfigurationError."""
        if origin.hosts is None:
            return Hosts(ray=origin.ray, wait_s=wait_s)
        from orchestrator.spec.load import load_inventory

        return Hosts(load_inventory(Path(origin.hosts)), Path(origin.hosts).parent, wait_s=wait_s)

    @property
    def send_images(self) -> bool:
        """Return whether images are built on this machine and sent, instead of built on the server host."""
        return self.inventory is not None and self.inventory.images == "send"

    def machines(self) -> list[Machine]:
        """Return the hosts as the placement sees them. Raises HostError for a Ray cluster that cannot be asked."""
        if self.inventory is None:
            return [local_machine(LOOPBACK)]
        if self.inventory.ray is None:
            return machines_of(self.inventory)
        if not self._nodes:
            from orchestrator.fleet.existing.nodes import machines_of_cluster

            self._nodes.extend(machines_of_cluster(self.inventory.ray))
        return list(self._nodes)

    def where(self, campaign: Campaign) -> Place:
        """Return the rules of the placement. One machine is always shared."""
        return Place(share=True) if self.inventory is None else campaign.place

    def services(self, campaign: Campaign) -> dict[str, Service]:
        """Return the services of a campaign as they are placed. On one machine all are on it."""
        if self.inventory is not None:
            return campaign.services
        return {name: one.model_copy(update={"place": "server"}) for name, one in campaign.services.items()}

    def load_hosts(self, campaign: Campaign) -> int:
        """Return how many hosts can run agents of a campaign."""
        return load_hosts(campaign, self.machines(), self.where(campaign))

    def commanded(self, campaign: Campaign, placements: dict[str, Placement]) -> list[str]:
        """Return the hosts that only run commands. Raises UsageError for one that the inventory does not have."""
        return commanded(campaign, placements, [machine.name for machine in self.machines()])

    def claim(self, name: str) -> Claim:
        """Return the claim of a new run on these hosts. name: the run's, for people."""
        return Claim.of(name, self.wait_s)

    def fleet(self, claim: Claim, placements: dict[str, Placement], others: list[str]) -> Fleet:
        """Return the fleet, not up yet. others: hosts that are in no placement."""
        chosen = list(placements.values())
        if self.inventory is None and not self.ray:
            from orchestrator.fleet.local import LocalFleet

            return LocalFleet(claim, chosen, others)
        from orchestrator.fleet.driven import DrivenFleet

        used = {*(host for placement in chosen for host in placement.hosts), *others}
        machines = [machine for machine in self.machines() if machine.name in used]
        return DrivenFleet(claim, self.inventory, self.folder, machines, chosen, others)

    def ceilings_per_s(self) -> dict[GeneratorKind, dict[str, float]]:
        """Return the highest rate of one agent by generator and host, where calibration found the generator's limit."""
        found: dict[GeneratorKind, dict[str, float]] = {}
        for (host, generator), ceiling in ceilings.known(self.inventory).items():
            if ceiling.limited_by == ceilings.LimitedBy.GENERATOR:
                found.setdefault(generator, {})[host] = ceiling.per_s
        return found
