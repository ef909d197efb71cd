"""A run over 10 to 1,000 hosts, stage by stage: time, and the coordinator's CPU time and memory.

The coordinator's own code is run; the hosts are simulated (benchmarks/simulated_hosts.py). Ray itself and SSH's own CPU
time are not in it: SSH_S has what SSH takes for each host.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from agents.orders import Cleaned
from benchmarks.figures import Figure, rounds_of
from benchmarks.fresh import measured, peak_mb
from benchmarks.simulated_hosts import SSH_S, GuardProcess, Ssh, Transport, World, clocks
from orchestrator.fleet.actors import Actors, Roles
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.environment import Archive
from orchestrator.fleet.guarded import Guard
from orchestrator.fleet.nodes import Member, Nodes
from orchestrator.fleet.place import Machine, place
from orchestrator.fleet.raynode import pinned
from orchestrator.fleet.remote import RemoteLoad
from orchestrator.plan import make_plan
from orchestrator.run.inputs import Stages, TrialInput
from orchestrator.run.trial import run_trial
from orchestrator.spec.load import from_plain
from orchestrator.stored.evaluate import Judgements
from orchestrator.stored.folder import RunStore

SIZES = (10, 100, 500, 1000)
ROUNDS = 3
# Ten times the hosts may take this many times as long: linear, and room for noise.
LINEAR = 12.0
LOAD_S = 4.0
# A stage of less than this is noise.
FLOOR_S = 0.25


class Times:
    """Seconds and CPU seconds of each stage."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Time a stage; one that is entered again is added up."""
        began, cpu = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self.wall[stage] = self.wall.get(stage, 0.0) + time.monotonic() - began
            self.cpu[stage] = self.cpu.get(stage, 0.0) + time.process_time() - cpu


def machines(hosts: int) -> list[Machine]:
    """Return load hosts with a slot each."""
    return [Machine(f"h{n}", f"198.18.{n // 250}.{n % 250 + 1}", False, 1) for n in range(hosts)]


async def bring_up(hosts: list[Machine], times: Times) -> None:
    """Start all nodes, and stop them. The stages have barriers between them, so each has its own CPU time."""
    members = [Member(machine, cast(Any, Ssh(machine.name, machine.address))) for machine in hosts]
    nodes = Nodes(Claim("scale", "scale"), "198.18.255.1", pinned(20000), None, members)
    began, cpu = time.monotonic(), time.process_time()

    def until_here(stage: str) -> None:
        nonlocal began, cpu
        times.wall[stage], times.cpu[stage] = time.monotonic() - began, time.process_time() - cpu
        began, cpu = time.monotonic(), time.process_time()

    async def take(*arguments: Any) -> None:
        until_here("connect, check, claim")
        await real_take(*arguments)
        until_here("take")

    async def nothing_to_clean(run: str) -> Cleaned:
        raise AssertionError(f"no guard was killed, and {run} is cleaned up")

    async def head(host: str) -> Guard:
        process = GuardProcess()
        return Guard(host, process.stdin, process.stdout, 0.0, process.close, nothing_to_clean)

    async def nothing(*arguments: Any) -> None:
        await asyncio.sleep(0.04)

    from orchestrator.fleet import nodes as module
    from orchestrator.fleet import preflight, take_all

    real_take = take_all.take_all
    with contextlib.ExitStack() as stack:
        for name, value in (("take_all", take), ("guard_here", head), ("_archives", _no_archives)):
            stack.enter_context(mock.patch.object(module, name, value))
        stack.enter_context(mock.patch.object(preflight, "prepare", nothing))
        stack.enter_context(mock.patch.object(Nodes, "_require_route_back", nothing))
        await nodes.up(lambda text: None)
        until_here("prepare, join")
    assert len(nodes.hosts_up()) == len(hosts)
    assert await nodes.down() == []
    until_here("nodes down")


def _no_archives() -> list[Archive]:
    return [Archive("packages-0", [])]


def run(size: str) -> dict[str, float]:
    """Bring so many hosts up, run one trial over them, judge and store it, in this process; return what it took."""
    hosts, times = int(size), Times()
    plain = {
        "campaign": "scale",
        "targets": {"t": {"url": "http://198.18.255.2/"}},
        "loads": {"steady": {"clients": 20 * hosts, "duration": "2s", "warm_up": "1s", "tail": "1s"}},
        "agents": hosts,
        "repetitions": 1,
    }
    world, offered = World(hosts, LOAD_S), machines(hosts)
    before_mb = peak_mb()
    asyncio.run(bring_up(offered, times))
    by_name = {machine.name: machine for machine in offered}
    with times.of("place"):
        campaign = from_plain(plain).campaign
        plan = make_plan(campaign, None, hosts)
        placement = next(iter(place(plan, offered, campaign.place).values()))
        roles = Roles.of([placement], [])
    actors = Actors(loads={name: RemoteLoad(Transport(n, world)) for n, name in enumerate(roles.loads)})
    with times.of("describe"):
        actors.describe()
    with times.of("reserve"):
        placed = actors.placed(placement, by_name)
    item = TrialInput(plan.trials[0], campaign.targets["t"], campaign.loads["steady"], None, Path(), "scale")

    class Timed(Stages):
        """Stages that also take CPU time."""

        @contextmanager
        def of(self, name: str) -> Iterator[None]:
            """Time a stage twice."""
            with times.of(f"trial: {name}"), Stages.of(self, name):
                yield

    with (
        clocks() as probe_all,
        # The patched module is that of the run; the probes themselves are real, to another place.
        mock.patch("orchestrator.run.load.clock_probes", SimpleNamespace(probe_all=probe_all)),
        mock.patch("orchestrator.run.trial.Stages", Timed),
    ):
        output = run_trial(item, placed, lambda event: None)
    assert output.facts.error is None, output.facts.error
    assert len(output.facts.agents) == hosts
    with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder, RunStore.create(Path(folder), "scale") as store:
        with times.of("judge"):
            trial = Judgements().of(output.facts, output.agents)
        with times.of("store"):
            store.add(plan.trials[0].name, trial, output.agents, b"")
    t0_ns = output.facts.t0_ns or 0
    return {
        **{f"{name}, time": seconds for name, seconds in times.wall.items()},
        **{f"{name}, CPU": seconds for name, seconds in times.cpu.items()},
        "all stages, time": sum(times.wall.values()) - LOAD_S,
        "all stages, CPU": sum(times.cpu.values()),
        "T0 heard ahead": min(t0_ns - heard for heard in world.heard_ns.values()) / 1e9,
        "T0 ahead": (t0_ns - output.facts.started_at_ns) / 1e9,
        "memory": peak_mb() - before_mb,
        "SSH's own CPU, computed": hosts * sum(cpu_s for step, (_, _, cpu_s) in SSH_S.items() if "env" not in step),
        "SSH's own CPU with the environment, computed": hosts * sum(cpu_s for _, _, cpu_s in SSH_S.values()),
    }


def measure() -> list[Figure]:
    """Measure all sizes, by turns."""
    found = {size: rounds_of(ROUNDS, lambda size=size: measured(__name__, "run", str(size))) for size in SIZES}  # type: ignore[misc]
    figures = []
    for size in SIZES:
        for name, samples in found[size].items():
            if name in ("wall_s", "cpu_s", "peak_mb", "T0 ahead"):
                continue
            unit = "MB" if name == "memory" else "s"
            least = 0.0 if name == "T0 heard ahead" else None
            figures.append(Figure(f"{size:,} hosts: {name}", unit, samples, at_least=least))
    for name in found[1000]:
        if name.endswith((", time", ", CPU")) or name == "memory":
            pairs = list(zip(found[1000][name], found[100][name], strict=True))
            if max(many for many, _ in pairs) >= FLOOR_S:
                ratios = [many / max(few, FLOOR_S / LINEAR) for many, few in pairs]
                figures.append(Figure(f"1,000 hosts to 100: {name}", "ratio", ratios, at_most=LINEAR))
    return figures


def main() -> None:
    """Print one line for each stage and size."""
    for size in SIZES:
        print(size, {name: round(value, 4) for name, value in run(str(size)).items()})


if __name__ == "__main__":
    main()
