"""volley doctor: is this machine ready to run a campaign by itself? Every problem comes with its fix."""

from __future__ import annotations

import os
import sys
from importlib import metadata

from agents.records import HostRole
from agents.survey import survey
from orchestrator.fleet import ceilings
from orchestrator.fleet.place import LOCAL, local_machine
from orchestrator.fleet.survey import Check, CheckState, judge, read_survey

DISTRIBUTION = "volley-load"


def examine() -> list[Check]:
    """Return the checks of this machine as a host with both roles, and those that only a coordinator needs."""
    here = read_survey(survey())
    return [_ray(), *judge(here, [HostRole.LOAD, HostRole.SERVER]), _together(), _ceiling()]


def _ray() -> Check:
    try:
        return Check("ray", CheckState.OK, metadata.version("ray"))
    except metadata.PackageNotFoundError:
        wanted = next((name for name in metadata.requires(DISTRIBUTION) or [] if name.startswith("ray=")), "ray")
        return Check("ray", CheckState.FAILURE, "not installed", f"{sys.executable} -m pip install '{wanted}'")


def _ceiling() -> Check:
    known = ceilings.known(None).get(LOCAL)
    if known is None:
        found = "not known how much one agent here can send. To measure it: volley doctor --calibrate"
        return Check("ceiling", CheckState.OK, found)
    return Check("ceiling", CheckState.OK, f"an agent here can send {known.usable_per_s:.0f} req/s ({known.at})")


def _together() -> Check:
    """Server and agents on one machine."""
    cores = len(os.sched_getaffinity(0))
    found = f"{cores} cores; room for {local_machine('').slots} agents"
    if cores >= 3:
        return Check("server and load", CheckState.OK, found)
    fix = "use a machine with 4 cores, or separate machines: --hosts INVENTORY"
    return Check("server and load", CheckState.WARNING, f"{found}; they will compete", fix)
