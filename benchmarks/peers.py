"""How each load generator is started for one load, and what it is called in the table."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agents.generators import h2load, h2load_version
from agents.generators.contract import GeneratorTask, Model, TaskRequest
from agents.generators.process import GeneratorProcess
from agents.generators.program import PACED, Program
from agents.records import Assignment
from benchmarks import locust_environment

# Connections of h2load and users of Locust each send this often. Of 2, 10, 50 and 100/s it gave h2load the most even
# arrivals at 1000, 2011 and 5000/s; Locust showed no clear difference.
EACH_PER_S = 50
FEWEST = 10
PACED_CLIENTS = 1000
LEAD_NS = 50_000_000
BEGIN_WITHIN_S = 20.0
# Loads are asked for this much longer than they are measured, and then ended.
SPARE_S = 2.0


class Peer(StrEnum):
    """The generators that are compared."""

    PACED = "paced"
    H2LOAD = "h2load"
    LOCUST = "locust"
    WRK = "wrk"


@dataclass(frozen=True, slots=True)
class Load:
    """One load. rate_per_s: None for the closed loop of wrk over `connections`. folder: for logs, empty at first."""

    url: str
    rate_per_s: float | None
    connections: int
    duration_s: float
    folder: Path


class Failed(RuntimeError):
    """A generator did not start. The message has the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Started:
    """A generator that is sending. begun_ns: since when, on the wall clock. close: frees its pipes after its end."""

    process: GeneratorProcess
    begun_ns: int
    close: Callable[[], None]


def many(rate_per_s: float) -> int:
    """Return how many connections or users share a rate."""
    return max(FEWEST, round(rate_per_s / EACH_PER_S))


def start(peer: Peer, load: Load) -> Started:
    """Start a generator on this thread's cores; return when it has begun. Raise Failed."""
    return {Peer.PACED: _paced, Peer.H2LOAD: _h2load, Peer.LOCUST: _locust, Peer.WRK: _wrk}[peer](load)


def _rate(load: Load) -> float:
    assert load.rate_per_s is not None, "only wrk has no rate"
    return load.rate_per_s


def _paced(load: Load) -> Started:
    """The generator alone, as an agent starts it; the recorder that reads its log is not part of it."""
    task = GeneratorTask(
        log=str(load.folder / "log"),
        requests=(TaskRequest(load.url),),
        model=Model.OPEN,
        clients=PACED_CLIENTS,
        rate_per_s=_rate(load),
        duration_us=round((load.duration_s + SPARE_S) * 1e6),
    )
    program = Program("paced", list(PACED), task, load.folder, dict(os.environ))
    program.arm()
    t0_ns = time.time_ns() + LEAD_NS
    program.announce(t0_ns)
    return Started(program.process, t0_ns, program.close)


def _h2load(load: Load) -> Started:
    """The command line that Volley makes for an open loop: log of requests, connections started one after the other."""
    rate = _rate(load)
    clients = many(rate)
    requests = max(clients, round(rate * (load.duration_s + SPARE_S)))
    task = Assignment("bench/0", "bench", load.url, clients, 60_000_000, count=requests, rate_per_s=rate)
    return _spawn(h2load.command(task, h2load_version.detect(), str(load.folder / "log")), load)


def _wrk(load: Load) -> Started:
    duration = f"{round(load.duration_s + SPARE_S)}s"
    return _spawn(["wrk", "-t1", f"-c{load.connections}", f"-d{duration}", load.url], load)


def _locust(load: Load) -> Started:
    users = many(_rate(load))
    script = str(Path(__file__).with_name("locust_users.py"))
    options = ["--headless", "--only-summary", "--skip-log", f"-u{users}", f"-r{users}", "--host", load.url.rstrip("/")]
    argv = [locust_environment.python(), "-m", "locust", "-f", script, *options]
    return _spawn(argv, load, {"BENCH_RATE_PER_S": str(load.rate_per_s), "BENCH_USERS": str(users)}, "begun")


def _spawn(argv: list[str], load: Load, variables: dict[str, str] | None = None, word: str = "") -> Started:
    """Start a program that begins at once, or when it prints a line with this word."""
    output = load.folder / "output"
    with output.open("wb") as stderr:
        child = subprocess.Popen(
            argv, env=os.environ | (variables or {}), stdout=subprocess.PIPE, stderr=stderr, cwd=load.folder
        )
    assert child.stdout is not None
    os.set_blocking(child.stdout.fileno(), False)
    process = GeneratorProcess()
    process.started(child, child.stdout)
    _wait_for(word, process, output)
    return Started(process, time.time_ns(), child.stdout.close)


def _wait_for(word: str, process: GeneratorProcess, output: Path) -> None:
    deadline = time.monotonic() + BEGIN_WITHIN_S
    while word and word not in process.text:
        if process.reap() or time.monotonic() > deadline:
            process.terminate()
            raise Failed(f"it did not begin: {output.read_text(errors='replace')[-300:]}")
        assert process.output is not None
        select.select([process.output], [], [], 0.1)
        process.read_output()


def missing() -> dict[Peer, str]:
    """Return why generators cannot take part, by generator; Locust is installed first."""
    reasons = {}
    for peer, package in ((Peer.WRK, "wrk"), (Peer.H2LOAD, "nghttp2-client")):
        if shutil.which(peer) is None:
            reasons[peer] = f"{peer} is missing. Run: apt-get install {package}"
    try:
        locust_environment.python()
    except locust_environment.NoLocust as error:
        reasons[Peer.LOCUST] = str(error)
    return reasons


def versions(peers: list[Peer]) -> dict[str, str]:
    """Return what each generator says of its version; paced is part of the commit."""
    asked = {Peer.WRK: ["wrk", "-v"], Peer.H2LOAD: ["h2load", "--version"]}
    if Peer.LOCUST in peers:
        asked[Peer.LOCUST] = [locust_environment.python(), "-m", "locust", "--version"]
    said = {}
    for peer, argv in asked.items():
        if peer in peers:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
            said[str(peer)] = " ".join((done.stdout or done.stderr).split("\n")[0].split()[:2])
    return said
