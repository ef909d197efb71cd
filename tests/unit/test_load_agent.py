"""An agent around a fake h2load of known truth: gates, completeness, watchdog, crashes."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from agents import clock
from agents.gate import ExecGate, wait_until
from agents.generators import h2load_version
from agents.load_agent import LoadAgent, NotArmed  # type: ignore[attr-defined]
from agents.load_host import LoadHost
from agents.records import Assignment
from agents.wire import decode_stream, unpack_result
from tests.conftest import FAKE_H2LOAD

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("scratch_is_clean")]


@pytest.fixture
def fake(monkeypatch):
    """Say what the fake h2load does."""

    def say(**truth):
        monkeypatch.setenv("FAKE_H2LOAD", json.dumps(truth))

    say()
    return say


def assignment(**changes):
    plain = {
        "agent": "a/0",
        "run": f"test-{os.getpid()}",
        "url": "http://127.0.0.1:9/",
        "clients": 4,
        "give_up_us": 10_000_000,
        "count": 100,
    }
    return Assignment(**(plain | changes))


def drive(*assignments):
    host = LoadHost(program=FAKE_H2LOAD)
    armed = host.arm(list(assignments))
    t0_ns = time.time_ns() + 50_000_000
    host.release_at(t0_ns)
    assert host.wait(30)
    return armed, t0_ns, [unpack_result(p) for p in decode_stream(host.collect())]


@pytest.mark.parametrize(
    ("version", "gate"), [("1.52", "stdout-pipe"), ("1.69", "stdout-pipe"), ("1.70", "keylog-fifo")]
)
def test_no_request_before_t0(fake, version, gate):
    """Every version is held by its best gate, and starts when it is let go."""
    fake(version=version)

    armed, t0_ns, (result,) = drive(assignment())

    assert armed[0].gate == gate == result.facts.gate
    assert result.facts.first_start_us >= t0_ns // 1000
    assert (result.facts.rows, result.facts.done, result.facts.ended) == (100, 100, "finished")


@pytest.mark.parametrize(("version", "claimed"), [("1.52", (1, 70)), ("1.70", (1, 69))])
def test_a_build_that_does_not_stop_at_its_gate_is_held_by_exec(fake, version, claimed):
    """What its version should do and it does not: the exec gate holds it, and only the gated run is counted."""
    fake(version=version)
    agent = LoadAgent(assignment(), h2load_version.capabilities(claimed), FAKE_H2LOAD)

    agent.arm()
    t0_ns = time.time_ns()
    agent.open_gate()
    agent.follow(t0_ns, 0)
    facts = agent.result().facts

    assert (facts.gate, facts.ended, facts.rows) == ("exec", "finished", 100)
    assert facts.first_start_us * 1000 >= t0_ns


def test_the_exec_gate_holds_anything(tmp_path):
    """The fallback: a shell that becomes the program on a line of input."""
    gate = ExecGate()
    process = gate.spawn(["touch", str(tmp_path / "ran")], dict(os.environ))
    deadline = time.monotonic() + 10
    while not gate.blocked(process.pid):
        assert time.monotonic() < deadline

    assert not (tmp_path / "ran").exists()
    gate.release()
    assert process.wait(timeout=10) == 0
    assert (tmp_path / "ran").exists()
    gate.close()


def test_a_kernel_that_does_not_name_where_a_process_sleeps(fake, monkeypatch):
    """wchan reads '0' on hardened kernels: a process that is not scheduled any more counts as waiting."""
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self: "0" if self.name == "wchan" else read_text(self))

    _, t0_ns, (result,) = drive(assignment())

    assert result.facts.first_start_us >= t0_ns // 1000
    assert result.facts.rows == 100


def test_several_agents_lose_nothing(fake):
    """The counters of all agents hold every row, by class."""
    fake(service_us=[100, 200, 300], statuses=[200, 200, 200, 503])

    _, _, results = drive(assignment(agent="a/0", count=600), assignment(agent="a/1", count=400))

    assert sum(r.service["ok"].n for r in results) == 750
    assert sum(r.service["http_error"].n for r in results) == 250
    assert {r.service["ok"].maximum_us for r in results} == {300}


def test_a_window_on_a_skewed_clock_selects_nothing_else(fake):
    """Rows whose starts are an hour off lie outside the window and are counted there."""
    fake(skew_us=3_600_000_000)

    _, _, (result,) = drive(assignment(count=None, duration_us=300_000, window_start_us=100_000, window_end_us=200_000))

    assert result.service["ok"].n == 0
    assert result.facts.after == result.facts.rows == 300


def test_lost_rows_are_seen(fake):
    """The log has fewer rows than h2load says are done: facts that do not fit, for the finding."""
    fake(lose=3, unfinished=2)

    _, _, (result,) = drive(assignment())

    assert (result.facts.rows, result.facts.done, result.facts.started) == (97, 100, 102)


@pytest.mark.parametrize(
    ("truth", "error"), [({"malformed": "what?"}, "b'what?' is not"), ({"torn": True}, "incomplete line")]
)
def test_a_log_that_cannot_be_read_is_an_error(fake, truth, error):
    """A line that is no row, and a last line without an end."""
    fake(**truth)

    _, _, (result,) = drive(assignment())

    assert error in result.facts.errors[0]


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_watchdog_ends_what_does_not_end(fake, stubborn):
    """TERM, and KILL for what ignores it; the rows so far are kept."""
    fake(hang=True, stubborn=stubborn)

    began = time.monotonic()
    _, _, (result,) = drive(assignment(give_up_us=300_000))

    assert time.monotonic() - began < 15
    assert (result.facts.ended, result.facts.done, result.facts.rows) == ("watchdog", None, 100)
    assert result.facts.exit_status == (-9 if stubborn else -15)
    assert not os.path.exists(f"/proc/{result.facts.pid}")


def test_a_crash_is_not_a_result(fake):
    """No summary, a signal as exit status: died."""
    fake(crash=True)

    _, _, (result,) = drive(assignment())

    assert (result.facts.ended, result.facts.exit_status, result.facts.rows) == ("died", -6, 50)


def test_an_open_load_that_floods_is_stopped(fake):
    """h2load never runs ahead of its schedule; if it does, the clock was stepped, and it is ended."""
    fake(hang=True)

    # The fake writes all rows at once: a hundred times the rate.
    _, _, (result,) = drive(assignment(count=5_000, rate_per_s=50.0, window_end_us=5_000_000, give_up_us=60_000_000))

    assert result.facts.ended == "rate-breaker"


def test_a_follower_that_comes_late_holds_nothing_against_an_open_load(fake):
    """The machine stood still between the release and the first look: what is there by then was due by then."""
    fake(hang=True)
    agent = LoadAgent(
        assignment(count=200, rate_per_s=200.0, clients=1, give_up_us=300_000),
        h2load_version.detect(FAKE_H2LOAD),
        FAKE_H2LOAD,
    )
    agent.arm()
    agent.open_gate()
    time.sleep(0.7)  # the fault itself

    agent.follow(time.time_ns(), 0)

    assert (agent.result().facts.ended, agent.result().facts.rows) == ("watchdog", 200)


def test_a_refusal_before_the_gate_is_told_and_leaves_nothing(fake):
    """h2load that ends before its gate: its own words, and no agent is left waiting."""
    fake(version="1.70", refuse="[ERROR] no such option")
    host = LoadHost(program=FAKE_H2LOAD)

    with pytest.raises(NotArmed, match="no such option"):
        host.arm([assignment(), assignment(agent="a/1")])


def test_a_refusal_into_the_full_pipe_is_a_lost_agent(fake):
    """Up to 1.69 the message itself waits in the pipe: the agent dies when it is let go, and its words are kept."""
    fake(refuse="[ERROR] no such option")

    _, _, (result,) = drive(assignment())

    assert (result.facts.ended, result.facts.exit_status) == ("died", 1)
    assert "no such option" in result.facts.output


def test_cancel_ends_soon_and_keeps_the_rows(fake):
    """A cancelled agent gives what it has."""
    fake(hang=True)
    agent = LoadAgent(assignment(give_up_us=60_000_000), h2load_version.detect(FAKE_H2LOAD), FAKE_H2LOAD)
    agent.arm()
    agent.open_gate()
    follower = threading.Thread(target=agent.follow, args=(time.time_ns(), 0))
    follower.start()
    deadline = time.monotonic() + 10
    while agent.rows < 100:
        assert time.monotonic() < deadline

    agent.cancel()
    follower.join(timeout=10)

    assert agent.result().facts.ended == "cancelled"
    assert agent.result().facts.rows == 100


@pytest.mark.parametrize("moment", ["before", "armed"])
def test_a_step_of_the_clock_counts_once_generators_are_started(fake, monkeypatch, moment):
    """T0 is set while they wait: a step by then would move it. One before that is in everything that is read later."""
    stepped = []
    real = clock.wall_minus_monotonic_ns
    monkeypatch.setattr(clock, "wall_minus_monotonic_ns", lambda: real() + (2 * 10**9 if stepped else 0))
    host = LoadHost(program=FAKE_H2LOAD)
    if moment == "before":
        stepped.append(moment)
    host.arm([assignment()])
    stepped.append(moment)
    host.release_at(time.time_ns() + 50_000_000)
    assert host.wait(30)
    host.collect()

    use = host.use()

    assert round(use.clock_moved_ns / 1e9) == (2 if moment == "armed" else 0)


def test_discard_before_release_leaves_nothing(fake):
    """A trial that is given up while agents wait at the gate."""
    host = LoadHost(program=FAKE_H2LOAD)
    armed = host.arm([assignment()])

    host.discard()

    assert not os.path.exists(f"/proc/{armed[0].pid}")


def test_discard_in_mid_load_ends_its_follower(fake):
    """A trial that is given up while h2load runs: process, thread and files are gone, and nothing was raised."""
    fake(hang=True)
    raised = []
    threading.excepthook, before = lambda told: raised.append(told.exc_value), threading.excepthook
    host = LoadHost(program=FAKE_H2LOAD)
    armed = host.arm([assignment(agent=f"a/{i}", give_up_us=60_000_000) for i in range(3)])
    host.release_at(time.time_ns())
    deadline = time.monotonic() + 10
    while sum(host.progress().rows.values()) < 300:
        assert time.monotonic() < deadline
    threads = list(host._threads)

    host.discard()
    for thread in threads:
        thread.join(timeout=10)
    threading.excepthook = before

    assert not any(thread.is_alive() for thread in threads)
    assert not any(os.path.exists(f"/proc/{agent.pid}") for agent in armed)
    assert raised == []


def test_wait_until_is_never_early():
    """The release is at T0 or after it."""
    for _ in range(5):
        at = time.time_ns() + 5_000_000

        assert wait_until(at) >= 0
        assert time.time_ns() >= at
