"""What a run would do, in numbers. Nothing is started."""

from orchestrator.campaign.dry_run import RequestCount, requests_of
from orchestrator.plan import make_plan
from orchestrator.spec.models import Campaign

LOADS = {
    "burst": {"clients": 4, "requests": 100},
    "open": {"model": "open", "rate": "50/s", "clients": 5, "duration": "2s", "warm_up": "1s", "tail": "1s"},
    "steady": {"clients": 4, "duration": "5s"},
}
ADAPTIVE = {"until": {"metric": "p50", "narrower_than": "5%"}, "at_least": 2, "at_most": 3}


def test_how_many_requests():
    """Loads of a number of requests, open loads by rate, and trials of unknown count, for the least and the most blocks."""
    spec = {"campaign": "c", "targets": {"a": {"url": "http://h/"}}, "loads": LOADS, "repetitions": ADAPTIVE}
    plan = make_plan(Campaign.model_validate(spec))

    assert requests_of(plan, 2) == RequestCount(2 * (100 + 200), 2)
    assert requests_of(plan, plan.blocks) == RequestCount(3 * (100 + 200), 3)
