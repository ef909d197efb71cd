"""One load: a server of known behaviour on one core, one generator on another, and what the server's record shows."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.generators.adapter import NotArmed
from benchmarks import peers
from benchmarks.cpu_time import CpuSample, sample
from benchmarks.evenness import Evenness, evenness
from benchmarks.peers import Load, Peer
from tests.truth.zoo import Record, serve

WARM_UP_S = 0.6
# Between the window's end and the end of the load.
MARGIN_S = 0.05


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured. rate_per_s: None for wrk, which runs over `connections` as fast as it can."""

    peer: Peer
    service_us: int
    rate_per_s: float | None
    window_s: float
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU over the window. Cores: seconds of CPU per second; others_cores: neither generator, server nor benchmark."""

    us_per_request: float
    generator_cores: float
    server_cores: float
    others_cores: float
    steal_cores: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one load showed. evenness: None for wrk. error: why there is nothing else."""

    case: Case
    achieved_per_s: float = 0.0
    evenness: Evenness | None = None
    cpu: Cpu | None = None
    error: str = ""


def two_cores() -> tuple[int, int]:
    """Return a core for the server and one for the generator. Raise RuntimeError on a machine with only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("two cores are needed: one for the server and one for the generator")
    return cores[0], cores[-1]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this thread, and with it what it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(case: Case) -> Outcome:
    """Run one load. A generator that fails is an outcome with an error."""
    server_core, generator_core = two_cores()
    # The benchmark itself sleeps on the server's core, so that the generator has its core alone.
    with (
        pinned(server_core),
        tempfile.TemporaryDirectory(prefix="volley-bench-", dir="/dev/shm") as folder,
        serve("fixed", service_us=case.service_us) as server,
    ):
        duration_s = WARM_UP_S + case.window_s + MARGIN_S
        load = Load(server.url, case.rate_per_s, case.connections, duration_s, Path(folder))
        try:
            with pinned(generator_core):
                started = peers.start(case.peer, load)
        except (peers.Failed, NotArmed) as error:
            return Outcome(case, error=str(error))
        try:
            samples = list(_follow(started, server.pid, duration_s))
        finally:
            started.process.terminate()
            started.close()
        record = server.stop()
    begin_ns = started.begun_ns + round(WARM_UP_S * 1e9)
    return judge(case, record.between(begin_ns, begin_ns + round(case.window_s * 1e9)), samples)


def _follow(started: peers.Started, server: int, duration_s: float) -> Iterator[CpuSample]:
    """Yield CPU time at the start and the end of the window, while the load runs on for MARGIN_S; then wait for its end."""
    for at_s in (WARM_UP_S, duration_s - MARGIN_S):
        _sleep_until(started.begun_ns / 1e9 + at_s)
        yield sample(started.process.pid, server)
    _sleep_until(started.begun_ns / 1e9 + duration_s)


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.time()))


def judge(case: Case, arrived: Record, samples: list[CpuSample]) -> Outcome:
    """Return the outcome of a load from the requests that arrived in its window."""
    if len(arrived) < 2:
        return Outcome(case, error=f"{len(arrived)} requests arrived in the window")
    found = None if case.rate_per_s is None else evenness(arrived.arrived_ns, case.window_s, case.rate_per_s)
    return Outcome(case, len(arrived) / case.window_s, found, cpu_over(arrived, samples))


def disturbed_cores(outcome: Outcome) -> float:
    """Return how many cores other programs and other virtual machines used during a load; 0 for a failed one."""
    return outcome.cpu.others_cores + outcome.cpu.steal_cores if outcome.cpu else 0.0


def cpu_over(arrived: Record, samples: list[CpuSample]) -> Cpu | None:
    """Return the CPU between the first and the last sample; None without a request between them."""
    first, last = samples[0], samples[-1]
    requests = len(arrived.between(first.at_ns, last.at_ns))
    if not requests or last.generator_ns <= first.generator_ns:
        return None
    passed_ns = last.at_ns - first.at_ns
    generator_ns, server_ns = last.generator_ns - first.generator_ns, last.server_ns - first.server_ns
    known_ns = generator_ns + server_ns + last.own_ns - first.own_ns
    others_ns = (last.machine_s - first.machine_s) * 1e9 - known_ns
    return Cpu(
        us_per_request=generator_ns / 1e3 / requests,
        generator_cores=generator_ns / passed_ns,
        server_cores=server_ns / passed_ns,
        others_cores=max(0.0, others_ns / passed_ns),
        steal_cores=(last.steal_s - first.steal_s) * 1e9 / passed_ns,
    )
