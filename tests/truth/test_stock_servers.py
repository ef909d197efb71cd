"""Stock servers: the closed loop measures the throughput that wrk measures, whatever a server does to connections."""

import math
import os
import statistics

import pytest

from orchestrator.result import Severity
from tests.conftest import require
from tests.truth.harness import explain, run
from tests.truth.stock import stock, wrk_per_s

pytestmark = pytest.mark.usefixtures("scratch_is_clean")
CLIENTS = 16
PAIRS, MOST_PAIRS = 3, 15
SERIES = 2
# Throughputs differ by less than this; by the standard error more where the machine is noisy, but never by more than NOISY.
CLOSE, NOISY = math.log(1.10), math.log(1.15)
# What a machine of few cores, shared by server and generator, may do to a trial. The rest is what the server did.
MACHINE = {"generator-cpu", "shared-host"}
LOAD = {"clients": CLIENTS, "duration": "800ms", "warm_up": "200ms", "tail": "200ms"}


@pytest.fixture(autouse=True)
def _tools():
    require("h2load", "wrk", "taskset")


def cores():
    """The core of the server and that of both generators, the same one where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


class Interleaved:
    """Throughputs by wrk and by Volley, measured in turn. ratios: logarithms of Volley's over wrk's, by pair."""

    def __init__(self, name):
        self.name, self.ratios, self.trials, self.wrk = name, [], [], []

    def measure(self, url, core):
        """Add PAIRS pairs; every second one begins with Volley."""
        for _ in range(PAIRS):
            if len(self.ratios) % 2:
                trial, beside = self._volley(url, core), wrk_per_s(url, CLIENTS, core)
            else:
                beside, trial = wrk_per_s(url, CLIENTS, core), self._volley(url, core)
            self.wrk.append(beside)
            self.trials.append(trial)
            self.ratios.append(math.log(trial.metrics.throughput_per_s / beside))

    def _volley(self, url, core):
        trial, _ = run(url, agents=1, core=core, **LOAD)
        assert trial.metrics is not None, explain(trial)
        return trial

    @property
    def off(self):
        return abs(statistics.mean(self.ratios))

    @property
    def error(self):
        return statistics.stdev(self.ratios) / math.sqrt(len(self.ratios))

    @property
    def allowed(self):
        return min(NOISY, CLOSE + 2 * self.error)

    def __str__(self):
        generator = self.trials[0].facts.agents[0].generator
        own = statistics.median(trial.metrics.throughput_per_s for trial in self.trials)
        ratio = math.exp(statistics.mean(self.ratios))
        found = sorted({f.code for t in self.trials for f in t.findings if f.severity is not Severity.INFORMATION})
        return (
            f"{self.name:9} wrk {statistics.median(self.wrk):7,.0f}/s  Volley ({generator}) {own:7,.0f}/s  "
            f"ratio {ratio:.3f} +- {self.error:.3f} ({len(self.ratios)} pairs)  {', '.join(found)}"
        )


def interleaved(name, record_property):
    """Measure until the ratio is close, or the pairs are used up; more pairs are only for a noisy machine.

    Neighbours take cores for a minute at times, so a ratio that is off is measured once more from the start.
    """
    server_core, core = cores()
    for _ in range(SERIES):
        pairs = Interleaved(name)
        with stock(name, server_core) as url:
            while not pairs.ratios or (pairs.off > CLOSE and len(pairs.ratios) < MOST_PAIRS):
                pairs.measure(url, core)
        record_property("print", str(pairs))
        if pairs.off <= pairs.allowed:
            break
    return pairs


def findings(trials, code):
    return [found for trial in trials for found in trial.findings if found.code == code]


# One in C and one in Python; the others are in `make test-full`.
@pytest.mark.parametrize(
    "name",
    ["nginx", "uvicorn", *(pytest.param(name, marks=pytest.mark.full) for name in ("apache", "haproxy", "gunicorn"))],
)
def test_throughput_is_that_of_wrk(name, record_property):
    """Within 10 %, and nothing that the server does to connections makes a number INVALID."""
    pairs = interleaved(name, record_property)
    invalid = {f.code for trial in pairs.trials for f in trial.findings if f.severity is Severity.INVALID}

    assert pairs.off <= pairs.allowed, str(pairs)
    assert invalid <= MACHINE, [explain(trial) for trial in pairs.trials]
    assert all(trial.metrics.requests.failed == trial.metrics.requests.http_error == 0 for trial in pairs.trials)
    EXPECTED[name](pairs.trials)


def keeps_connections(trials):
    """Nothing to say about connections."""
    assert not findings(trials, "connection-close") + findings(trials, "keepalive-limit")


def reconnects_after_many(trials):
    """1000 requests per connection, which a short load of 16 clients does not always reach: at most information."""
    assert not findings(trials, "connection-close")
    assert {found.severity for found in findings(trials, "keepalive-limit")} <= {Severity.INFORMATION}


def reconnects_now_and_then(trials):
    """Information with the number of requests."""
    limits = findings(trials, "keepalive-limit")
    assert {found.severity for found in limits} == {Severity.INFORMATION}
    # A trial in which the machine stood still saw fewer requests per connection.
    found = [found.facts["requests_per_connection"] for found in limits]
    assert statistics.median(found) == pytest.approx(100, rel=0.2), found


def is_sent_by_paced(trials):
    """The reason stands beside the number, and in the facts."""
    assert {trial.facts.case.generator for trial in trials} == {"paced"}
    assert {agent.generator for trial in trials for agent in trial.facts.agents} == {"paced"}
    assert [found.severity for found in findings(trials, "connection-close")] == [Severity.SUSPECT] * len(trials)


EXPECTED = {
    "nginx": reconnects_after_many,
    "apache": reconnects_now_and_then,
    "haproxy": keeps_connections,
    "gunicorn": is_sent_by_paced,
    "uvicorn": keeps_connections,
}
