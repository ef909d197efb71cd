"""Wait until a container is up: its health check succeeds, or its port is open. Knows nothing of Docker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.container import LINE_CHARACTERS, ContainerState, Health
from agents.execute import execute
from agents.ports import is_open
from agents.probe import Checked
from agents.records import ServerState

if TYPE_CHECKING:
    from docker import DockerClient

# Returns why a container is not up yet; '' when it is.
Check = Callable[[], str]


def until_up(
    health: Health, check: Check, state: Callable[[], ContainerState], abort: threading.Event, timeout_s: float
) -> Checked | None:
    """Return None as soon as a check succeeds; otherwise why the container is not up."""
    began = time.monotonic()
    failures = 0
    while True:
        if abort.is_set():
            return Checked(ServerState.NOT_READY, "cancelled")
        if not (now := state()).running:
            return Checked(ServerState.EXITED, f"the container ended with exit code {now.exit_code}")
        if not (why := check()):
            return None
        elapsed_s = time.monotonic() - began
        failures += elapsed_s >= health.start_period_s
        if health.retries is not None and failures >= health.retries:
            return Checked(ServerState.NOT_READY, f"unhealthy after {failures} failed checks: {why}")
        if elapsed_s >= timeout_s:
            return Checked(ServerState.NOT_READY, f"not up within {timeout_s:g} s: {why}")
        abort.wait(min(health.interval_s, max(0.0, timeout_s - elapsed_s)))


def command_check(
    client: DockerClient, container: str, argv: list[str], timeout_s: float, abort: threading.Event
) -> Check:
    """Return a check that runs a command in a container."""

    def check() -> str:
        result = execute(client, container, argv, timeout_s, abort)
        if result.status == 0:
            return ""
        said = last_line(result.output)
        how = f"takes longer than {timeout_s:g} s" if result.status is None else f"has exit status {result.status}"
        return f"its health check {how}" + (f": {said}" if said else "")

    return check


def port_check(addresses: list[str], port: int) -> Check:
    """Return a check that a port is open at one of these addresses."""
    return lambda: "" if is_open(addresses, port) else f"nothing listens on port {port}"


def last_line(text: str) -> str:
    """Return the last line that is not blank, shortened."""
    return next((line.strip()[:LINE_CHARACTERS] for line in reversed(text.splitlines()) if line.strip()), "")
