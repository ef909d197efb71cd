"""An installed wheel with the extra `hosts`, on hosts over SSH: no checkout is needed anywhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.integration.wheel import built, clean_environment, into_environment
from tests.lab import world

AGENTS, REQUESTS = 2, 900


@pytest.mark.timeout(300)
def test_an_installed_wheel_prepares_hosts_and_measures_from_them(tmp_path: Path) -> None:
    """`hosts up --install`, a run between two hosts and `hosts down`, from a folder that has an inventory only."""
    wheel = built(tmp_path / "dist")
    program = into_environment(tmp_path / "env", f"{wheel}[hosts]")
    work = tmp_path / "work"
    work.mkdir()
    hosts = ["--hosts", world.inventory(work, {world.SERVER: {}, world.PLAIN: {"slots": AGENTS}})]
    campaign = world.campaign(work, agents=AGENTS)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), *arguments], cwd=work, env=clean_environment(), capture_output=True, text=True, timeout=180
        )

    up = run("hosts", "up", "--install", *hosts)
    try:
        measured = run("run", campaign, *hosts, "--json")
    finally:
        down = run("hosts", "down", *hosts)

    assert up.returncode == 0, up.stderr
    assert measured.returncode in (0, 3), measured.stderr
    (case,) = json.loads(measured.stdout)["cases"]
    assert case["requests"]["ok"] == REQUESTS
    (trial,) = work.glob("runs/*/trials/*/trial.json")
    agents = json.loads(trial.read_text())["metrics"]["agents"]
    assert [agent["agent"] for agent in agents] == [f"{world.PLAIN}/{k}" for k in range(AGENTS)]
    assert down.returncode == 0, down.stderr
