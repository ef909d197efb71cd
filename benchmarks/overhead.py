"""What an agent costs h2load: the same load bare, bare with --log-file, and under an agent, in turn; wrk and ab beside it.

A load lasts some seconds, so that the recorder works during the load and not mostly after it.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.generators.h2load_output import parse_output
from agents.load_host import LoadHost
from agents.records import Assignment
from agents.wire import decode_stream, unpack_result

REQUESTS, CLIENTS, ROUNDS = 300_000, 20, 8
WRK_S = 3
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
    """One run: requests per second by the generator's own time, and its CPU µs per request.

    tree_cpu_us: with everything that it needs beside it: recorder, samples, the process that started it.
    """

    rate: float
    cpu_us: float
    tree_cpu_us: float


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
    each_us = (usage.ru_utime + usage.ru_stime) * 1e6 / REQUESTS
    return Sample(rate(output), each_us, each_us)


def peer(argv: list[str], requests: str, per_s: str) -> Sample:
    """Measure another generator. requests, per_s: what stands before these numbers in its output."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    count, shown = (re.search(pattern, output) for pattern in (requests, per_s))
    if count is None or shown is None:
        raise RuntimeError(f"{argv[0]} did not finish: {output[-300:]}")
    each_us = (usage.ru_utime + usage.ru_stime) * 1e6 / int(count[1])
    return Sample(float(shown[1]), each_us, each_us)


def peers() -> dict[str, Callable[[], Sample]]:
    """Return the other generators that are installed."""
    wrk = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{WRK_S}s", url()]
    ab = ["ab", "-q", "-k", f"-n{REQUESTS}", f"-c{CLIENTS}", url()]
    found: dict[str, Callable[[], Sample]] = {
        "wrk": lambda: peer(wrk, r"(\d+) requests in", r"Requests/sec: +([\d.]+)"),
        "ab": lambda: peer(ab, r"Complete requests: +(\d+)", r"Requests per second: +([\d.]+)"),
    }
    return {name: way for name, way in found.items() if shutil.which(name)}


def agent() -> Sample:
    """Measure h2load under an agent."""
    host, before_s = LoadHost(), time.process_time()
    host.arm([Assignment("bench/0", "bench", url(), CLIENTS, 60_000_000, requests=REQUESTS)])
    host.release_at(time.time_ns() + 20_000_000)
    if not host.wait(60):
        raise RuntimeError("h2load did not end")
    (payload,) = decode_stream(host.collect())
    result = unpack_result(payload)
    if result.service["ok"].n != REQUESTS:
        raise RuntimeError(f"{result.service['ok'].n} of {REQUESTS} requests were recorded")
    own_us = (time.process_time() - before_s) * 1e6
    return Sample(rate(result.facts.output), result.facts.cpu_us / REQUESTS, (result.facts.cpu_us + own_us) / REQUESTS)


def rate(output: str) -> float:
    """Requests over h2load's own duration."""
    summary = parse_output(output).summary
    if summary is None or summary.succeeded != REQUESTS:
        raise RuntimeError(f"h2load did not finish: {output[-300:]}")
    return REQUESTS / (summary.finished_us / 1e6)


def measure() -> dict[str, list[Sample]]:
    """All in every round, in random order."""
    ways = {"bare": lambda: bare(False), "bare, --log-file": lambda: bare(True), "under an agent": agent, **peers()}
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
