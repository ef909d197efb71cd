"""A Ray node that dies under a run on this machine: raylet or GCS. The run records it, and continues."""

import json
import os
import re
import signal

import pytest

from agents import lease
from tests import sessions
from tests.integration.machine import measured, nothing_left, only_run, volley

# After the run's end. Ray's own processes would notice it later.
GONE_WITHIN_S = 5.0


def kill(name):
    """Kill a process of this session's Ray node, or its guard."""
    if name == "guard":
        (pid,) = [seen.holder.pid for seen in lease.leases()]
    else:
        (pid,) = [process.pid for process in sessions.processes() if process.info["name"] == name]
    os.kill(pid, signal.SIGKILL)


@pytest.mark.provokes("host-lost")
@pytest.mark.provokes("retried")
# The raylet is killed below, too; without a retry.
@pytest.mark.parametrize(
    "name", [*(pytest.param(n, marks=pytest.mark.full) for n in ("raylet", "guard")), "gcs_server"]
)
def test_a_node_that_dies_under_load_is_started_again(under_load, tmp_path, name):
    """The try is kept with what happened, the hosts are restarted, and the trial gets its result.

    A guard that is killed takes its node along: its standby ends it, and removes the container.
    """
    process = under_load(18326, "--ray", duration="4s")

    kill(name)
    output, _ = process.communicate(timeout=120)
    run = only_run(tmp_path / "runs")
    (trial,) = (run / "trials").glob("*/trial.json")
    (kept,) = (run / "tries").glob("*/trial.json")
    result, attempt = json.loads(trial.read_text()), json.loads(kept.read_text())

    assert measured(process.returncode, run), output
    assert re.search("lost this machine's Ray node: its (Ray node died|guard is gone)", output)
    assert "restarting the hosts" in output
    assert "gcs_rpc_client" not in output
    assert "Traceback" not in output
    assert (attempt["verdict"], attempt["findings"][0]["code"]) == ("INVALID", "host-lost")
    assert "retried" in [finding["code"] for finding in result["findings"]]
    nothing_left(within_s=GONE_WITHIN_S)


def test_without_a_retry_the_run_ends_with_a_sentence_and_can_be_resumed(under_load, tmp_path):
    """Exit code 4; nothing is left; the run continues with the same trial."""
    options = ["--ray", "--set", "retries=0", "--set", "repetitions=2"]
    process = under_load(18327, *options, duration="4s")

    kill("raylet")
    output, _ = process.communicate(timeout=90)
    run = only_run(tmp_path / "runs")
    nothing_left(within_s=GONE_WITHIN_S)
    resumed = volley("resume", str(run))

    assert process.returncode == 4, output
    assert "error: lost this machine's Ray node" in output
    assert f"continue with: volley resume {run}" in output
    assert "Traceback" not in output
    assert "1 of 2 trials are done" in resumed.stderr
    assert len([*(run / "trials").glob("*/trial.json")]) == 2
