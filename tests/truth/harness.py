"""A trial without Ray: the same run_trial, over a load host in this process; the real h2load, real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.records import to_plain
from orchestrator.analyse.cases import judge
from orchestrator.fleet.hosts import Placed
from orchestrator.plan import make_plan
from orchestrator.result import Trial
from orchestrator.run.inputs import TrialInput, TrialOutput
from orchestrator.run.trial import run_trial
from orchestrator.spec.load import from_plain
from tests.fakes.handles import load_here

ROOT = Path(__file__).parents[2]
# Its files tell by the pid which session they belong to.
RUN = f"truth-{os.getpid()}"


@contextmanager
def server(kind: str, **options: Any) -> Iterator[str]:
    """Run a server of known behaviour; give its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.truth.servers", kind, json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"{'https' if options.get('tls') else 'http'}://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(timeout=10)


WITNESS = """
import signal, sys, time
worst, stop = 0, []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
print("ready", flush=True)
before = time.monotonic_ns()
while not stop:
    time.sleep(0.001)
    now = time.monotonic_ns()
    worst, before = max(worst, now - before - 1_000_000), now
print(worst // 1000)
"""


class Hiccups:
    """How long this machine stood still at worst, as a process sees it that only wants to wake every millisecond."""

    worst_us = 0


@contextmanager
def hiccups() -> Iterator[Hiccups]:
    """Watch the machine beside a load: what it stops for is in the client's times and not in the server's record."""
    seen = Hiccups()
    process = subprocess.Popen([sys.executable, "-c", WITNESS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield seen
    finally:
        process.terminate()
        seen.worst_us = int(process.stdout.read())
        process.wait(timeout=10)


def run(
    url: str,
    agents: int = 2,
    expect: dict[str, Any] | None = None,
    core: int | None = None,
    apart: bool = False,
    **load: Any,
) -> tuple[Trial, TrialOutput]:
    """Run one trial of one load against a URL, over `agents` agents of one host; give it judged, and raw.

    apart: each agent requests a path of its own, /0, /1 ..., or sends it as a message: of as many rows of data as agents, each takes one.
    """
    if not apart:
        return _run(url, agents, expect, core, load, Path.cwd())
    with tempfile.TemporaryDirectory() as folder:
        rows = ["agent", *map(str, range(agents))]
        (Path(folder) / "agents.csv").write_text("\n".join(rows) + "\n")
        by_agent = load | {"data": {"file": "agents.csv"}}
        if load.get("protocol") == "websocket":
            # All messages share the handshake, and its path: the message tells agents apart.
            return _run(url, agents, expect, core, by_agent | {"message": "/${row.agent}"}, Path(folder))
        return _run(url.rstrip("/") + "/${row.agent}", agents, expect, core, by_agent, Path(folder))


def _run(
    url: str, agents: int, expect: dict[str, Any] | None, core: int | None, load: dict[str, Any], folder: Path
) -> tuple[Trial, TrialOutput]:
    plain = {
        "campaign": "truth",
        "targets": {"t": {"url": url, "expect": expect or {}}},
        "loads": {"l": load},
        "agents": agents,
        "repetitions": 1,
    }
    campaign = from_plain(plain, folder).campaign
    plan = make_plan(campaign)
    host = load_here()
    item = TrialInput(plan.trials[0], campaign.targets["t"], campaign.loads["l"], None, folder, RUN)
    output = run_trial(item, Placed(None, [host], [[core] * agents]), lambda event: None)
    return judge(output.facts, output.agents), output


def codes(trial: Trial) -> set[str]:
    """The codes of a trial's findings."""
    return {finding.code for finding in trial.findings}


def explain(trial: Trial) -> str:
    """What to print when an assertion fails."""
    return json.dumps(
        {"verdict": trial.verdict, "findings": [to_plain(f) for f in trial.findings]}, indent=1, default=str
    )
