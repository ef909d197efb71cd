"""What an agent needs of a generator, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agents.generators.handshakes import Handshakes
from agents.generators.process import GeneratorProcess
from agents.requestlog import Parse


class NotArmed(RuntimeError):
    """The generator did not reach the gate. The message has what it printed."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a generator says it did, in the words of the contract. None: it does not say.

    started: requests sent. done: requests that must have a row in the log, failed ones included.
    """

    complete: bool
    total: int | None = None
    started: int | None = None
    done: int | None = None
    errored: int | None = None
    request_failures: int = 0
    failed_connects: int = 0
    protocol: str | None = None
    body_bytes: int | None = None
    waited_for_slot: int | None = None
    connects: int | None = None
    most_connections: int | None = None
    retried: int | None = None
    rows_taken: int | None = None
    checked: int | None = None
    unexpected: Mapping[int, int] = field(default_factory=dict)
    examples: Mapping[int, str] = field(default_factory=dict)
    handshakes: Handshakes | None = None


class Generator(Protocol):
    """One generator of one agent. arm(), announce(T0) ahead of it, release() at T0; then its process ends by itself."""

    process: GeneratorProcess
    version: str

    @property
    def parse(self) -> Parse:
        """Return what reads the rows of its log."""

    @property
    def gate(self) -> str:
        """Return the name of what holds it until T0."""

    def arm(self) -> None:
        """Start it and see it held. Raises NotArmed, with nothing left running; ValueError for what it cannot do."""

    def announce(self, t0_ns: int) -> None:
        """Say when T0 is, on this host's wall clock, to a generator that waits for it by itself."""

    def release(self) -> None:
        """Let it go, now."""

    def account(self) -> Account:
        """Return what it says it did, after its end."""

    def stderr(self) -> str:
        """Return the end of what it printed on standard error, where that is not part of its output."""

    def close(self) -> None:
        """Close what holds it and its pipes. Can be called at any time, twice too."""
