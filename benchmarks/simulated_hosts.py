"""Hosts that only answer, after the time that a real one takes: for the coordinator's own code at any number of hosts.

Each is ROUND_TRIP_S away. What a call takes beyond that was measured over real hosts: SSH_S by benchmarks/ssh_costs.py,
the others by the stages of trials over the lab.
"""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents import survey as host_survey
from agents.live import AgentCounts, LiveTimes
from agents.load_host import Armed, Progress
from agents.orders import GuardEvent, GuardEventKind, RequestKind
from agents.probe import Checked
from agents.records import HostDescription, HostRole, ServerState, to_plain
from agents.wire import encode_stream, pack_result
from benchmarks.made_run import agent_facts, agent_result, host_use
from orchestrator.fleet import clock_probes
from orchestrator.fleet.ssh import Completed

ROUND_TRIP_S = 0.04
# Medians over a real sshd without delay: seconds beyond the round trips, the round trips, CPU seconds of the coordinator.
SSH_S: dict[str, tuple[float, int, float]] = {
    "connect": (0.088, 5, 0.049),
    "survey": (0.24, 4, 0.010),
    "prepare": (0.07, 2, 0.002),
    "send": (0.049, 2, 0.004),
    "send environment": (4.0, 3, 0.212),
    "claim": (0.14, 2, 0.001),
    "take": (0.001, 1, 0.001),
    "route": (0.027, 2, 0.001),
    "start": (0.006, 1, 0.001),
    "ready": (1.67, 1, 0.001),
}
ARM_S, COLLECT_S, CHECK_S = 0.05, 0.005, 0.002
DISTINCT = 20


class World:
    """What all hosts share. heard_ns: when each host heard of T0; calls: how many there were."""

    def __init__(self, hosts: int, load_s: float) -> None:
        """load_s: how long a load lasts from T0 on. The results of all agents are made here, before anything is timed."""
        self.load_s, self.heard_ns, self.calls = load_s, dict[str, int](), 0
        some = [agent_result(seed, agent_facts("x/0")) for seed in range(min(DISTINCT, hosts))]
        streams = [
            encode_stream([pack_result(replace(some[n % len(some)], facts=agent_facts(f"h{n}/0")))])
            for n in range(hosts)
        ]
        use, counts, times = to_plain(host_use("h")), AgentCounts(1_000_000, 5000, 0), {800 + i: 40 for i in range(120)}
        self.answers: dict[str, Callable[[Transport], Any]] = {
            "describe": lambda at: to_plain(
                HostDescription(at.host, HostRole.LOAD, "6.1", [0, 1, 2, 3], 9, h2load="1.64", open_files=1 << 20)
            ),
            "clock_port": lambda at: 9,
            "check": lambda at: to_plain(Checked(ServerState.READY)),
            "arm": lambda at: [to_plain(Armed(f"{at.host}/0", 4711, "gate"))],
            "release_at": lambda at: None,
            "progress": lambda at: to_plain(
                Progress({f"{at.host}/0": 5000}, True, {f"{at.host}/0": counts}, LiveTimes(False, times), 0.2)
            ),
            "collect": lambda at: streams[at.number],
            "use": lambda at: use | {"host": at.host},
            "cancel": lambda at: None,
            "discard": lambda at: None,
        }


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is answered at an instant."""

    at_s: float
    value: Any

    def done(self, timeout_s: float) -> bool:
        """Wait, as a real call does."""
        time.sleep(max(0.0, min(timeout_s, self.at_s - time.monotonic())))
        return time.monotonic() >= self.at_s

    def result(self, timeout_s: float) -> Any:
        """Return the value once it is there."""
        time.sleep(max(0.0, self.at_s - time.monotonic()))
        return self.value


class Transport:
    """The transport to one load host with one agent."""

    def __init__(self, number: int, world: World) -> None:
        """number: of the host; its name follows from it."""
        self.number, self.host, self._world = number, f"h{number}", world
        self.address = self.load_address = f"198.18.{number // 250}.{number % 250 + 1}"
        self._t0_s = 0.0

    def begin(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Start a call that is answered a round trip later, or after what it takes."""
        name, now = method.__name__, time.monotonic()
        self._world.calls += 1
        if name == "release_at":
            # Heard half a round trip after it was said.
            self._world.heard_ns[self.host] = time.time_ns() + round(ROUND_TRIP_S / 2 * 1e9)
            self._t0_s = now + (arguments[0] - time.time_ns()) / 1e9
        if name == "wait":
            end_s = self._t0_s + self._world.load_s
            at_s = min(now + arguments[0], max(now, end_s))
            return Call(at_s + ROUND_TRIP_S, at_s >= end_s)
        lasting_s = {"arm": ARM_S, "collect": COLLECT_S, "check": CHECK_S}.get(name, 0.0)
        return Call(now + ROUND_TRIP_S + lasting_s, self._world.answers[name](self))


@contextmanager
def clocks() -> Iterator[Callable[[Sequence[tuple[str, int]]], list[Any]]]:
    """Yield what probes the clocks of simulated hosts: one process answers for all of them, a round trip later."""
    argv = [sys.executable, "-c", _CLOCKS, str(ROUND_TRIP_S)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        yield lambda places: clock_probes.probe_all([("127.0.0.1", port)] * len(places))
    finally:
        process.communicate()


_CLOCKS = """
import collections, select, socket, struct, sys, time
there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
there.bind(("127.0.0.1", 0))
there.setblocking(False)
print(there.getsockname()[1], flush=True)
waiting, far_s = collections.deque(), float(sys.argv[1])
while True:
    wait_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 60.0
    ready, _, _ = select.select([there, sys.stdin], [], [], wait_s)
    if sys.stdin in ready:
        break
    while there in ready:
        try:
            data, sender = there.recvfrom(64)
        except BlockingIOError:
            break
        waiting.append((time.monotonic() + far_s, data, sender))
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, data, sender = waiting.popleft()
        token = struct.unpack("!QQQ", data)[0]
        there.sendto(struct.pack("!QQQ", token, time.time_ns(), time.time_ns()), sender)
"""


@functools.cache
def surveyed() -> str:
    """Return what the survey of a host prints: that of this machine, with what a load host has."""
    source = Path(host_survey.__file__).read_text()
    done = subprocess.run([sys.executable, "-"], input=source, capture_output=True, text=True, check=True)
    return done.stdout


class Ssh:
    """A host behind SSH that answers after what was measured over a real sshd."""

    python, jump, accepted = "python3", None, False

    def __init__(self, name: str, address: str) -> None:
        """name, address: as in an inventory."""
        self.name, self.address = name, address

    def number(self) -> str:
        """Return its address."""
        return self.address

    async def connect(self) -> None:
        """Log in."""
        await asyncio.sleep(lasting_s("connect"))

    async def close(self) -> None:
        """Close the connection."""
        await asyncio.sleep(0)

    async def run(self, command: str, given: bytes = b"", timeout_s: float = 0.0) -> Completed:
        """Answer the commands of provision.py."""
        if given:
            await asyncio.sleep(lasting_s("survey"))
            return Completed(0, surveyed(), "")
        here = sys.version_info
        await asyncio.sleep(lasting_s("send" if command.startswith("test -d") else "route"))
        return Completed(0, f"{here.major} {here.minor}\n" if "version_info" in command else "", "")

    async def start(self, command: str) -> GuardProcess:
        """Start the guard."""
        await asyncio.sleep(lasting_s("claim"))
        return GuardProcess()


def lasting_s(step: str) -> float:
    """Return how long a step takes over a network with this round trip."""
    beyond_s, round_trips, _ = SSH_S[step]
    return beyond_s + round_trips * ROUND_TRIP_S


class GuardProcess:
    """What a guard says, to the real code that talks to it. It is its own input and output."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self.stdin = self.stdout = self

    def write(self, data: bytes) -> None:
        """Take a line; heartbeats need no answer."""
        if not data.strip():
            return
        plain = json.loads(data)
        if "command" in plain:
            self._say("start", GuardEvent(GuardEventKind.FREE)) if plain["alone"] else self._node()
        elif plain["request"] == RequestKind.TAKE:
            self._say("take", GuardEvent(GuardEventKind.TAKEN))
        elif plain["request"] == RequestKind.START:
            self._node()

    def _node(self) -> None:
        self._say("start", GuardEvent(GuardEventKind.STARTED, folder="/tmp"))
        self._say("ready", GuardEvent(GuardEventKind.READY))

    def write_eof(self) -> None:
        """Clean up and exit."""
        self._say("take", GuardEvent(GuardEventKind.CLEANED), last=True)

    def _say(self, step: str, event: GuardEvent, last: bool = False) -> None:
        async def later() -> None:
            await asyncio.sleep(lasting_s(step))
            self._lines.put_nowait(json.dumps(to_plain(event)).encode() + b"\n")
            if last:
                self._lines.put_nowait(b"")

        task = asyncio.create_task(later())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def readline(self) -> bytes:
        """Return the next line."""
        return await self._lines.get()

    def close(self) -> None:
        """Close the channel."""
