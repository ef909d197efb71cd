"""Running the real command, and looking at what it leaves on the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests import sessions

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).parent / "tiny"
VOLLEY = [sys.executable, "-m", "orchestrator.cli"]


def volley(*arguments: str, timeout: float = 240, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end."""
    return subprocess.run([*VOLLEY, *arguments], capture_output=True, text=True, timeout=timeout, cwd=ROOT, **options)


def killed_at(words: str, *arguments: str, number: int = signal.SIGKILL) -> int:
    """Start a verb, and end it with a signal as soon as a line of its progress has some words in it.

    Return how it ended; number: of the signal, by default kill -9.
    """
    process = subprocess.Popen(
        [*VOLLEY, *arguments], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            break
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


def tiny_campaign(folder: Path, port: int, mode: str = "ok", **changes: Any) -> str:
    """Write a campaign whose target is the tiny server; JSON is YAML too."""
    target: dict[str, Any] = {
        "build": str(TINY),
        "port": port,
        "env": {"MODE": mode, "PORT": str(port)},
        "limits": {"cpus": 1, "memory": "64MiB"},
        "ready": {"timeout": "8s"},
        "expect": {"json": {"message": "ok"}},
    }
    target |= changes.pop("target", {})
    document = {
        "campaign": f"tiny-{mode}",
        "targets": {"tiny": target},
        "loads": {"burst": {"clients": 8, "requests": 400}},
        "repetitions": 1,
        **changes,
    }
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(document))
    return str(path)


# What other work left here before these tests is not theirs to judge.
_FOLDERS = (
    sessions.SHARED_MEMORY,
    Path(os.environ.get(sessions.BASE, tempfile.gettempdir())),
    Path(tempfile.gettempdir()),
)
_BEFORE = {folder: set(os.listdir(folder)) for folder in _FOLDERS}


class Container(NamedTuple):
    """A container or a volume, and the run in its label."""

    name: str
    run: str


def containers_here() -> list[Container]:
    """Return the containers of all runs on this machine's engine."""
    return _labelled("ps", "-a", name="ID")


def volumes_here() -> list[Container]:
    """Return the volumes of all runs on this machine's engine."""
    return _labelled("volume", "ls", name="Name")


def _labelled(*command: str, name: str) -> list[Container]:
    form = f'{{{{.{name}}}}} {{{{.Label "volley.run"}}}}'
    listing = ["docker", *command, "--filter", "label=volley.run", "--format", form]
    output = subprocess.run(listing, capture_output=True, text=True, timeout=60, check=True).stdout
    return [Container(*line.split(maxsplit=1)) for line in output.splitlines()]


def left_behind() -> dict[str, list[Any]]:
    """Return the containers, volumes, processes and files of runs that are on this machine now and may be this session's."""
    processes = [f"{process.pid} {process.info['name']}" for process in sessions.processes()]
    containers = [*containers_here(), *volumes_here()]
    others = sessions.runs_of_others() if containers else set()
    scratch = sorted(name for folder, before in _BEFORE.items() for name in sessions.scratch(folder) - before)
    return {"containers": [c for c in containers if c.run not in others], "processes": processes, "scratch": scratch}


def nothing_left(within_s: float = 15.0) -> None:
    """Fail when something of a run is still there after a while."""
    deadline = time.monotonic() + within_s
    while any((left := left_behind()).values()):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def only_run(out: Path) -> Path:
    """Give the folder of the one run that was made."""
    (run,) = out.iterdir()
    return run


# What a busy or borrowed machine does to a measurement, whoever is measured: findings that are right there.
OF_THE_MACHINE = {
    "shared-host", "host-steal", "generator-cpu", "send-lag", "rate-not-reached", "start-skew", "clock-bound", "not-steady",
    "littles-law", "agent-imbalance", "censored-tail", "clients-lost", "bursty-arrivals", "out-of-slots",
}  # fmt: skip
# Above these it was busy; below, nothing excuses a finding.
STOLEN, WAITING, FREE = 0.02, 0.03, 0.25


def above_information(summary: dict[str, Any]) -> dict[str, Any]:
    """The findings of a summary that touch the verdict, by code."""
    return {f["code"]: f for case in summary["cases"] for f in case["findings"] if f["severity"] != "information"}


def busy(trials: Iterable[dict[str, Any]]) -> bool:
    """Say whether the machine had other things to do in any of these trials, by its own meters."""
    facts = [trial["facts"] for trial in trials]
    hosts = [use for each in facts for use in each["hosts"]]
    waited = max((agent["waiting_share"] for each in facts for agent in each["agents"]), default=0.0)
    return waited > WAITING or any(use["steal_share"] > STOLEN or use["free_share"] < FREE for use in hosts)


def measured(code: int, run: Path) -> bool:
    """Say whether a verb ended as the results in a run's folder say: with 0, or with 3 where a busy machine spoiled them.

    Fails where anything else made a result INVALID, and where the machine was not busy by its own meters.
    """
    summary = json.loads((run / "summary.json").read_text())
    spoiled = {f["code"] for f in above_information(summary).values() if f["severity"] == "invalid"}
    trials = [json.loads(path.read_text()) for path in (run / "trials").glob("*/trial.json")]
    assert spoiled <= (OF_THE_MACHINE if busy(trials) else set()), above_information(summary)
    return code == (3 if summary["verdict"] == "INVALID" else 0)


def valid_but_for_the_machine(summary: dict[str, Any], trials: list[dict[str, Any]]) -> None:
    """VALID, without a finding above information; a machine that was busy meanwhile may have said so of itself."""
    found = above_information(summary)
    assert set(found) <= (OF_THE_MACHINE if busy(trials) else set()), (found, [t["facts"]["hosts"] for t in trials])
    assert summary["verdict"] in ("VALID", "SUSPECT", "INVALID") if found else summary["verdict"] == "VALID"
