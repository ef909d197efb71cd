"""What a run leaves is seen by the session that started it, and not by another one that runs at the same time."""

import os
import subprocess
import sys

import psutil
import pytest

from tests import sessions

pytestmark = pytest.mark.process
SLEEP = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(60)"]
# It starts a process whose environment cannot be read any more, as Ray's workers do, and prints its pid.
NODE = [
    sys.executable,
    "-c",
    "import subprocess, sys; child = subprocess.Popen(['ray::worker', '60'], executable='sleep', env={});"
    "print(child.pid, flush=True); child.wait()",
]


@pytest.fixture
def start():
    """Start a process of a run in a session, and return it once it is up; end it with the test."""
    started = []

    def one(run, session, command=SLEEP):
        env = {**os.environ, sessions.VARIABLE: session} | ({"VOLLEY_RUN": run} if run else {})
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        process.line = process.stdout.readline().strip()  # type: ignore[attr-defined]
        return process

    yield one
    for process in started:
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
        process.communicate()


@pytest.fixture
def other(start):
    """The name of another session that runs."""
    return str(start(None, sessions.MINE).pid)


@pytest.fixture
def dead():
    """The name of a session that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return str(process.pid)


def seen():
    return {process.pid for process in sessions.processes()}


def test_a_process_is_seen_unless_another_session_has_started_it(start, other, dead):
    """Its own, that of a session which has ended, and one that belongs to none."""
    own = [start("a", session).pid for session in (sessions.MINE, dead, "")]
    strange = start("b", other).pid
    assert set(own) <= seen()
    assert strange not in seen()
    assert {"b"} <= sessions.runs_of_others()
    assert "a" not in sessions.runs_of_others()
    start("b", sessions.MINE)
    assert "b" not in sessions.runs_of_others()


def test_a_process_without_an_environment_belongs_to_the_session_of_its_parent(start, other):
    """Workers of Ray."""
    own, strange = (int(start("c", session, NODE).line) for session in (sessions.MINE, other))
    assert own in seen()
    assert strange not in seen()


@pytest.mark.parametrize("name", ["volley-d-x", "volley-truth-{mine}-x", "volley-truth-{dead}-x", "volley-x"])
def test_a_folder_is_seen_unless_it_is_that_of_another_session(tmp_path, start, other, dead, name):
    """By the run in its name, or by the pid of the session in its name."""
    start("d", sessions.MINE)
    start("e", other)
    own = name.format(mine=sessions.MINE, dead=dead)
    for each in (own, "volley-e-x", f"volley-truth-{other}-x", "something"):
        (tmp_path / each).mkdir()
    for decoy in sessions.DECOYS:
        (tmp_path / decoy).mkdir()
    assert sessions.scratch(tmp_path) == {own}


def test_each_session_has_its_own_temporary_files():
    """What a run calls by a name of its own there is this session's."""
    folder = subprocess.run(
        [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"], capture_output=True, text=True
    )
    assert folder.stdout.strip().endswith(f"/vt{os.getpid()}")


def test_a_session_removes_what_a_killed_one_inside_it_has_left(tmp_path):
    """A program of a test imports this, begins a session of its own, and is killed."""
    begin = "from tests import sessions; sessions.begin()"
    inside = f"{begin}; print('up', flush=True); import time; time.sleep(60)"
    outside = (
        f"import subprocess, sys; {begin}\n"
        f"inside = subprocess.Popen([sys.executable, '-c', {inside!r}], stdout=subprocess.PIPE)\n"
        "inside.stdout.readline(); inside.kill(); inside.wait()\n"
        "sessions.end()"
    )
    environment = {**os.environ, sessions.BASE: str(tmp_path)}

    subprocess.run([sys.executable, "-c", outside], env=environment, check=True, timeout=30)

    assert list(tmp_path.iterdir()) == []
