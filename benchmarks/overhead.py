"""What an agent costs h2load: the same load bare, bare with --log-file, and under an agent, in turn."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.generators.h2load_output import parse_output
from agents.load_host import LoadHost
from agents.records import Assignment
from agents.wire import decode_stream, unpack_result

REQUESTS, CLIENTS, ROUNDS = 100_000, 20, 30
PORT = 18_399
CONFIGURATION = """
daemon off; pid {folder}/pid; error_log stderr crit; worker_processes 1;
events {{}}
http {{ access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok\\n"; }} }} }}
"""


@contextmanager
def nginx() -> Iterator[str]:
    """Run an nginx of our own: a server that is faster than one h2load thread."""
    folder = tempfile.mkdtemp(prefix="volley-bench-")
    configuration = Path(folder) / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=PORT))
    process = subprocess.Popen(["nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while (
            subprocess.run(["h2load", "--h1", "-n1", url()], capture_output=True, check=False).stdout.find(b"1 done")
            < 0
        ):
            if time.monotonic() > deadline:
                raise RuntimeError("nginx does not answer")
        yield url()
    finally:
        process.terminate()
        process.wait(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


def url() -> str:
    """Where it listens."""
    return f"http://127.0.0.1:{PORT}/"


@dataclass(frozen=True)
class Sample:
    """One run: requests per second by h2load's own time, and CPU µs per request of h2load."""

    rate: float
    cpu_us: float


def bare(log: bool) -> Sample:
    """Measure h2load by itself."""
    folder = tempfile.mkdtemp(prefix="volley-bench-", dir="/dev/shm")
    argv = [
        "h2load",
        "--h1",
        f"-n{REQUESTS}",
        f"-c{CLIENTS}",
        "-t1",
        *([f"--log-file={folder}/log"] if log else []),
        url(),
    ]
    try:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        shutil.rmtree(folder)
    return Sample(rate(output), (usage.ru_utime + usage.ru_stime) * 1e6 / REQUESTS)


def agent() -> Sample:
    """Measure h2load under an agent."""
    host = LoadHost()
    host.arm([Assignment("bench/0", "bench", url(), CLIENTS, 60_000_000, requests=REQUESTS)])
    host.release_at(time.time_ns() + 20_000_000)
    if not host.wait(60):
        raise RuntimeError("h2load did not end")
    (payload,) = decode_stream(host.collect())
    result = unpack_result(payload)
    if result.service["ok"].n != REQUESTS:
        raise RuntimeError(f"{result.service['ok'].n} of {REQUESTS} requests were recorded")
    return Sample(rate(result.facts.output), result.facts.cpu_us / REQUESTS)


def rate(output: str) -> float:
    """Requests over h2load's own duration."""
    summary = parse_output(output).summary
    if summary is None or summary.succeeded != REQUESTS:
        raise RuntimeError(f"h2load did not finish: {output[-300:]}")
    return REQUESTS / (summary.finished_us / 1e6)


def measure() -> dict[str, list[Sample]]:
    """All three in every round, in random order."""
    ways = {"bare": lambda: bare(False), "bare, --log-file": lambda: bare(True), "under an agent": agent}
    found: dict[str, list[Sample]] = {name: [] for name in ways}
    draw = random.Random(1)
    with nginx():
        for _ in range(ROUNDS):
            for name in draw.sample(list(ways), len(ways)):
                found[name].append(ways[name]())
    return found


def usable_cores() -> int:
    """How many cores h2load, nginx and the recorder share."""
    return len(os.sched_getaffinity(0))
