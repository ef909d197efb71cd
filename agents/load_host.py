"""All agents of one load host: armed together, released together at T0, collected together. Knows nothing of Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

from agents import h2load
from agents.clock import ClockResponder
from agents.command import Commands
from agents.gate import wait_until
from agents.hostmeter import HostMeter
from agents.load_agent import LoadAgent
from agents.probe import Expect, Request, check
from agents.records import Assignment, from_plain, to_plain
from agents.wire import encode_stream, pack_result

QUIET_S = 0.02
MOST_TRIVIAL = 8


class TrivialServerFailed(RuntimeError):
    """The trivial server that calibration needs did not start."""


class LoadHost(Commands):
    """Runs the assignments of one trial after the other on this host."""

    def __init__(self, address: str = "127.0.0.1", program: str = "h2load", clock_port: int = 0) -> None:
        self._program = program
        self._address = address
        self._trivial: subprocess.Popen[bytes] | None = None
        self._responder = ClockResponder(address, clock_port)
        self._agents: list[LoadAgent] = []
        self._threads: list[threading.Thread] = []
        self._meter = HostMeter()

    def describe(self) -> dict[str, Any]:
        """Say what this host offers. Raises H2loadMissing."""
        can = h2load.detect(self._program)
        return {
            "h2load": f"{can.version[0]}.{can.version[1]}",
            "cores": sorted(os.sched_getaffinity(0)),
            "kernel": os.uname().release,
            "clock_port": self._responder.port,
        }

    def clock_port(self) -> int:
        """Give the UDP port of the clock responder."""
        return self._responder.port

    def check(self, request: dict[str, Any], expect: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Ask a URL from this host until it answers once, and compare; give Checked."""
        return to_plain(check(from_plain(Request, request), from_plain(Expect, expect), timeout_s))

    def serve_trivial(self, port: int, beside: bool) -> int:
        """Start the trivial server (port 0: any); beside: it leaves a core to the generator here. Give its port.

        Raises TrivialServerFailed.
        """
        self.end_trivial()
        processes = max(1, min(MOST_TRIVIAL, len(os.sched_getaffinity(0)) - (1 if beside else 0)))
        command = [sys.executable, "-m", "agents.trivial", self._address, str(port), str(processes)]
        self._trivial = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._trivial.stdout is not None
        said = self._trivial.stdout.readline()
        if not said:
            _, error = self._trivial.communicate()
            self._trivial = None
            last = error.decode(errors="replace").strip().rpartition("\n")[2]
            raise TrivialServerFailed(f"the trivial server did not start on port {port}: {last}")
        return int(said)

    def end_trivial(self) -> None:
        """End the trivial server, if there is one; it ends with its standard input."""
        process, self._trivial = self._trivial, None
        if process is not None:
            process.communicate()

    def arm(self, assignments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Start one h2load per assignment and see each blocked at its gate; on any failure none is left.

        Raises H2loadMissing, NotArmed, ValueError.
        """
        self.discard()
        can = h2load.detect(self._program)
        try:
            for plain in assignments:
                agent = LoadAgent(from_plain(Assignment, plain), can, self._program)
                self._agents.append(agent)
                agent.arm()
        except BaseException:
            self.discard()
            raise
        return [{"agent": a.assignment.agent, "pid": a.pid, "gate": a.gate} for a in self._agents]

    def release_at(self, t0_ns: int) -> None:
        """Wait in the background for T0 on this host's wall clock, release every agent, and follow each."""
        self._threads = [threading.Thread(target=self._release, args=(t0_ns,), name="release", daemon=True)]
        self._threads[0].start()

    def _release(self, t0_ns: int) -> None:
        self._meter.start()
        late_ns = wait_until(t0_ns)
        for agent in self._agents:
            agent.open_gate()
        # The first milliseconds belong to h2load: whatever else runs now makes some agents start later than others.
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

    def progress(self) -> dict[str, Any]:
        """Say how many rows each agent has read, and whether all agents have ended."""
        return {
            "rows": {agent.assignment.agent: agent.rows for agent in self._agents},
            "running": any(thread.is_alive() for thread in list(self._threads)),
        }

    def wait(self, timeout_s: float) -> bool:
        """Wait for all agents to end; say whether they have. Returns early when they do."""
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
        """Give the results of all agents as one stream of frames, after wait() said True; the agents are forgotten."""
        stream = encode_stream(pack_result(agent.result()) for agent in self._agents)
        self.discard()
        return stream

    def use(self, host: str) -> dict[str, Any] | None:
        """Give HostUse from T0 to now; nothing more is looked at after this."""
        self._meter.stop()
        use = self._meter.use(host, "load")
        return None if use is None else to_plain(use)

    def cancel(self) -> None:
        """End every h2load soon; results so far can still be collected."""
        for agent in self._agents:
            agent.cancel()

    def discard(self) -> None:
        """End every h2load and forget the agents."""
        self.cancel()
        self._meter.stop()
        for agent in self._agents:
            agent.discard()
        self._agents = []
        self._threads = []
