"""The scalability law: parameters that are known are found again, and no peak is claimed where there is none."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.analyse.cases import judge
from orchestrator.analyse.levels import Shape, top
from orchestrator.analyse.scaling import scaling
from orchestrator.analyse.usl import fit, fitted, law, peak
from orchestrator.cli.results_show import print_out
from orchestrator.report.scaling import render
from orchestrator.result import Finding, Severity, Verdict
from tests.unit.facts import result, steady_case, trial_facts

CLIENTS = (1, 2, 4, 8, 16, 32, 64)


def trials(rate, sigma, kappa, each=5, noise=0.03, clients=CLIENTS, seed=1, curve=None):
    """Trials of a server that follows the law, or another curve, with some noise from trial to trial."""
    draw, made = np.random.default_rng(seed), []
    for n in clients:
        case = steady_case(name=f"flask/c{n}", load=f"c{n}", clients=n)
        for block in range(each):
            facts = trial_facts(case=case, block=block)
            judged = judge(facts, [result(a, [1_000] * 500) for a in facts.agents])
            x = (curve(n) if curve else law(n, rate, sigma, kappa)) * math.exp(draw.normal(0, noise))
            metrics = replace(
                judged.metrics,
                throughput_per_s=x,
                concurrency=float(n),
                service_time_us=judged.metrics.service_time_us | {"mean": n / x * 1e6},
            )
            made.append(replace(judged, metrics=metrics, findings=[], verdict=Verdict.VALID))
    return made


def read(found):
    """The page as running text."""
    return " ".join(" ".join(str(line) for line in render(found)).split())


def test_without_noise_the_law_is_found_exactly():
    """All three parameters, and the peak that follows."""
    rate, sigma, kappa = fit([(n, law(n, 1000.0, 0.1, 0.002)) for n in CLIENTS])

    assert (rate, sigma, kappa) == pytest.approx((1000.0, 0.1, 0.002), rel=1e-3)
    assert peak(rate, sigma, kappa) == pytest.approx(math.sqrt(0.9 / 0.002), rel=1e-3)


def blocks(draw, x, each, noise, clients=(1, 2, 4, 8, 16, 32)):
    """Log throughput by clients and block; half of the noise is shared by the trials of a block."""
    half = noise * math.sqrt(0.5)
    drift = draw.normal(0, half, each)
    return {n: {b: math.log(x(n)) + drift[b] + draw.normal(0, half) for b in range(each)} for n in clients}


@pytest.mark.parametrize("each", [3, 5])
def test_the_intervals_of_the_coefficients_cover_the_truth(each):
    """In 54 of 60 sweeps at least, three or five trials of each load, 3 % of noise; that of the optimum as well."""
    draw, truth = np.random.default_rng(31), (1000.0, 0.05, 0.005)
    covered = np.zeros(4)
    for _ in range(60):
        found = fitted(blocks(draw, lambda n: law(n, *truth), each, 0.03))
        intervals = (found.lambda_per_s, found.sigma, found.kappa, found.peak)
        covered += [i.low <= t <= i.high for i, t in zip(intervals, (*truth, peak(*truth)), strict=True)]

    assert covered.min() >= 54, covered


@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize("each", [3, 5])
def test_workers_have_a_plateau_and_no_optimum(workers, each):
    """min(N, k)/s is not the law, and beyond k more clients change nothing: 40 sweeps with 1, 3 and 5 % of noise."""
    draw = np.random.default_rng(32)
    ends = [top(blocks(draw, lambda n: min(n, workers) * 250.0, each, noise)) for noise in (0.01, 0.03, 0.05) * 14]

    assert sum(end.shape is Shape.PLATEAU for end in ends) >= 40
    assert sum(end.clients == workers for end in ends if end.shape is Shape.PLATEAU) >= 38


def test_four_workers_are_a_plateau_on_the_page():
    """The row of issue 14: 'most throughput at 13.4 clients; beyond, more make it slower' was the answer."""
    found = scaling("flask", trials(0, 0, 0, each=3, noise=0.02, curve=lambda n: min(n, 4) * 250.0))
    page = read(found)

    assert found.best_clients is None
    assert found.kappa is None
    assert found.misfit_p < 0.01
    assert found.top.per_s.low < 1000 < found.top.per_s.high
    assert re.match(r"flask reaches a plateau at [\d,]+ \([\d,]+–[\d,]+\) req/s from 4 clients\.", page)
    assert "does not fit" in page
    assert "slower" not in page


def test_a_real_optimum_is_found_and_a_rise_is_a_rise():
    """Contention and coherency: an optimum, whose interval holds it. A server that never stops: no plateau."""
    peaked = scaling("flask", trials(1000.0, 0.05, 0.005, each=3))
    rising = scaling("flask", trials(1000.0, 0.0, 0.0, each=3))

    assert peaked.best_clients.low < peak(1000.0, 0.05, 0.005) < peaked.best_clients.high
    assert "has its maximum throughput at" in read(peaked)
    assert (rising.top.shape, rising.best_clients) == (Shape.RISING, None)
    assert "still rises at 64 clients" in read(rising)


def test_a_collapse_that_follows_no_law_has_no_optimum():
    """A plateau that breaks down: what was measured is reported, not the peak of a law that does not fit."""
    found = scaling(
        "flask", trials(0, 0, 0, each=3, noise=0.01, curve=lambda n: min(n, 4) * (250.0 if n < 64 else 50.0))
    )

    assert found.best_clients is None
    assert found.top.shape is Shape.FALLING
    assert found.top.falls_to == pytest.approx(0.2, abs=0.01)


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


def test_doubts_stand_beside_the_numbers(capsys):
    """No number without its verdict; INVALID trials are counted and not used; idle clients are not the server's limit."""
    made = trials(1000.0, 0.1, 0.0)
    made[0] = replace(made[0], verdict=Verdict.INVALID)
    made[5] = replace(
        made[5], verdict=Verdict.SUSPECT, findings=[Finding("not-steady", Severity.SUSPECT, {}, "hint")],
        metrics=replace(made[5].metrics, concurrency=0.1),
    )  # fmt: skip
    killed = Finding("server-oom-kill", Severity.INVALID, {}, "hint")
    made[10] = replace(made[10], verdict=Verdict.INVALID, findings=[killed])
    found = scaling("flask", made)
    one, two, four, *_ = found.points
    print_out(render(found))
    page = capsys.readouterr().out

    assert (one.trials, one.invalid, one.verdict) == (4, 1, "VALID")
    assert (two.trials, two.invalid, two.verdict, two.findings) == (5, 0, "SUSPECT", ["not-steady"])
    assert (four.trials, four.invalid, four.verdict, four.findings) == (4, 1, "SUSPECT", ["server-oom-kill"])
    assert found.idle == [2]
    assert "With 2 clients the trials have doubts: [not-steady]." in page
    assert "With 2 clients fewer than 85 % of them had a request under way" in page
