"""The scalability law: parameters that are known are found again, and no peak is claimed where there is none."""

import math
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.analyse.cases import judge
from orchestrator.analyse.scaling import fit, law, peak, scaling
from orchestrator.report.scaling import render
from orchestrator.result import Finding, Severity, Verdict
from tests.unit.facts import result, steady_case, trial_facts

CLIENTS = (1, 2, 4, 8, 16, 32, 64)


def trials(rate, sigma, kappa, each=5, noise=0.03, clients=CLIENTS, seed=1):
    """Trials of a server that follows the law, with some noise from trial to trial."""
    draw, made = np.random.default_rng(seed), []
    for n in clients:
        case = steady_case(name=f"flask/c{n}", load=f"c{n}", clients=n)
        for _ in range(each):
            facts = trial_facts(case=case)
            judged = judge(facts, [result(a, [1_000] * 500) for a in facts.agents])
            x = law(n, rate, sigma, kappa) * math.exp(draw.normal(0, noise))
            metrics = replace(
                judged.metrics,
                throughput_per_s=x,
                concurrency=float(n),
                service_time_us=judged.metrics.service_time_us | {"mean": n / x * 1e6},
            )
            made.append(replace(judged, metrics=metrics, findings=[], verdict=Verdict.VALID))
    return made


def test_without_noise_the_law_is_found_exactly():
    """All three parameters, and the peak that follows."""
    rate, sigma, kappa = fit([(n, law(n, 1000.0, 0.1, 0.002)) for n in CLIENTS])

    assert (rate, sigma, kappa) == pytest.approx((1000.0, 0.1, 0.002), rel=1e-3)
    assert peak(rate, sigma, kappa) == pytest.approx(math.sqrt(0.9 / 0.002), rel=1e-3)


@pytest.mark.slow
def test_with_noise_the_truth_lies_in_the_intervals():
    """In at least 5 of 6 campaigns each; bootstrap intervals of few trials are a little short."""
    inside = {"lambda": 0, "sigma": 0, "kappa": 0}
    for seed in range(6):
        found = scaling("flask", trials(1000.0, 0.1, 0.002, seed=seed))
        for name, interval, truth in zip(
            inside, (found.lambda_per_s, found.sigma, found.kappa), (1000.0, 0.1, 0.002), strict=True
        ):
            inside[name] += interval.low <= truth <= interval.high
        assert found.best_clients is not None
        assert found.best_clients.low < math.sqrt(0.9 / 0.002) * 1.15

    assert min(inside.values()) >= 5, inside


def test_no_peak_is_claimed_where_kappa_may_be_zero():
    """A server that only contends: N* would be a number without a meaning."""
    found = scaling("flask", trials(1000.0, 0.2, 0.0))

    assert found.kappa.low < 1e-9
    assert found.best_clients is None
    assert found.lambda_per_s.low < 1000 < found.lambda_per_s.high
    assert found.fitted_per_s == pytest.approx([law(n, 1000.0, 0.2, 0.0) for n in CLIENTS], rel=0.1)


def test_the_knee_is_where_throughput_costs_least_waiting():
    """Kleinrock's power, X over R: a server with eight workers."""
    made = []
    for n in CLIENTS:
        for trial in trials(100.0, 0.0, 0.0, clients=(n,), noise=0.0):
            x = min(n, 8) * 100.0
            made.append(
                replace(
                    trial,
                    metrics=replace(
                        trial.metrics,
                        throughput_per_s=x,
                        service_time_us=trial.metrics.service_time_us | {"mean": n / x * 1e6},
                    ),
                )
            )

    assert scaling("flask", made).knee == 8


def test_too_little_to_fit_is_said():
    """Three numbers of clients, or two trials of one; the points are shown all the same."""
    few = scaling("flask", trials(1000.0, 0.1, 0.0, clients=(1, 2, 4)))
    single = scaling("flask", trials(1000.0, 0.1, 0.0, each=2))

    assert few.lambda_per_s is single.lambda_per_s is None
    assert "4 numbers of clients and 3 trials of each" in few.reason
    assert [p.clients for p in few.points] == [1, 2, 4]
    assert few.points[0].busy == pytest.approx(1.0)
    assert scaling("nobody", []).knee is None


def test_doubts_stand_beside_the_numbers():
    """No number without its verdict; INVALID trials are counted and not used; idle clients are not the server's limit."""
    made = trials(1000.0, 0.1, 0.0)
    made[0] = replace(made[0], verdict=Verdict.INVALID)
    made[5] = replace(
        made[5], verdict=Verdict.SUSPECT, findings=[Finding("not-steady", Severity.SUSPECT, {}, "hint")],
        metrics=replace(made[5].metrics, concurrency=0.1),
    )  # fmt: skip
    found = scaling("flask", made)
    one, two, *_ = found.points
    page = "\n".join(str(line) for line in render(found)[1:])

    assert (one.trials, one.invalid, one.verdict) == (4, 1, "VALID")
    assert (two.trials, two.invalid, two.verdict, two.findings) == (5, 0, "SUSPECT", ["not-steady"])
    assert found.idle == [2]
    assert "flask: 2 clients: [not-steady]" in page
    assert "at 2 clients fewer than 85 % of them had a request under way" in page


@pytest.mark.slow
def test_a_peak_that_may_be_nowhere_is_not_told():
    """Kappa's interval begins just above 0: some of the resampled laws have no peak at all."""
    for seed in range(8):
        found = scaling("flask", trials(1000.0, 0.85, 0.0005, noise=0.05, seed=seed))
        assert found.best_clients is None or math.isfinite(found.best_clients.high)
