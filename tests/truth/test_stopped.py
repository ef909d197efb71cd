"""A generator that is stopped for five seconds is a lost agent; a server that stands still for as long is not."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from orchestrator.analyse.verdict import no_fault_of_the_server
from orchestrator.run import load
from tests.truth.harness import codes, explain, run, server

pytestmark = [pytest.mark.counted, pytest.mark.usefixtures("scratch_is_clean")]
STOPPED_S = 4.0
# In its command line only when it sends a load: its version is asked for before.
H2LOAD = "--log-file"


def generators(program):
    """The generators that this process has started, by what is in their command lines: their pids."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and program in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def stopped_once(program, after_s, begin=None):
    """Stop the generator once its load has run for a while, or at once when an event is set, for STOPPED_S."""
    over = threading.Event()

    def stop():
        while not (found := generators(program)) and not over.wait(0.01):
            pass
        while begin is not None and not begin.wait(0.01) and not over.is_set():
            pass
        over.wait(after_s)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            over.wait(STOPPED_S)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.provokes("agent-lost")
@pytest.mark.parametrize(
    ("program", "options"),
    [
        (H2LOAD, {"clients": 4}),
        (H2LOAD, {"clients": 8, "model": "open", "rate": "200/s", "generator": "h2load"}),
        ("agents.generators.paced", {"model": "open", "rate": "200/s"}),
    ],
)
def test_a_generator_that_is_stopped_makes_its_trial_again(program, options):
    """Whatever else its rows look like, the server is not blamed."""
    with server("http1", delay_us=[5_000]) as url, stopped_once(program, after_s=1.0):
        trial, _ = run(url, agents=1, duration="3s", warm_up="100ms", tail="200ms", **options)

    (lost,) = [f for f in trial.findings if f.code == "agent-lost"]
    assert "was stopped for" in lost.sentence, explain(trial)
    assert 2.0 <= lost.facts["stopped_s"] <= STOPPED_S + 1.0
    assert no_fault_of_the_server(trial) == f"agent-lost ({lost.facts['agent']})"


@pytest.mark.provokes("agent-lost")
def test_a_generator_that_is_stopped_between_its_gate_and_t0(monkeypatch):
    """T0 is set once it was seen at the gate, so that it is released while it is stopped."""
    armed = threading.Event()

    def telling_ns(loads):
        armed.set()
        return 400_000_000  # enough for the signal to arrive before T0

    monkeypatch.setattr(load, "telling_ns", telling_ns)
    with server("http1", delay_us=[5_000]) as url, stopped_once(H2LOAD, after_s=0.0, begin=armed):
        trial, _ = run(url, agents=1, clients=4, requests=200)

    (lost,) = [f for f in trial.findings if f.code == "agent-lost"]
    assert "was stopped for" in lost.sentence, explain(trial)
    assert no_fault_of_the_server(trial) == f"agent-lost ({lost.facts['agent']})"


@pytest.mark.silent("agent-lost")
def test_a_server_that_stands_still_is_its_own_doing():
    """The generator waits for it and is awake."""
    began = time.monotonic()
    with server("http1", delay_us=[5_000], stall=[0.5, STOPPED_S]) as url:
        trial, output = run(url, agents=1, clients=4, duration="3s", warm_up="100ms", tail="200ms")

    assert time.monotonic() - began > 3.0
    assert "agent-lost" not in codes(trial), explain(trial)
    assert [agent.stopped_us for agent in output.facts.agents] == [0]
    assert no_fault_of_the_server(trial) is None
