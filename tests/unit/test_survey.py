"""Is a host fit? What was found there, judged for its roles."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from agents import survey as remote
from orchestrator.fleet.survey import judge

GOOD = {
    "python": list(sys.version_info[:3]),
    "python_path": "/usr/bin/python3",
    "machine": platform.machine(),
    "os": "Debian",
    "kernel": "6.1",
    "root": True,
    "cores": [0, 1, 2, 3],
    "memory_bytes": 8 << 30,
    "governor": "performance",
    "time_service": "yes",
    "h2load": "h2load nghttp2/1.64.0",
    "docker_command": "/usr/bin/docker",
    "docker": "28.0",
    "open_files": 65536,
    "ephemeral_ports": [15000, 65000],
    "shm_free_bytes": 1 << 30,
    "home_free_bytes": 10 << 30,
}


def wrong(roles=("load", "server"), **changes):
    return {c.name: (c.state, c.found, c.mend) for c in judge(GOOD | changes, list(roles)) if c.state != "ok"}


def test_a_fit_host_has_nothing_to_mend():
    """And everything was looked at."""
    assert wrong() == {}
    assert {c.name for c in judge(GOOD, ["load", "server"])} >= {
        "system", "cores", "memory", "disk", "python", "h2load", "open files", "ephemeral ports", "request logs",
        "docker engine", "time service",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "name", "state", "word"),
    [
        ({"python": [3, 9, 2]}, "python", "failure", "3.9.2 is too old"),
        ({"python": [3, 99, 0]}, "python", "failure", "too new"),
        ({"machine": "riscv128"}, "python", "failure", "riscv128"),
        ({"h2load": None}, "h2load", "failure", "not on the PATH"),
        ({"h2load": {"error": "boom"}}, "h2load", "failure", "boom"),
        ({"h2load": "h2load nghttp2/1.40.0"}, "h2load", "failure", "1.40 is too old"),
        ({"h2load": "h2load nghttp2/1.43.0"}, "h2load", "warning", "open model"),
        ({"docker_command": None}, "docker engine", "failure", "not on the PATH"),
        ({"docker": {"error": "Cannot connect"}}, "docker engine", "failure", "Cannot connect"),
        ({"docker": None}, "docker engine", "failure", "no answer"),
        ({"open_files": 1024}, "open files", "warning", "1024"),
        ({"ephemeral_ports": [50000, 51000]}, "ephemeral ports", "warning", "1001"),
        ({"shm_free_bytes": 1 << 20}, "request logs", "warning", "1 MiB"),
        ({"shm_free_bytes": None}, "request logs", "warning", "no /dev/shm"),
        ({"home_free_bytes": 1 << 20}, "disk", "failure", "1 MiB"),
        ({"governor": "powersave"}, "governor", "warning", "powersave"),
        ({"time_service": "no"}, "time service", "warning", "not synchronised"),
        ({"cores": [0]}, "cores", "warning", "1"),
    ],
)
def test_each_shortfall_is_told_with_what_mends_it(changes, name, state, word):
    """And only that one."""
    found = wrong(**changes)

    assert set(found) == {name}
    assert found[name][0] == state
    assert word in found[name][1]
    assert found[name][2]


def test_only_what_a_role_needs_is_asked_for():
    """A server host needs no h2load, a load host no Docker."""
    assert wrong(["server"], h2load=None, open_files=10) == {}
    assert wrong(["load"], docker_command=None, docker=None) == {}


def test_the_survey_runs_from_standard_input_alone():
    """As on a host that has nothing of ours: one JSON document, everything in it."""
    source = Path(remote.__file__).read_text()

    done = subprocess.run(
        [sys.executable, "-I", "-"], input=source, capture_output=True, text=True, timeout=60, cwd="/"
    )
    found = json.loads(done.stdout)

    assert set(GOOD) <= set(found)
    assert found["cores"]
