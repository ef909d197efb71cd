"""What each fault may do: the promise that the table is held against."""

from __future__ import annotations

from tests.chaos.faults import LOCAL, Fault
from tests.chaos.moments import Moment
from tests.chaos.records import Expected

OK, INVALID, UNREACHABLE, KILLED = 0, 3, 4, -9
LOST = ("host-lost", "agent-lost", "retried")
# A fault of the server: it is the result, so that the trial is not retried.
BY_SERVER = ("server-exited", "server-not-ready", "server-unresponsive")
BY_SERVICE = ("service-exited", "service-not-ready")
# Health checks of Ray: three of a second each, and a second on top; then what the trial was waiting for.
RAY_NOTICES_S = 12.0
# A guard that hears nothing for 8 s ends what it guards; a coordinator that waits for a call has 15 s.
SILENCE_S = 20.0

_ANY: dict[str, Expected] = {
    "h2load killed": Expected(5, {OK}, LOST),
    "load actor killed": Expected(5, {OK}, LOST),
    "server actor killed": Expected(5, {OK}, LOST),
    "guard killed": Expected(RAY_NOTICES_S, {OK}, LOST),
    "raylet killed": Expected(RAY_NOTICES_S, {OK}, LOST),
    "GCS killed": Expected(RAY_NOTICES_S, {OK}, LOST),
    "SSH session killed": Expected(10, {OK}, LOST),
    "dockerd killed": Expected(15, {OK, INVALID, UNREACHABLE}, (*LOST, *BY_SERVER), harmless=True),
    "container killed": Expected(10, {INVALID}, BY_SERVER),
    "service killed": Expected(10, {INVALID}, (*BY_SERVICE, *BY_SERVER)),
    # Noticed: once nothing is left.
    "coordinator killed": Expected(SILENCE_S, {KILLED}),
    "h2load stopped 5 s": Expected(10, {OK}, (*LOST, "start-skew")),
    "raylet stopped 5 s": Expected(RAY_NOTICES_S, {OK}, LOST, harmless=True),
    "load actor stopped 5 s": Expected(12, {OK}, (*LOST, "start-skew"), harmless=True),
    "coordinator stopped 5 s": Expected(12, {OK}, (*LOST, "start-skew"), harmless=True),
    "load host cut off 12 s": Expected(SILENCE_S, {OK}, LOST),
    "server host cut off 12 s": Expected(SILENCE_S, {OK}, LOST),
    "clock +2 s": Expected(10, {OK}, ("clock-step", *LOST)),
    "clock -2 s": Expected(10, {OK}, ("clock-step", *LOST)),
    # At the start the logs are put elsewhere; in the load the trial is retried, with its logs elsewhere.
    "/dev/shm full": Expected(15, {OK}, ("no-space",)),
    # The trial waits elsewhere for `volley resume`.
    "run disk full": Expected(15, {UNREACHABLE}),
}
# Why each of these may go unnoticed: docs/explanation/faults.md, "Faults that change nothing".
_AT: dict[tuple[str, Moment], Expected] = {
    ("h2load stopped 5 s", Moment.START): Expected(10, {OK}, (*LOST, "start-skew"), harmless=True),
    ("raylet killed", Moment.COLLECT): Expected(RAY_NOTICES_S, {OK}, LOST, harmless=True),
    ("GCS killed", Moment.COLLECT): Expected(RAY_NOTICES_S, {OK}, LOST, harmless=True),
    ("container killed", Moment.COLLECT): Expected(10, {OK, INVALID}, BY_SERVER, harmless=True),
    ("service killed", Moment.COLLECT): Expected(10, {OK, INVALID}, (*BY_SERVICE, *BY_SERVER), harmless=True),
    **{
        (f"{host} host cut off 12 s", Moment.COLLECT): Expected(SILENCE_S, {OK}, LOST, harmless=True)
        for host in ("load", "server")
    },
    ("/dev/shm full", Moment.COLLECT): Expected(15, {OK}, ("no-space",), harmless=True),
}
# On one machine without Ray nodes: no node ends with its guard, and all processes have the clock that is stepped.
_LOCAL = {
    **{("guard killed", moment): Expected(5, {OK}, LOST, harmless=True) for moment in Moment},
    ("clock +2 s", Moment.COLLECT): Expected(10, {OK}, ("clock-step", *LOST), harmless=True),
    ("clock -2 s", Moment.COLLECT): Expected(10, {OK}, ("clock-step", *LOST), harmless=True),
}


def expected(fault: Fault, moment: Moment, world: str) -> Expected:
    """Return what a fault may do at a moment in a world."""
    special = (_LOCAL.get((fault.name, moment)) if world == LOCAL else None) or _AT.get((fault.name, moment))
    return special or _ANY[fault.name]
