"""A comparison in words: one sentence that says what is settled, and what would settle the rest."""

from __future__ import annotations

from orchestrator.analyse.people import p_value, percent, several
from orchestrator.counted import counted
from orchestrator.report.format import WIDEST, points, ratio, signed, times, too_wide
from orchestrator.result import ComparedMetric, Comparison, Conclusion

SETTLED = (Conclusion.FASTER, Conclusion.SLOWER)
_CERTAIN = 0.05


def sentence(c: Comparison, where: str = "") -> str:
    """Return a comparison as one or two sentences. where: follows what was measured, such as ' under the burst load'."""
    if c.ratio is None and c.difference is None:
        return _without_numbers(c, where)
    if c.conclusion in SETTLED:
        return f"{_effect(c, where)} ({_interval(c)})."
    if c.conclusion is Conclusion.EQUIVALENT:
        return (
            f"{c.candidate} and {c.baseline} have the same {_noun(c)}{where}: the difference is below "
            f"{_smallest(c)} ({_change(c)})."
        )
    if c.conclusion is Conclusion.DIFFERS_HERE:
        return f"{_effect(c, where, measured=True)} ({_interval(c)}), but {_doubt(c)}."
    return f"Not settled: {_effect(c, where, measured=True)}, {_why_not(c)}. {_remedy(c)}"


def _without_numbers(c: Comparison, where: str) -> str:
    if c.conclusion is Conclusion.INCOMPARABLE:
        return f"{c.candidate} and {c.baseline} cannot be compared{where}: {c.reason}."
    return f"{c.candidate} and {c.baseline} had no errors{where}."


def _noun(c: Comparison) -> str:
    return "share of errors" if c.metric is ComparedMetric.ERRORS else c.metric.label


def _effect(c: Comparison, where: str, measured: bool = False) -> str:
    """Return what was measured, as a clause: 'fastapi answers 1.69× the requests of flask under the steady load'."""
    if c.difference is not None:
        verb = "measured" if measured else "has"
        change = signed(100 * c.difference.estimate)
        return f"{c.candidate} {verb} {change} percentage points of errors compared with {c.baseline}{where}"
    assert c.ratio is not None
    by = f"{ratio(c.ratio.estimate)}×"
    if c.metric is ComparedMetric.THROUGHPUT:
        sent = counted([c.protocol]).many
        return f"{c.candidate} {'measured' if measured else 'answers'} {by} the {sent} of {c.baseline}{where}"
    return f"{c.candidate} {'measured' if measured else 'has'} {by} the {c.metric.label} of {c.baseline}{where}"


def _interval(c: Comparison) -> str:
    if c.ratio is not None:
        return f"95 % interval {times(c.ratio)}"
    assert c.difference is not None
    return f"95 % interval {points(c.difference)} percentage points"


def _change(c: Comparison) -> str:
    """Return the interval of a small difference in per cent."""
    if c.ratio is None:
        return _interval(c)
    low, high = ((end or 0.0) - 1 for end in (c.ratio.low, c.ratio.high))
    if low == high == 0:
        return "no difference in any repetition"
    return f"95 % interval {signed(100 * low)} to {signed(100 * high)} %"


def _smallest(c: Comparison) -> str:
    return "the smallest effect of interest" if c.smallest_effect is None else percent(c.smallest_effect)


def _why_not(c: Comparison) -> str:
    """Return why a comparison is not settled, as a clause."""
    interval = c.ratio or c.difference
    assert interval is not None
    nothing = 1.0 if c.ratio is not None else 0.0
    plain = f"the {_interval(c).replace('interval', 'interval is')}"
    if c.ratio is not None and too_wide(c.ratio):
        plain = f"the 95 % interval spans more than a factor of {WIDEST:,}"
    if (interval.low or 0.0) <= nothing <= (interval.high or 0.0):
        return f"but {plain}"
    if c.p_holm is not None and c.p_holm < _CERTAIN:
        return f"and {plain}, so the difference may be below {_smallest(c)}, the smallest effect of interest"
    return f"and {plain}, which is not significant among all metrics compared ({p_value(c.p_holm)})"


def _doubt(c: Comparison) -> str:
    return c.reason.partition("; ")[2].partition("; ")[2] or "runs of one server may differ as much"


def _remedy(c: Comparison) -> str:
    if c.needed is None and c.ratio is not None and too_wide(c.ratio):
        return "The trials differ too much to say how many repetitions would settle it: start with 5."
    if c.needed is None:
        return "The difference is close to what matters: more repetitions will hardly settle it."
    if c.between_runs is not None:
        return f"About {c.needed} repetitions of both, interleaved in one campaign, would settle it."
    more = max(1, c.needed - (c.trials or 0))
    return f"About {several(more, 'more repetition', 'more repetitions')} would settle it."
