"""volley doctor: is this machine ready to run a campaign by itself? Every problem comes with its fix."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib import metadata

from agents import lease
from agents.lease import LeaseError
from agents.orders import Removed
from agents.records import GeneratorKind, HostRole
from agents.survey import survey
from agents.sweep import busy_of, sweep
from orchestrator.fleet import ceilings, claims
from orchestrator.fleet.actors import Notify
from orchestrator.fleet.ceilings import Ceiling
from orchestrator.fleet.fixing import Fixes, Tools, fixes_for, missing_here
from orchestrator.fleet.place import LOCAL, local_machine
from orchestrator.fleet.survey import (
    INSTALL_DOCKER,
    INSTALL_H2LOAD,
    START_DOCKER,
    Check,
    CheckState,
    judge,
    read_survey,
)

_WITHOUT_APT = {
    INSTALL_H2LOAD: "install h2load, which is part of nghttp2, with the package manager of this machine",
    INSTALL_DOCKER: "install a Docker engine with the package manager of this machine",
}


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found on this machine, and what `--fix` can do about it."""

    checks: list[Check]
    fixes: Fixes

    @property
    def ready(self) -> bool:
        """Whether this machine can be used."""
        return all(check.state is not CheckState.FAILURE for check in self.checks)


def examine(notify: Notify = lambda text: None) -> Examination:
    """Return the checks of this machine as a host with both roles, and those that only a coordinator needs.

    What dead runs have left here is removed. notify: called with what that was.
    """
    here = read_survey(survey())
    tools = Tools.here()
    judged = [fitting(check, tools) for check in judge(here, [HostRole.LOAD, HostRole.SERVER])]
    checks = [_ray(), *judged, _together(), _leases(notify), _targets(), *ceiling_checks()]
    return Examination(checks, fixes_for(here, tools, missing_here))


def fitting(check: Check, tools: Tools) -> Check:
    """Return a check with a fix that works with these tools."""
    fix = check.fix
    if not tools.apt:
        fix = _WITHOUT_APT.get(fix, fix)
    if not tools.systemd and fix == START_DOCKER:
        # Without systemd its start takes more than one command.
        fix = "volley doctor --fix"
    return replace(check, fix=fix)


def _ray() -> Check:
    try:
        return Check("ray", CheckState.OK, metadata.version("ray"))
    except metadata.PackageNotFoundError:
        return Check("ray", CheckState.OK, "not installed; only runs over hosts need it (--hosts, --ray)")


def _ceiling(generator: GeneratorKind, known: Ceiling | None) -> Check:
    if known is None:
        return Check("ceiling", CheckState.OK, f"{generator} is not measured yet: volley doctor --calibrate")
    # The day is enough here, and leaves the line within 80 columns.
    found = f"one agent of {generator} can send {known.usable_per_s:,.0f} {known.unit} ({known.at[:10]})"
    return Check("ceiling", CheckState.OK, found)


def ceiling_checks() -> list[Check]:
    """Return what one agent here can send, by generator."""
    known = ceilings.known(None)
    return [_ceiling(generator, known.get((LOCAL, generator))) for generator in ceilings.CALIBRATED]


def _targets() -> Check:
    """What may be loaded from here without permission."""
    return Check("targets", CheckState.OK, "this machine and private networks; all else: --allow-target")


def _leases(notify: Notify) -> Check:
    """Who uses this machine. What dead runs have left on it is removed."""
    try:
        if (removed := sweep()) != Removed():
            notify(f"removed what dead runs had left: {_in_words(removed)}")
        found = lease.leases()
    except LeaseError as error:
        unusable = claims.unusable(error)
        return Check("leases", CheckState.FAILURE, str(error), unusable.hint)
    if dead := [seen.holder.run for seen in found if not seen.live and seen.ours]:
        runs = "1 run that is" if len(dead) == 1 else f"{len(dead)} runs that are"
        fix = "start the Docker engine if it is down, then: volley hosts clean"
        return Check("leases", CheckState.WARNING, f"something may be left of {runs} dead", fix)
    using = [seen.holder for seen in found if seen.live and seen.holder.alone]
    return Check("leases", CheckState.OK, claims.used_by(busy_of(using[:1])) if using else "no run uses this machine")


def _in_words(removed: Removed) -> str:
    counts = {"process": removed.processes, "container": removed.containers, "file": removed.files}
    plural = {"process": "processes", "container": "containers", "file": "files"}
    return ", ".join(f"{n} {plural[what] if n != 1 else what}" for what, n in counts.items() if n)


def _together() -> Check:
    """Server and agents on one machine."""
    cores = len(os.sched_getaffinity(0))
    found = f"{cores} cores; room for {local_machine('').slots} agents"
    if cores >= 3:
        return Check("server and load", CheckState.OK, found)
    fix = "use a machine with 4 cores, or separate machines: --hosts INVENTORY"
    return Check("server and load", CheckState.WARNING, f"{found}; they will compete", fix)
