"""Doubts about a trial and what they do to its verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

# What a finding knows: scalars, names, and counts by name.
Fact = str | int | float | None | Sequence[str] | Sequence[str | None] | Mapping[str, int]
Facts = Mapping[str, Fact]
_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Verdict(StrEnum):
    """Can the number be trusted? Ordered from good to bad."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"


class Severity(StrEnum):
    """What a finding does to the verdict: nothing, SUSPECT, INVALID."""

    INFORMATION = "information"
    SUSPECT = "suspect"
    INVALID = "invalid"


class Outcome(StrEnum):
    """Is the number good enough? None where there is neither an objective nor a gate."""

    PASS = "PASS"
    FAIL = "FAIL"


class GateState(StrEnum):
    """What became of an objective or a gate; docs/adr/0020 has the rules.

    UNDECIDED: beyond the limit, but that may be noise. NOT_JUDGED: no number can be trusted.
    """

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    NOT_JUDGED = "not judged"


# With --strict these fail, too.
OPEN_STATES = (GateState.UNDECIDED, GateState.NOT_JUDGED)


def outcome_of(states: Sequence[GateState], strict: bool = False) -> Outcome | None:
    """Return FAIL if something failed, PASS if everything passed; None without any, and where something is open.

    strict: what is open has failed.
    """
    if GateState.FAILED in states or (strict and any(state in OPEN_STATES for state in states)):
        return Outcome.FAIL
    return Outcome.PASS if states and all(state is GateState.PASSED for state in states) else None


class FindingCode(StrEnum):
    """The code of a finding.

    Members: the codes that more than one module names. The registry has all: FindingCode("retried") is the code of a
    finding that only its own module names (analyse/findings/single/), or of a run that a newer Volley has stored.
    docs/reference/findings.md explains them.
    """

    SERVER_OOM_KILL = "server-oom-kill"
    SERVER_MEMORY_THRASH = "server-memory-thrash"
    SERVER_NOT_READY = "server-not-ready"
    SERVER_EXITED = "server-exited"
    SERVER_RESTARTED = "server-restarted"
    SERVER_UNRESPONSIVE = "server-unresponsive"
    SERVER_THROTTLED = "server-throttled"
    RESPONSE_MISMATCH = "response-mismatch"
    NOT_RUN = "not-run"
    CONNECTION_CLOSE = "connection-close"
    KEEPALIVE_LIMIT = "keepalive-limit"
    HANDSHAKES_FAILED = "handshakes-failed"
    UNASKED_MESSAGES = "unasked-messages"
    NO_SUCCESS = "no-success"
    ERRORS = "errors"
    REDIRECTED = "redirected"
    HOST_CHANGED = "host-changed"

    SERVICE_OOM_KILL = "service-oom-kill"
    SERVICE_EXITED = "service-exited"
    SERVICE_NOT_READY = "service-not-ready"
    SERVICE_THROTTLED = "service-throttled"
    SERVICE_REPLACED = "service-replaced"

    GENERATOR_CPU = "generator-cpu"
    CLIENTS_LOST = "clients-lost"
    STREAM_FAILURES = "stream-failures"
    EPHEMERAL_PORTS = "ephemeral-ports"
    SHARED_HOST = "shared-host"
    OTHER_RUN = "other-run"
    HOST_STEAL = "host-steal"
    NETWORK_SATURATED = "network-saturated"
    BURSTY_ARRIVALS = "bursty-arrivals"
    RATE_NOT_REACHED = "rate-not-reached"
    SEND_LAG = "send-lag"
    OUT_OF_SLOTS = "out-of-slots"
    HUNG_SLOTS = "hung-slots"
    CLIENTS_IDLE = "clients-idle"

    HOST_LOST = "host-lost"
    AGENT_LOST = "agent-lost"
    NO_SPACE = "no-space"
    DEGRADED = "degraded"
    COUNTS_MISMATCH = "counts-mismatch"
    REQUESTS_LOST = "requests-lost"
    LITTLES_LAW = "littles-law"
    NOT_STEADY = "not-steady"
    AGENT_IMBALANCE = "agent-imbalance"
    CLOCK_BOUND = "clock-bound"
    CLOCK_UNBOUNDED = "clock-unbounded"
    CLOCK_STEP = "clock-step"
    START_SKEW = "start-skew"
    CENSORED_TAIL = "censored-tail"
    COMMAND_FAILED = "command-failed"
    FEWER_AGENTS = "fewer-agents"
    IDLE_HOSTS = "idle-hosts"
    NOT_PRECISE = "not-precise"
    TOO_FEW_SAMPLES = "too-few-samples"

    @classmethod
    def _missing_(cls, value: object) -> FindingCode | None:
        """Return one object for each other code that is well formed, as for members; None refuses the value."""
        if not isinstance(value, str) or not _CODE.fullmatch(value):
            return None
        code = str.__new__(cls, value)
        code._name_, code._value_ = value.replace("-", "_").upper(), value
        return cast("FindingCode", cls._value2member_map_.setdefault(value, code))


@dataclass(frozen=True, slots=True)
class Finding:
    """A machine-readable doubt about one trial.

    sentence: what happened, for a person. hint: what to do about it.
    """

    code: FindingCode
    severity: Severity
    facts: Facts
    hint: str
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class CaseFinding:
    """A finding with the trials that have it.

    Facts, hint and sentence are those of the first with the worst severity; the sentence has the numbers of all like it.
    """

    code: FindingCode
    severity: Severity
    trials: list[int]
    facts: Facts
    hint: str
    sentence: str = ""


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of some verdicts; INVALID for none at all, because nothing was measured."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.INVALID)
