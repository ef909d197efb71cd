"""50 agents at 2,000 rows/s each for a minute: every row is counted, and the coordinator's memory stays flat.

A whole run, as `volley run` does it: host process, agents, generators, frames, live counts, results, pages. Only the
generators are stand-ins, which write rows that are known in advance (tests/fakes/rows_generator.py): no server and no
generators on a machine with a few cores handle 100,000 requests a second.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.figures import ROOT, Figure
from benchmarks.fresh import measured

AGENTS, RATE_PER_S, WINDOW_S = 50, 2_000, 60
ROWS = AGENTS * RATE_PER_S * WINDOW_S
# Of the window: before it the coordinator is still importing what the end of a run needs.
WATCHED_S, EVERY_S = 40.0, 0.5
# Over the watched part. 500 bytes kept for each agent and second would be as much.
MOST_GROWTH_MB = 1.0
# Medians of the known service times, in µs: 100 to 1,099, each equally often.
P50_US, P99_US = 599, 1089


def measure() -> list[Figure]:
    """Run it once, in a process of its own."""
    found = measured(__name__, "counted", str(WINDOW_S))
    return [
        Figure("agents that reported", "", [found["agents"]], at_least=AGENTS),
        Figure("rows that were missing or counted twice", "", [found["wrong_rows"]], at_most=0),
        Figure("rows counted in the window", "", [found["ok"]], at_least=ROWS),
        Figure("service time: p50, off by", "µs", [abs(found["p50_us"] - P50_US)], at_most=0),
        Figure("service time: p99, off by", "µs", [abs(found["p99_us"] - P99_US)], at_most=0),
        Figure(f"coordinator: growth over {WATCHED_S:.0f} s of load", "MB", [found["growth_mb"]], MOST_GROWTH_MB),
        Figure("coordinator: resident memory under load", "MB", [found["resident_mb"]]),
        Figure("coordinator: most memory, results included", "MB", [found["peak_mb"]]),
        Figure("coordinator: CPU time of the whole run", "s", [found["cpu_s"]]),
    ]


def counted(window_s: str) -> dict[str, float]:
    """Carry out the run in this process, which is its coordinator. window_s: of the load."""
    from orchestrator.campaign.hosts import Hosts
    from orchestrator.campaign.run import run_campaign
    from orchestrator.fleet import place
    from orchestrator.spec.load import from_plain

    seconds, memory = int(window_s), Memory()
    with _answering() as url, tempfile.TemporaryDirectory(prefix="volley-bench-") as folder:
        loaded = from_plain(campaign(url, seconds))
        # This machine otherwise takes two agents for each core.
        with mock.patch.object(place, "LOCAL_SLOTS_PER_CORE", AGENTS):
            finished = run_campaign(loaded, "{}", Path(folder), None, memory.see, Hosts())
    (trial,) = finished.trials
    if trial.metrics is None:
        raise RuntimeError(f"the trial has no numbers: {trial.facts.error}")
    agents, due = trial.facts.agents, RATE_PER_S * seconds
    wrong = sum(abs((agent.due or 0) - due) + abs(agent.rows - (agent.done or 0)) for agent in agents)
    counted_ok = trial.metrics.requests.ok
    return {
        "agents": len(agents),
        "ok": counted_ok,
        "wrong_rows": wrong + abs(counted_ok - due * AGENTS),
        "p50_us": trial.metrics.service_time_us["p50"] or 0.0,
        "p99_us": trial.metrics.service_time_us["p99"] or 0.0,
        **memory.found(),
    }


def campaign(url: str, seconds: int) -> dict[str, Any]:
    """Return the campaign as plain data."""
    generator = {"command": [sys.executable, str(ROOT / "tests" / "fakes" / "rows_generator.py")]}
    load = {
        "model": "open",
        "rate": f"{AGENTS * RATE_PER_S}/s",
        "duration": f"{seconds}s",
        "warm_up": "1s",
        "tail": "500ms",
        "generator": generator,
    }
    return {
        "campaign": "many-rows",
        "targets": {"known": {"url": url}},
        "loads": {"rows": load},
        "agents": AGENTS,
        "repetitions": 1,
    }


class Memory:
    """The resident memory of this process, from T0 on."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._over = threading.Event()

    def see(self, event: Any) -> None:
        """Take in an event of the run: begin at T0, end when results are collected."""
        if event.kind == "released":
            threading.Thread(target=self._sample, name="memory", daemon=True).start()
        if event.kind == "phase" and event.text == "collecting":
            self._over.set()

    def _sample(self) -> None:
        while not self._over.wait(EVERY_S):
            self._samples.append((time.monotonic(), resident_mb()))

    def found(self) -> dict[str, float]:
        """Return growth over the watched part, by the least-squares line, and the last memory, in MB."""
        last_s = self._samples[-1][0]
        watched = [(at - last_s, mb) for at, mb in self._samples if at >= last_s - WATCHED_S]
        return {"growth_mb": slope(watched) * (watched[-1][0] - watched[0][0]), "resident_mb": watched[-1][1]}


def slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line through points (x, y)."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def resident_mb() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def _answering() -> Iterator[str]:
    """Yield the URL of a server for the requests before and after the load: the generators send none."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
