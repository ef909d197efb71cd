"""Figures of the benchmarks: bounds, and what is kept of them."""

import json
import socket
import subprocess
import sys

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import figures, many_agents, stages
from benchmarks.figures import Figure
from tests.conftest import ROOT


def test_a_figure_is_missed_beyond_its_bound():
    """The median decides, in both directions; a figure without a bound is never missed."""
    assert not Figure("a", "s", [1.0, 9.0, 2.0], at_most=2.0).is_missed
    assert Figure("a", "s", [1.0, 9.0, 2.1], at_most=2.0).is_missed
    assert Figure("a", "ratio", [0.8], at_least=0.9).is_missed
    assert not Figure("a", "s", [99.0]).is_missed


def test_figures_are_kept_with_commit_and_machine(tmp_path, monkeypatch):
    """As JSON; the name of the host is not in it."""
    monkeypatch.setattr(figures, "OUT", tmp_path)
    monkeypatch.setattr(figures, "commit", lambda: {"commit": "c" * 40, "changed": False})
    kept = json.loads(figures.keep("part", [Figure("a", "s", [3.0, 1.0, 2.0], at_most=1.5)]).read_text())

    assert (kept["part"], len(kept["commit"])) == ("part", 40)
    assert kept["figures"] == [
        {"name": "a", "unit": "s", "samples": [3.0, 1.0, 2.0], "at_most": 1.5, "at_least": None, "value": 2.0,
         "is_missed": True}
    ]  # fmt: skip
    assert {"cpu", "kernel", "python", "cores", "packages"} <= set(kept["machine"])
    assert socket.gethostname() not in json.dumps(kept)


def test_the_exit_status_says_that_a_bound_was_missed(monkeypatch, capsys):
    """1 for a missed bound, 0 for none, 2 for a part that is unknown."""
    monkeypatch.setattr(benchmarks, "keep", lambda part, found: figures.ROOT / part)
    parts = {
        "good": lambda: [Figure("a", "s", [1.0], at_most=1.0)],
        "bad": lambda: [Figure("b", "s", [2.0], at_most=1.0)],
    }
    monkeypatch.setattr(benchmarks, "PARTS", parts)

    assert (benchmarks.main(["good"]), benchmarks.main(["good", "bad"]), benchmarks.main(["ugly"])) == (0, 1, 2)
    assert "beyond its bound: b" in capsys.readouterr().err


def test_many_agents_become_one_verdict():
    """The benchmark itself, with few."""
    assert set(many_agents.judged("30")) == {"seconds", "grown_mb"}


@pytest.mark.process
def test_the_coordinator_keeps_nothing_of_a_look_at_its_hosts():
    """The benchmark itself, over 300 s: memory, but for what the terminal's library caches, and journal stay as they are.

    In a process of its own, because all memory of the process is counted.
    """
    code = (
        "import json; from benchmarks import coordinator_hour as hour; hour.EVERY_S = 100; kept = hour.hold(300); "
        "print(json.dumps([kept.looks, kept.memory_kb, kept.journal_bytes]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    looks, memory_kb, journal_bytes = json.loads(done.stdout.splitlines()[-1])

    assert looks == 300
    # rich keeps the widths of some thousand lines: up to 1.1 MB in all, reached after 6,000 looks.
    assert memory_kb["300"] - memory_kb["100"] < 200 * 0.3
    assert journal_bytes["300"] == journal_bytes["100"]


def test_a_generator_that_is_not_installed_is_an_error_with_its_package(monkeypatch, capsys):
    """Not a table without it."""
    monkeypatch.setattr(benchmarks.overhead.shutil, "which", lambda name: None if name == "ab" else f"/usr/bin/{name}")  # type: ignore[attr-defined]

    assert benchmarks.main(["overhead"]) == 1
    assert "apt-get install apache2-utils" in capsys.readouterr().err


def test_the_stages_of_a_run_are_without_gaps():
    """From Enter to the first request, and from the end of the load to the prompt; in seconds."""
    began = 10**18
    at_ns = {"run": began + 300, "placed": began + 400, "judged": began + 3_500, "end": began + 3_600}
    at_ns = {kind: began + (at - began) * 10**6 for kind, at in at_ns.items()}

    def facts(start_ms, t0_ms, first_ms, last_ms):
        agents = [
            {"first_start_us": began // 1000 + first_ms * 1000 + late_us, "last_end_us": began // 1000 + last_ms * 1000}
            for late_us in (7_000, 0)
        ]
        lasted_us = {"server": 20_000, "clocks": 10_000, "arm": 30_000, "load": 99}
        return {
            "started_at_ns": began + start_ms * 10**6, "t0_ns": began + t0_ms * 10**6, "agents": agents,
            "stages_us": lasted_us,
        }  # fmt: skip

    trials = [facts(410, 520, 525, 1_500), facts(1_700, 1_800, 1_810, 3_400)]
    found = stages.stages(began, began + 3_900 * 10**6, at_ns, trials)
    names = list(found)

    first, last = names.index(stages.FIRST), names.index("last load")
    assert [round(found[name], 6) for name in names[:first]] == [0.3, 0.1, 0.01, 0.06, 0.05, 0.005]
    assert sum(found[name] for name in names[:first]) == pytest.approx(found[stages.FIRST])
    prompt = names.index(stages.PROMPT)
    assert [round(found[name], 6) for name in names[last:prompt]] == [1.59, 0.1, 0.1, 0.3]
    assert sum(found[name] for name in names[last + 1 : prompt]) == pytest.approx(found[stages.PROMPT])
    assert (found["between two loads"], found[stages.WHOLE]) == (pytest.approx(0.3), pytest.approx(3.9))
