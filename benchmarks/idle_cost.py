"""What a load host costs beside its generators: CPU time of its whole process tree, without them, and memory.

One host as a run starts it, as a child process, with agents that send slowly, and a coordinator that looks once a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.records import Assignment, GeneratorKind, HostRole
from benchmarks.cpu_time import tree_ns
from benchmarks.figures import Figure, rounds_of
from orchestrator.fleet.child_process import Child
from orchestrator.fleet.handles import LoadHandle
from orchestrator.fleet.remote import RemoteLoad

ROUNDS = 3
AGENTS = (1, 4)
RATE_PER_S, CLIENTS, WINDOW_S, SETTLED_S = 20.0, 20, 8.0, 1.5
# One hundredth of a core, and room for the other agents' logs.
MOST_SHARE, MOST_MB = 0.01, 60.0


def measure() -> list[Figure]:
    """Measure a host with one agent and with four."""
    figures = []
    for agents in AGENTS:
        found = rounds_of(ROUNDS, lambda agents=agents: host(agents))  # type: ignore[misc]
        bounded = agents == 1
        figures += [
            Figure(f"{agents} agents: load host", "cores", found["cores"], MOST_SHARE if bounded else None),
            Figure(f"{agents} agents: load host", "MB", found["mb"], MOST_MB if bounded else None),
        ]
    return figures


def host(agents: int) -> dict[str, float]:
    """Return what one host used during the window of a slow load: cores, and MB of resident memory."""
    run = f"bench-idle-{os.getpid()}"
    child = Child(HostRole.LOAD, "bench", run, "127.0.0.1")
    try:
        return during(
            RemoteLoad(child),
            agents,
            run,
            lambda generators: _own_ns(child.pid, generators),
            lambda _: {"mb": _resident_mb(child.pid)},
        )
    finally:
        child.close()


def during(
    load: LoadHandle,
    agents: int,
    run: str,
    own_ns: Callable[[list[int]], int],
    memory: Callable[[list[int]], dict[str, float]],
) -> dict[str, float]:
    """Return the cores that a host uses during the window of a slow load, and its memory.

    own_ns, memory: CPU time so far and memory now of everything but the generators, whose process ids they get.
    """
    with server() as url:
        armed = load.arm([_assignment(number, agents, run, url) for number in range(agents)])
        load.release_at(time.time_ns() + 100_000_000)
        time.sleep(SETTLED_S)
        generators = [each.pid for each in armed]
        before_ns, began = own_ns(generators), time.monotonic()
        while time.monotonic() - began < WINDOW_S - 2 * SETTLED_S:
            load.wait(1.0).result(10.0)
            load.progress()
        cores = (own_ns(generators) - before_ns) / 1e9 / (time.monotonic() - began)
        found = memory(generators)
        while not load.wait(1.0).result(10.0):
            pass
        load.collect()
    return {"cores": cores, **found}


def _assignment(number: int, agents: int, run: str, url: str) -> Assignment:
    lasting_us = round(WINDOW_S * 1e6)
    return Assignment(
        agent=f"bench/{number}",
        run=run,
        url=url,
        clients=CLIENTS,
        give_up_us=lasting_us + 10_000_000,
        window_end_us=lasting_us,
        duration_us=lasting_us,
        rate_per_s=RATE_PER_S,
        generator=GeneratorKind.PACED,
        agents=agents,
    )


def _own_ns(host: int, generators: list[int]) -> int:
    return tree_ns(host) - sum(tree_ns(generator) for generator in generators)


def _resident_mb(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@contextmanager
def server() -> Iterator[str]:
    """Run the trivial server; yield its URL."""
    argv = [sys.executable, "-m", "agents.trivial", "127.0.0.1", "0", "1"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/"
        server.communicate()
