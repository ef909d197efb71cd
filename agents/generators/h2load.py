"""The command line of h2load."""

from __future__ import annotations

import math
from urllib.parse import urlsplit

import numpy as np

from agents.destinations import host_and_port
from agents.generators.h2load_version import Capabilities
from agents.records import Assignment

LONGEST_PERIOD_MS = 100


def command(
    task: Assignment,
    can: Capabilities,
    log_file: str,
    body_file: str | None = None,
    program: str = "h2load",
    url_file: str | None = None,
) -> list[str]:
    """Return the argument vector for an assignment. Every user of the host sees it: it must hold no secret.

    body_file, url_file: where its body, and its URL, were written; without url_file the URL is an argument.

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
    if task.addresses:
        # Host and server name stay those of the URL; since 1.41.
        argv.append(f"--connect-to={_place(task.addresses[0], host_and_port(task.url)[1])}")
    argv.append(task.url if url_file is None else f"--input-file={url_file}")
    return argv


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


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
