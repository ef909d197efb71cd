"""The session of a run: its hosts up with their images, and up again after a host was lost."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from agents.records import HostDescription
from orchestrator import __version__
from orchestrator.campaign.allowed import permitted
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.errors import UsageError
from orchestrator.facts import Case, Environment
from orchestrator.fleet.actors import Actors
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.generators import Generators
from orchestrator.fleet.hosts import HostLost, Placed
from orchestrator.fleet.limits import require_room, rooms_of
from orchestrator.fleet.place import Placement
from orchestrator.redact import clean, cleaned
from orchestrator.run.events import Event, Say
from orchestrator.run.images import provide
from orchestrator.run.loop import RunContext
from orchestrator.spec.checks import Loaded
from orchestrator.stored.documents import to_document
from orchestrator.stored.folder import RunStore
from orchestrator.stored.layout import ENVIRONMENT_FILE
from orchestrator.stored.reading import read_environment

Show = Callable[[Event], None]
# The pause that gives a host of an inventory time to come back.
RENEWED_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Session:
    """What a run needs of its hosts. targets: those whose images are needed; placements: by case.

    cases: those that are planned; a search plans each when it is due.

    claim: what the run says of itself on its hosts. Its mark is new each time the hosts are started, because the guards
    of the time before may still be cleaning up.
    """

    loaded: Loaded
    targets: list[str]
    placements: dict[str, Placement]
    store: RunStore
    hosts: Hosts
    claim: Claim
    cases: Sequence[Case] = ()

    def run(self, policy: RunRetryPolicy, say: Say, work: Callable[[RunContext], None]) -> None:
        """Bring the hosts up and do the work. After a host was lost, start again as often as the campaign allows.

        work: may be called again after a HostLost, and then continues where it was. Raises VolleyError.
        """
        claim = self.claim
        while True:
            try:
                self._run_once(claim, say, work)
                return
            except HostLost as error:
                if not policy.may_restart_hosts():
                    raise
                pause_s = 0.0 if self.hosts.inventory is None else RENEWED_AFTER_S
                when = f" in {pause_s:.0f} s" if pause_s else ""
                say(Event("renew", f"{error.message}; restarting the hosts{when}"))
                time.sleep(pause_s)
                claim = claim.again()

    def _run_once(self, claim: Claim, say: Say, work: Callable[[RunContext], None]) -> None:
        campaign, hosts = self.loaded.campaign, self.hosts
        with hosts.fleet(claim, self.placements, hosts.commanded(campaign, self.placements)) as fleet:
            fleet.up(lambda text: say(Event("host", text)))
            say(Event("placed", f"hosts are up: {', '.join(fleet.hosts)}"))
            planned = [(case, self.placements[case.name]) for case in self.cases]
            require_room(planned, rooms_of(fleet.actors.described))
            generators = Generators.of(fleet.actors.described)
            self._require_generators(generators, say)
            targets = {name: campaign.targets[name] for name in self.targets}
            images = provide(targets, self.loaded.folder, fleet.actors.server, hosts.send_images, say)
            service_images = self._service_images(fleet.actors, say)
            _require_same_images(self.store, images, service_images)
            found = environment(fleet.actors.described, images, service_images)
            self.store.write_json(ENVIRONMENT_FILE, to_document(found))

            def reserve(case: Case) -> AbstractContextManager[Placed]:
                require_room([(case, self.placements[case.name])], rooms_of(fleet.actors.described))
                return fleet.reserve(self.placements[case.name])

            work(
                RunContext(
                    campaign,
                    self.loaded.folder,
                    claim.mark,
                    images,
                    reserve,
                    fleet.accepted_keys,
                    hosts.ceilings_per_s(),
                    {name: placement.idle for name, placement in self.placements.items()},
                    service_images,
                    permitted=permitted(campaign, hosts),
                    settle=lambda case, load: generators.settle(case, load, self.placements[case.name]),
                )
            )
            say(Event("leaving", "cleaning up", passing=True))

    def _require_generators(self, generators: Generators, say: Say) -> None:
        """Report the planned loads that paced sends instead of h2load.

        Raises Several where only h2load can. Raises UsageError where a resumed run would have trials of both generators.
        """
        loads = self.loaded.campaign.loads
        replaced = generators.require(self.cases, loads, self.placements)
        if (stored := read_environment(self.store.path)) is not None:
            before = Generators.of(stored.hosts)
            if before.require(self.cases, loads, self.placements) != replaced:
                host = min(before.lacking ^ generators.lacking)
                then, now = ("missing", "installed") if host in before.lacking else ("installed", "missing")
                raise UsageError(
                    f"h2load was {then} on host {host} when {self.store.name} began, and is {now} now: the trials that "
                    "are left would have another generator",
                    "start a new run",
                )
        if replaced:
            say(Event("generator", generators.words(replaced)))

    def _service_images(self, actors: Actors, say: Say) -> dict[str, str]:
        """Make sure of the images of the services that are needed, on their hosts; return their names by service."""
        homes = {name: host for placement in self.placements.values() for name, host in placement.services.items()}
        images: dict[str, str] = {}
        for host, handle in actors.services.items():
            services = {name: self.loaded.campaign.services[name] for name, home in homes.items() if home == host}
            images |= provide(services, self.loaded.folder, handle, self.hosts.send_images, say)
        return images


def journalled(store: RunStore, show: Show) -> Say:
    """Return a function that shows an event and writes it to the journal, unless it is only passing."""

    def say(event: Event) -> None:
        event = _clean_event(event)
        show(event)
        if not event.passing:
            store.journal(event.kind, event.text, event.facts)

    return say


def _clean_event(event: Event) -> Event:
    """Return an event without secrets and control characters. The facts of a passing one are counters."""
    text = clean(event.text)
    facts = event.facts if event.passing else cleaned(event.facts)
    return event if text == event.text and facts == event.facts else replace(event, text=text, facts=facts)


def environment(
    hosts: list[HostDescription], images: dict[str, str], service_images: dict[str, str] | None = None
) -> Environment:
    """Return the environment of a run that starts now."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return Environment(
        volley=__version__,
        python=platform.python_version(),
        kernel=platform.release(),
        machine=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        governor=governor.read_text().strip() if governor.exists() else None,
        hosts=hosts,
        images=images,
        service_images=service_images or {},
    )


def _require_same_images(store: RunStore, images: dict[str, str], services: dict[str, str]) -> None:
    """Raise UsageError when a run would continue with other images than its first trials had."""
    stored = read_environment(store.path)
    if stored is None:
        return
    pairs = ((stored.images, images), (stored.service_images, services))
    different = [
        f"{name} was {before.get(name)}" for before, now in pairs for name in now if before.get(name) != now[name]
    ]
    if different:
        raise UsageError(f"images changed since {store.name} began: {'; '.join(different)}", "start a new run")
