"""The records that evaluation makes: what a trial, a case, a comparison and a search came to.

On disk they are trial.json, summary.json and the tables.
"""

from orchestrator.result.capacity import Bottleneck, Probe, Saturation
from orchestrator.result.case import CaseRequest, CaseResult, CaseTimes, Objective, Summary
from orchestrator.result.comparison import (
    BetweenRuns,
    Compared,
    ComparedMetric,
    Comparison,
    Conclusion,
    Difference,
    DifferenceKind,
    Gate,
    Point,
    compared_time,
)
from orchestrator.result.finding import (
    OPEN_STATES,
    CaseFinding,
    Fact,
    Facts,
    Finding,
    FindingCode,
    GateState,
    Outcome,
    Severity,
    Verdict,
    outcome_of,
    worst,
)
from orchestrator.result.trial import (
    SHAPE_PER_DECADE,
    AgentLine,
    Interval,
    Metrics,
    RequestFigures,
    Requests,
    ServerCost,
    Shape,
    Time,
    Times,
    Trial,
)
from orchestrator.slo import QUANTILES

FORMAT = 1

__all__ = [
    "FORMAT",
    "OPEN_STATES",
    "QUANTILES",
    "SHAPE_PER_DECADE",
    "AgentLine",
    "BetweenRuns",
    "Bottleneck",
    "CaseFinding",
    "CaseRequest",
    "CaseResult",
    "CaseTimes",
    "Compared",
    "ComparedMetric",
    "Comparison",
    "Conclusion",
    "Difference",
    "DifferenceKind",
    "Fact",
    "Facts",
    "Finding",
    "FindingCode",
    "Gate",
    "GateState",
    "Interval",
    "Metrics",
    "Objective",
    "Outcome",
    "Point",
    "Probe",
    "RequestFigures",
    "Requests",
    "Saturation",
    "ServerCost",
    "Severity",
    "Shape",
    "Summary",
    "Time",
    "Times",
    "Trial",
    "Verdict",
    "compared_time",
    "outcome_of",
    "worst",
]
