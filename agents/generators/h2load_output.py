"""What h2load prints: its summary and messages, of any version from 1.43 to 1.70."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Printed when the time of a load is over. Some versions then rarely fail to exit, without a summary.
STOPPED = "Stopped all clients"

# No more digits than a counter of 64 bits has.
_DIGITS = r"\d{1,20}"
_NUMBER = rf"-?{_DIGITS}(?:\.{_DIGITS})?"
_SIZE = rf"{_NUMBER}[KMG]?B"
_FINISHED = re.compile(rf"^finished in ({_NUMBER})(us|ms|s), ({_NUMBER}) req/s, ({_SIZE})/s$", re.M)
_REQUESTS = re.compile(
    rf"^requests: ({_DIGITS}) total, ({_DIGITS}) started, ({_DIGITS}) done, ({_DIGITS}) succeeded, ({_DIGITS}) failed, "
    rf"({_DIGITS}) errored, ({_DIGITS}) timeout$",
    re.M,
)
_STATUS = re.compile(rf"^status codes: ({_DIGITS}) 2xx, ({_DIGITS}) 3xx, ({_DIGITS}) 4xx, ({_DIGITS}) 5xx$", re.M)
_TRAFFIC = re.compile(
    rf"^traffic: {_SIZE} \((-?{_DIGITS})\) total, {_SIZE} \((-?{_DIGITS})\) headers \(space savings {_NUMBER}%\), "
    rf"{_SIZE} \((-?{_DIGITS})\) data$",
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
_FAILURES = re.compile(rf"^Process Request Failure: ?({_DIGITS})$", re.M)
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
