"""The main job, end to end: real Docker, real h2load; hosts are child processes, in one test a Ray node."""

import json
import re
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.integration.machine import ROOT, TINY, measured, only_run, tiny_campaign, valid_but_for_the_machine, volley
from tests.truth.harness import server

ARTICLE = str(ROOT / "configs" / "campaigns" / "flask-vs-fastapi.yaml")
FAIR = str(ROOT / "configs" / "campaigns" / "flask-vs-fastapi-fair.yaml")


@pytest.mark.silent(
    "server-oom-kill", "server-memory-thrash", "server-not-ready", "server-exited", "server-restarted", "not-run",
    "server-unresponsive", "response-mismatch", "connection-close", "keepalive-limit", "no-success", "errors",
    "generator-cpu", "clients-lost", "stream-failures", "ephemeral-ports", "network-saturated", "bursty-arrivals",
    "rate-not-reached", "agent-lost", "counts-mismatch", "requests-lost", "littles-law", "not-steady", "agent-imbalance",
    "clock-bound", "clock-step", "host-changed", "start-skew", "censored-tail",
)  # fmt: skip
def test_two_identical_servers_are_valid(tmp_path):
    """A/A: nothing above information, apart from what the machine says of itself; cost and hosts are in the results."""
    target = {
        "build": str(TINY), "limits": {"cpus": 0.5, "memory": "64MiB"}, "expect": {"json": {"message": "ok"}},
    }  # fmt: skip
    document = {
        "campaign": "a-a",
        "targets": {
            name: target | {"port": port, "env": {"MODE": "ok", "PORT": str(port)}}
            for name, port in (("a", 18305), ("b", 18306))
        },
        "loads": {
            "paced": {"model": "open", "rate": "100/s", "clients": 10, "duration": "1500ms", "warm_up": "300ms", "tail": "300ms"},
            "closed": {"clients": 2, "duration": "1500ms", "warm_up": "300ms", "tail": "300ms"},
        },
        "repetitions": 2,
        "slo": {"a/*": "errors < 1%", "b/closed": "throughput > 1/s, p50 < 1us"},
    }  # fmt: skip
    (tmp_path / "aa.yaml").write_text(json.dumps(document))
    done = volley("run", str(tmp_path / "aa.yaml"), "--out", str(tmp_path / "runs"), "--json")
    summary = json.loads(done.stdout)

    trials = [json.loads(path.read_text()) for path in (only_run(tmp_path / "runs") / "trials").glob("*/trial.json")]
    valid_but_for_the_machine(summary, trials)
    # One objective that cannot be met: the numbers are good, and not good enough.
    assert done.returncode == (3 if summary["verdict"] == "INVALID" else 99), done.stderr
    assert summary["outcome"] == "FAIL"
    assert "p50 &lt; 1us" in (only_run(tmp_path / "runs") / "junit.xml").read_text()
    assert all(f["facts"] is not None and f["hint"] for case in summary["cases"] for f in case["findings"])
    for case in summary["cases"]:
        assert case["server"]["requests_per_cpu_s"] > 0
        assert case["server"]["requests_per_s_per_mib"] > 0
    trial = trials[0]
    (use,) = trial["facts"]["hosts"]
    assert len(use["series"]["at_s"]) >= 2
    assert use["cores"] >= 1
    assert len(trial["facts"]["server"]["series"]["memory_bytes"]) >= 1
    assert all(shares for agent in trial["facts"]["agents"] for shares in agent["thread_cpu"].values())


@pytest.mark.provokes("server-throttled")
@pytest.mark.timeout(600)
def test_the_fair_comparison_is_valid_and_counts_exactly(tmp_path):
    """Both targets fit: every case VALID, a comparison with an interval, every request accounted for, every file there."""
    # Timed loads in containers are the next test's.
    done = volley(
        "run", FAIR, "--only", "*/burst", "--set", "repetitions=2", "--out", str(tmp_path), "--json", timeout=400
    )
    summary = json.loads(done.stdout)
    run = only_run(tmp_path)

    assert measured(done.returncode, run), done.stderr
    assert summary == json.loads((run / "summary.json").read_text())
    assert summary["format"] == 1
    for case in summary["cases"]:
        if case["used"] == 2:
            throughput = case["throughput_per_s"]
            assert throughput["low"] < throughput["estimate"] < throughput["high"]
        assert case["server"]["oom_kills"] == 0
        assert case["server"]["cpu_us_per_request"] > 0
        assert case["requests"]["ok"] + case["requests"]["http_error"] + case["requests"]["failed"] == 2000
        assert case["service_time_us"]["p99"] is not None
        assert case["service_time_us"]["p999"] is None  # a thousand requests are too few
    # Four workers on a quota of one core.
    assert "server-throttled" in {f["code"] for case in summary["cases"] for f in case["findings"]}
    conclusions = {c["conclusion"] for c in summary["comparisons"]}
    assert conclusions <= {"faster", "slower", "equivalent", "inconclusive"}
    trials = pd.read_csv(run / "trials.csv")
    assert (trials["ok"] + trials["http_error"] + trials["failed"]).tolist() == [1000] * 4
    assert trials["block"].tolist() == [0, 0, 1, 1]
    files = {path.name for path in run.iterdir()}
    assert files >= {
        "campaign.yaml", "plan.json", "environment.json", "journal.jsonl", "trials", "trials.csv", "trials.parquet",
        "cases.csv", "comparisons.csv", "summary.json",
    }  # fmt: skip
    again = volley("report", str(run), "--json")
    assert json.loads(again.stdout) == summary


@pytest.mark.timeout(600)
def test_in_the_articles_limits_fastapi_is_invalid_for_memory(tmp_path):
    """Four FastAPI workers do not fit into 100 MiB: said so for every case, Flask shown beside it, exit code 3."""
    began = time.monotonic()
    # One load says it; the other is the fair comparison's.
    done = volley("run", ARTICLE, "--only", "*/burst", "--set", "repetitions=1", "--out", str(tmp_path), timeout=400)
    summary = json.loads((only_run(tmp_path) / "summary.json").read_text())
    cases = {case["case"]: case for case in summary["cases"]}

    assert done.returncode == 3, done.stderr
    assert time.monotonic() - began < 240
    fastapi, flask = cases["fastapi/burst"], cases["flask/burst"]
    memory = [f for f in fastapi["findings"] if f["code"] in ("server-oom-kill", "server-memory-thrash")]
    assert fastapi["verdict"] == "INVALID"
    assert memory[0]["severity"] == "invalid"
    assert memory[0]["facts"]["limit_bytes"] == 100 << 20
    assert memory[0]["facts"]["peak_bytes"] >= 0.95 * (100 << 20)
    assert {"oom_kills", "major_faults"} <= set(memory[0]["facts"])
    assert "limits.memory" in memory[0]["hint"]
    assert flask["verdict"] in ("VALID", "SUSPECT")
    assert flask["requests"]["ok"] >= 990
    assert {c["conclusion"] for c in summary["comparisons"]} == {"incomparable"}
    assert re.search(r"fastapi +INVALID: ", done.stdout)
    assert re.search(r"server-(oom-kill|memory-thrash)", done.stdout)


def test_bench_drives_what_is_already_up(tmp_path):
    """No YAML: a thousand requests over two agents, one document on stdout. Here through Ray, as on many hosts."""
    asked = ("-c", "40", "-n", "1000", "--repeat", "2", "--ray")
    with server("http1", delay_us=[1_000]) as url:
        done = volley("bench", url, *asked, "--json", "--out", str(tmp_path / "a"))
    (case,) = json.loads(done.stdout)["cases"]

    assert measured(done.returncode, only_run(tmp_path / "a")), done.stderr
    assert case["requests"] == {"ok": 2000, "http_error": 0, "failed": 0, "censored": 0}
    assert case["server"]["peak_memory_bytes"] is None  # nobody looks into a server that is not ours


@pytest.mark.provokes("command-failed")
def test_an_image_is_built_once_and_by_content_and_a_bridge_publishes_the_port(tmp_path):
    """The second run says that the image is there; network: bridge works too, and the result says which it was."""
    note = "echo $VOLLEY_TRIAL >> " + str(tmp_path / "commands.txt")
    until = {"metric": "throughput", "narrower_than": "9999%"}
    repeated = tiny_campaign(
        tmp_path, 18301, repetitions={"until": until, "at_least": 2, "at_most": 9},
        before=[{"run": note}], after=[{"run": note, "host": "local"}, {"run": "exit 7"}],
    )  # fmt: skip
    first = volley("run", repeated, "--out", str(tmp_path / "a"), "--json")
    bridged = tiny_campaign(tmp_path, 18302, target={"network": "bridge"})
    second = volley("run", bridged, "--out", str(tmp_path / "b"))
    trial = json.loads(next((only_run(tmp_path / "b") / "trials").glob("*/trial.json")).read_text())

    assert measured(first.returncode, only_run(tmp_path / "a")), first.stderr
    assert measured(second.returncode, only_run(tmp_path / "b")), second.stderr
    # Adaptive: two of nine repetitions were enough, or a few more where the machine was busy in one of them. A command
    # before and one after each; one that fails is told.
    (case,) = json.loads(first.stdout)["cases"]
    needed = int(re.search("precise enough after ([0-9]+) repetitions", first.stderr)[1])
    assert 2 <= needed < 9
    assert (case["trials"], case["requests"]["ok"]) == (needed, 400 * case["used"])
    assert (tmp_path / "commands.txt").read_text().split() == [str(n + 1) for n in range(needed) for _ in "12"]
    assert {f["code"]: f["facts"] for f in case["findings"]}["command-failed"]["how"] == "exit status 7"
    assert "is there" in second.stderr
    assert "Step 1" not in second.stderr
    assert trial["facts"]["server"]["network"] == "bridge"
    assert trial["metrics"]["requests"] == {"ok": 400, "http_error": 0, "failed": 0, "censored": 0}


BROKEN = {
    "wrong": ("response-mismatch", '{"message": "no"}'),
    "die-on-load": ("server-exited", "'exit_code': 7"),
    "hog": ("server-oom-kill", "Set limits.memory above 64 MiB"),
    "silent": ("server-not-ready", "no answer within 3 s"),
    "exit": ("server-exited", "exit code 1"),
}


@pytest.mark.provokes("response-mismatch", "server-exited", "server-oom-kill", "server-not-ready")
@pytest.mark.parametrize(("modes", "code"), [(["wrong", "die-on-load", "hog"], 3), (["silent", "exit"], 4)])
def test_servers_that_do_not_do_what_they_should(tmp_path, modes, code):
    """Each is a result that is INVALID, for its own reason, with its log kept; the right exit code; soon."""
    out = tmp_path / "runs"
    began = time.monotonic()
    document = json.loads(Path(tiny_campaign(tmp_path, 18303)).read_text())
    tiny = document["targets"].pop("tiny")
    for position, mode in enumerate(modes):
        port = 18303 + position
        more = {"ready": {"timeout": "3s"}} if mode == "silent" else {}
        document["targets"][mode] = tiny | {"port": port, "env": {"MODE": mode, "PORT": str(port)}} | more
    (tmp_path / "broken.yaml").write_text(json.dumps(document))

    done = volley("run", str(tmp_path / "broken.yaml"), "--out", str(out))

    assert done.returncode == code, done.stderr
    assert time.monotonic() - began < 90
    assert "Traceback" not in done.stderr
    for mode in modes:
        finding, words = BROKEN[mode]
        (trial,) = (only_run(out) / "trials").glob(f"*-{mode}-burst")
        findings = json.loads((trial / "trial.json").read_text())["findings"]
        assert finding in [f["code"] for f in findings]
        assert words in str(findings)
        assert re.search(rf"\[{finding}, \d of \d trials?\]", done.stdout)
        assert f"mode {mode}" in (trial / "server.log").read_text()
