"""What a run costs beside its load, stage by stage: from Enter to the first request, and from the last one to the prompt.

From the instants that a run records (journal, facts of its trials), and from outside: when the command was started, and
when it had ended. Everything is on one wall clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import ROOT, Figure, rounds_of
from benchmarks.idle_cost import server

ROUNDS, COLD_ROUNDS = 5, 3
REQUESTS = 1000
FIRST_S, PROMPT_S, WHOLE_S = 0.8, 0.4, 2.0
FIRST, PROMPT, WHOLE = "Enter to the first request", "end of the load to the prompt", "in all"
VOLLEY = [sys.executable, "-m", "orchestrator.cli"]


def measure() -> list[Figure]:
    """Measure `volley bench URL -n 1000` on this machine, cold and warm."""
    figures = []
    with server() as url:
        arguments = [url, "-n", str(REQUESTS)]
        cold = rounds_of(COLD_ROUNDS, lambda: _cold(arguments))
        for name, found in (("cold", cold), ("warm", rounds_of(ROUNDS, lambda: run(arguments)))):
            figures += figures_of(name, found, bounded=name == "warm")
    return figures


def figures_of(name: str, found: dict[str, list[float]], bounded: bool) -> list[Figure]:
    """Return the stages as figures; bounded: whether the targets of one machine apply."""
    bounds = {FIRST: FIRST_S, PROMPT: PROMPT_S, WHOLE: WHOLE_S} if bounded else {}
    return [Figure(f"{name}: {stage}", "s", samples, bounds.get(stage)) for stage, samples in found.items()]


def run(arguments: list[str]) -> dict[str, float]:
    """Run `volley bench` once; return the seconds of each stage, in their order."""
    with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder:
        argv = [*VOLLEY, "bench", *arguments, "--out", folder]
        began_ns = time.time_ns()
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
        ended_ns = time.time_ns()
        if done.returncode:
            raise RuntimeError(f"volley {' '.join(arguments)}: {done.returncode}: {done.stderr[-500:]}")
        (path,) = Path(folder).iterdir()
        lines = [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]
        trials = [json.loads(file.read_text())["facts"] for file in sorted(path.glob("trials/*/trial.json"))]
    # Of events of one kind the last one counts.
    at_ns = {line["kind"]: line["at_ns"] for line in lines}
    return stages(began_ns, ended_ns, at_ns, trials)


def stages(began_ns: int, ended_ns: int, at_ns: dict[str, int], trials: list[dict]) -> dict[str, float]:  # type: ignore[type-arg]
    """Return the seconds of each stage. at_ns: the last event of each kind; trials: the facts of each, in order."""
    first_ns = [min(agent["first_start_us"] for agent in trial["agents"]) * 1000 for trial in trials]
    last_ns = [max(agent["last_end_us"] for agent in trial["agents"]) * 1000 for trial in trials]
    t0_ns, lasted_us = [trial["t0_ns"] for trial in trials], trials[0]["stages_us"]
    prepared_ns = trials[0]["started_at_ns"]
    armed_s = sum(lasted_us[name] for name in ("before", "server", "clocks", "arm") if name in lasted_us) / 1e6
    between = [(after - end) / 1e9 for end, after in zip(last_ns, t0_ns[1:], strict=False)]
    found = {
        "imports and plan": at_ns["run"] - began_ns,
        "hosts up": at_ns["placed"] - at_ns["run"],
        "to the first trial": prepared_ns - at_ns["placed"],
        "first trial: check, clocks, arming": armed_s * 1e9,
        "first trial: T0 ahead": t0_ns[0] - prepared_ns - armed_s * 1e9,
        "first trial: T0 to the first request": first_ns[0] - t0_ns[0],
        FIRST: first_ns[0] - began_ns,
        "last load": last_ns[-1] - first_ns[-1],
        "end of the load to the verdict": at_ns["judged"] - last_ns[-1],
        "verdict to results": at_ns["end"] - at_ns["judged"],
        "results to the prompt": ended_ns - at_ns["end"],
        PROMPT: ended_ns - last_ns[-1],
    }
    seconds = {name: lasted_ns / 1e9 for name, lasted_ns in found.items()}
    if between:
        seconds["between two loads"] = sum(between) / len(between)
    return seconds | {WHOLE: (ended_ns - began_ns) / 1e9}


def _cold(arguments: list[str]) -> dict[str, float]:
    forget()
    return run(arguments)


def forget() -> None:
    """Have the kernel drop what it has cached of this checkout and its environment; files in use by others stay."""
    for root in (ROOT / "orchestrator", ROOT / "agents", Path(sys.prefix)):
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder) / name
                if path.is_symlink():
                    continue
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def over_hosts() -> list[Figure]:
    """Measure the same over two hosts of the lab: the first run sends the environment, the others do not."""
    from benchmarks.fleet import INVENTORY, lab, nginx, volley

    with lab(), nginx() as url, _inventory(INVENTORY) as one:
        arguments = [url, "-n", str(REQUESTS), "--hosts", str(one)]
        volley("hosts", "clean", "--hosts", str(one))
        cold = rounds_of(1, lambda: run(arguments))
        warm = rounds_of(COLD_ROUNDS, lambda: run(arguments))
        volley("hosts", "up", "--hosts", str(one))
        try:
            up = rounds_of(COLD_ROUNDS, lambda: run(arguments))
        finally:
            volley("hosts", "down", "--hosts", str(one))
    every = (("cold", cold), ("warm", warm), ("hosts are up", up))
    return [figure for name, found in every for figure in figures_of(name, found, bounded=False)]


@contextmanager
def _inventory(whole: Path) -> Iterator[Path]:
    """Yield an inventory of the first two hosts: one for the server, one for the load."""
    path = whole.with_name("bench-stages.yaml")
    lines = whole.read_text().splitlines()
    path.write_text("\n".join(lines[: lines.index("hosts:") + 3]) + "\n")
    try:
        yield path
    finally:
        path.unlink()
