"""However a run is ended, nothing of it stays on the machine."""

import json
import os
import signal

import psutil
import pytest

from orchestrator.fleet.driven import LEFT_WITHIN_S
from tests import sessions
from tests.integration.machine import (
    killed_at,
    left_behind,
    measured,
    nothing_left,
    only_run,
    tiny_campaign,
    volley,
)


@pytest.mark.parametrize(
    ("number", "group", "code"),
    [
        (signal.SIGINT, True, 130),  # Ctrl-C in a terminal
        (signal.SIGTERM, True, 143),  # CI, systemd
        (signal.SIGKILL, False, -9),  # the guard's turn
    ],
)
def test_nothing_is_left_after_a_signal(under_load, tmp_path, number, group, code):
    """Ctrl-C, TERM to one or to all, KILL: no container, no h2load, no host process, no scratch file, within 15 s."""
    process = under_load(18321)
    assert left_behind()["containers"]

    os.killpg(process.pid, number) if group else os.kill(process.pid, number)
    output, _ = process.communicate(timeout=60)
    nothing_left(within_s=15)

    assert process.returncode == code, output
    if code > 0:
        assert "interrupted: cleaning up" in output
        assert "Traceback" not in output
    assert json.loads((only_run(tmp_path / "runs") / "plan.json").read_text())["campaign"] == "tiny-ok"


def test_a_second_signal_leaves_at_once(under_load):
    """The impatient: the process is gone although its cleaning up hangs, and the guards clean up. Here with a Ray node."""
    process = under_load(18322, "--ray")
    (driver,) = [p for p in psutil.Process(process.pid).children() if p.cmdline()[-1] == "orchestrator.fleet.driver"]

    driver.suspend()
    try:
        os.kill(process.pid, signal.SIGINT)
        assert any("interrupted: cleaning up" in line for line in process.stdout)
        os.kill(process.pid, signal.SIGINT)
        code = process.wait(LEFT_WITHIN_S / 2)
    finally:
        driver.resume()
    nothing_left(within_s=15)

    assert code == 130
    # What an orderly end says last.
    assert "interrupted by signal" not in process.stdout.read()


@pytest.mark.provokes("agent-lost")
@pytest.mark.provokes("retried")
def test_an_agent_that_is_killed_is_no_hang_and_its_trial_is_tried_again(under_load, tmp_path):
    """An h2load process dies in mid-trial: that try is kept, INVALID, with who was lost; the next try is the result."""
    process = under_load(18323, duration="4s")
    victims = [process for process in sessions.processes() if process.info["name"] == "h2load"]

    victims[0].send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=90)
    run = only_run(tmp_path / "runs")
    (case,) = json.loads((run / "summary.json").read_text())["cases"]
    kept = json.loads((run / "tries" / "0001-tiny-long-try1" / "trial.json").read_text())

    assert measured(process.returncode, run), output
    assert "trial 1 is retried" in output
    assert (kept["verdict"], kept["findings"][0]["code"]) == ("INVALID", "agent-lost")
    assert (case["trials"], case["used"]) == (1, case["verdict"] != "INVALID")
    assert {f["code"]: f["facts"] for f in case["findings"]}["retried"]["failed_tries"] == ["agent-lost"]


@pytest.mark.provokes("host-lost")
@pytest.mark.parametrize("role", ["load", pytest.param("server", marks=pytest.mark.full)])
def test_a_host_that_is_killed_is_started_again(under_load, tmp_path, role):
    """Its process dies in mid-trial: the attempt is kept, the hosts are started again, and the trial is repeated."""
    process = under_load(18325, duration="4s")
    hosts = [p for p in sessions.processes() if p.cmdline()[-2:] == ["agents.child", role]]
    (victim,) = [p for p in hosts if process.pid in [parent.pid for parent in p.parents()]]

    victim.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=90)
    run = only_run(tmp_path / "runs")
    (trial,) = (run / "trials").glob("*/trial.json")
    (kept,) = (run / "tries").glob("*/trial.json")
    result, attempt = json.loads(trial.read_text()), json.loads(kept.read_text())

    assert measured(process.returncode, run), output
    assert "its actor is gone" in output
    assert "restarting the hosts" in output
    assert "retried" in [f["code"] for f in result["findings"]]
    assert (attempt["verdict"], attempt["findings"][0]["code"]) == ("INVALID", "host-lost")
    nothing_left()


@pytest.mark.timeout(400)
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    """kill -9 in the middle of trial 7 of 12; resume: twelve trials, none twice, each with all its requests, in one order."""
    loads = {"burst": {"clients": 4, "requests": 200}, "longer": {"clients": 4, "requests": 300}}
    path = tiny_campaign(tmp_path, 18324, loads=loads, repetitions=6)
    # Trial 7 has begun once its line is there.
    killed_at("trial 6 of 12", "run", path, "--out", str(tmp_path / "runs"))
    run = only_run(tmp_path / "runs")
    before = {folder.name: (folder / "trial.json").stat().st_mtime_ns for folder in (run / "trials").glob("0*")}

    resumed = volley("resume", str(run))
    again = volley("resume", str(run), "--json")
    summary = json.loads((run / "summary.json").read_text())
    plan = json.loads((run / "plan.json").read_text())
    trials = {folder.name: json.loads((folder / "trial.json").read_text()) for folder in (run / "trials").iterdir()}

    assert len(before) == 6
    assert measured(resumed.returncode, run), resumed.stderr
    assert again.returncode == resumed.returncode
    assert "6 of 12 trials are done" in resumed.stderr
    assert "trial 7 of 12" in resumed.stderr
    assert json.loads(again.stdout) == summary
    assert sorted(trials) == [trial["folder"] for trial in plan["trials"]]
    assert {name: (run / "trials" / name / "trial.json").stat().st_mtime_ns for name in before} == before
    # Every counted field is that of an undisturbed run, which is known: all that was asked for, and nothing else.
    asked = {"tiny/burst": 200, "tiny/longer": 300}
    for trial in trials.values():
        number = asked[trial["facts"]["case"]["name"]]
        assert trial["metrics"]["requests"] == {"ok": number, "http_error": 0, "failed": 0, "censored": 0}
        assert trial["metrics"]["statuses"] == {"200": number}
        assert [(a["planned"], a["rows"], a["done"]) for a in trial["facts"]["agents"]] == [(number // 2,) * 3] * 2
    assert [trial["case"] for trial in plan["trials"]] == [
        t["facts"]["case"]["name"] for _, t in sorted(trials.items())
    ]
    assert {case["case"]: (case["trials"], case["requests"]["ok"]) for case in summary["cases"]} == {
        name: (6, 6 * requests) for name, requests in asked.items()
    }
    nothing_left()
