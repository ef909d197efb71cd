"""volley doctor: is this machine ready to run a campaign by itself? Every problem comes with its fix."""

from __future__ import annotations

import os
import sys
from importlib import metadata

from agents import lease
from agents.lease import LeaseError
from agents.records import GeneratorKind, HostRole
from agents.survey import survey
from agents.sweep import busy_of
from orchestrator.fleet import ceilings, claims
from orchestrator.fleet.ceilings import Ceiling
from orchestrator.fleet.place import LOCAL, local_machine
from orchestrator.fleet.survey import Check, CheckState, judge, read_survey

DISTRIBUTION = "volley-load"


def examine() -> list[Check]:
    """Return the checks of this machine as a host with both roles, and those that only a coordinator needs."""
    here = read_survey(survey())
    return [_ray(), *judge(here, [HostRole.LOAD, HostRole.SERVER]), _together(), _leases(), *ceiling_checks()]


def _ray() -> Check:
    try:
        return Check("ray", CheckState.OK, metadata.version("ray"))
    except metadata.PackageNotFoundError:
        wanted = next((name for name in metadata.requires(DISTRIBUTION) or [] if name.startswith("ray=")), "ray")
        return Check("ray", CheckState.FAILURE, "not installed", f"{sys.executable} -m pip install '{wanted}'")


def _ceiling(generator: GeneratorKind, known: Ceiling | None) -> Check:
    if known is None:
        return Check("ceiling", CheckState.OK, f"{generator} is not measured yet: volley doctor --calibrate")
    # The day is enough here, and leaves the line within 80 columns.
    found = f"one agent of {generator} can send {known.usable_per_s:,.0f} req/s ({known.at[:10]})"
    return Check("ceiling", CheckState.OK, found)


def ceiling_checks() -> list[Check]:
    """Return what one agent here can send, by generator."""
    known = ceilings.known(None)
    return [_ceiling(generator, known.get((LOCAL, generator))) for generator in ceilings.CALIBRATED]


def _leases() -> Check:
    """Who uses this machine, and what dead runs have left on it."""
    try:
        found = lease.leases()
    except LeaseError as error:
        unusable = claims.unusable(error)
        return Check("leases", CheckState.FAILURE, str(error), unusable.hint)
    if dead := [seen.holder.run for seen in found if not seen.live and seen.ours]:
        runs = "1 run that is" if len(dead) == 1 else f"{len(dead)} runs that are"
        return Check("leases", CheckState.WARNING, f"something may be left of {runs} dead", "volley hosts clean")
    using = [seen.holder for seen in found if seen.live and seen.holder.alone]
    return Check("leases", CheckState.OK, claims.used_by(busy_of(using[:1])) if using else "no run uses this machine")


def _together() -> Check:
    """Server and agents on one machine."""
    cores = len(os.sched_getaffinity(0))
    found = f"{cores} cores; room for {local_machine('').slots} agents"
    if cores >= 3:
        return Check("server and load", CheckState.OK, found)
    fix = "use a machine with 4 cores, or separate machines: --hosts INVENTORY"
    return Check("server and load", CheckState.WARNING, f"{found}; they will compete", fix)
