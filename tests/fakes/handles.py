"""Handles without another process: the real shells, called here and now; and hosts that only note what they are asked."""

from dataclasses import dataclass, field
from typing import Any

from agents.command import CommandResult
from agents.load_host import Armed, Progress
from agents.probe import Checked
from agents.records import HostDescription, HostRole, ServerFacts, ServerState
from agents.shells import CommandShell, LoadShell
from agents.wire import AgentResult
from orchestrator.fleet.remote import RemoteLoad


@dataclass(frozen=True)
class Done:
    """A call that has ended already."""

    value: Any

    def done(self, timeout_s: float) -> bool:
        return True

    def result(self, timeout_s: float) -> Any:
        return self.value


@dataclass(frozen=True)
class Pending(Done):
    """A call that has ended; with an error, if it has one."""

    def __init__(self, error: Exception | None, value: Any) -> None:
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "error", error)

    def result(self, timeout_s: float) -> Any:
        if self.error is not None:  # type: ignore[attr-defined]
            raise self.error  # type: ignore[attr-defined]
        return self.value


@dataclass(frozen=True)
class InProcess:
    """A transport to a shell in this process; what a call raises, it raises at once."""

    host: str
    address: str
    shell: CommandShell

    @property
    def load_address(self):
        return self.address

    def begin(self, method, *arguments):
        return Done(method(self.shell, *arguments))


def load_here(host: str = "here", address: str = "127.0.0.1") -> RemoteLoad:
    """A load host in this process."""
    return RemoteLoad(InProcess(host, address, LoadShell(host, "truth", address)))


@dataclass
class NotedHost:
    """A host that notes its calls in a list that all share. fail: raises this error at the call of this name."""

    calls: list[str]
    host: str
    address: str = "198.18.0.1"
    fail: dict[str, Exception] = field(default_factory=dict)
    status: int = 0

    @property
    def load_address(self):
        return self.address

    def note(self, call: str) -> None:
        self.calls.append(f"{self.host}.{call}")
        if call in self.fail:
            raise self.fail[call]

    def run_command(self, script, variables, run, timeout_s):
        self.note(f"run_command {script}")
        return CommandResult(self.status, 1, "")

    def clock_port(self):
        # Not in the list: it is asked for by the clocks, at once for all hosts.
        if "clock_port" in self.fail:
            raise self.fail["clock_port"]
        return 9

    def use(self):
        self.note("use")

    def abort(self):
        self.note("abort")


@dataclass
class NotedLoad(NotedHost):
    """A load host whose checks and results are as they were given."""

    checked: Checked = field(default_factory=lambda: Checked(ServerState.READY))
    results: list[AgentResult] = field(default_factory=list)
    armed: list[Any] = field(default_factory=list)
    t0_ns: int = 0
    h2load: str = "1.64"

    def describe(self):
        self.note("describe")
        return HostDescription(self.host, HostRole.LOAD, "6.1", [0], 9, h2load=self.h2load)

    # How long each check may take.
    allowed_s: list[float] = field(default_factory=list)

    def check(self, request, expect, timeout_s, repeat=True, waiting=None):
        self.note(f"check {request.method} {request.url}")
        self.allowed_s.append(timeout_s)
        return self.checked

    def arm(self, assignments):
        self.note("arm")
        self.armed = assignments
        return [Armed(assignment.agent, 1, "gate") for assignment in assignments]

    def release_at(self, t0_ns):
        self.note("release_at")
        self.t0_ns = t0_ns

    def wait(self, timeout_s):
        self.note("wait")
        return Done(True)

    def progress(self):
        if "progress" in self.fail:
            raise self.fail["progress"]
        return Progress({}, False)

    def collect(self):
        self.note("collect")
        return self.results

    def cancel(self):
        self.note("cancel")

    def discard(self, timeout_s):
        self.note("discard")


@dataclass
class NotedServer(NotedHost):
    """A server host whose server becomes what was given."""

    facts: ServerFacts = field(default_factory=lambda: ServerFacts(ServerState.READY))
    window: tuple[int, int | None] | None = None

    def start(self, spec, trial):
        self.note("start")
        return Pending(self.fail.get("ready"), self.facts)

    def waiting_for(self):
        return ""

    def busy_share(self):
        return 0.5

    def meter(self, opening_ns, closing_ns):
        self.note("meter")
        self.window = (opening_ns, closing_ns)

    def finish(self):
        self.note("finish")
        return self.facts

    def log(self):
        self.note("log")
        return b"log"

    def stop(self, timeout_s):
        self.note("stop")
