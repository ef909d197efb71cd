"""What an agent costs a generator: paced and h2load under an agent beside h2load alone and other generators, by turns.

A load lasts at least LASTING_S, so that the recorder works during the load and not mostly after it.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agents.generators.h2load_output import parse_output
from agents.load_host import LoadHost
from agents.records import Assignment, GeneratorKind
from agents.wire import decode_stream, unpack_result
from benchmarks import locust_environment

# h2load by itself sends this many in about 4 s.
REQUESTS = 400_000
CLIENTS, ROUNDS, LASTING_S = 20, 5, 3
# Debian's packages by program.
PACKAGES = {"nginx": "nginx-light", "h2load": "nghttp2-client", "wrk": "wrk", "ab": "apache2-utils", "hey": "hey"}
ALONE, LOGGED = "h2load", "h2load --log-file"
UNDER_AGENT, PACED = "h2load under an agent", "paced under an agent"
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


class Missing(RuntimeError):
    """A program that is compared is not installed. The message names its package."""


@dataclass(frozen=True)
class Sample:
    """One run: requests per second by the generator's own time, and the CPU time of each request in µs.

    cpu_us: of the generator. tree_cpu_us: with all that it needs beside it: recorder, readings, what was started for it.
    """

    rate: float
    cpu_us: float
    tree_cpu_us: float


def h2load(log: bool) -> Sample:
    """Measure h2load by itself."""
    folder = tempfile.mkdtemp(prefix="volley-bench-", dir="/dev/shm")
    logging = [f"--log-file={folder}/log"] if log else []
    try:
        output, cpu_s = _run(["h2load", "--h1", f"-n{REQUESTS}", f"-c{CLIENTS}", "-t1", *logging, url()])
    finally:
        shutil.rmtree(folder)
    each_us = cpu_s * 1e6 / REQUESTS
    return Sample(rate(output), each_us, each_us)


def peer(argv: list[str], requests: str, per_s: str) -> Sample:
    """Measure another generator. requests, per_s: what stands before these numbers in its output."""
    output, cpu_s = _run(argv)
    count, shown = (re.search(pattern, output) for pattern in (requests, per_s))
    if count is None or shown is None:
        raise RuntimeError(f"{argv[0]} did not finish: {output[-300:]}")
    each_us = cpu_s * 1e6 / int(count[1])
    return Sample(float(shown[1]), each_us, each_us)


def locust() -> Sample:
    """Measure Locust's FastHttpUser. Its start is not counted."""
    script = str(Path(__file__).with_name("locust_flood.py"))
    options = ["--headless", "--only-summary", "--skip-log", f"-u{CLIENTS}", f"-r{CLIENTS}", f"-t{LASTING_S}s"]
    argv = [locust_environment.python(), "-m", "locust", "-f", script, *options, "--host", url().rstrip("/")]
    output, _ = _run(argv)
    (line,) = (line for line in output.splitlines() if line.startswith("{"))
    found = json.loads(line)
    each_us = found["cpu_s"] * 1e6 / found["requests"]
    return Sample(found["requests"] / found["seconds"], each_us, each_us)


def agent(generator: GeneratorKind) -> Sample:
    """Measure a generator under an agent. Its start is counted, as it is for the others."""
    task = Assignment("bench/0", "bench", url(), CLIENTS, 60_000_000, generator=generator)
    is_h2load = generator is GeneratorKind.H2LOAD
    task = replace(task, count=REQUESTS) if is_h2load else replace(task, duration_us=LASTING_S * 1_000_000)
    host, before_s = LoadHost(), _cpu_s()
    host.arm([task])
    host.release_at(time.time_ns() + 20_000_000)
    if not host.wait(60):
        raise RuntimeError(f"{generator} did not end")
    stream = host.collect()
    tree_us = (_cpu_s() - before_s) * 1e6
    (payload,) = decode_stream(stream)
    facts = unpack_result(payload).facts
    done, sent_s = facts.statuses.get(200, 0), (facts.last_end_us - facts.first_start_us) / 1e6
    if done < 0.999 * max(1, facts.rows) or facts.errors:
        raise RuntimeError(f"{done} of {facts.rows} requests were answered: {facts.errors}")
    per_s = rate(facts.output) if is_h2load else done / sent_s
    return Sample(per_s, facts.cpu_us / done, tree_us / done)


def _run(argv: list[str]) -> tuple[str, float]:
    """Run a program to its end; return what it printed, and its CPU time and that of what it started, in seconds."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return output, usage.ru_utime + usage.ru_stime


def _cpu_s() -> float:
    """Return the CPU time of this process and of all that it started and that has ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def rate(output: str) -> float:
    """Requests over h2load's own duration."""
    summary = parse_output(output).summary
    if summary is None or summary.succeeded != REQUESTS:
        raise RuntimeError(f"h2load did not finish: {output[-300:]}")
    return REQUESTS / (summary.finished_us / 1e6)


def ways() -> dict[str, Callable[[], Sample]]:
    """Return how each generator is measured, by name."""
    wrk = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{LASTING_S}s", url()]
    # A limit in time sets a limit of 50,000 requests, unless one follows.
    ab = ["ab", "-q", "-k", f"-t{LASTING_S}", "-n100000000", f"-c{CLIENTS}", url()]
    hey = ["hey", "-cpus", "1", "-z", f"{LASTING_S}s", "-c", str(CLIENTS), url()]
    return {
        ALONE: lambda: h2load(False),
        LOGGED: lambda: h2load(True),
        UNDER_AGENT: lambda: agent(GeneratorKind.H2LOAD),
        PACED: lambda: agent(GeneratorKind.PACED),
        "wrk": lambda: peer(wrk, r"(\d+) requests in", r"Requests/sec: +([\d.]+)"),
        "ab": lambda: peer(ab, r"Complete requests: +(\d+)", r"Requests per second: +([\d.]+)"),
        "hey": lambda: peer(hey, r"\[200\]\s+(\d+) responses", r"Requests/sec:\s+([\d.]+)"),
        "Locust FastHttpUser": locust,
    }


def require() -> None:
    """Raise Missing for the programs that are not installed; Locust is installed first."""
    absent = {program: package for program, package in PACKAGES.items() if shutil.which(program) is None}
    if absent:
        raise Missing(
            f"{', '.join(absent)} missing. Run: deploy/bootstrap-host.sh load bench, "
            f"or: apt-get install {' '.join(absent.values())}"
        )
    try:
        locust_environment.python()
    except locust_environment.NoLocust as error:
        raise Missing(f"Locust cannot be installed (package locust): {error}") from error


def measure() -> dict[str, list[Sample]]:
    """All in every round, in random order. Raises Missing."""
    require()
    every = ways()
    found: dict[str, list[Sample]] = {name: [] for name in every}
    draw = random.Random(1)
    with nginx():
        for _ in range(ROUNDS):
            for name in draw.sample(list(every), len(every)):
                found[name].append(every[name]())
    return found


def usable_cores() -> int:
    """How many cores generator, nginx and recorder share."""
    return len(os.sched_getaffinity(0))
