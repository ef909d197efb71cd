"""Four ways in which load generators mislead, scaled to this machine, against servers that log arrivals.

They are those of "Load Fiction: How Your Load Generator is Misleading You". Each situation is the one in which the paper
shows another generator to be wrong.
"""

import numpy as np
import pytest

from orchestrator.result import Verdict
from tests.conftest import require
from tests.truth.fiction import fiction
from tests.truth.fiction_world import ARRIVALS, certificate, cores, load, starved
from tests.truth.harness import AT_MOST, ATTEMPTS, attempts, explain
from tests.truth.zoo import serve

pytestmark = pytest.mark.usefixtures("scratch_is_clean")
# wrk2: the server alternates 1.5 s of 200 ms and 2.5 s of 10 ms answers.
WRK2 = {"first_us": 1.5e6, "first_service_us": 200_000, "second_us": 2.5e6, "second_service_us": 10_000}
SLOW_SHARE = 1.5 / 4
# h2load: a tenth of the paper's times, half of its rate: 50 streams of a connection would be needed, not 1000.
H2LOAD = {"slow_s": 1.0, "cycle_s": 2.5, "slow_us": 1_000_000, "fast_us": 0}
# k6: connections end in the first second of two, and answers are slow in the first 0.3 s.
K6 = {"slow_s": 0.3, "cycle_s": 2.0, "slow_us": 200_000, "fast_us": 10_000, "close_s": 1.0}
# vegeta: in the slow phase 30 workers answer 300/s of the 400/s that come.
VEGETA = {
    "first_us": 2e6, "first_service_us": 10_000, "second_us": 1e6, "second_service_us": 100_000,
    "workers": 30, "queue": 400,
}  # fmt: skip
NEIGHBOURS = 8


@pytest.fixture(autouse=True)
def _tools():
    require("h2load", "taskset", "openssl")


@pytest.mark.silent(*ARRIVALS)
@pytest.mark.parametrize("clients", [100, None])
def test_wrk2_arrivals_stay_even_while_the_server_is_slow(clients, record_property):
    """400/s over up to 100 connections, or as many as needed: 80 are, in the slow phase.

    The window is one cycle. The answer to a request is on the server's record, and its due time on the schedule.
    """
    options = {} if clients is None else {"clients": clients}
    for attempt in range(AT_MOST):
        with serve("phases", **WRK2) as server:
            seen = load(server.url, rate="400/s", duration="4s", warm_up="200ms", tail="300ms", **options)
        record = server.record()
        late_us = seen.late_us(record.arrived_ns)
        slow = seen.merged.response.share_above(100_000)
        text = f"wrk2, clients {clients}: {seen.arrivals_line(late_us)}; slow {slow:.4f}; {seen.verdict_line()}"
        record_property("print", text)
        even = np.percentile(np.abs(late_us), 99) <= seen.late_above_us and seen.codes.isdisjoint(ARRIVALS)
        if even and (seen.machine.calm or attempt >= ATTEMPTS - 1):
            break

    # Each request waits for the machine twice: to be sent, and to be received.
    often, noise = 2 * seen.machine.percentile_us(0.9), 2 * seen.machine.worst_us
    assert late_us.size == 1600
    assert np.percentile(np.abs(late_us), 90) <= seen.late_above_us, text
    assert np.percentile(np.abs(late_us), 99) <= seen.late_above_us + noise, text
    assert slow == pytest.approx(SLOW_SHARE, abs=0.005 + noise / 4e6), text
    assert 10_000 <= seen.percentile_us(0.5) <= 10_000 * 1.02 + 500 + often, text
    assert 200_000 <= seen.percentile_us(0.9) <= 200_000 * 1.02 + 500 + noise, text
    assert 200_000 <= seen.percentile_us(0.99) <= 200_000 * 1.05 + 500 + noise, text
    assert seen.codes.isdisjoint(ARRIVALS), explain(seen.trial)


@pytest.mark.provokes("out-of-slots")
def test_wrk2_too_few_connections_are_not_blamed_on_the_server(record_property):
    """400/s over 40 connections: 200/s are possible while answers take 200 ms, and no generator can send more."""
    with serve("phases", **WRK2) as server:
        seen = load(server.url, rate="400/s", duration="4s", warm_up="200ms", tail="1s", clients=40)
    record = server.record()
    late_us = seen.late_us(record.arrived_ns)
    text = f"wrk2, clients 40: {seen.arrivals_line(late_us)}; {seen.verdict_line()}"
    record_property("print", text)

    assert np.percentile(late_us, 90) > 100_000, text
    assert record.connections.most_open <= 41
    assert "out-of-slots" in seen.codes, explain(seen.trial)
    assert seen.trial.verdict is not Verdict.VALID
    # The wait is in the response time: from when a request was due until the server's answer.
    for quantile in (0.5, 0.9, 0.99):
        true_us = response_us(seen, record, quantile)
        assert seen.percentile_us(quantile) == pytest.approx(
            true_us, rel=0.05, abs=2_000 + 2 * seen.machine.worst_us
        ), text


def response_us(seen, record, quantile):
    """A percentile of response time by the record: answers minus due times, of what was due in the window."""
    loaded = record.between(seen.due_ns(1)[0], np.iinfo(np.int64).max)
    due_ns = seen.due_ns(len(loaded))
    chosen = seen.in_window(due_ns) & (loaded.status == 200)
    return float(np.percentile((loaded.answered_ns - due_ns)[chosen], 100 * quantile, method="inverted_cdf")) / 1e3


@pytest.mark.counted
@pytest.mark.provokes("out-of-slots")
@pytest.mark.parametrize("streams", [5, 15])
def test_h2load_arrivals_that_stall_without_streams_are_never_valid(streams, tmp_path, record_property):
    """20 connections of 50/s, 5 to 15 streams where 50 are needed: no request arrives until the slow answers have come."""
    server_core, core = cores()
    with fiction("http2", tmp_path / "record", server_core, streams=streams, **H2LOAD) as server:
        seen = load(
            server.url, core=core, protocol="http2", rate="1000/s", clients=20, streams=100,
            duration="2500ms", warm_up="500ms", tail="1200ms",
        )  # fmt: skip
    late_us = seen.late_us(server.arrived_ns)
    text = f"h2load, {streams} streams: {seen.arrivals_line(late_us)}; {seen.verdict_line()}"
    record_property("print", text)

    assert np.percentile(late_us, 90) > 200_000, text
    assert "out-of-slots" in seen.codes, explain(seen.trial)
    assert seen.trial.verdict is not Verdict.VALID


@pytest.mark.silent("out-of-slots")
def test_h2load_with_enough_streams_has_a_slot_for_each_request(tmp_path, record_property):
    """The same server, and as many streams as the answers need."""
    server_core, core = cores()
    for attempt, _ in enumerate(attempts()):
        with fiction("http2", tmp_path / f"record-{attempt}", server_core, streams=200, **H2LOAD) as server:
            seen = load(
                server.url, core=core, protocol="http2", rate="1000/s", clients=20, streams=100,
                duration="2500ms", warm_up="500ms", tail="1200ms",
            )  # fmt: skip
        text = f"h2load, 200 streams: {seen.arrivals_line(seen.late_us(server.arrived_ns))}; {seen.verdict_line()}"
        record_property("print", text)
        if "out-of-slots" not in seen.codes:
            return
    pytest.fail(text)


@pytest.mark.provokes("bursty-arrivals", "send-lag")
def test_k6_late_sends_of_a_starved_client_are_detected(tmp_path, record_property):
    """HTTPS to a server that closes connections, 300/s from a ninth of a core: handshakes alone need more."""
    seen, late_us, text = over_https(tmp_path, NEIGHBOURS)
    record_property("print", text)

    assert np.mean(late_us > seen.late_above_us) > 0.05, text
    assert seen.codes & {"bursty-arrivals", "send-lag"}, explain(seen.trial)
    assert seen.trial.verdict is not Verdict.VALID


@pytest.mark.silent("bursty-arrivals", "send-lag")
def test_k6_a_client_with_a_core_of_its_own_is_on_time(tmp_path, record_property):
    """The same load without neighbours."""
    for attempt, _ in enumerate(attempts()):
        seen, late_us, text = over_https(tmp_path, 0, attempt)
        record_property("print", text)
        if seen.codes.isdisjoint(ARRIVALS):
            assert np.mean(late_us > seen.late_above_us) < 0.1, text
            return
    pytest.fail(text)


def over_https(tmp_path, neighbours, attempt=0):
    """Load the server of K6 from a core with so many neighbours: what was reported, the lateness on its record, a line."""
    server_core, core = cores()
    pem = certificate(tmp_path)
    record = tmp_path / f"record-{neighbours}-{attempt}"
    with fiction("https", record, server_core, certificate=pem, **K6) as server, starved(core, neighbours):
        seen = load(server.url, core=core, rate="300/s", duration="2s", warm_up="500ms", tail="400ms")
    late_us = seen.late_us(server.arrived_ns)
    return seen, late_us, f"k6, {neighbours} neighbours: {seen.arrivals_line(late_us)}; {seen.verdict_line()}"


def test_vegeta_a_client_without_cpu_agrees_or_is_flagged(record_property):
    """A pool of workers with a queue, and phases: the same percentiles from a core of its own and from a part of one."""
    own, own_true_us, own_text = pooled(0)
    record_property("print", own_text)
    part, _, part_text = pooled(NEIGHBOURS)
    record_property("print", part_text)

    assert own.codes.isdisjoint({"out-of-slots", "rate-not-reached"}), explain(own.trial)
    for quantile, true_us in own_true_us.items():
        assert own.percentile_us(quantile) == pytest.approx(true_us, rel=0.05, abs=500 + 2 * own.machine.worst_us), (
            own_text
        )
    agrees = all(
        part.percentile_us(q) == pytest.approx(own.percentile_us(q), rel=0.05, abs=2_000) for q in (0.5, 0.9, 0.99)
    )
    flagged = part.trial.verdict is not Verdict.VALID and bool(part.codes & (ARRIVALS | {"generator-cpu"}))
    assert agrees or flagged, f"{own_text}\n{part_text}"


def pooled(neighbours):
    """Load the server of VEGETA from a core with so many neighbours: what was reported, the record's percentiles, a line."""
    _, core = cores()
    with serve("phases-pool", **VEGETA) as server, starved(core, neighbours):
        seen = load(server.url, core=core, rate="400/s", duration="3s", warm_up="200ms", tail="800ms")
    record = server.record()
    late_us = seen.late_us(record.arrived_ns)
    true_us = {quantile: response_us(seen, record, quantile) for quantile in (0.5, 0.9, 0.99)}
    shown = " / ".join(f"{each / 1e3:.2f}" for each in true_us.values())
    text = f"vegeta, {neighbours} neighbours: {seen.arrivals_line(late_us)}; {seen.verdict_line()}; record {shown} ms"
    return seen, true_us, text
