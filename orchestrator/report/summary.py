"""summary.json, format 1: what programs read."""

from __future__ import annotations

from typing import Any

from agents.records import to_plain
from orchestrator.result import FORMAT, CaseResult, Saturation, Summary


def to_document(summary: Summary) -> dict[str, Any]:
    """Give the document that summary.json holds and --json prints."""
    return {
        "format": FORMAT,
        "campaign": summary.campaign,
        "verdict": str(summary.verdict),
        "outcome": summary.outcome,
        "cases": [_case(case) for case in summary.cases],
        "comparisons": [to_plain(comparison) for comparison in summary.comparisons],
        "saturation": [_saturation(one) for one in summary.saturation],
    }


def _saturation(found: Saturation) -> dict[str, Any]:
    plain = to_plain(found)
    plain["verdict"] = str(found.verdict)
    for probe in plain["curve"]:
        probe["verdict"] = str(probe["verdict"])
    return plain


def _case(case: CaseResult) -> dict[str, Any]:
    plain = to_plain(case)
    plain["verdict"] = str(case.verdict)
    for finding in plain["findings"]:
        finding["severity"] = str(finding["severity"])
    return plain
