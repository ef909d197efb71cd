"""A run over hosts as people have them: an alias of ssh_config, fish that prints, one session at a time, IPv6 only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.machine import ROOT, VOLLEY, measured, only_run
from tests.mini_hosts import free_port, mini_hosts, trusted

__all__ = ["mini_hosts", "trusted"]
FIRST_PORT = 20400


@pytest.fixture
def server():
    """Return a function that starts the trivial server at an address and returns its URL; it ends after the test."""
    started = []

    def start(address):
        port = free_port(address)
        command = [sys.executable, "-m", "agents.trivial", address, str(port), "1"]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline()
        return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"

    yield start
    for process in started:
        process.communicate(timeout=10)


@pytest.mark.parametrize("family", [pytest.param(4, marks=pytest.mark.full), 6])
def test_a_run_over_hosts_as_people_have_them(mini_hosts, trusted, server, tmp_path, monkeypatch, family):
    """What check calls ready, a run uses: from the alias to the merged result."""
    host = mini_hosts.start(
        "gen",
        network=family,
        shell="/usr/bin/fish",
        files={".config/fish/config.fish": "echo noise; echo noise >&2\n"},
        settings="MaxSessions 1",
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    trusted(host.known())
    (Path.home() / ".ssh" / "config").write_text(f"Host gen\n  HostName {host.address}\n")
    inventory = mini_hosts.inventory({"gen": {}}, coordinator={"address": host.coordinator}, ports=FIRST_PORT)

    def volley(*words):
        return subprocess.run([*VOLLEY, *words, "--hosts", str(inventory)], cwd=ROOT, env=dict(os.environ),
                              capture_output=True, text=True, timeout=120, check=False)  # fmt: skip

    checked = volley("hosts", "check", "--json")
    assert checked.returncode == 0, checked.stderr + checked.stdout
    run = volley("bench", server(host.coordinator), "-d", "1s", "-c", "3", "--rate", "150/s",
                 "--repeat", "1", "--out", str(tmp_path / "runs"))  # fmt: skip

    assert measured(run.returncode, only_run(tmp_path / "runs")), run.stdout + run.stderr
    assert list(host.home.glob(".cache/volley/packages-*"))
    assert volley("hosts", "clean").returncode == 0
    assert not (host.home / ".cache" / "volley").exists()
