"""The main job, end to end: real Docker, real Ray, real h2load."""

import json
import re
import time

import pandas as pd
import pytest

from tests.integration.machine import ROOT, only_run, tiny_campaign, volley
from tests.truth.harness import server

ARTICLE = str(ROOT / "configs" / "campaigns" / "flask-vs-fastapi.yaml")
FAIR = str(ROOT / "configs" / "campaigns" / "flask-vs-fastapi-fair.yaml")


@pytest.mark.timeout(600)
def test_the_fair_comparison_is_valid_and_counts_exactly(tmp_path):
    """Both targets fit: every case VALID, a comparison with an interval, every request accounted for, every file there."""
    # Timed loads in containers are the next test's.
    done = volley(
        "run", FAIR, "--only", "*/burst", "--set", "repetitions=2", "--out", str(tmp_path), "--json", timeout=400
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    run = only_run(tmp_path)

    assert summary == json.loads((run / "summary.json").read_text())
    assert summary["format"] == 1
    for case in summary["cases"]:
        assert case["verdict"] in ("VALID", "SUSPECT"), case
        assert case["throughput_per_s"]["low"] < case["throughput_per_s"]["estimate"] < case["throughput_per_s"]["high"]
        assert case["server"]["oom_kills"] == 0
        assert case["server"]["cpu_us_per_request"] > 0
        assert case["requests"]["ok"] + case["requests"]["http_error"] + case["requests"]["failed"] == 2000
        assert case["service_time_us"]["p99"] is not None
        assert case["service_time_us"]["p999"] is None  # a thousand requests are too few
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
    done = volley("run", ARTICLE, "--set", "repetitions=1", "--out", str(tmp_path), timeout=400)
    summary = json.loads((only_run(tmp_path) / "summary.json").read_text())
    cases = {case["case"]: case for case in summary["cases"]}

    assert done.returncode == 3, done.stderr
    assert time.monotonic() - began < 240
    for load in ("burst", "steady"):
        fastapi = cases[f"fastapi/{load}"]
        memory = [f for f in fastapi["findings"] if f["code"] in ("server-oom-kill", "server-memory-thrash")]
        assert fastapi["verdict"] == "INVALID"
        assert memory[0]["severity"] == "invalid"
        assert memory[0]["facts"]["limit_bytes"] == 100 << 20
        assert memory[0]["facts"]["peak_bytes"] >= 0.95 * (100 << 20)
        assert {"oom_kills", "major_faults"} <= set(memory[0]["facts"])
        assert "limits.memory" in memory[0]["hint"]
        assert cases[f"flask/{load}"]["verdict"] in ("VALID", "SUSPECT")
        assert cases[f"flask/{load}"]["requests"]["ok"] >= 990
    assert {c["conclusion"] for c in summary["comparisons"]} == {"incomparable"}
    assert re.search(r"fastapi/burst .*INVALID", done.stdout)
    assert re.search(r"server-(oom-kill|memory-thrash)", done.stdout)


def test_bench_drives_what_is_already_up(tmp_path):
    """No YAML: a thousand requests over two agents, one document on stdout; an open load as well."""
    with server("http1", delay_us=[1_000]) as url:
        done = volley("bench", url, "-c", "40", "-n", "1000", "--repeat", "2", "--json", "--out", str(tmp_path / "a"))
        opened = volley(
            "bench", url, "-c", "50", "--rate", "200", "-d", "2s", "--repeat", "1", "--out", str(tmp_path / "b")
        )  # fmt: skip
    (case,) = json.loads(done.stdout)["cases"]

    assert done.returncode == opened.returncode == 0, done.stderr + opened.stderr
    assert case["requests"] == {"ok": 2000, "http_error": 0, "failed": 0, "censored": 0}
    assert case["server"]["peak_memory_bytes"] is None  # nobody looks into a server that is not ours
    assert "response time (from when it was due)" in opened.stdout


def test_an_image_is_built_once_and_by_content(tmp_path):
    """The second run says that the image is there."""
    path = tiny_campaign(tmp_path, 18301)
    first = volley("run", path, "--out", str(tmp_path / "a"))
    second = volley("run", path, "--out", str(tmp_path / "b"))

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "is there" in second.stderr
    assert "Step 1" not in second.stderr


def test_a_bridge_network_publishes_the_port(tmp_path):
    """network: bridge works too, and the result says which it was."""
    path = tiny_campaign(tmp_path, 18302, target={"network": "bridge"})

    done = volley("run", path, "--out", str(tmp_path / "runs"))
    trial = json.loads(next((only_run(tmp_path / "runs") / "trials").glob("*/trial.json")).read_text())

    assert done.returncode == 0, done.stderr
    assert trial["facts"]["server"]["network"] == "bridge"
    assert trial["metrics"]["requests"] == {"ok": 400, "http_error": 0, "failed": 0, "censored": 0}


@pytest.mark.parametrize(
    ("mode", "code", "finding", "words"),
    [
        ("wrong", 3, "response-mismatch", '{"message": "no"}'),
        ("silent", 4, "server-not-ready", "no answer within 8 s"),
        ("exit", 4, "server-exited", "exit code 1"),
        ("hog", 3, "server-oom-kill", "give it more memory than 64 MiB"),
        ("die-on-load", 3, "server-exited", "'exit_code': 7"),
    ],
)
def test_servers_that_do_not_do_what_they_should(tmp_path, mode, code, finding, words):
    """Each is a result that is INVALID, for its own reason, with its log kept; the right exit code; soon."""
    out = tmp_path / "runs"
    began = time.monotonic()

    done = volley("run", tiny_campaign(tmp_path, 18303, mode), "--out", str(out))
    trial = only_run(out) / "trials" / "0001-tiny-burst"
    findings = json.loads((trial / "trial.json").read_text())["findings"]

    assert done.returncode == code, done.stderr
    assert time.monotonic() - began < 90
    assert finding in [f["code"] for f in findings]
    assert words in str(findings)
    assert finding in done.stdout
    assert f"mode {mode}" in (trial / "server.log").read_text()
    assert "Traceback" not in done.stderr
