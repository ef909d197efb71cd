"""volley doctor: is this machine fit to run a campaign by itself? Each shortfall with the command that mends it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata

from agents.survey import survey
from orchestrator.fleet import ceilings
from orchestrator.fleet.place import LOCAL, local_machine
from orchestrator.fleet.survey import FAILURE, OK, WARNING, Check, judge


def examine() -> list[Check]:
    """Look at this machine as at any host that has both roles, and at what only a coordinator needs."""
    return [*_ray(), *judge(survey(), ["load", "server"]), *_together(), _ceiling()]


def _ray() -> Iterator[Check]:
    try:
        yield Check("ray", OK, metadata.version("ray"))
    except metadata.PackageNotFoundError:
        yield Check("ray", FAILURE, "not installed", "make setup")


def _ceiling() -> Check:
    known = ceilings.known(None).get(LOCAL)
    if known is None:
        return Check("ceiling", OK, "what an agent here can send is not known: volley doctor --calibrate")
    return Check("ceiling", OK, f"an agent here can send {known.usable_per_s:.0f} req/s ({known.at})")


def _together() -> Iterator[Check]:
    """Server and agents on one machine."""
    cores = len(os.sched_getaffinity(0))
    found = f"{cores} cores; room for {local_machine('').slots} agents"
    if cores < 3:
        mend = "use a machine with 4 cores, or hosts of their own: --hosts"
        yield Check("server and load", WARNING, f"{found}; they will compete", mend)
    else:
        yield Check("server and load", OK, found)
