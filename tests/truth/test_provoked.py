"""Findings provoked with real parts: the real h2load, real sockets, a busy core, too few ports; and a control for them all."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest

from orchestrator.result import Severity, Verdict
from orchestrator.run import load
from tests.conftest import require
from tests.truth.harness import codes, explain, run, server
from tests.truth.nginx import nginx

pytestmark = pytest.mark.usefixtures("scratch_is_clean")
TIMED = {"duration": "2s", "warm_up": "300ms", "tail": "300ms"}
CLONE_NEWNET = 0x40000000
# What a machine that others use as well may say of itself.
NOISE = {"shared-host", "host-steal"}


@pytest.fixture(autouse=True)
def _tools():
    require("h2load", "ip")


def severity(trial, code):
    """The worst severity of a finding that has to be there."""
    found = severities(trial)
    assert code in found, explain(trial)
    return found[code]


def severities(trial):
    order = list(Severity)
    return {f.code: f.severity for f in sorted(trial.findings, key=lambda f: order.index(f.severity))}


@pytest.mark.silent(
    "generator-cpu", "ephemeral-ports", "connection-close", "keepalive-limit", "littles-law", "agent-imbalance",
    "server-unresponsive", "response-mismatch", "network-saturated", "clients-lost", "requests-lost", "agent-lost",
    "counts-mismatch", "clock-step", "clock-bound", "start-skew", "stream-failures", "errors", "no-success", "censored-tail",
)  # fmt: skip
def test_a_healthy_server_under_a_modest_load_is_valid():
    """The control: nothing but what is always to be told of one machine."""
    with server("http1", delay_us=[5_000]) as url:
        trial, _ = run(url, clients=6, agents=3, expect={"body": "ok"}, **TIMED)

    above = {f.code for f in trial.findings if f.severity is not Severity.INFORMATION}
    assert above <= NOISE, explain(trial)
    assert trial.verdict is not Verdict.INVALID
    assert len(trial.facts.hosts) == 1
    use = trial.facts.hosts[0]
    assert use.received_bytes > 1000 * trial.metrics.requests.ok / 1000
    assert use.opened >= 6
    assert len(use.series["at_s"]) >= 2


@contextlib.contextmanager
def busy(core, processes=4):
    """Keep a core busy, and others out of it for most of the time."""
    burn = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    started = [subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE) for _ in range(processes)]
    try:
        for process in started:
            process.stdout.readline()
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.provokes("generator-cpu", "shared-host")
def test_a_generator_on_a_busy_core():
    """h2load has to share its core with four others: it waits for it, and says so although it uses little."""
    cores = sorted(os.sched_getaffinity(0))
    with server("http2") as url, busy(cores[0]):
        trial, _ = run(url, agents=1, core=cores[0], clients=4, streams=50, protocol="http2", **TIMED)

    assert severity(trial, "generator-cpu") in (Severity.SUSPECT, Severity.INVALID), explain(trial)
    assert severity(trial, "shared-host") is Severity.SUSPECT
    assert trial.facts.agents[0].waiting_share > 0.1


def in_a_network_of_its_own(do):
    """Call it in a thread that has a network namespace of its own, with nothing but loopback; so have its children."""
    found = []

    def enter():
        try:
            assert ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            found.append(do())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


@pytest.mark.counted
@pytest.mark.provokes("ephemeral-ports")
def test_a_host_with_fewer_ports_than_clients():
    """Twenty ports and thirty clients: the trial is INVALID, and says what to widen."""

    def short_of_ports():
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
            file.write("50000 50019")
        with server("http1", delay_us=[5_000]) as url:
            return run(url, agents=1, clients=30, **TIMED)[0]

    trial = in_a_network_of_its_own(short_of_ports)

    assert severity(trial, "ephemeral-ports") is Severity.INVALID, explain(trial)
    assert next(f for f in trial.findings if f.code == "ephemeral-ports").facts["ports"] == 20


@pytest.mark.counted
@pytest.mark.provokes("connection-close")
def test_connections_that_end_after_each_answer():
    """Seen in the header before the load, and in the connections that were opened."""
    with server("http1", close=True) as url:
        trial, _ = run(url, clients=10, requests=500)

    assert severity(trial, "connection-close") is Severity.SUSPECT, explain(trial)
    assert trial.facts.hosts[0].opened >= 500


@pytest.mark.counted
@pytest.mark.provokes("keepalive-limit")
def test_connections_that_end_after_some_answers():
    """As keepalive_requests does: h2load opens the next one, and nothing else shows."""
    with server("http1", close_after=20) as url:
        trial, _ = run(url, clients=5, requests=2_000)

    finding = next(f for f in trial.findings if f.code == "keepalive-limit")
    assert finding.facts["requests_per_connection"] == pytest.approx(20, rel=0.2), explain(trial)


@pytest.mark.counted
@pytest.mark.provokes("out-of-slots")
def test_connections_that_the_server_does_not_take():
    """nginx takes 64 at a time, and h2load opens 300: the others wait outside, and the server is named."""
    with nginx(connections=64) as url:
        trial, _ = run(
            url, agents=1, model="open", rate="3000/s", clients=300, generator="h2load", duration="1500ms",
            warm_up="500ms", tail="200ms",
        )  # fmt: skip

    finding = next(f for f in trial.findings if f.code == "out-of-slots")
    assert finding.facts["clients"] == 300, explain(trial)
    assert finding.facts["opened"] < 150
    assert "The server took no more." in finding.sentence


@pytest.mark.silent("connection-close", "keepalive-limit")
def test_a_neighbours_connections_say_nothing_of_the_server():
    """Another program on this host opens hundreds meanwhile, to the same server: h2load kept its own."""
    over = threading.Event()
    opened = []

    def neighbour(port):
        while not over.wait(0.002):
            with socket.create_connection(("127.0.0.1", port)) as one:
                opened.append(one.fileno())

    with server("http1", delay_us=[1_000]) as url:
        other = threading.Thread(target=neighbour, args=(urlsplit(url).port,))
        other.start()
        try:
            trial, _ = run(url, clients=4, duration="1s", warm_up="100ms", tail="300ms")
        finally:
            over.set()
            other.join()

    assert len(opened) > 100
    assert codes(trial).isdisjoint({"connection-close", "keepalive-limit"}), explain(trial)


@pytest.mark.counted
@pytest.mark.provokes("keepalive-limit", "clients-lost", "littles-law")
def test_http2_connections_that_end_after_some_answers():
    """GOAWAY: h2load goes on with fewer clients, or none; the living server is what tells it from a dead one."""
    with server("http2", goaway_after=100, delay_us=[2_000]) as url:
        trial, _ = run(url, clients=4, protocol="http2", **TIMED)

    assert {"keepalive-limit", "clients-lost"} <= codes(trial), explain(trial)
    assert codes(trial) & {"littles-law", "server-unresponsive", "no-success"}


@pytest.mark.counted
@pytest.mark.provokes("server-unresponsive")
def test_a_server_that_falls_silent_in_the_middle():
    """Half of the window is good, and it never answers again."""
    with server("http1", delay_us=[5_000], only_to=900) as url:
        trial, _ = run(url, clients=4, duration="3s", warm_up="100ms", tail="300ms")

    assert severity(trial, "server-unresponsive") is Severity.INVALID, explain(trial)
    assert trial.metrics.requests.ok > 100


@pytest.mark.counted
@pytest.mark.provokes("response-mismatch")
def test_a_server_that_answers_otherwise_under_load():
    """The check before the load was good; the bodies under it are not those that were checked."""
    with server("http1", other_after=200) as url:
        trial, _ = run(url, clients=4, requests=2_000, expect={"body": "ok"})

    assert severity(trial, "response-mismatch") is Severity.INVALID, explain(trial)
    found = [f.facts["when"] for f in trial.findings if f.code == "response-mismatch"]
    assert found == ["after the load", "under load"]


@pytest.mark.counted
@pytest.mark.provokes("not-steady")
def test_a_server_that_gets_slower():
    """5 ms at the beginning and 3 ms more each second: the mean of ten seconds is of none of them."""
    with server("http1", delay_us=[5_000], slower_us_per_s=3_000) as url:
        trial, _ = run(url, clients=4, duration="9s", warm_up="100ms", tail="100ms")

    assert severity(trial, "not-steady") is Severity.SUSPECT, explain(trial)


def generators():
    """The h2load processes that this one has started, in order."""
    listed = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return sorted(int(line.split()[0]) for line in listed.stdout.splitlines() if line.split()[1] == "h2load")


@contextlib.contextmanager
def disturbed(which, rounds, stop_s, go_s, start_s=0.0, begin=None):
    """Stop one of the generators again and again, as a host does that has something else to do.

    begin: an event to wait for; without one it is that the generators run.
    """
    over = threading.Event()

    def disturb():
        while len(found := generators()) <= which and not over.is_set():
            time.sleep(0.01)
        while begin is not None and not begin.wait(0.01) and not over.is_set():
            pass
        over.wait(start_s)
        for _ in range(rounds):
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(found[which], signal.SIGSTOP)
                over.wait(stop_s)
                os.kill(found[which], signal.SIGCONT)
            over.wait(go_s)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.provokes("agent-imbalance")
def test_one_agent_of_three_owns_the_tail():
    """It stands still for 150 ms again and again; the merged p99 is about that and not about the server."""
    with server("http1", delay_us=[5_000]) as url, disturbed(2, rounds=15, stop_s=0.15, go_s=0.15, start_s=0.5):
        trial, _ = run(url, clients=12, agents=3, duration="3s", warm_up="300ms", tail="300ms")

    finding = next(f for f in trial.findings if f.code == "agent-imbalance")
    assert finding.severity is Severity.SUSPECT, explain(trial)
    assert finding.facts["agent"].endswith("/2")


@pytest.mark.provokes("start-skew")
def test_an_agent_that_starts_late(monkeypatch):
    """It is held up from before T0 to a second after it."""
    armed = threading.Event()

    def telling_ns(loads):
        armed.set()
        return 400_000_000  # enough for the signal to arrive before T0

    monkeypatch.setattr(load, "telling_ns", telling_ns)
    with server("http1", delay_us=[10_000]) as url, disturbed(1, rounds=1, stop_s=1.5, go_s=0.0, begin=armed):
        trial, _ = run(url, clients=4, agents=2, requests=200)

    assert severity(trial, "start-skew") is Severity.SUSPECT, explain(trial)


@pytest.mark.provokes("bursty-arrivals")
def test_more_than_a_client_can_space():
    """400/s on two connections of h2load, whose timer sends two at once on each."""
    load = {"model": "open", "rate": "400/s", "clients": 2, "generator": "h2load"}
    with server("http1") as url:
        trial, _ = run(url, agents=1, duration="1s", warm_up="100ms", tail="200ms", **load)

    assert severity(trial, "bursty-arrivals") is Severity.SUSPECT, explain(trial)


@pytest.mark.provokes("out-of-slots")
def test_a_rate_that_one_client_cannot_keep():
    """100/s are due, and each takes 30 ms on the only connection."""
    with server("http1", delay_us=[30_000]) as url:
        trial, _ = run(
            url, agents=1, model="open", rate="100/s", clients=1, duration="2s", warm_up="100ms", tail="200ms"
        )

    assert severity(trial, "out-of-slots") is Severity.SUSPECT, explain(trial)
    assert not {"send-lag", "bursty-arrivals", "rate-not-reached"} & codes(trial)


@pytest.mark.provokes("censored-tail", "too-few-samples")
def test_answers_that_outlast_the_observation():
    """450 ms each, and the observation ends 100 ms after the window."""
    with server("http1", delay_us=[450_000]) as url:
        trial, _ = run(url, clients=4, duration="1s", warm_up="100ms", tail="100ms")

    assert severity(trial, "censored-tail") is Severity.SUSPECT, explain(trial)
    assert "too-few-samples" in codes(trial)


@pytest.mark.counted
@pytest.mark.provokes("no-warmup")
def test_a_load_bound_by_requests_has_no_warm_up():
    """Its window is the whole run."""
    with server("http1") as url:
        counted, _ = run(url, clients=4, agents=1, requests=100)

    assert "no-warmup" in codes(counted)
