"""Is a host ready? Its survey, judged for its roles."""

import json
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from agents import survey as remote
from agents.records import BadRecord
from orchestrator.fleet.survey import CheckState, judge, read_survey

GOOD = {
    "python": list(sys.version_info[:3]),
    "python_path": "/usr/bin/python3",
    "libc": "glibc-2.36",
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
    "docker_endpoint": "unix:///run/user/1000/docker.sock",
    "open_files": 65536,
    "ephemeral_ports": [15000, 65000],
    "reserved_ports": "",
    "somaxconn": 4096,
    "shm_free_bytes": 1 << 30,
    "tmp_free_bytes": 1 << 30,
    "home_free_bytes": 10 << 30,
    "zstd": None,
}


def wrong(roles=("load", "server"), **changes):
    checks = judge(read_survey(GOOD | changes), list(roles))
    return {c.name: (c.state, c.found, c.fix) for c in checks if c.state is not CheckState.OK}


def test_a_ready_host_has_no_problems():
    """And everything was checked."""
    assert wrong() == {}
    assert {c.name for c in judge(read_survey(GOOD), ["load", "server"])} >= {
        "system", "cores", "memory", "disk", "python", "h2load", "open files", "ephemeral ports", "request logs",
        "docker engine", "time service",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "name", "state", "word"),
    [
        ({"python": [3, 9, 2]}, "python", "failure", "3.9.2 is too old"),
        ({"python": [3, 99, 0]}, "python", "failure", "too new"),
        ({"machine": "riscv128"}, "python", "failure", "riscv128"),
        ({"h2load": None}, "h2load", "warning", "not installed; paced sends closed loops instead"),
        ({"h2load": {"error": "boom"}}, "h2load", "warning", "boom"),
        ({"h2load": "h2load nghttp2/1.40.0"}, "h2load", "warning", "1.40 is too old"),
        ({"h2load": "h2load nghttp2/1.43.0"}, "h2load", "warning", "open model"),
        ({"docker_command": None}, "docker engine", "failure", "not on the PATH"),
        ({"docker": {"error": "Cannot connect"}}, "docker engine", "failure", "Cannot connect"),
        ({"docker": None}, "docker engine", "failure", "no answer"),
        ({"docker": {"error": "connect: permission denied"}}, "docker engine", "failure", "this user may not use it"),
        ({"docker_endpoint": "ssh://me@far"}, "docker engine", "failure", "ssh://me@far"),
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
def test_each_problem_is_reported_with_its_fix(changes, name, state, word):
    """And no other check changes."""
    problems = wrong(**changes)

    assert set(problems) == {name}
    assert problems[name][0] == state
    assert word in problems[name][1]
    assert problems[name][2]


@pytest.mark.parametrize(
    ("ephemeral", "reserved", "warned"),
    [
        ([32768, 60999], "", False),
        ([15000, 65000], "", True),
        ([20039, 65000], "", True),
        ([15000, 65000], "8080,20000-20039", False),
        ([15000, 65000], "20000-20038", True),
        (None, "", False),
    ],
)
def test_own_ports_that_other_connections_may_take(ephemeral, reserved, warned):
    """The range of `ports:` overlaps with the ephemeral ports, unless it is reserved."""
    checks = judge(
        read_survey(GOOD | {"ephemeral_ports": ephemeral, "reserved_ports": reserved}), ["load"], (20000, 20039)
    )

    found = [check for check in checks if check.name == "own ports"]
    assert [check.state for check in found] == [CheckState.WARNING] * warned
    assert all("ip_local_reserved_ports=20000-20039" in check.fix for check in found)


def test_fixes_name_no_file_of_a_checkout():
    """An installed Volley has no deploy/ and no docs/."""
    broken = {"h2load": None, "docker": None, "open_files": 1, "time_service": "no", "root": False}

    fixes = " ".join(fix for _, _, fix in wrong(**broken).values())

    assert "systemctl start docker" in fixes
    assert "apt-get install nghttp2-client" in fixes
    assert not any(word in fixes for word in ("deploy/", "docs/", "make "))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "list instead of an object"),
        ({"python": [3, 11, 2]}, "is missing"),
        (GOOD | {"cores": "all"}, "survey.cores"),
        (GOOD | {"docker": 28}, "survey.docker"),
        (GOOD | {"docker": {"reason": "?"}}, "unknown field 'reason'"),
    ],
)
def test_documents_that_are_no_survey_are_refused(document, message):
    """With the place of the first difference."""
    with pytest.raises(BadRecord, match=message):
        read_survey(document)


def test_only_what_a_role_needs_is_checked():
    """A server host needs no h2load, a load host no Docker."""
    assert wrong(["server"], h2load=None, open_files=10) == {}
    assert wrong(["load"], docker_command=None, docker=None) == {}


@pytest.mark.process
def test_the_survey_runs_from_standard_input_alone():
    """As on a host without any of our files: one JSON document with every field."""
    source = Path(remote.__file__).read_text()

    done = subprocess.run(
        [sys.executable, "-I", "-"], input=source, capture_output=True, text=True, timeout=60, cwd="/"
    )
    document = json.loads(done.stdout)

    assert set(GOOD) == set(document)
    assert asdict(read_survey(document)) == document
    assert read_survey(document).cores
