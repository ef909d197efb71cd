"""A Docker engine that dies under a run: its container reappears with the engine, and is removed then."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from agents import lease
from tests import sessions
from tests.chaos.engine import OwnEngine
from tests.conftest import require
from tests.integration.machine import ROOT, VOLLEY, nothing_left, only_run, volley

PORT = 18328
IMAGE = "volley-test:static"
# Answers every request at once, with the same response.
SERVER = """
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr = {htonl(0x7f000001)}};
  const char *answer = "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok";
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  signal(SIGCHLD, SIG_IGN);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (void *)&at, sizeof at) || listen(listener, 64)) return 1;
  for (;;) {
    int client = accept(listener, 0, 0);
    if (client >= 0 && !fork()) {
      char seen[4096];
      while (read(client, seen, sizeof seen) > 0) if (write(client, answer, strlen(answer)) < 0) break;
      return 0;
    }
    close(client);
  }
}
"""


@pytest.fixture
def engine():
    """An engine of the test's own, with an image of a small server."""
    require("dockerd", "cc")
    # Not pytest's folder: the path of a socket must not exceed 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="vde", dir="/tmp"))
    made = OwnEngine(folder)
    try:
        made.start()
        _make_image(made, folder)
        yield made
    finally:
        if made.docker("version").returncode != 0:
            made.start()
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _make_image(engine, folder):
    """The image is the server alone, so that it is there at once."""
    (folder / "server.c").write_text(SERVER)
    subprocess.run(["cc", "-O1", "-static", "-o", folder / "server", folder / "server.c"], check=True)
    subprocess.run(["tar", "-C", folder, "-cf", folder / "image.tar", "server"], check=True)
    done = engine.docker("import", "-c", f'CMD ["/server", "{PORT}"]', str(folder / "image.tar"), IMAGE)
    assert done.returncode == 0, done.stderr


def test_an_engine_that_is_killed_under_load(engine, tmp_path):
    """The try is recorded, and the run ends in an orderly way. Doctor removes the container once the engine is back."""
    campaign = {
        "campaign": "engine-killed",
        "targets": {"one": {"image": IMAGE, "port": PORT, "ready": {"timeout": "8s"}}},
        "loads": {"long": {"clients": 4, "duration": "3s"}},
        "repetitions": 1,
        "retries": 0,
    }
    path = tmp_path / "campaign.yaml"
    path.write_text(json.dumps(campaign))
    run = [*VOLLEY, "run", str(path), "--out", str(tmp_path / "runs")]
    environment = {**os.environ, "DOCKER_HOST": engine.address}
    process = subprocess.Popen(
        run, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 60
    while not [each for each in sessions.processes() if each.info["name"] == "h2load"]:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ((container, _),) = engine.labelled()
    policy = engine.docker("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", container).stdout.strip()
    engine.process().kill()
    engine.reap()
    output, _ = process.communicate(timeout=90)
    dead = [seen.holder.run for seen in lease.leases() if not seen.live]
    engine.start()
    reappeared = engine.labelled()
    doctor = volley("doctor", env=environment)

    (stored,) = (only_run(tmp_path / "runs") / "trials").glob("*/trial.json")
    assert policy in ("", "no")  # the same to the engine
    assert process.returncode == 4, output
    assert "the Docker engine stopped answering" in json.loads(stored.read_text())["facts"]["lost"][0]
    assert "error: this machine could not be cleaned up: cannot remove containers: " in output
    assert "Traceback" not in output
    assert dead == [only_run(tmp_path / "runs").name]
    assert [each.name for each in reappeared] == [container]
    assert "removed what dead runs had left: 1 container" in doctor.stderr
    assert engine.labelled() == []
    assert lease.leases() == []
    nothing_left()
