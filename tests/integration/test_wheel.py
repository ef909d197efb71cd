"""The wheel, as users install it: into an environment of its own, and used from another folder.

Only declared dependencies are there, so that a missing declaration fails here.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import require
from tests.integration.machine import ROOT, nothing_left
from tests.integration.wheel import built, clean_environment, into_environment, uv

IMAGE = "python:3.13-slim"
# Copied from docs/reference/ into the wheel.
EMBEDDED = "orchestrator/report/html/assets/findings.md"
MAIN = "from orchestrator.cli.__main__ import main; main()"
# In a container of the image: two real users, one of whom may use sudo, on a machine that lacks h2load only.
TWO_USERS = f"""
set -e
{{ apt-get update && apt-get install -y --no-install-recommends sudo; }} >/dev/null 2>&1
useradd -m ada
useradd -m bob
echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ada
cat >/usr/bin/volley <<'END'
#!/bin/sh
exec python3 -c '{MAIN}' "$@"
END
printf '#!/bin/sh\\n[ "$1" = context ] && echo unix:///run/docker.sock || echo 28.1\\n' >/usr/bin/docker
chmod +x /usr/bin/volley /usr/bin/docker
for user in bob ada; do
  code=0
  su "$user" -c 'volley doctor --fix' || code=$?
  echo "$user: exit code $code"
done
h2load --version
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from the sdist alone."""
    return built(tmp_path_factory.mktemp("dist"))


class Hello(BaseHTTPRequestHandler):
    """Answers every request, on connections that stay open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@dataclass
class Installed:
    """An installation. version: Python's; size: of its packages, in bytes."""

    version: str
    run: Run
    size: int


def here(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel for the Python of this environment, as pipx would."""
    folder = tmp_path_factory.mktemp("here")
    volley = into_environment(folder / "env", str(wheel))
    work = folder / "work"
    work.mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(volley), *arguments],
            cwd=work, env=clean_environment(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Installed(version, run, size_of(folder / "env/lib"))


def for_the_image(wheel: Path, packages: Path) -> Path:
    """Install the wheel for Python 3.13 into a folder, and return the folder."""
    uv("--target", str(packages), "--python-version", "3.13", "--only-binary", ":all:", str(wheel))
    return packages


def in_a_container(wheel: Path, tmp_path_factory: pytest.TempPathFactory, *options: str) -> Installed:
    """Install the wheel for Python 3.13, which runs in a container here. options: of docker run."""
    folder = tmp_path_factory.mktemp("container")
    packages = for_the_image(wheel, folder / "packages")
    work = folder / "work"
    work.mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "run", "--rm", "--network=host", "--workdir=/work", "--env=PYTHONPATH=/packages"]
        mounts = [f"--volume={packages}:/packages:ro", f"--volume={work}:/work"]
        return subprocess.run(
            [*command, *mounts, *options, IMAGE, "python", "-c", MAIN, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )

    return Installed("3.13", run, size_of(packages))


def size_of(folder: Path) -> int:
    """Return how many bytes the files of a folder have."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module", params=[here, in_a_container])
def installed(wheel: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, installed for two versions of Python."""
    if request.param is in_a_container:
        require("docker")
    return request.param(wheel, tmp_path_factory)


def test_the_wheel_has_every_file_that_volley_reads(wheel: Path) -> None:
    """Data files are easily forgotten: all that git has in the packages, and the page that report.html embeds."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "orchestrator", "agents"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        scripts = [archive.getinfo(f"orchestrator/fleet/{name}.sh") for name in ("bootstrap-host", "engine")]

    assert names == {name for name in listed.stdout.split("\0") if name} | {EMBEDDED}
    assert all(script.external_attr >> 16 & 0o111 for script in scripts)  # they can be executed


def test_an_installation_measures_from_any_folder(installed: Installed, server_url: str) -> None:
    """version, doctor, init, validate, run, show, report and bench; what needs Ray says how to get it."""
    run = installed.run

    version, doctor, init, validate = (
        run("--version"),
        run("doctor", "--all"),
        run("init"),
        run("validate", "volley.yaml"),
    )
    short = ["--set", "repetitions=1", "--only", "*/steady", "--set", "loads.steady.duration=1s"]
    measured = run("run", "volley.yaml", "--set", f"targets.service.url={server_url}", *short, "--json")
    bench = run("bench", server_url, "--rate", "50", "-d", "1s", "--repeat", "1", "--agents", "1", "--out", "bench")
    runs = run("runs")
    over_hosts = run("bench", server_url, "--ray")

    assert version.stdout.startswith("volley ")
    assert doctor.returncode in (0, 4), doctor.stderr
    assert "Traceback" not in doctor.stderr
    assert (init.returncode, validate.returncode) == (0, 0), init.stderr + validate.stderr
    assert over_hosts.returncode == 2
    assert "volley-load[hosts]" in over_hosts.stderr
    assert measured.returncode in (0, 3), measured.stderr
    assert json.loads(measured.stdout)["cases"][0]["requests"]["ok"] == 200
    assert bench.returncode in (0, 3), bench.stderr
    found = re.search(r"my-service-\w+", runs.stdout)
    assert found is not None, runs.stdout
    report = run("report", f"runs/{found[0]}")
    assert report.returncode == 0, report.stderr
    nothing_left()


def test_the_closed_loop_needs_no_h2load(installed: Installed, server_url: str) -> None:
    """The image of Python has none: paced takes its place, one line says so, and the record of the trial."""
    run = installed.run
    lacks_h2load = installed.version == "3.13"

    closed = run("bench", server_url, "-n", "200", "--clients", "2", "--repeat", "1", "--out", "closed", "--json")

    assert closed.returncode in (0, 3), closed.stderr
    said = [line for line in closed.stderr.splitlines() if "h2load is missing on this machine" in line]
    assert ["paced sends the load" in line for line in said] == [True] * lacks_h2load
    folder = re.findall(r"results: (\S+)", closed.stderr)[-1]
    (trial,) = csv.DictReader(run("export", folder, "--format", "csv").stdout.splitlines())
    assert trial["generator"] == ("paced" if lacks_h2load else "h2load")
    assert json.loads(closed.stdout)["cases"][0]["requests"]["ok"] == 200


def test_only_what_needs_h2load_is_refused_without_it(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Before a run has a folder, with the command that installs it."""
    require("docker")
    run = in_a_container(wheel, tmp_path_factory).run

    refused = run("bench", "http://127.0.0.1:9/", "--http2", "-d", "1s", "--out", "runs")

    assert refused.returncode == 4
    assert "needs h2load, which is missing" in refused.stderr
    assert "-> install it with: volley doctor --fix" in refused.stderr
    assert run("runs", "runs").stdout.count("bench-") == 0


@pytest.mark.full
def test_a_search_needs_no_h2load(wheel: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> None:
    """Its closed estimate is sent by paced, as its probes are."""
    require("docker")
    run = in_a_container(wheel, tmp_path_factory).run

    search = run(
        "saturate", server_url, "--slo", "p50 < 5s", "--highest", "40/s", "--window", "1s", "--agents", "1", "--json"
    )

    assert search.returncode == 0, search.stderr
    (found,) = json.loads(search.stdout)["saturation"]
    assert (found["ending"], found["held_per_s"]) == ("always met", 40.0)


def test_an_ordinary_user_gets_the_command_of_an_administrator(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of the installed wheel: the scripts are part of it. The image has neither sudo, h2load nor an engine."""
    require("docker")
    run = in_a_container(wheel, tmp_path_factory, "--user=1234:1234", "--env=HOME=/tmp", "--env=COLUMNS=100").run

    before, fix, document = run("doctor"), run("doctor", "--fix"), run("doctor", "--json")

    assert (before.returncode, fix.returncode, document.returncode) == (4, 4, 4), fix.stderr
    packages = "nghttp2-client docker.io iptables docker-cli"
    assert f"'volley doctor --fix' can do this here: install {packages}" in " ".join(before.stdout.split())
    assert f"--fix: install {packages}, start the Docker engine" in fix.stderr
    assert f"Run as root: apt-get update && apt-get install --no-install-recommends {packages}" in fix.stderr
    assert json.loads(document.stdout)["fixes"] == {"packages": packages.split(), "engine": True}


def test_who_may_use_sudo_installs_by_it(wheel: Path, tmp_path: Path) -> None:
    """The real apt and the real sudo. Who may not use it gets the command; nothing is installed then."""
    require("docker")
    packages = for_the_image(wheel, tmp_path / "packages")
    command = [
        "docker",
        "run",
        "--rm",
        "--network=host",
        f"--volume={packages}:/packages:ro",
        "--env=PYTHONPATH=/packages",
    ]

    done = subprocess.run(
        [*command, "--env=COLUMNS=200", IMAGE, "bash", "-c", TWO_USERS], capture_output=True, text=True, timeout=240
    )
    bob, _, ada = done.stdout.partition("bob: exit code 4\n")

    assert done.returncode == 0, done.stderr
    assert "Warning  h2load: it is not installed" in bob
    assert done.stderr.splitlines() == [
        "--fix: install nghttp2-client",
        "missing system packages: nghttp2-client. Run: sudo apt-get update && "
        "sudo apt-get install --no-install-recommends nghttp2-client",
        "--fix: install nghttp2-client",
        "installing system packages: nghttp2-client",
    ]
    assert "h2load: it is not installed" not in ada
    assert "ada: exit code 0\nh2load nghttp2/" in ada
