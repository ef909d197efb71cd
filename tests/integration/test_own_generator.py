"""A generator in another language, written from docs/reference/generators.md alone, through bench and run."""

import json
from pathlib import Path

import pytest

from tests.conftest import require
from tests.integration.machine import above_information, busy, measured, nothing_left, only_run, volley
from tests.truth import zoo

PERL = ["perl", str(Path(__file__).parent / "generator.pl")]
RATE_PER_S, SERVICE_US = 97, 5_000


@pytest.fixture(autouse=True)
def _tools():
    require("perl", "gcc")
    yield
    nothing_left()


@pytest.fixture
def server():
    """Every request takes 5 ms, in parallel."""
    with zoo.serve("fixed", service_us=SERVICE_US) as running:
        yield running


def campaign(folder, url):
    load = {"model": "open", "rate": f"{RATE_PER_S}/s", "duration": "2s", "warm_up": "500ms", "tail": "500ms"}
    document = {
        "campaign": "own",
        "targets": {"api": {"url": url}},
        "loads": {"steady": {**load, "clients": 20, "generator": {"command": PERL}}},
        "repetitions": 1,
    }
    (folder / "own.yaml").write_text(json.dumps(document))
    return str(folder / "own.yaml")


def test_a_generator_in_perl_is_measured_like_any_other(tmp_path, server):
    """Counted exactly, merged over two agents that form one stream, judged by the same findings."""
    rate = ("--rate", str(RATE_PER_S), "-d", "2s", "--repeat", "1")
    bench = volley("bench", server.url, "--generator", " ".join(PERL), *rate, "--json", "--out", str(tmp_path / "b"))
    run = volley("run", campaign(tmp_path, server.url), "--json", "--out", str(tmp_path / "r"))
    record = server.record()

    for done, out in ((bench, "b"), (run, "r")):
        assert measured(done.returncode, only_run(tmp_path / out)), done.stderr
        summary = json.loads(done.stdout)
        (folder,) = (only_run(tmp_path / out) / "trials").iterdir()
        trial = json.loads((folder / "trial.json").read_text())
        requests, agents = trial["metrics"]["requests"], trial["facts"]["agents"]
        window = record.between(trial["facts"]["window_start_us"] * 1000, trial["facts"]["window_end_us"] * 1000)

        assert (requests["ok"], requests["failed"]) == (2 * RATE_PER_S, 0)
        assert {agent["generator"] for agent in agents} == {"command"}
        assert sum(agent["off_schedule"] + agent["early"] for agent in agents) == 0
        # What left late left the window of the server's record with it.
        assert abs(len(window) - 2 * RATE_PER_S) <= 2 + sum(agent["late"] for agent in agents)
        assert trial["metrics"]["response_time_us"]["p50"] >= SERVICE_US
        assert (folder / "command-local-0.txt").exists()
        if not busy([trial]):
            assert trial["metrics"]["response_time_us"]["p50"] < 2 * SERVICE_US
            assert not above_information(summary)
