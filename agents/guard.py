"""The guard of one host: ends what a run started there when the coordinator goes away, however it goes.

    python -m agents.guard                       run a node under guard; told on standard input
    python -m agents.guard --clean [RUN]         end and remove what runs have left on this host

The first line of standard input is a JSON object: the run, the command (the host's Ray node) and its environment, a
secret for the file {folder}/token, and a lease. The coordinator then holds standard input open, a pipe here, an SSH
channel elsewhere, and writes a line at least every lease_s seconds. When it ends (an orderly close, a kill -9) or falls
silent (a cut cable, a closed laptop), everything of the run is ended: every process that carries VOLLEY_RUN=<run> in its
environment, the containers labelled volley.run=<run>, scratch files and the folder. A line {"end": RUN} ends a run that
used this node. What happens is told on standard output, a JSON object a line.

Standard library only: it must work where nothing else of ours does.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

RUN_VARIABLE = "VOLLEY_RUN"
RUN_LABEL = "volley.run"
GRACE_S = 1.0
ROUNDS = 10
DOCKER_TIMEOUT_S = 30.0
LOG_TAIL = 2000
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Order:
    """What the coordinator asks for. lease_s 0: only the end of standard input counts.

    ready: what the node prints when it is up; hopeless: what it prints when it will not be, however long it goes on trying.
    '{folder}' and '{python}' in command and environment are filled in.
    """

    run: str
    command: list[str]
    environment: dict[str, str]
    token: str
    ready: str
    lease_s: float = 0.0
    hopeless: tuple[str, ...] | list[str] = ()


def processes_of(run: str | None) -> list[int]:
    """Find the processes of a run, or of any run, by their environment; this process and its parents excepted."""
    ours = set(_line_of_descent())
    wanted = f"{RUN_VARIABLE}={run}" if run else f"{RUN_VARIABLE}="
    found, children = set(), defaultdict(list)
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            children[_parent_of(pid)].append(pid)
            variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
            if any(v == wanted if run else v.startswith(wanted) for v in variables):
                found.add(pid)
    # Ray's agents write their titles over their environment: only their parents tell whose they are.
    grown = list(found)
    for pid in grown:
        grown += [child for child in children[pid] if child not in found]
        found.update(children[pid])
    return sorted(found - ours)


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


def end_processes(run: str | None, grace_s: float = GRACE_S) -> int:
    """End the run's processes: h2load by TERM, so that no load outlives its run; then everything by KILL.

    Ray's own processes are not asked: a raylet drains for half a minute, and what it would save is deleted next.
    Gives how many there were.
    """
    ended: set[int] = set()
    quiet = 0
    for _ in range(ROUNDS):
        found = processes_of(run)
        if not found:
            # A process in the middle of exec() has no environment for a moment: nothing has to be seen twice.
            quiet += 1
            if quiet == 2:
                break
            time.sleep(0.02)
            continue
        quiet = 0
        ended.update(found)
        load = [pid for pid in found if _name(pid) == "h2load"]
        _signal(load, signal.SIGTERM)
        _wait(load, grace_s)
        _signal(found, signal.SIGKILL)
        _wait(found, grace_s)
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
    """Remove the run's containers, or those of any run, where there is an engine; give how many there were."""
    if shutil.which("docker") is None:
        return 0
    if not (Path("/var/run/docker.sock").exists() or os.environ.get("DOCKER_HOST")):
        return 0
    label = f"label={RUN_LABEL}={run}" if run else f"label={RUN_LABEL}"
    try:
        listed = _docker("ps", "--all", "--quiet", "--filter", label)
        if not listed:
            return 0
        _docker("rm", "--force", "--volumes", *listed)
    except (subprocess.SubprocessError, OSError) as error:
        tell({"event": "trouble", "what": f"containers could not be removed: {error}"})
        return 0
    return len(listed)


def _docker(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=True, timeout=DOCKER_TIMEOUT_S, errors="replace"
    )
    return done.stdout.split()


def clean(run: str | None) -> dict[str, int]:
    """End and remove everything of a run on this host, or of all runs; say how much there was of each."""
    processes = end_processes(run)
    # After the actors are gone nobody starts another container.
    containers = remove_containers(run)
    files = 0
    for scratch in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        for left in scratch.glob(f"volley-{run}-*" if run else "volley-*"):
            shutil.rmtree(left, ignore_errors=True)
            files += 1
    return {"processes": processes, "containers": containers, "files": files}


def tell(event: dict[str, Any]) -> None:
    """Write one event; a coordinator that is gone does not hear it."""
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


class Guarded:
    """The node under guard."""

    def __init__(self, order: Order) -> None:
        self._order = order
        # Short: the path of a socket inside has to stay within 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="volley-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def start(self) -> None:
        """Write the token, which only this user can read, and start the node."""
        order = self._order
        descriptor = os.open(self.folder / "token", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(order.token)
        environment = {key: self._fill(value) for key, value in order.environment.items()}
        self._log = (self.folder / "node.log").open("wb")
        self._process = subprocess.Popen(
            [self._fill(word) for word in order.command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, RUN_VARIABLE: order.run},
            preexec_fn=_default_signals,
        )

    def _fill(self, text: str) -> str:
        return text.replace("{folder}", str(self.folder)).replace("{python}", sys.executable)

    def ended(self, was_ready: bool) -> dict[str, Any] | None:
        """Give the event of a node that has ended, or was never ready and will not be, with what it printed last."""
        if self._process is None:
            return None
        running = self._process.poll() is None
        # Once it is up, what is hopeless is about somebody else that was not let in.
        if running and was_ready:
            return None
        said = self._said()
        if running and not any(sign in said for sign in self._order.hopeless):
            return None
        return {"event": "ended", "status": self._process.returncode, "log": said[-LOG_TAIL:]}

    def ready(self) -> bool:
        """Say whether the node has said that it is up."""
        return self._order.ready in self._said()

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return (self.folder / "node.log").read_text(errors="replace")
        return ""

    def remove(self) -> None:
        """End and remove everything."""
        tell({"event": "cleaned", **clean(self._order.run)})
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=GRACE_S)


def keep(guarded: Guarded, lease_s: float, pending: bytes) -> None:
    """Come back when standard input has ended, or was silent for lease_s."""
    os.set_blocking(0, False)
    heard = time.monotonic()
    ready = told = False
    while True:
        # A node that ends by itself is told; what it left is removed when the coordinator has heard of it.
        if not told and (event := guarded.ended(ready)):
            tell(event)
            told = True
        if not ready and guarded.ready():
            tell({"event": "ready"})
            ready = True
        select.select([0], [], [], POLL_S)
        try:
            data = os.read(0, 65536)
        except BlockingIOError:
            if lease_s and time.monotonic() - heard > lease_s:
                return
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
                tell({"event": "run-ended", "run": run, **clean(run)})


def read_order() -> tuple[Order, bytes]:
    """Read the first line of standard input, and what came with it."""
    data = b""
    while b"\n" not in data:
        more = os.read(0, 65536)
        if not more:
            raise SystemExit("agents.guard: standard input ended before the order came")
        data += more
    line, _, rest = data.partition(b"\n")
    return Order(**json.loads(line)), rest


def main() -> int:
    """Run the node until standard input ends, then clean up."""
    # Signals meant for the coordinator's process group must not end the one that cleans up after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[1:2] == ["--clean"]:
        tell(clean(sys.argv[2] if sys.argv[2:] else None))
        return 0
    order, rest = read_order()
    guarded = Guarded(order)
    try:
        guarded.start()
        tell({"event": "started", "folder": str(guarded.folder), "pid": os.getpid()})
        keep(guarded, order.lease_s, rest)
    except OSError as error:
        tell({"event": "ended", "status": -1, "log": str(error)})
    finally:
        guarded.remove()
    return 0


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
