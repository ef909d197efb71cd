"""A trial without Ray: the same run_trial, over a load host in this process; the real h2load, real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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


# It prints how much later than it wanted it woke up, in µs: each time that it did.
WITNESS = """
import array, signal, sys, time
late, stop = array.array("q"), []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
print("ready", flush=True)
before = time.monotonic_ns()
while not stop:
    time.sleep(0.001)
    now = time.monotonic_ns()
    late.append(now - before - 1_000_000)
    before = now
print(*(ns // 1000 for ns in late))
"""


# What a process that wants to wake every millisecond is late by in one of ten times, in one of a hundred and at worst, in
# µs, on a machine that runs all the time: it was 100, 250 and 1,000. Where a hypervisor takes cores away it was 130 to
# 930, 500 to 5,000 and 2,500 to 40,000, and so late were the slowest tenth and percent of a load beside it.
CALM_US = (150, 400, 2_000)


@dataclass
class Hiccups:
    """How this machine ran, as a process sees it that only wants to wake every millisecond. late_us: how late it woke."""

    late_us: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        p90, p99 = self.percentile_us(0.9), self.percentile_us(0.99)
        return f"late by {p90} µs in one of ten, {p99} µs in one of a hundred, {self.worst_us} µs at worst"

    @property
    def calm(self) -> bool:
        """Return whether the machine ran all the time, so that times can be held against a record."""
        late_us = (self.percentile_us(0.9), self.percentile_us(0.99), self.worst_us)
        return all(late <= most for late, most in zip(late_us, CALM_US, strict=True))

    @property
    def worst_us(self) -> int:
        """Return how long the machine stood still at worst."""
        return max(self.late_us)

    def percentile_us(self, quantile: float) -> int:
        """Return a percentile of how late the process woke: what the machine adds to as many of the client's times."""
        return sorted(self.late_us)[int(quantile * (len(self.late_us) - 1))]


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
        seen.late_us = [int(word) for word in process.stdout.read().split()]
        process.wait(timeout=10)


# So many on a machine that runs all the time, and in all.
ATTEMPTS, AT_MOST = 3, 6


def attempts() -> Iterator[Hiccups]:
    """Yield once for each attempt at something that a machine which stands still may spoil: three on a calm machine."""
    calm = made = 0
    while calm < ATTEMPTS and made < AT_MOST:
        with hiccups() as machine:
            yield machine
        calm, made = calm + machine.calm, made + 1


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
