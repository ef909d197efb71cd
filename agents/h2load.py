"""h2load itself: what each version can do, its command line, and what its output says."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import dataclass, field

import numpy as np

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


@dataclass(frozen=True, slots=True)
class Drive:
    """What one h2load process is to do. Exactly one of `requests` and `duration_s` is set.

    rate_per_s (with `requests`): the open model, spread over `clients` staggered connections.
    """

    url: str
    clients: int
    requests: int | None = None
    duration_s: float | None = None
    rate_per_s: float | None = None
    http2: bool = False
    streams: int = 1
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body_file: str | None = None


def command(drive: Drive, can: Capabilities, log_file: str, program: str = "h2load") -> list[str]:
    """Build the argument vector.

    Raises ValueError for what this version cannot do or what must not be asked (-D together with --rps fires all clients
    in phase).
    """
    if (drive.requests is None) == (drive.duration_s is None):
        raise ValueError("a drive is bound by requests or by duration_s, by exactly one of them")
    argv = [program, f"--clients={drive.clients}", "--threads=1", f"--log-file={log_file}"]
    if drive.http2:
        argv.append(f"--max-concurrent-streams={drive.streams}")
    else:
        argv.append("--h1")
    if drive.requests is not None:
        argv.append(f"--requests={drive.requests}")
    elif drive.duration_s is not None:
        argv.append(f"--duration={math.ceil(drive.duration_s * 1000)}ms")
    if drive.rate_per_s is not None:
        if drive.requests is None:
            raise ValueError("the open model is bound by requests: -D with --rps fires all clients in phase")
        if not can.rps:
            raise ValueError(
                f"h2load {can.version[0]}.{can.version[1]} has no --rps; the open model needs 1.44 or newer"
            )
        # One connection every 1/R s staggers the phases; a single connection needs no staggering.
        if drive.clients > 1:
            connections, period_ms = stagger(drive.rate_per_s, drive.clients)
            argv += [f"--rate={connections}", f"--rate-period={period_ms}ms"]
        argv.append(f"--rps={drive.rate_per_s / drive.clients:.9g}")
    method = drive.method.upper()
    if method != "GET" and not (method == "POST" and drive.body_file):
        argv.append(f"--header=:method:{method}")
    for name, value in drive.headers:
        key = ":host" if name.lower() == "host" and not can.host_header else name
        argv.append(f"--header={key}: {value}")
    if drive.body_file:
        argv.append(f"--data={drive.body_file}")
    argv.append(drive.url)
    return argv


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


_NUMBER = r"-?\d+(?:\.\d+)?"
_SIZE = rf"{_NUMBER}[KMG]?B"
_FINISHED = re.compile(rf"^finished in ({_NUMBER})(us|ms|s), ({_NUMBER}) req/s, ({_SIZE})/s$", re.M)
_REQUESTS = re.compile(
    r"^requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$",
    re.M,
)
_STATUS = re.compile(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$", re.M)
_TRAFFIC = re.compile(
    rf"^traffic: {_SIZE} \((-?\d+)\) total, {_SIZE} \((-?\d+)\) headers \(space savings {_NUMBER}%\), "
    rf"{_SIZE} \((-?\d+)\) data$",
    re.M,
)
_ROW_168 = re.compile(
    rf"^(time for request|time for connect|time to 1st byte|req/s           ): +(\S+) +(\S+) +(\S+) +(\S+) +{_NUMBER}%$",
    re.M,
)
_ROW_169 = re.compile(
    rf"^(request|connect|TTFB|req/s) *: +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +{_NUMBER}%$", re.M
)
_PROTOCOL = re.compile(r"^Application protocol: (\S+)$", re.M)
_TLS = re.compile(r"^TLS Protocol: (\S+)$", re.M)
_CIPHER = re.compile(r"^Cipher: (\S+)$", re.M)
_FAILURES = re.compile(r"^Process Request Failure: ?(\d+)$", re.M)
_NO_CONNECTION = re.compile(r"^client could not connect to host$", re.M)
_PER_UNIT = {"us": 1, "ms": 1_000, "s": 1_000_000}
_NAMES = {"time for request": "request", "time for connect": "connect", "time to 1st byte": "TTFB", "req/s": "req/s"}
_WRAPPED = 1 << 63


@dataclass(frozen=True, slots=True)
class Summary:
    """The lines of h2load's summary that say something. Its percentiles and req/s are not among them: see the log.

    max_of gives the maximum column of a row as printed; a counter that wrapped below zero is negative here.
    """

    finished_us: int
    total: int
    started: int
    done: int
    succeeded: int
    failed: int
    errored: int
    timeout: int
    statuses: tuple[int, int, int, int] = (0, 0, 0, 0)
    bytes_total: int = 0
    bytes_headers: int = 0
    bytes_data: int = 0
    max_of: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """What h2load printed. `summary` is None when it was killed or died before the end."""

    summary: Summary | None
    protocol: str | None
    tls: str | None
    cipher: str | None
    request_failures: int
    failed_connects: int


def parse_output(text: str) -> Output:
    """Read stdout and stderr together, of any version from 1.43 to 1.70."""
    return Output(
        summary=_summary(text),
        protocol=_first(_PROTOCOL, text),
        tls=_first(_TLS, text),
        cipher=_first(_CIPHER, text),
        request_failures=sum(int(n) for n in _FAILURES.findall(text)),
        failed_connects=len(_NO_CONNECTION.findall(text)),
    )


def _summary(text: str) -> Summary | None:
    finished, requests = _FINISHED.search(text), _REQUESTS.search(text)
    if not finished or not requests:
        return None
    total, started, done, succeeded, failed, errored, timeout = (_signed(n) for n in requests.groups())
    status, traffic = _STATUS.search(text), _TRAFFIC.search(text)
    rows = {_NAMES[m[1].strip()]: m[3] for m in _ROW_168.finditer(text)}
    rows |= {m[1]: m[3] for m in _ROW_169.finditer(text)}
    statuses = tuple(_signed(n) for n in status.groups()) if status else (0, 0, 0, 0)
    moved = [int(n) for n in traffic.groups()] if traffic else [0, 0, 0]
    return Summary(
        finished_us=round(float(finished[1]) * _PER_UNIT[finished[2]]),
        total=total,
        started=started,
        done=done,
        succeeded=succeeded,
        failed=failed,
        errored=errored,
        timeout=timeout,
        statuses=(statuses[0], statuses[1], statuses[2], statuses[3]),
        bytes_total=moved[0],
        bytes_headers=moved[1],
        bytes_data=moved[2],
        max_of=rows,
    )


def _signed(digits: str) -> int:
    """h2load's counters are unsigned and can wrap below zero."""
    value = int(digits)
    return value - (1 << 64) if value >= _WRAPPED else value


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[1] if match else None
