"""Handles without another process: the real shells, called here and now."""

from dataclasses import dataclass
from typing import Any

from agents.shells import CommandShell, LoadShell
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
class InProcess:
    """A transport to a shell in this process; what a call raises, it raises at once."""

    host: str
    address: str
    shell: CommandShell

    def begin(self, method, *arguments):
        return Done(method(self.shell, *arguments))


def load_here(host: str = "here", address: str = "127.0.0.1") -> RemoteLoad:
    """A load host in this process."""
    return RemoteLoad(InProcess(host, address, LoadShell(host, "truth", address)))
