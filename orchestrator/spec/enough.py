"""Does a load send enough requests for the percentiles of its objectives? Pure arithmetic, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from orchestrator.slo import QUANTILES, Metric
from orchestrator.spec.loads import Load
from orchestrator.spec.models import Campaign
from orchestrator.spec.slo import terms_for

# A percentile is shown with this many requests beyond it; with fewer it is withheld.
BEYOND = 10


def needed(metric: Metric) -> int:
    """Return how many requests of one trial a percentile needs."""
    return round(BEYOND / (1 - QUANTILES[metric]))


def too_few(campaign: Campaign) -> Iterator[str]:
    """Yield a warning for each load and percentile whose objective cannot be judged, with what would suffice.

    Nothing about closed loads with a duration: how many requests they send depends on the server.
    """
    for name, load in campaign.loads.items():
        sent = _sent(load)
        if sent is None:
            continue
        cases = [f"{target}/{name}" for target in campaign.targets]
        asked = {term.metric for case in cases for term in terms_for(campaign.slo, case) if term.metric in QUANTILES}
        for metric in sorted(asked, key=lambda each: QUANTILES[each]):
            if sent < needed(metric):
                yield _warning(name, load, metric, sent)


def _sent(load: Load) -> int | None:
    """Return the requests of one trial's window; None where the server decides."""
    if load.total is not None:
        return load.total
    if load.rate is None or load.duration is None:
        return None
    return math.floor(load.rate * load.duration / 1e6)


def _warning(name: str, load: Load, metric: Metric, sent: int) -> str:
    wanted, lower = needed(metric), [m for m in QUANTILES if needed(m) <= sent]
    instead = f", or an objective for {lower[-1].label}" if lower else ""
    if load.rate is None or load.duration is None:
        sends, fix = f"it sends {sent:,}", f"Use requests: {wanted}{instead}"
    else:
        seconds = load.duration / 1e6
        sends = f"{load.rate:,.6g}/s for {seconds:g} s is {sent:,}"
        duration, rate = math.ceil(wanted / load.rate), math.ceil(wanted / seconds)
        fix = f"Use duration: {duration}s, rate: {rate}/s{instead}"
    return f"loads.{name}: {metric.label} needs {wanted:,} requests in each trial, and {sends}. {fix}."
