"""The answer of a run in words: whole sentences for the head of every page, and a short form for one line of a list."""

from __future__ import annotations

from orchestrator.analyse.capacity import in_words
from orchestrator.analyse.people import digits
from orchestrator.report.format import shown_time
from orchestrator.result import CaseResult, Summary, Verdict
from orchestrator.slo import Metric


def sentences(summary: Summary) -> list[str]:
    """Return the answer in one sentence for each case or searched target."""
    if summary.saturation:
        return [f"{search.target} ({search.slo}): {in_words(search)}." for search in summary.saturation]
    return [_of_case(case) for case in summary.cases]


def short(summary: Summary) -> str:
    """Return the answer in a few words, for a line of `volley runs`: '7,570 req/s, p99 4.14 ms'."""
    if summary.saturation:
        return "; ".join(in_words(search) for search in summary.saturation)
    return "; ".join(_briefly(case) for case in summary.cases)


def _of_case(case: CaseResult) -> str:
    what = case.urls[0] if len(case.urls) == 1 else case.case
    if case.verdict is Verdict.INVALID or case.throughput_per_s is None:
        return f"{what} has no valid result."
    return f"{what} answers {digits(case.throughput_per_s.estimate)} requests per second."


def _briefly(case: CaseResult) -> str:
    if case.verdict is Verdict.INVALID or case.throughput_per_s is None:
        return "INVALID"
    p99 = shown_time(case)[1].get(Metric.P99)
    return f"{digits(case.throughput_per_s.estimate)} req/s" + (f", p99 {digits(p99.estimate / 1e3)} ms" if p99 else "")
