"""All agents of one load host: armed together, released together at T0, collected together."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agents import destinations, lease, probe, processes, room
from agents.clock import ClockResponder, StepWatch
from agents.command import CommandHost
from agents.hostmeter import HostMeter, HostUse
from agents.live import AgentCounts, LiveTimes, merged
from agents.probe import Checked, Expect, Request
from agents.records import Assignment, GeneratorKind, HostDescription, HostRole
from agents.totals import LiveCounts

# The coordinator imports this module for its records and its methods; only a load host needs the rest, and numpy.
if TYPE_CHECKING:
    from agents.load_agent import LoadAgent

QUIET_S = 0.02
MOST_TRIVIAL = 8
# How long one of several addresses of a server has to accept a connection.
ACCEPTS_WITHIN_S = 1.0


class TrivialServerFailed(RuntimeError):
    """The trivial server that calibration needs did not start."""


@dataclass(frozen=True, slots=True)
class Armed:
    """One agent that waits at its gate. pid: of its generator; gate: which kind holds it."""

    agent: str
    pid: int
    gate: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the agents of one host are. rows: log rows read so far, by agent; running: not all agents have ended.

    For the live view: counts by agent, and the times of all of them; None before T0. busy_share: of the time of all cores
    of the host, over the last second; None before it was measured. totals: what all agents have counted so far, as it will
    count in the result.
    """

    rows: dict[str, int]
    running: bool
    counts: dict[str, AgentCounts] = field(default_factory=dict)
    times: LiveTimes | None = None
    busy_share: float | None = None
    totals: LiveCounts = field(default_factory=LiveCounts)


def _full(root: Path, needed: int, error: OSError) -> room.NoSpace:
    """Return the error of a write that found no room: below root, or where the lease lists what a run creates."""
    free = room.free_bytes(root)
    folder = root if free is None or free < needed else lease.folder()
    return room.NoSpace.of(folder, needed, error.strerror or "")


class LoadHost(CommandHost):
    """Runs the assignments of one trial after the other on this host."""

    def __init__(
        self, name: str = "local", address: str = "127.0.0.1", program: str = "h2load", clock_port: int = 0
    ) -> None:
        super().__init__()
        self._open_files = processes.raise_open_files()
        self._name, self._address, self._program = name, address, program
        self._trivial: subprocess.Popen[bytes] | None = None
        self._responder = ClockResponder(address, clock_port)
        self._agents: list[LoadAgent] = []
        self._threads: list[threading.Thread] = []
        self._meter = HostMeter()
        # From before the generators are started until the meter watches the clock: T0 is set in between.
        self._clock = StepWatch()
        # Of a check.
        self._abort = threading.Event()

    def describe(self) -> HostDescription:
        """Return what this host offers. Many loads need no h2load, so a host may lack it."""
        from agents.generators import h2load_version

        try:
            first, second = h2load_version.detect(self._program).version
            version = f"{first}.{second}"
        except h2load_version.H2loadMissing:
            version = None
        return HostDescription(
            host=self._name,
            role=HostRole.LOAD,
            kernel=os.uname().release,
            cores=sorted(os.sched_getaffinity(0)),
            clock_port=self._responder.port,
            h2load=version,
            open_files=self._open_files,
            ephemeral_ports=processes.ephemeral_ports(),
        )

    def clock_port(self) -> int:
        """Return the UDP port of the clock responder."""
        return self._responder.port

    def check(self, request: Request, expect: Expect, timeout_s: float, repeat: bool = True) -> Checked:
        """Send a request from this host until it is answered once (once at all: repeat=False); compare the response.

        cancel() and abort() end it.
        """
        self._abort.clear()
        return probe.check(request, expect, timeout_s, repeat, self._abort)

    def serve_trivial(self, port: int, beside: bool) -> int:
        """Start the trivial server on a port (0: any free one) and return the port.

        beside: it leaves one core to the generator on this host. Raises TrivialServerFailed.
        """
        self.end_trivial()
        processes = max(1, min(MOST_TRIVIAL, len(os.sched_getaffinity(0)) - (1 if beside else 0)))
        # The load may come over another network than the coordinator's calls.
        address = "::" if ":" in self._address else "" if not self._address.startswith("127.") else self._address
        command = [sys.executable, "-m", "agents.trivial", address, str(port), str(processes)]
        self._trivial = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._trivial.stdout is not None
        line = self._trivial.stdout.readline()
        if not line:
            _, error = self._trivial.communicate()
            self._trivial = None
            last = error.decode(errors="replace").strip().rpartition("\n")[2]
            raise TrivialServerFailed(f"the trivial server did not start on port {port}: {last}")
        return int(line)

    def end_trivial(self) -> None:
        """End the trivial server, if there is one; it ends with its standard input."""
        process, self._trivial = self._trivial, None
        if process is not None:
            process.communicate()

    def arm(self, assignments: list[Assignment]) -> list[Armed]:
        """Start one generator per assignment and wait until each is blocked at its gate; on any failure none is left.

        Raises H2loadMissing, NotArmed, NoSpace, NotPermitted, ValueError.
        """
        from agents.generators import h2load_version
        from agents.load_agent import LoadAgent, needed_bytes

        self.discard()
        self._clock = StepWatch()
        self._clock.sample()
        needs_h2load = any(assignment.generator is GeneratorKind.H2LOAD for assignment in assignments)
        can = h2load_version.detect(self._program) if needs_h2load else None
        needed = sum(map(needed_bytes, assignments))
        root = room.scratch_root(needed)
        try:
            for assignment in map(_pinned, assignments):
                agent = LoadAgent(assignment, can, self._program, root)
                self._agents.append(agent)
                agent.arm()
        except BaseException as error:
            full = _full(root, needed, error) if room.is_full(error) else None
            self.discard()
            if full is not None:
                raise full from error
            raise
        return [Armed(agent.assignment.agent, agent.pid, agent.gate) for agent in self._agents]

    def release_at(self, t0_ns: int) -> None:
        """Wait in the background for T0 on this host's wall clock, release every agent, and follow each."""
        for agent in self._agents:
            agent.announce(t0_ns)
        self._threads = [threading.Thread(target=self._release, args=(t0_ns,), name="release", daemon=True)]
        self._threads[0].start()

    def _release(self, t0_ns: int) -> None:
        from agents.gate import wait_until

        self._meter.start()
        self._clock.sample()
        late_ns = wait_until(t0_ns)
        for agent in self._agents:
            agent.open_gate()
        # The first milliseconds belong to the generators: anything else that runs now makes some agents start later.
        time.sleep(QUIET_S)
        followers = [
            threading.Thread(
                target=agent.follow, args=(t0_ns, late_ns // 1000), name=agent.assignment.agent, daemon=True
            )
            for agent in self._agents
        ]
        for thread in followers:
            thread.start()
        self._threads += followers

    def progress(self) -> Progress:
        """Return how many rows each agent has read, whether any agent still runs, and what the live view shows."""
        rows = {agent.assignment.agent: agent.rows for agent in self._agents}
        live = {agent.assignment.agent: agent.live for agent in self._agents if agent.live is not None}
        times = None
        if live:
            counters = list(live.values())
            times = LiveTimes(counters[0].response, merged(each.times() for each in counters))
        return Progress(
            rows,
            any(thread.is_alive() for thread in list(self._threads)),
            {name: each.counts() for name, each in live.items()},
            times,
            self._meter.busy_share,
            sum((agent.totals for agent in self._agents), LiveCounts()),
        )

    def wait(self, timeout_s: float) -> bool:
        """Wait up to timeout_s for all agents to end; return whether they have."""
        deadline = time.monotonic() + timeout_s
        # The first thread starts the others, so the list is complete once it has ended.
        position = 0
        while position < len(self._threads):
            thread = self._threads[position]
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                return False
            position += 1
        return True

    def collect(self) -> bytes:
        """Return the results of all agents as one stream of frames, after wait() returned True; forget the agents."""
        from agents.wire import encode_stream, pack_result

        stream = encode_stream(pack_result(agent.result()) for agent in self._agents)
        self.discard()
        return stream

    def use(self) -> HostUse | None:
        """Stop metering the host; return its use since T0, None when there was too little to see.

        A step of the clock counts from before the generators were started.
        """
        self._meter.stop()
        use = self._meter.use(self._name, HostRole.LOAD)
        if use is None:
            return None
        return replace(use, clock_moved_ns=max(use.clock_moved_ns, self._clock.largest_ns))

    def cancel(self) -> None:
        """End every generator and the check that is under way soon; results so far can still be collected."""
        self._abort.set()
        for agent in self._agents:
            agent.cancel()

    def discard(self) -> None:
        """End every generator and forget the agents."""
        self.cancel()
        self._meter.stop()
        for agent in self._agents:
            agent.discard()
        self._agents = []
        self._threads = []

    def abort(self) -> None:
        """End the load and the command that are under way."""
        self.cancel()
        super().abort()

    def close(self) -> None:
        """End everything that this host runs."""
        super().close()
        self.discard()
        self.end_trivial()
        self._responder.close()


def _pinned(task: Assignment) -> Assignment:
    """Return an assignment with the addresses that its generator must connect to. Raise NotPermitted, NotArmed."""
    from agents.generators.adapter import NotArmed

    if task.socket:
        return task
    try:
        found = destinations.pinned(task.url, task.permitted)
    except OSError as error:
        host = destinations.host_and_port(task.url)[0]
        raise NotArmed(f"{host} has no address here: {error.strerror}") from None
    if found and task.generator is GeneratorKind.H2LOAD:
        # It takes one address.
        found = [destinations.first_that_accepts(found, destinations.host_and_port(task.url)[1], ACCEPTS_WITHIN_S)]
    return replace(task, addresses=found)
