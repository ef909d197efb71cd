"""What the end of a run needs is imported while nothing is measured."""

import pytest

from orchestrator.campaign import ahead
from orchestrator.run.events import Event


def released(warm_up_us):
    return Event("released", "", {"warm_up_us": warm_up_us}, passing=True)


@pytest.mark.parametrize(
    ("events", "imported"),
    [
        ([Event("trial", "")], 0),
        ([released(0), released(100_000)], 0),
        ([released(500_000)], 1),
        ([released(0), released(500_000), released(500_000)], 1),
    ],
)
def test_the_imports_start_once_and_only_in_a_warm_up_that_is_long_enough(monkeypatch, events, imported):
    """Every event is passed on first."""
    calls, said = [], []
    monkeypatch.setattr(ahead.threading.Thread, "start", lambda thread: calls.append(list(said)))  # type: ignore[attr-defined]
    say = ahead.importing_ahead(said.append)
    for event in events:
        say(event)

    assert said == events
    assert len(calls) == imported
    assert all(seen[-1].facts["warm_up_us"] >= ahead.SHORTEST_US for seen in calls)


def test_every_module_that_is_imported_ahead_exists():
    """One that was renamed would be imported late again, unseen."""
    import importlib.util

    assert all(importlib.util.find_spec(name) is not None for name in ahead.MODULES)
