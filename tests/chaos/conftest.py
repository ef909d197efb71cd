"""Nothing may be left after any test, least of all after these; and the run that most of them disturb."""

import subprocess
import time

import pytest

from tests import sessions
from tests.integration.conftest import _clean_machine  # noqa: F401
from tests.integration.machine import ROOT, VOLLEY, tiny_campaign


@pytest.fixture
def under_load(tmp_path):
    """A function that starts a run, of a minute by default, and waits until its load is under way."""
    started = []

    def start(port, *options, duration="60s"):
        path = tiny_campaign(tmp_path, port, loads={"long": {"clients": 4, "duration": duration, "warm_up": "1s"}})
        process = subprocess.Popen(
            [*VOLLEY, "run", path, *options, "--out", str(tmp_path / "runs")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        deadline = time.monotonic() + 90
        # Only what is quick to ask: a short load must not be over before the test disturbs it.
        while sum(each.info["name"] == "h2load" for each in sessions.processes()) < 2:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return process

    yield start
    for process in started:
        if process.poll() is None:  # the test failed before the run had ended
            process.kill()
            process.wait()
