"""Searches for capacity through the command: on a container, killed and resumed; and where there is no capacity to find."""

import json

import pytest

from tests.integration.machine import busy, killed_at, measured, nothing_left, only_run, tiny_campaign, volley
from tests.truth.harness import server

SHORT = {"window": "1s", "warm_up": "200ms", "tail": "200ms"}


@pytest.mark.full
def test_a_search_on_a_container_that_is_killed_goes_on_where_it_was(tmp_path):
    """kill -9 after three trials; resume: none of them again, the capacity that is known, and what gave way; the page is there."""
    saturation = SHORT | {"slo": "p50 < 100ms, errors < 1%", "precision": "10%", "lowest": "20/s"}
    path = tiny_campaign(tmp_path, 18331, "slow", saturation=saturation)
    killed_at("   3  tiny: ", "saturate", path, "--out", str(tmp_path / "runs"))
    nothing_left()
    run = only_run(tmp_path / "runs")
    before = {each.name: (each / "trial.json").stat().st_mtime_ns for each in (run / "trials").glob("0*")}

    resumed = volley("resume", str(run))
    again = volley("report", str(run), "--json")
    (found,) = json.loads(again.stdout)["saturation"]
    trials = {each.name: json.loads((each / "trial.json").read_text()) for each in (run / "trials").iterdir()}
    page = (run / "report.html").read_text()

    assert measured(resumed.returncode, run), resumed.stderr
    assert len(before) == 3
    assert f"resumed: {len(before)} trials are done" in resumed.stderr
    assert {name: (run / "trials" / name / "trial.json").stat().st_mtime_ns for name in before} == before
    assert sorted(trial["facts"]["number"] for trial in trials.values()) == list(range(1, len(trials) + 1))
    assert [probe["trial"] for probe in found["curve"]] == list(range(2, len(trials) + 1))
    assert json.loads((run / "summary.json").read_text())["saturation"] == [found]
    assert "p50 &lt; 100 ms and errors &lt; 1 %" in page
    assert page.count('<tr><th scope="row">') >= len(found["curve"])
    if not busy(trials.values()):
        assert (found["ending"], found["confirmed"]) == ("capacity", True), found
        assert 85 <= found["capacity_per_s"]["estimate"] <= 110, found
        assert found["gave_way"] in ("p50 < 100ms", "answers >= 99%")
        assert found["resource"].startswith("its own concurrency")


def test_a_search_where_the_objective_is_always_met_and_one_whose_server_dies(tmp_path):
    """At least the highest rate that was allowed; and a server that does not come back, told soon: exit code 4."""
    document = {
        "campaign": "ends",
        "targets": {"always": {}, "dies": {}},
        # An answer may take as long as under load: a server that is silent is given up after that.
        "loads": {"any": {"clients": 4, "duration": "1s", "timeout": "3s"}},
        "saturation": SHORT | {"slo": "p50 < 5s, errors < 1%", "highest": "200/s"},
    }
    path = tmp_path / "ends.yaml"
    # The estimate asks for 900 at the most, each probe for 280: it falls silent in one of the first three, however slow it is here.
    with server("http1") as quick, server("http1", delay_us=[50_000], only_to=800) as dying:
        document["targets"]["always"]["url"], document["targets"]["dies"]["url"] = quick, dying
        path.write_text(json.dumps(document))
        done = volley("saturate", str(path), "--out", str(tmp_path / "runs"), "--json")
    always, dies = json.loads(done.stdout)["saturation"]

    assert done.returncode == 4, done.stderr
    assert (always["ending"], always["held_per_s"], always["capacity_per_s"]) == ("always met", 200.0, None)
    assert "always: at least 200/s: the objective was met at every rate up to --highest" in done.stderr
    assert dies["ending"] == "not recovered"
    assert dies["capacity_per_s"] is None
    assert "dies: the server did not recover after a failed probe" in done.stderr
    assert always["probes"] + dies["probes"] <= 14


def test_a_search_where_there_is_nothing_to_find(tmp_path):
    """An objective that nothing meets, after a few probes; beside a URL that refuses: 4. Both soon, in the right words."""
    saturation = {"slo": "p50 < 1us", "window": "500ms", "warm_up": "200ms", "tail": "200ms", "lowest": "50/s"}
    document = {
        "campaign": "nothing",
        "targets": {"refused": {"url": "http://127.0.0.1:9/"}, "never": {}},
        "loads": {"any": {"clients": 4, "duration": "1s"}},
        "saturation": saturation,
    }
    path = tmp_path / "nothing.yaml"
    with server("http1", serial_us=4_000) as url:
        document["targets"]["never"]["url"] = url
        path.write_text(json.dumps(document))
        done = volley("saturate", str(path), "--out", str(tmp_path / "runs"))
    again = volley("report", str(only_run(tmp_path / "runs")), "--json")
    refused, never = json.loads(again.stdout)["saturation"]

    assert done.returncode == 4, done.stderr
    assert "refused: Connection refused" in done.stderr
    assert "refused was not measured: the server did not start or did not answer." in done.stdout
    assert "never does not meet p50 < 1 µs even at the lowest rate" in done.stdout
    assert (refused["ending"], never["ending"]) == ("not started", "never met")
    assert (never["capacity_per_s"], never["gave_way"]) == (None, "p50 < 1us")
    assert never["probes"] == len(never["curve"])
    assert sum(probe["kind"] != "reference" for probe in never["curve"]) <= 5
