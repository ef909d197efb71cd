"""h2load itself: what each version can do, and its command line."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from agents.records import Assignment

OLDEST = (1, 43)
LONGEST_PERIOD_MS = 100


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one version of h2load can do. Sources: the release notes and source, version by version."""

    version: tuple[int, int]
    rps: bool  # --rps, since 1.44
    steady_rps: bool  # --rps paced by the steady clock: a step of the wall clock is harmless, since 1.54
    alpn_list: bool  # --alpn-list instead of --npn-list, since 1.59
    final_status: bool  # a 1xx is not taken for the response's status, since 1.59
    host_header: bool  # -H 'Host: ...' overrides, since 1.61; before it was ':host'
    ends_on_close: bool  # --h1 -D ends although the server closes every connection, since 1.64
    flushes_stdout: bool  # prints line by line into a pipe, so that a full pipe can hold it, up to 1.69
    columns_169: bool  # median, p95 and p99 columns in the summary, since 1.69


def capabilities(version: tuple[int, int]) -> Capabilities:
    """Return the row of the table for a version."""
    return Capabilities(
        version=version,
        rps=version >= (1, 44),
        steady_rps=version >= (1, 54),
        alpn_list=version >= (1, 59),
        final_status=version >= (1, 59),
        host_header=version >= (1, 61),
        ends_on_close=version >= (1, 64),
        flushes_stdout=version <= (1, 69),
        columns_169=version >= (1, 69),
    )


class H2loadMissing(RuntimeError):
    """There is no usable h2load on this host."""


def parse_version(text: str) -> tuple[int, int]:
    """Read 'h2load nghttp2/1.52.0'. Raises H2loadMissing when it says something else."""
    match = re.search(r"nghttp2/(\d+)\.(\d+)", text)
    if not match:
        raise H2loadMissing(f"'h2load --version' answered {text.strip()[:80]!r}, which names no version")
    return int(match[1]), int(match[2])


def detect(program: str = "h2load") -> Capabilities:
    """Ask the program on this host for its version. Raises H2loadMissing when it is absent or older than OLDEST."""
    path = shutil.which(program)
    if path is None:
        raise H2loadMissing(f"'{program}' is not on the PATH")
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    version = parse_version(answer.stdout + answer.stderr)
    if version < OLDEST:
        raise H2loadMissing(f"h2load {version[0]}.{version[1]} is older than {OLDEST[0]}.{OLDEST[1]}")
    return capabilities(version)


def command(
    task: Assignment, can: Capabilities, log_file: str, body_file: str | None = None, program: str = "h2load"
) -> list[str]:
    """Return the argument vector for an assignment. body_file: where its body was written, if there is one.

    Raises ValueError for what this version cannot do or what must not be asked (-D together with --rps fires all clients
    in phase).
    """
    if (task.count is None) == (task.duration_us is None):
        raise ValueError("h2load needs requests or a duration, exactly one of them")
    argv = [program, f"--clients={task.clients}", "--threads=1", f"--log-file={log_file}"]
    argv.append(f"--max-concurrent-streams={task.streams}" if task.http2 else "--h1")
    if task.count is not None:
        argv.append(f"--requests={task.count}")
    elif task.duration_us is not None:
        argv.append(f"--duration={math.ceil(task.duration_us / 1000)}ms")
    if task.rate_per_s is not None:
        argv += _pace(task, task.rate_per_s, can)
    method = task.method.upper()
    # h2load sends GET, and POST with --data.
    if method != ("POST" if body_file else "GET"):
        argv.append(f"--header=:method:{method}")
    # An override, because both names at once are refused by servers.
    host_key = ":authority" if task.http2 else "Host" if can.host_header else ":host"
    if (address := _address6(task.url)) and all(name.lower() != "host" for name, _ in task.headers):
        # Before 1.60 h2load leaves out the brackets.
        argv.append(f"--header={host_key}: {address}")
    for name, value in task.headers:
        argv.append(f"--header={host_key if name.lower() == 'host' else name}: {value}")
    if body_file:
        argv.append(f"--data={body_file}")
    argv.append(task.url)
    return argv


def _address6(url: str) -> str:
    """Return [ADDRESS]:PORT of a URL with an IPv6 address; '' for any other."""
    place = urlsplit(url).netloc
    return place if place.startswith("[") else ""


def _pace(task: Assignment, rate_per_s: float, can: Capabilities) -> list[str]:
    if task.count is None:
        raise ValueError("an open loop by h2load needs requests: -D with --rps fires all clients in phase")
    if not can.rps:
        raise ValueError(f"h2load {can.version[0]}.{can.version[1]} has no --rps; an open loop needs 1.44 or newer")
    pace = [f"--rps={rate_per_s / task.clients:.9g}"]
    # One connection every 1/R s staggers the phases; a single connection needs no staggering.
    if task.clients > 1:
        connections, period_ms = stagger(rate_per_s, task.clients)
        pace = [f"--rate={connections}", f"--rate-period={period_ms}ms", *pace]
    return pace


def stagger(rate_per_s: float, clients: int) -> tuple[int, int]:
    """Return (connections, whole milliseconds): so many connections are opened at once, every so many milliseconds.

    Connection i should start i/rate after the first, so that the streams of all connections are due evenly. h2load's
    periods are whole milliseconds, and it refuses more connections at a time than there are clients. The pair with the
    smallest of the largest deviations is chosen; among those equally good to 0.1 ms the one with the fewest at a time.
    """
    ideal_ms = np.arange(clients) * 1000 / rate_per_s
    candidates = []
    for period_ms in sorted({*range(1, LONGEST_PERIOD_MS + 1), max(1, round(1000 / rate_per_s))}):
        exact = rate_per_s * period_ms / 1000
        for connections in {min(clients, max(1, math.floor(exact))), min(clients, max(1, math.ceil(exact)))}:
            off_ms = np.arange(clients) // connections * period_ms - ideal_ms
            # Half the spread: only the offsets relative to each other matter.
            candidates.append((round(float(off_ms.max() - off_ms.min()) / 2, 1), connections, period_ms))
    _, connections, period_ms = min(candidates)
    return connections, period_ms
