"""Sweeps and comparisons of real servers: a plateau has no optimum, and a fifth is found where trials alternate."""

from dataclasses import replace

import pytest

from orchestrator.analyse.cases import summarise
from orchestrator.analyse.levels import Shape
from orchestrator.analyse.scaling import scaling
from orchestrator.report.scaling import render
from orchestrator.result import Conclusion
from tests.truth.harness import run
from tests.truth.zoo import serve

pytestmark = pytest.mark.usefixtures("scratch_is_clean")
SHORT = {"duration": "300ms", "warm_up": "50ms", "tail": "100ms"}


def trial(url, target, clients, block):
    """Return one trial, as a campaign names it."""
    found, _ = run(url, agents=1, clients=clients, **SHORT)
    case = replace(found.facts.case, name=f"{target}/c{clients}", target=target, load=f"c{clients}")
    return replace(found, facts=replace(found.facts, case=case, block=block))


def test_four_workers_are_a_plateau():
    """The row of issue 14: 'most throughput at 13.4 clients; beyond, more make it slower'. At most 1000/s of 4 ms each."""
    with serve("workers", service_us=4_000, workers=4) as server:
        trials = [trial(server.url, "zoo", clients, block) for block in range(3) for clients in (1, 4, 8, 16)]
    found = scaling("zoo", trials)
    page = "\n".join(str(line) for line in render(found))

    assert found.best_clients is None, page
    assert found.top.shape is Shape.PLATEAU, page
    assert 4 <= found.top.clients <= 8, page
    assert found.top.per_s.estimate == pytest.approx(1_000, rel=0.05), page


def test_a_fifth_is_found_where_trials_alternate():
    """4.0 against 4.8 ms for each answer, one at a time. They vary: identical counts in five pairs would prove little."""
    varies = {"sigma": 0.2, "workers": 1}
    with (
        serve("lognormal", median_us=4_000, **varies) as old,
        serve("lognormal", median_us=4_800, **varies) as new,
    ):
        trials = [trial(url, name, 4, b) for b in range(5) for name, url in (("old", old.url), ("new", new.url))]
    cases = list({t.facts.case.name: t.facts.case for t in trials}.values())
    found = {c.metric: c for c in summarise("c", cases, trials, 3, "old", 0.03).comparisons}

    assert found["throughput_per_s"].conclusion is Conclusion.SLOWER, found
    assert found["throughput_per_s"].ratio.estimate == pytest.approx(4.0 / 4.8, rel=0.08)
