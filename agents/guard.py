"""The guard of one host: it stops everything of a run there when the coordinator goes away, however it goes.

    python -m agents.guard                       start a node under guard, ordered on standard input
    python -m agents.guard --clean [RUN]         stop and remove what runs have left on this host

The first line of standard input is an Order as JSON: the run, the command and environment of the
host's Ray node (none where hosts are processes of the coordinator's machine), a secret for the file
{folder}/token, and a lease. The coordinator then keeps
standard input open (a pipe on this machine, an SSH channel elsewhere) and writes a line at least
every lease_s seconds. Input that ends (orderly exit, kill -9) or falls silent (cut cable, closed
laptop) means that the coordinator is gone. The guard then stops every process that has
VOLLEY_RUN=<run> in its environment, and removes the containers labelled volley.run=<run>, scratch
files and its folder. A line {"end": RUN} stops a single run that used this node. Events go to
standard output, one GuardEvent as a JSON object per line.

Standard library only: the guard must work when nothing else of Volley does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from agents import engine

RUN_VARIABLE = "VOLLEY_RUN"
RUN_LABEL = "volley.run"
GRACE_S = 1.0
ROUNDS = 10
DOCKER_TIMEOUT_S = 30.0
# What went wrong first stands before what follows from it.
LOG_TAIL = 20_000
CHUNK_BYTES = 65536
# How much of the end of a node's output is searched for what says that it is up, or never will be.
EXAMINED_BYTES = 2 * CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Order:
    """A node to start. lease_s: the longest silence of the coordinator; 0: only the end of input counts.

    ready: what the node prints once it is up. hopeless: what it prints when it will never be up,
    although it keeps trying. The guard replaces '{folder}' and '{python}' in command and
    environment. command: empty for a run without a node. marks: values of VOLLEY_RUN in processes
    that were started before the run had its name. containers: whether the run can have any.
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


class GuardEventKind(StrEnum):
    """STARTED: the node's process runs. READY: the node is up. ENDED: it exited by itself, or will never be up.

    RUN_ENDED: one run was stopped. CLEANED: everything was removed; the last event. TROUBLE:
    something could not be removed.
    """

    STARTED = "started"
    READY = "ready"
    ENDED = "ended"
    RUN_ENDED = "run-ended"
    CLEANED = "cleaned"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Removed:
    """How much of a run, or of all runs, was found on a host and removed."""

    processes: int
    containers: int
    files: int


@dataclass(frozen=True, slots=True)
class GuardEvent:
    """What happened on the host. folder: the guard's own (STARTED). run, removed: RUN_ENDED and CLEANED.

    status: the node's exit status, None while it still runs; log: the end of its output (ENDED).
    detail: TROUBLE.
    """

    event: GuardEventKind
    folder: str = ""
    run: str = ""
    status: int | None = None
    log: str = ""
    removed: Removed | None = None
    detail: str = ""


def processes_of(run: str | None, marks: Iterable[str] = ()) -> list[int]:
    """Return the processes of a run, or of all runs, found by their environment; never this process or its parents.

    marks: further values of the variable that belong to the run.
    """
    ours = set(_line_of_descent())
    wanted = {f"{RUN_VARIABLE}={mark}" for mark in (run, *marks)}
    carriers: set[int] = set()
    children: dict[int, list[int]] = defaultdict(list)
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            children[_parent_of(pid)].append(pid)
            variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
            if any(v in wanted if run else v.startswith(f"{RUN_VARIABLE}=") for v in variables):
                carriers.add(pid)
    # Ray's agents overwrite their environment with their title, so they are found through their
    # parents.
    family = list(carriers)
    for pid in family:
        family += [child for child in children[pid] if child not in carriers]
        carriers.update(children[pid])
    return sorted(carriers - ours)


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _line_of_descent() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            pid = _parent_of(pid)
        except OSError:
            return


def end_processes(run: str | None, marks: Iterable[str] = (), grace_s: float = GRACE_S) -> int:
    """Stop the run's processes and return how many there were: h2load with SIGTERM, then everything with SIGKILL.

    Ray's processes get no SIGTERM: a raylet would drain for half a minute to save what is deleted
    next.
    """
    ended: set[int] = set()
    quiet = 0
    for _ in range(ROUNDS):
        running = processes_of(run, marks)
        if not running:
            # During exec() a process briefly has no environment, so only a second empty result
            # counts.
            quiet += 1
            if quiet == 2:
                break
            time.sleep(0.02)
            continue
        quiet = 0
        ended.update(running)
        load = [pid for pid in running if _name(pid) == "h2load"]
        _signal(load, signal.SIGTERM)
        _wait(load, grace_s)
        _signal(running, signal.SIGKILL)
        _wait(running, grace_s)
    return len(ended)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _wait(pids: list[int], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def remove_containers(run: str | None) -> int:
    """Remove the containers of a run, or of all runs, and return how many there were; 0 without a Docker engine."""
    if shutil.which("docker") is None:
        return 0
    if not engine.is_there():
        return 0
    label = f"label={RUN_LABEL}={run}" if run else f"label={RUN_LABEL}"
    try:
        listed = _docker("ps", "--all", "--quiet", "--filter", label)
        if not listed:
            return 0
        _docker("rm", "--force", "--volumes", *listed)
    except (subprocess.SubprocessError, OSError) as error:
        emit(GuardEvent(GuardEventKind.TROUBLE, detail=f"cannot remove containers: {error}"))
        return 0
    return len(listed)


def _docker(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=DOCKER_TIMEOUT_S,
        errors="replace",
        env=engine.environment(),
    )
    return done.stdout.split()


def clean(run: str | None, marks: Iterable[str] = (), containers: bool = True) -> Removed:
    """Stop and remove everything of a run on this host, or of all runs; return how much there was.

    marks: as in Order. containers: look for containers, too.
    """
    processes = end_processes(run, marks)
    # Containers come second: once the actors are gone, none starts another container.
    removed = remove_containers(run) if containers else 0
    files = 0
    for scratch in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        for left in scratch.glob(f"volley-{run}-*" if run else "volley-*"):
            shutil.rmtree(left, ignore_errors=True)
            files += 1
    return Removed(processes, removed, files)


def emit(record: GuardEvent | Removed) -> None:
    """Write one record as a line of JSON. A coordinator that is gone cannot read it; that is not an error."""
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(asdict(record)) + "\n")
        sys.stdout.flush()


class Guarded:
    """A node, its folder and its output; without a node only the run itself."""

    def __init__(self, order: Order) -> None:
        self._order = order
        # The name is short because the path of a socket inside must not exceed 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="volley-")) if order.command else None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._tail = b""
        self._reported: set[GuardEventKind] = set()

    def start(self) -> None:
        """Write the token, which only this user can read, and start the node, if there is one."""
        order = self._order
        if self.folder is None:
            return
        descriptor = os.open(self.folder / "token", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(order.token)
        environment = {key: self._fill(value) for key, value in order.environment.items()}
        self._log = (self.folder / "node.log").open("wb", buffering=0)
        self._process = subprocess.Popen(
            [self._fill(word) for word in order.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, RUN_VARIABLE: order.run},
            preexec_fn=_default_signals,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _fill(self, text: str) -> str:
        return text.replace("{folder}", str(self.folder)).replace("{python}", sys.executable)

    @property
    def output(self) -> list[IO[bytes]]:
        """What has news of the node when it is readable; empty without a node, and once its output has ended."""
        out = self._process.stdout if self._process is not None else None
        return [] if out is None or out.closed else [out]

    def events(self) -> Iterator[GuardEvent]:
        """Read what the node has printed, and yield what is new: READY, and once ENDED."""
        if self._process is None:
            return
        # Before its output is read to the end: what it printed last belongs to its end.
        exited = self._process.poll() is not None
        self._read()
        seen = self._tail.decode(errors="replace")
        ready = GuardEventKind.READY in self._reported
        if not ready and self._order.ready in seen:
            self._reported.add(GuardEventKind.READY)
            yield GuardEvent(GuardEventKind.READY)
        # Once the node is up, such a message is about another node that was refused.
        hopeless = not ready and any(sign in seen for sign in self._order.hopeless)
        if (exited or hopeless) and GuardEventKind.ENDED not in self._reported:
            self._reported.add(GuardEventKind.ENDED)
            yield GuardEvent(GuardEventKind.ENDED, status=self._process.returncode, log=seen[-LOG_TAIL:])

    def _read(self) -> None:
        """Move the node's output to its log, and keep the end of it."""
        for out in self.output:
            while (chunk := _available(out)) is not None:
                if not chunk:
                    out.close()
                    return
                self._tail = (self._tail + chunk)[-EXAMINED_BYTES:]
                if self._log is not None:
                    with contextlib.suppress(OSError):  # a full disk; the end is in memory
                        self._log.write(chunk)

    def remove(self) -> None:
        """Stop and remove everything of the node's run, and its folder."""
        order = self._order
        removed = clean(order.run, order.marks, order.containers)
        emit(GuardEvent(GuardEventKind.CLEANED, run=order.run, removed=removed))
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=GRACE_S)


def _available(out: IO[bytes]) -> bytes | None:
    """Return what can be read now; empty at the end, None when nothing has arrived."""
    try:
        return os.read(out.fileno(), CHUNK_BYTES)
    except BlockingIOError:
        return None


def keep(guarded: Guarded, lease_s: float, pending: bytes) -> None:
    """Report the node's events and stop runs on request, until input has ended or was silent for lease_s.

    pending: input that came with the order.
    """
    os.set_blocking(0, False)
    # A node that exits is an event, too: its children may hold its output open.
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    heard = time.monotonic()
    while True:
        # A node that exits is reported but not cleaned up: that follows when the coordinator closes
        # the input.
        for event in guarded.events():
            emit(event)
        left_s = max(0.0, heard + lease_s - time.monotonic()) if lease_s else None
        waiting: list[int | IO[bytes]] = [0, woken, *guarded.output]
        ready, _, _ = select.select(waiting, [], [], left_s)
        if woken in ready:
            os.read(woken, CHUNK_BYTES)
        if 0 not in ready:
            if lease_s and time.monotonic() - heard > lease_s:
                return
            continue
        try:
            data = os.read(0, CHUNK_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            return
        if not data:
            return
        heard = time.monotonic()
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            if line.strip():
                run = str(json.loads(line)["end"])
                emit(GuardEvent(GuardEventKind.RUN_ENDED, run=run, removed=clean(run)))


def read_order() -> tuple[Order, bytes]:
    """Return the order, from the first line of standard input, and the input that came with it."""
    data = b""
    while b"\n" not in data:
        more = os.read(0, CHUNK_BYTES)
        if not more:
            raise SystemExit("agents.guard: standard input ended before the order came")
        data += more
    line, _, rest = data.partition(b"\n")
    return Order(**json.loads(line)), rest


def main() -> int:
    """Run the node until standard input ends, then clean up."""
    # Signals to the coordinator's process group must not stop the guard, which cleans up after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[1:2] == ["--clean"]:
        emit(clean(sys.argv[2] if sys.argv[2:] else None))
        return 0
    order, rest = read_order()
    guarded = Guarded(order)
    try:
        guarded.start()
        emit(GuardEvent(GuardEventKind.STARTED, folder=str(guarded.folder or "")))
        keep(guarded, order.lease_s, rest)
    except OSError as error:
        emit(GuardEvent(GuardEventKind.ENDED, status=-1, log=str(error)))
    finally:
        guarded.remove()
    return 0


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
