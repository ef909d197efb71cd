"""What the runs of the conformance check have in common: a run as a record, tasks, and the runs of both models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from agents.generators import conformance_rules as rules
from agents.generators.conformance_program import Ending, Outcome
from agents.generators.conformance_rules import COMMON, Rule, released
from agents.generators.conformance_server import OK, Reply
from agents.generators.contract import GeneratorTask, Model, TaskRequest

SECRET = "secret-of-the-check-4711"
HEADERS = (("X-Check", "one two"), ("Authorization", f"Bearer {SECRET}"))
# Bytes that are not text, and an end of line.
BODY = bytes(range(256)) + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the program and the rules that it shows.

    task: with paths for URLs. gate: the rule that is broken when it never gets ready. feature: what the program may
    refuse to support; empty when it may not. listening: there is a server.
    """

    name: str
    task: GeneratorTask
    judged: tuple[Rule, ...]
    gate: Rule = rules.READY
    replies: tuple[Reply, ...] = (OK,)
    delay_s: float = 0.0
    listening: bool = True
    ending: Ending = Ending.BY_ITSELF
    unknown_fields: bool = False
    feature: str = ""


def base_task() -> GeneratorTask:
    """Return a closed loop of one GET with headers, one of them secret."""
    request = TaskRequest("/some/path?query=1&other=%20", headers=HEADERS)
    return GeneratorTask(log="", requests=(request,), model=Model.CLOSED, clients=4, seed=1)


def general(task: GeneratorTask) -> Iterator[Run]:
    """Yield the runs about the task itself, for a short load of either model."""
    yield Run("unknown fields", task, COMMON, gate=rules.UNKNOWN, unknown_fields=True)
    post = replace(task.requests[0], method="POST", body=BODY)
    yield Run("a body", replace(task, requests=(post,)), (*COMMON, rules.AS_GIVEN), feature="requests with a body")
    requests = (TaskRequest("/first", weight=3), TaskRequest("/second?x=y", weight=1))
    yield Run("a mix", replace(task, requests=requests, seed=3), (*COMMON, rules.MIX), feature="several requests")


def busy(task: GeneratorTask) -> GeneratorTask:
    """Return a task that always has requests under way, on a server that takes a moment."""
    return replace(task, clients=8)


def ended_early(task: GeneratorTask) -> Iterator[Run]:
    """Yield the runs that do not end by themselves, for a long load of either model."""
    stopped = (rules.READY, rules.QUIET, rules.ROWS, rules.SIGTERM, rules.SIGTERM_ROWS, rules.IN_TIME, rules.SECRETS)
    yield Run("SIGTERM", task, stopped, delay_s=0.06, ending=Ending.SIGTERM)
    silent = (rules.READY, rules.QUIET, rules.INPUT_ENDS)
    yield Run("end of input", task, silent, delay_s=0.06, ending=Ending.INPUT_CLOSED)
    yield Run("end of input before go", task, (rules.READY, rules.UNRELEASED), ending=Ending.NEVER_RELEASED)


def most_under_way(outcome: Outcome) -> int:
    """Return the most requests that the server had at once; one that ends as another comes is not counted with it."""
    events = [(r.arrived_ns, 1) for r in released(outcome)] + [(r.ended_ns, -1) for r in released(outcome)]
    most = under_way = 0
    for _, step in sorted(events):
        under_way += step
        most = max(most, under_way)
    return most


def mean_under_way(outcome: Outcome) -> float:
    """Return how many requests the server had at once between T0 and the end, on average."""
    begin_ns, end_ns = outcome.t0_ns, outcome.end_ns
    spans = (min(r.ended_ns, end_ns) - max(r.arrived_ns, begin_ns) for r in released(outcome))
    return sum(max(0, span) for span in spans) / max(1, end_ns - begin_ns)
