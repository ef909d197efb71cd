"""The records that evaluation makes: what a trial, a case, a comparison and a search came to.

On disk they are trial.json, summary.json and the tables.
"""

from orchestrator.result.capacity import Bottleneck, Probe, Saturation
from orchestrator.result.case import CaseEndpoint, CaseResult, Objective, Summary
from orchestrator.result.comparison import (
    BetweenRuns,
    Compared,
    ComparedMetric,
    Comparison,
    Conclusion,
    Difference,
    DifferenceKind,
    Gate,
    GateState,
    Point,
)
from orchestrator.result.finding import (
    CaseFinding,
    Fact,
    Facts,
    Finding,
    FindingCode,
    Outcome,
    Severity,
    Verdict,
    worst,
)
from orchestrator.result.trial import (
    SHAPE_PER_DECADE,
    AgentLine,
    Endpoint,
    Interval,
    Metrics,
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
    "QUANTILES",
    "SHAPE_PER_DECADE",
    "AgentLine",
    "BetweenRuns",
    "Bottleneck",
    "CaseEndpoint",
    "CaseFinding",
    "CaseResult",
    "Compared",
    "ComparedMetric",
    "Comparison",
    "Conclusion",
    "Difference",
    "DifferenceKind",
    "Endpoint",
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
    "worst",
]
