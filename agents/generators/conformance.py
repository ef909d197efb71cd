"""The conformance check: runs a program against servers of its own and judges it by the generator contract.

Each run has a server whose replies are decided beforehand and which records what it receives. Rules are judged on what
the program wrote and on that record. A rule that was broken in one run is broken, unless the machine stood still
during that run and the rule was kept when it was repeated: a program cannot be on time on a machine that is not.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from time import monotonic_ns

from agents.generators import conformance_closed, conformance_open
from agents.generators.conformance_machine import Watch, watching
from agents.generators.conformance_program import Limits, NotStarted, Outcome, Plan, carry_out
from agents.generators.conformance_rules import Rule, Seen
from agents.generators.conformance_runs import SECRET, Run
from agents.generators.conformance_server import Server, event_loop, nothing_listens, serving
from agents.generators.contract import Model

# Runs that are under way at once. Their loads are light, and every tolerance is far above what they do to each other.
AT_ONCE = 6
# How often a run is made whose rules are broken on a machine that stood still.
ATTEMPTS = 6
_MODELS = {Model.OPEN: conformance_open, Model.CLOSED: conformance_closed}


class State(StrEnum):
    """What a check came to. NOT_JUDGED: another rule has to be kept first."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_SUPPORTED = "not supported"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Check:
    """One rule and what was seen of it. run: where it was broken, or where it was seen last. fix: empty when it is kept."""

    model: Model
    name: str
    state: State
    expected: str
    seen: str
    run: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one run shows of a rule. seen: None when it could not be judged, and `blocked` says why."""

    rule: str
    run: str
    seen: Seen | None
    blocked: str = ""


def check(
    argv: list[str],
    models: tuple[Model, ...] = (Model.OPEN, Model.CLOSED),
    limits: Limits | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> list[Check]:
    """Return the checks of a program, model by model. Raise NotStarted when there is nothing to check.

    note: called with the name of what begins.
    """
    results: list[Check] = []
    reasons: list[str] = []
    with event_loop() as loop, watching() as watch:
        for model in models:
            note(f"{model} loop")
            checks = list(_check_model(_Runner(argv, limits or Limits(), loop, watch), model))
            if checks[0].state is State.NOT_SUPPORTED and len(checks) == 1:
                reasons.append(checks[0].seen)
            results += checks
    if len(reasons) == len(models):
        raise NotStarted(reasons[0])
    return results


@dataclass(frozen=True, slots=True)
class _Runner:
    """Carries out runs of one program. Its methods raise NotStarted when the program does not exist."""

    argv: list[str]
    limits: Limits
    loop: AbstractEventLoop
    watch: Watch

    def all(self, runs: list[Run]) -> list[Outcome]:
        """Carry out runs side by side, and those that need it again."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [
                self._settle(run, *first) for run, first in zip(runs, list(pool.map(self._once, runs)), strict=True)
            ]

    def _settle(self, run: Run, outcome: Outcome, disturbed: bool) -> Outcome:
        """Repeat a run, alone, while the machine may be what broke a rule; return the outcome with the fewest broken."""
        outcomes = [outcome]
        while disturbed and _broken(run, outcome) and len(outcomes) < ATTEMPTS:
            outcome, disturbed = self._once(run)
            outcomes.append(outcome)
        return min(outcomes, key=lambda each: _broken(run, each))

    def _once(self, run: Run) -> tuple[Outcome, bool]:
        """Return what a run left, and whether the machine stood still meanwhile."""
        begin_ns = monotonic_ns()
        server = Server(run.replies, run.delay_s) if run.listening else None
        with serving(self.loop, server) if server else nothing_listens() as url:
            requests = tuple(replace(request, url=url + request.url) for request in run.task.requests)
            plan = Plan(replace(run.task, requests=requests), server, run.ending, run.unknown_fields, SECRET)
            outcome = carry_out(plan, self.argv, self.limits)
        return outcome, self.watch.stood_still(begin_ns, monotonic_ns())


def _broken(run: Run, outcome: Outcome) -> int:
    """Return how many rules a run shows as broken; a program that refuses a feature breaks none."""
    return sum(v.seen is not None and not v.seen.kept for v in _judge(run, outcome, set()))


def _check_model(runner: _Runner, model: Model) -> Iterator[Check]:
    """Yield the checks of one model; a single one when the program refuses the basic run."""
    basic, others = _MODELS[model].basic(), list(_MODELS[model].runs())
    (first,) = runner.all([basic])
    if first.not_ready:
        yield _refusal(model, basic, first) if first.refused else _broken_gate(model, basic, first)
        return
    yield from _judge_all(model, [(basic, first), *zip(others, runner.all(others), strict=True)])


def _refusal(model: Model, run: Run, outcome: Outcome) -> Check:
    return Check(model, run.feature, State.NOT_SUPPORTED, f"does the {run.feature}", outcome.not_ready, run.name)


def _broken_gate(model: Model, run: Run, outcome: Outcome) -> Check:
    rule = run.gate
    return Check(model, rule.name, State.FAILED, rule.expected, outcome.not_ready, run.name, rule.fix)


def _judge_all(model: Model, pairs: list[tuple[Run, Outcome]]) -> Iterator[Check]:
    """Yield one check per rule, in the order in which the rules first appear, then the features that are refused."""
    (basic, first), *others = pairs
    verdicts = list(_judge(basic, first, set()))
    # What is broken in the basic run explains what else is wrong in the others.
    broken = {verdict.rule for verdict in verdicts if verdict.seen is not None and not verdict.seen.kept}
    for run, outcome in others:
        verdicts += _judge(run, outcome, broken)
    known: dict[str, Rule] = {}
    for run, _ in pairs:
        known |= {rule.name: rule for rule in (run.gate, *run.judged)}
    for name, rule in known.items():
        yield _combined(model, rule, [verdict for verdict in verdicts if verdict.rule == name])
    refused = {run.feature: _refusal(model, run, o) for run, o in pairs if o.refused and run.feature}
    yield from refused.values()
    if model is Model.OPEN:
        yield from _judge_seeds({run.name: outcome for run, outcome in pairs})


def _judge(run: Run, outcome: Outcome, broken_before: set[str]) -> Iterator[Verdict]:
    """Yield what one run shows of each of its rules, in order. broken_before: names of rules broken in the basic run."""
    judged = dict.fromkeys((*run.judged, run.gate))
    if outcome.not_ready:
        optional = outcome.refused and run.feature
        blocked = f"the program refuses {run.feature}" if optional else f"not ready with {run.name}"
        for rule in judged:
            broken = rule is run.gate and not optional
            yield Verdict(rule.name, run.name, Seen(False, outcome.not_ready) if broken else None, blocked)
        return
    failed = set(broken_before)
    for rule in judged:
        causes = [name for name in rule.needs if name in failed]
        seen = None if causes else rule.judge(outcome)
        if seen is None or not seen.kept:
            # What needs this rule cannot be judged either.
            failed.add(rule.name)
        yield Verdict(rule.name, run.name, seen, f"'{causes[0]}' has to be kept first" if causes else "")


def _combined(model: Model, rule: Rule, verdicts: list[Verdict]) -> Check:
    """Return the check of a rule over all runs that list it."""
    seen = [(verdict.run, verdict.seen) for verdict in verdicts if verdict.seen is not None]
    if not seen:
        blocked = verdicts[0].blocked if verdicts else ""
        return Check(model, rule.name, State.NOT_JUDGED, rule.expected, blocked)
    run, worst = next(((run, one) for run, one in seen if not one.kept), seen[0])
    if worst.kept:
        return Check(model, rule.name, State.PASSED, rule.expected, worst.text, run)
    return Check(model, rule.name, State.FAILED, rule.expected, worst.text, run, rule.fix)


def _judge_seeds(outcomes: dict[str, Outcome]) -> Iterator[Check]:
    """Yield the check that compares two runs, where both were made."""
    one, other, rule = outcomes["poisson"], outcomes["another seed"], conformance_open.SEED
    if not one.not_ready and not other.not_ready:
        seen = conformance_open.seeds(one, other)
        yield _combined(Model.OPEN, rule, [Verdict(rule.name, "another seed", seen)])
