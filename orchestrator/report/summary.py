"""summary.json, format 1: what programs read."""

from __future__ import annotations

from agents.records import to_plain
from orchestrator.report import answer
from orchestrator.result import FORMAT, CaseResult, Saturation, Summary


def to_document(summary: Summary) -> dict[str, object]:
    """Return the document that summary.json holds and --json prints."""
    return {
        "format": FORMAT,
        "campaign": summary.campaign,
        "verdict": summary.verdict,
        "outcome": summary.outcome,
        "answer": answer.sentences(summary),
        "result": answer.short(summary),
        "cases": [_case(case) for case in summary.cases],
        "comparisons": [to_plain(comparison) for comparison in summary.comparisons],
        "saturation": [_saturation(search) for search in summary.saturation],
    }


def _case(case: CaseResult) -> dict[str, object]:
    """Return a case. Its requests have their former name as well, because format 1 stays readable."""
    plain = to_plain(case)
    former = [{key: each[key] for key in ("throughput_per_s", "service_time_us")} for each in plain["mix"]]
    names = [request.name for request in case.mix]
    return {**plain, "endpoints": [{"path": name, **each} for name, each in zip(names, former, strict=True)]}


def _saturation(search: Saturation) -> dict[str, object]:
    """Return a search.

    Its probes keep the former name of response_time_us, because format 1 stays readable.
    """
    probes = [{**to_plain(probe), "times_us": dict(probe.response_time_us)} for probe in search.curve]
    return {**to_plain(search), "curve": probes}
