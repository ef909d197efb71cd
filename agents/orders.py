"""What the coordinator and the guard of a host say to each other, a JSON object per line. Standard library only."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, dataclass, field
from enum import StrEnum

RUN_VARIABLE = "VOLLEY_RUN"
RUN_LABEL = "volley.run"


@dataclass(frozen=True, slots=True)
class Order:
    """The first line to a guard: the run, and the node to start.

    run: its mark, unique on this host: the value of VOLLEY_RUN and of the label of its containers. name: its name for
    people; owner: user@machine of the coordinator. fleet: the node outlives runs, which begin and end on it.

    alone: the run uses the host alone. The guard then waits for TAKE and START before it starts the node. share: it
    does not mind other runs. stamp_ns: its place in the queue for the host. descriptor, lease: an inherited lease that
    is held already, and its file. files: beside the token, for the node: their contents by name.

    lease_s: the longest silence of the coordinator; 0: only the end of input counts. ready: what the node prints once
    it is up. hopeless: what it prints when it will never be up, although it keeps trying. The guard replaces '{folder}'
    and '{python}' in command and environment. command: empty for a run without a node. marks: further marks, of
    processes that were started before the run had its name. containers: whether the run can have any.
    """

    run: str
    command: list[str]
    environment: dict[str, str]
    token: str
    ready: str
    lease_s: float = 0.0
    hopeless: tuple[str, ...] | list[str] = ()
    marks: tuple[str, ...] | list[str] = ()
    containers: bool = True
    name: str = ""
    owner: str = ""
    fleet: bool = False
    alone: bool = False
    share: bool = False
    stamp_ns: int = 0
    descriptor: int = -1
    lease: str = ""
    files: dict[str, str] = field(default_factory=dict)


class RequestKind(StrEnum):
    """What later lines ask for.

    TAKE: take the host. YIELD: give it back, and stay in the queue. START: start the node. BEGIN: a run begins on this
    node. END: end it, and remove what it created.
    """

    TAKE = "take"
    YIELD = "yield"
    START = "start"
    BEGIN = "begin"
    END = "end"


@dataclass(frozen=True, slots=True)
class Request:
    """A later line to a guard. run, name, owner: of BEGIN; run: of END. python_path: of START, where the packages are."""

    request: RequestKind
    run: str = ""
    name: str = ""
    owner: str = ""
    python_path: str = ""


class GuardEventKind(StrEnum):
    """What the guard reports.

    FREE, BUSY: whether the host can be taken, whenever that changes. TAKEN: it is this run's. STARTED: the node's
    process runs. READY: the node is up. ENDED: it exited by itself, or will never be up. RUN_BEGUN, RUN_ENDED: a run on
    the node began, or was stopped. CLEANED: everything was removed; the last event. TROUBLE: something could not be
    removed.
    """

    FREE = "free"
    BUSY = "busy"
    TAKEN = "taken"
    STARTED = "started"
    READY = "ready"
    ENDED = "ended"
    RUN_BEGUN = "run-begun"
    RUN_ENDED = "run-ended"
    CLEANED = "cleaned"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Removed:
    """How much of a run, or of all runs, was found on a host and removed."""

    processes: int = 0
    containers: int = 0
    files: int = 0

    def __add__(self, other: Removed) -> Removed:
        """Return both together."""
        return Removed(self.processes + other.processes, self.containers + other.containers, self.files + other.files)


@dataclass(frozen=True, slots=True)
class Busy:
    """Who has the host. for_s: since when; ending: it is being cleaned up; before: how many runs are in front of ours.

    fleet: hosts that 'volley hosts up' keeps up. waiting: it waits for the host, too.
    """

    owner: str
    run: str
    for_s: float = 0.0
    fleet: bool = False
    ending: bool = False
    before: int = 1
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class GuardEvent:
    """What happened on the host. folder: the guard's own (STARTED). run, removed: RUN_ENDED and CLEANED.

    status: the node's exit status, None while it still runs; log: the end of its output (ENDED).
    detail: TROUBLE. busy: BUSY.
    """

    event: GuardEventKind
    folder: str = ""
    run: str = ""
    status: int | None = None
    log: str = ""
    removed: Removed | None = None
    detail: str = ""
    busy: Busy | None = None


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What cleaning a host up did. left: the live leases that were left alone; trouble: what could not be removed."""

    removed: Removed
    left: list[Busy]
    trouble: list[str]


def emit(record: GuardEvent | Cleaned) -> None:
    """Write one record as a line of JSON. A coordinator that is gone cannot read it; that is not an error."""
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(asdict(record)) + "\n")
        sys.stdout.flush()
