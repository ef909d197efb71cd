"""The guard of one host: ends what a run started there when the coordinator goes away, however it goes.

    python -m agents.guard --run RUN --folder DIR -- COMMAND...

It runs COMMAND (the host's Ray node) and reads its own standard input, which the coordinator holds open: a pipe here, an
SSH channel elsewhere. At its end (an orderly close, a kill -9, a cut network) everything of the run is ended: every
process that carries VOLLEY_RUN=RUN in its environment, the containers labelled volley.run=RUN, and the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

RUN_VARIABLE = "VOLLEY_RUN"
GRACE_S = 1.0


def processes_of(run: str) -> list[psutil.Process]:
    """Find the processes of a run by their environment, this one and its parents excepted."""
    ours = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in ours:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(RUN_VARIABLE) == run:
                found.append(process)
    return found


def end_processes(run: str, grace_s: float = GRACE_S) -> None:
    """End the run's processes: h2load by TERM, so that no load outlives its run; then everything by KILL.

    Ray's own processes are not asked: a raylet drains for half a minute, and what it would save is deleted next.
    """
    for _ in range(10):
        found = processes_of(run)
        if not found:
            return
        load = [process for process in found if _is_load(process)]
        for process in load:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        psutil.wait_procs(load, timeout=grace_s)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=grace_s)


def _is_load(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name() == "h2load"
    return False


def remove_containers(run: str) -> None:
    """Remove the run's containers, where there is an engine."""
    if not (Path("/var/run/docker.sock").exists() or os.environ.get("DOCKER_HOST")):
        return
    from agents.server_host import remove_run

    try:
        remove_run(run)
    except Exception as error:
        print(f"guard: containers of {run} could not be removed: {error}", file=sys.stderr)  # noqa: T201


def clean(run: str, folder: Path | None) -> None:
    """End and remove everything of a run on this host."""
    end_processes(run)
    # After the actors are gone nobody starts another container.
    remove_containers(run)
    for scratch in (Path("/dev/shm"), Path(os.environ.get("TMPDIR", "/tmp"))):
        for left in scratch.glob(f"volley-{run}-*"):
            shutil.rmtree(left, ignore_errors=True)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run the command until standard input ends, then clean up."""
    parser = argparse.ArgumentParser(prog="agents.guard")
    parser.add_argument("--run", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    # Signals meant for the coordinator's process group must not end the one that cleans up after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    output = (options.folder / "node.log").open("wb")
    child = subprocess.Popen(
        options.command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, RUN_VARIABLE: options.run},
        preexec_fn=_default_signals,
    )
    while os.read(sys.stdin.fileno(), 4096):
        pass
    clean(options.run, options.folder)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=GRACE_S)
    return 0


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
