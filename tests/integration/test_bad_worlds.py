"""What the world can do wrong: each told in one line with what to do, the right exit code, nothing left."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import sessions
from tests.integration.machine import left_behind, tiny_campaign, volley


def told(done, code, *words):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert "\n  -> " in done.stderr


def test_port_in_use(tmp_path):
    """Something listens there already."""
    with socket.create_server(("0.0.0.0", 18311)):
        done = volley("run", tiny_campaign(tmp_path, 18311), "--out", str(tmp_path / "runs"))

    told(done, 4, "port 18311 is in use", "ss -ltnp")


def test_a_build_that_fails(tmp_path):
    """The end of its output is in the message; the builder's own container is gone as well."""

    def containers():
        return subprocess.run(["docker", "ps", "-aq"], capture_output=True, text=True, check=True).stdout.split()

    before = containers()
    context = tmp_path / "broken"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM python:3.13-slim\nRUN echo about to fail && false\n")

    done = volley(
        "run", tiny_campaign(tmp_path, 18312, target={"build": str(context)}), "--out", str(tmp_path / "runs")
    )

    told(done, 4, "docker build of", "failed", "returned a non-zero code: 1", "fix the Dockerfile")
    left = set(containers()) - set(before)
    # Another session may build as well; what belongs to it goes away.
    deadline = time.monotonic() + 15
    while left & set(containers()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_no_docker_engine(tmp_path):
    """The engine does not answer."""
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/no.sock"}

    done = volley("run", tiny_campaign(tmp_path, 18313), "--out", str(tmp_path / "runs"), env=environment)

    told(done, 4, "the Docker engine at unix:", "does not answer", "systemctl start docker")


def without_h2load(tmp_path: Path) -> dict[str, str]:
    """A PATH with everything but h2load."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("docker", "sh", "bash", "env"):
        for where in os.environ["PATH"].split(":"):
            if (Path(where) / name).exists():
                (folder / name).symlink_to(Path(where) / name)
                break
    (folder / "python3").symlink_to(sys.executable)
    return {**os.environ, "PATH": str(folder)}


def test_no_h2load(tmp_path):
    """Only h2load speaks HTTP/2: refused before there is a run, with the command that installs it."""
    url, out = "http://127.0.0.1:18314/", tmp_path / "runs"
    done = volley("bench", url, "--http2", "-n", "100", "--out", str(out), env=without_h2load(tmp_path))

    told(done, 4, "needs h2load, which is missing", "volley doctor --fix")
    assert not out.exists()


def test_doctor_names_what_is_missing(tmp_path):
    """Each problem with its fix, first; exit code 4; the rest is checked all the same."""
    environment = {**without_h2load(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/no.sock"}

    done = volley("doctor", env=environment)

    assert done.returncode == 4
    assert "This machine is not ready: 1 problem to fix." in done.stdout
    assert "Warning  h2load: " in done.stdout
    assert "Problem  docker engine: " in done.stdout
    sound = " ".join(done.stdout.partition("No problem with: ")[2].split())
    assert "python" in sound
    assert "request logs" in done.stdout


def test_doctor_on_a_fit_machine():
    """Nothing missing: 0."""
    done = volley("doctor")

    assert done.returncode == 0, done.stdout
    assert "Problem" not in done.stdout


@pytest.mark.provokes("server-not-ready")
def test_urls_that_nothing_answers(tmp_path):
    """Refused, and unknown: server-not-ready, exit code 4, soon."""
    document = {
        "campaign": "nobody",
        "targets": {"refused": {"url": "http://127.0.0.1:9/"}, "unknown": {"url": "http://no-such-host.invalid/"}},
        "loads": {"burst": {"clients": 4, "requests": 100}},
        "repetitions": 1,
    }
    (tmp_path / "nobody.yaml").write_text(json.dumps(document))

    done = volley("run", str(tmp_path / "nobody.yaml"), "--out", str(tmp_path / "runs"))

    assert done.returncode == 4, done.stderr
    said = " ".join(done.stdout.split())
    assert (
        "refused has no valid result: Before the load the server gave no answer that can be measured: Connection refused"
        in said
    )
    assert "unknown has no valid result: Before the load the server gave no answer that can be measured: " in said
    assert "Traceback" not in done.stderr


def test_what_a_run_leaves_is_seen():
    """The check itself: a container and a process of a run of this session, but not those of another session."""
    processes, made = [], []
    with subprocess.Popen(["sleep", "60"]) as other:
        for run, session in (("mine", sessions.MINE), ("theirs", str(other.pid))):
            env = {**os.environ, sessions.VARIABLE: session, "VOLLEY_RUN": run}
            processes.append(subprocess.Popen(["sleep", "60"], env=env))
            create = ["docker", "create", "--label", f"volley.run={run}", "python:3.13-slim", "true"]
            made.append(subprocess.run(create, capture_output=True, text=True, check=True).stdout.strip())
        try:
            left = left_behind()
        finally:
            subprocess.run(["docker", "rm", "-f", *made], capture_output=True, check=True)
            for process in [*processes, other]:
                process.kill()
                process.wait()
    assert [container.run for container in left["containers"]] == ["mine"]
    assert left["processes"] == [f"{processes[0].pid} sleep"]
