"""Two runs, or the targets of one, in words: the answer, what stands in its way, and what would settle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analyse.history import FEWEST
from orchestrator.analyse.people import digits, percent, several
from orchestrator.counted import counted
from orchestrator.report import gates
from orchestrator.report.differences import unlike
from orchestrator.report.gates import bounds, signed
from orchestrator.result import Compared, ComparedMetric, Comparison, Conclusion, Interval, Time

NOT_INTERLEAVED = (
    "The trials of two runs do not alternate. For a reliable claim, compare both as targets of one campaign."
)
# Cases that the head of a page answers for, one by one.
MOST = 4
# What stands for the response time of a case: the first that is known.
_TAIL = (
    ComparedMetric.RESPONSE_P99,
    ComparedMetric.RESPONSE_P95,
    ComparedMetric.RESPONSE_P90,
    ComparedMetric.RESPONSE_P50,
)
_WORDS = {
    Conclusion.FASTER: ("faster", "fewer errors"),
    Conclusion.SLOWER: ("slower", "more errors"),
    Conclusion.DIFFERS_HERE: ("differs here", "differs here"),
    Conclusion.EQUIVALENT: ("equivalent", "equivalent"),
    Conclusion.INCONCLUSIVE: ("not settled", "not settled"),
    Conclusion.INCOMPARABLE: ("not compared", "not compared"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a comparison. basis: how many trials it rests on, in words."""

    name: str
    comparisons: list[Comparison]
    basis: str


def cases_of(compared: Compared) -> list[Case]:
    """Return the cases in which something was compared, with what was compared."""
    found: dict[str, list[Comparison]] = {}
    if compared.same_run:
        return []
    for c in compared.comparisons:
        if c.conclusion is not Conclusion.INCOMPARABLE:
            found.setdefault(name_of(c), []).append(c)
    return [Case(name, own, _basis(own)) for name, own in found.items()]


def name_of(c: Comparison) -> str:
    """Return the name of the case."""
    return f"{c.target}/{c.load}" if c.target else c.load


def change_words(c: Comparison) -> str:
    """Return a conclusion in a word or two."""
    return _WORDS[c.conclusion][c.metric is ComparedMetric.ERRORS]


def _basis(own: Sequence[Comparison]) -> str:
    first = next((c for c in own if c.trials is not None), None)
    if first is None:
        return ""
    pairs = " pairs" in first.reason
    trials = several(first.trials, "pair", "pairs") if pairs else f"{several(first.trials, 'trial', 'trials')} a side"
    effect = "" if first.smallest_effect is None else f"; smallest effect of interest {percent(first.smallest_effect)}"
    return f"{trials}{effect}"


def sentences(compared: Compared) -> list[str]:
    """Return the answer: what became of the gates, then a sentence for each case."""
    head = [] if not compared.gates else [gates.sentence([gate.state for gate in compared.gates], "gate")]
    if compared.same_run:
        return [*head, f"Baseline and candidate are the same run, {compared.baseline}: there is nothing to compare."]
    found: dict[tuple[str, str], list[Comparison]] = {}
    for c in compared.comparisons:
        found.setdefault((name_of(c), c.candidate), []).append(c)
    answers = [_sentence(_leading(own), compared) for own in found.values()]
    more = len(answers) - MOST
    rest = [f"{several(more, 'more case is', 'more cases are')} below."] if more > 0 else []
    return [*head, *answers[:MOST], *rest] or ["The runs have nothing that could be compared."]


def _leading(own: Sequence[Comparison]) -> Comparison:
    """Return the comparison of a case that answers the question, of those that could be made.

    Throughput in the closed loop. Every server of an open loop is asked for the same rate: response time p99, or the
    highest percentile below it that is known.
    """
    open_loop = any(c.metric.time is Time.RESPONSE for c in own)
    known = {c.metric: c for c in own if c.ratio is not None}
    response = [known[metric] for metric in _TAIL if metric in known]
    service = [c for c in known.values() if c.metric.time is Time.SERVICE]
    order = [*response, *service] if open_loop else []
    return next(iter([*order, *known.values(), *own]))


def _sentence(c: Comparison, compared: Compared) -> str:
    old, new = ("the baseline", "the candidate") if compared.between_runs else (c.baseline, c.candidate)
    where = f"under {name_of(c)}" if compared.between_runs else f"under the {c.load} load"
    if c.conclusion is Conclusion.INCOMPARABLE or c.ratio is None:
        return f"{_capital(new)} and {old} cannot be compared {where}."
    change = Interval(c.ratio.estimate - 1, (c.ratio.low or 0.0) - 1, (c.ratio.high or 0.0) - 1)
    found = f"95 % interval {bounds(change)}"
    if c.conclusion is Conclusion.EQUIVALENT:
        what = (
            f"answer the same number of {counted([c.protocol]).many}"
            if _throughput(c)
            else f"have the same {c.metric.label}"
        )
        return f"{_capital(new)} and {old} {what} {where} ({found})."
    if c.conclusion in (Conclusion.FASTER, Conclusion.SLOWER):
        return f"{_capital(new)} {_effect(c, change.estimate, old)} {where} ({found})."
    claim = f"{new} {_effect(c, change.estimate, old, measured=True)} {where} ({found})"
    if c.conclusion is Conclusion.DIFFERS_HERE:
        return f"{_capital(claim)}, but only these trials show it."
    return f"Not settled: {claim}."


def _throughput(c: Comparison) -> bool:
    return c.metric is ComparedMetric.THROUGHPUT


def _effect(c: Comparison, change: float, old: str, measured: bool = False) -> str:
    """Return what was measured, as the end of a clause: 'answers 12 % fewer requests per second than the baseline'."""
    by = signed(abs(change)).removeprefix("+")
    if _throughput(c):
        verb = "answered" if measured else "answers"
        return f"{verb} {by} {'fewer' if change < 0 else 'more'} {counted([c.protocol]).many} per second than {old}"
    verb = "had" if measured else "has"
    return f"{verb} a {by} {'shorter' if change < 0 else 'longer'} {c.metric.label} than {old}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:] if text.startswith("the ") else text


def doubts(compared: Compared) -> list[str]:
    """Return what is not settled with what would settle it, and what the intervals of two runs rest on."""
    if compared.same_run:
        return []
    shown = [c for c in compared.comparisons if c.conclusion is not Conclusion.INCOMPARABLE]
    lines = _reasons(shown)
    if compared.alone:
        lines.append(f"Only in one of the two runs: {', '.join(compared.alone)}.")
    if shown and compared.between_runs:
        lines += [*_variation(shown), NOT_INTERLEAVED]
    return lines


def _reasons(shown: Sequence[Comparison]) -> list[str]:
    """Return one line for equal reasons of a case. Numbers of repetitions share a line: the largest settles all."""
    reasons: dict[tuple[str, str], list[Comparison]] = {}
    for c in shown:
        if c.conclusion is Conclusion.DIFFERS_HERE or (c.conclusion is Conclusion.INCONCLUSIVE and c.needed is None):
            reasons.setdefault((name_of(c), c.reason.split("; ", 2)[-1]), []).append(c)
        elif c.conclusion is Conclusion.INCONCLUSIVE:
            reasons.setdefault((name_of(c), ""), []).append(c)
    return [
        f"{case}, {', '.join(c.metric.label for c in own)}: {why or _repetitions(own)}."
        for (case, why), own in reasons.items()
    ]


def _repetitions(own: Sequence[Comparison]) -> str:
    """Return how many repetitions would settle all of some comparisons."""
    needed, it = max(c.needed or 0 for c in own), "it" if len(own) == 1 else "all of them"
    if own[0].between_runs is not None:
        return f"about {needed} repetitions of both, interleaved in one campaign, would settle {it}"
    more = max(1, needed - min(c.trials or 0 for c in own))
    return f"about {several(more, 'more repetition', 'more repetitions')} would settle {it}"


def _variation(shown: Sequence[Comparison]) -> list[str]:
    """Return what the intervals of two runs include, one line for equal numbers of past runs."""
    sources: dict[int, dict[str, None]] = {}
    for c in shown:
        if c.between_runs is not None and c.ratio is not None:
            text = f"{digits(100 * c.between_runs.deviation)} % ({c.metric.label})"
            sources.setdefault(c.between_runs.runs, {})[text] = None
    lines = []
    for runs, deviations in sources.items():
        source = (
            f"measured on {several(runs, 'other run', 'other runs')}"
            if runs
            else f"assumed, because fewer than {FEWEST} other runs of this case are beside these"
        )
        lines.append(f"The intervals include the variation from run to run: {', '.join(deviations)}; {source}.")
    return lines


def incomparable(compared: Compared) -> list[str]:
    """Return each reason once: a line per difference, then the option that allows them."""
    if compared.same_run:
        return []
    lines: list[str] = []
    reported: set[tuple[str, str]] = set()
    for c in compared.comparisons:
        if c.conclusion is not Conclusion.INCOMPARABLE or (name_of(c), c.reason) in reported:
            continue
        reported.add((name_of(c), c.reason))
        if not c.differences:
            if c.reason.startswith(c.metric.label):
                lines.append(f"{name_of(c)}: {c.reason}.")
                continue
            same = [o.metric.label for o in compared.comparisons if (name_of(o), o.reason) == (name_of(c), c.reason)]
            lines.append(f"{name_of(c)}, {', '.join(same)}: {c.reason}.")
            continue
        kinds = dict.fromkeys(d.kind for d in c.differences)
        lines += [f"{name_of(c)}: {line}" for line in unlike(c.differences)]
        lines.append(f"To compare {name_of(c)} all the same: {' '.join(f'--allow {kind}' for kind in kinds)}")
    return lines
