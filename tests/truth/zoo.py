"""The zoo: servers of known behaviour, built from C when first needed, and their own record.

    with serve("one-at-a-time", service_us=1000) as server:
        ...  # send requests to server.url
        record = server.record()

zoo/main.c lists behaviours and parameters. Times are ns since the Unix epoch: one reading of the
wall clock plus the monotonic clock. `arrived` is when the whole request was read, `answered` is
just before the last byte was written. A client cannot have seen less than answered - arrived.
"""

from __future__ import annotations

import hashlib
import os
import platform
import select
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOURCES = Path(__file__).parent / "zoo"
COMPILE = ("gcc", "-D_GNU_SOURCE", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-ffp-contract=off")
START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 10
MAGIC = b"VOLLYZOO"
VERSION = 1
COUNTERS = (
    "requests", "accepted", "closed_by_server", "reset_by_server", "closed_by_client", "most_open", "open",
    "pipelined", "malformed", "bytes_sent",
)  # fmt: skip
HEADER = np.dtype(
    [("magic", "S8"), ("version", "<u4"), ("record_bytes", "<u4")]
    + [(name, "<u8") for name in COUNTERS]
    + [("origin_ns", "<i8"), ("clock_step_ns", "<i8")]
)
ROW = np.dtype(
    [(name, "<i8") for name in ("arrived_ns", "begun_ns", "planned_ns", "answered_ns")]
    + [("status", "<i4"), ("connection", "<u4"), ("path", "<u4"), ("planned_status", "<i4")]
)


class Outcome(IntEnum):
    """What the server did instead of answering, in place of an HTTP status."""

    UNDER_WAY = 0  # when the record was written
    NEVER_ANSWERED = -2
    RESET = -3
    PIPELINED = -5  # bytes came while it was under way; the connection was reset
    CLIENT_LEFT = -6  # the client closed the connection before the answer


class ZooError(RuntimeError):
    """The zoo could not be built or started, or did not write its record."""


@dataclass(frozen=True)
class Connections:
    """What became of the connections; GET /_record's own are not counted."""

    accepted: int
    closed_by_server: int  # those reset included
    reset_by_server: int
    closed_by_client: int
    most_open: int
    open: int


@dataclass(frozen=True)
class Record:
    """Every request, or message over WebSocket, in the order of arrival, one array element each."""

    arrived_ns: NDArray[np.int64]
    begun_ns: NDArray[np.int64]  # service began
    planned_ns: NDArray[np.int64]  # when the answer was due by the behaviour's law
    answered_ns: NDArray[np.int64]  # 0 if never
    status: NDArray[np.int32]  # HTTP status or Outcome
    planned_status: NDArray[np.int32]
    connection: NDArray[np.uint32]  # from 1, in the order of acceptance
    path: NDArray[np.uint32]  # path_hash; of a message: of its text
    connections: Connections
    origin_ns: int  # what phases and pauses count from; 0 before the first request
    clock_step_ns: int  # how far the wall clock was stepped meanwhile
    malformed: int  # requests that could not be read; they have no row
    pipelined: int
    bytes_sent: int

    def __len__(self) -> int:
        return int(self.arrived_ns.size)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Return which requests got an answer, whatever its status."""
        return self.status > 0

    def sojourn_us(self, status: int | None = None) -> NDArray[np.float64]:
        """Return answered - arrived in µs of the answered requests, or of those answered with `status`."""
        chosen = self.answered if status is None else self.status == status
        return (self.answered_ns - self.arrived_ns)[chosen] / 1e3

    def gaps_us(self) -> NDArray[np.float64]:
        """Return the times between arrivals in µs, one fewer than requests."""
        return np.diff(self.arrived_ns) / 1e3

    def lateness_us(self) -> NDArray[np.float64]:
        """Return by how much each answer was later than the law says, in µs: the error of the zoo itself."""
        return (self.answered_ns - self.planned_ns)[self.answered] / 1e3

    def counts(self) -> dict[int, int]:
        """Return how many requests ended with each status or Outcome."""
        values, counts = np.unique(self.status, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    def between(self, begin_ns: int, end_ns: int) -> Record:
        """Return the record of the requests that arrived in [begin_ns, end_ns); the counters stay those of all."""
        return self._where((self.arrived_ns >= begin_ns) & (self.arrived_ns < end_ns))

    def first(self, count: int) -> Record:
        """Return the record of the first requests to arrive; the counters stay those of all."""
        return self._where(np.arange(len(self)) < count)

    def of_path(self, path: str) -> Record:
        """Return the record of the requests to this path; the counters stay those of all."""
        return self._where(self.path == path_hash(path))

    def _where(self, chosen: NDArray[np.bool_]) -> Record:
        columns: dict[str, Any] = {name: getattr(self, name)[chosen] for name in ROW.names or ()}
        return replace(self, **columns)


def path_hash(path: str) -> int:
    """Return FNV-1a, 32 bits, of a path without its query, as the zoo records it."""
    value = 2166136261
    for byte in path.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def read_record(path: Path) -> Record:
    """Read a record file; raise ZooError if it is not one of this version or not complete."""
    data = path.read_bytes()
    if len(data) < HEADER.itemsize:
        raise ZooError(f"{path.name} is not a record of the zoo")
    header = np.frombuffer(data, HEADER, count=1)[0]
    if header["magic"] != MAGIC or header["version"] != VERSION or header["record_bytes"] != ROW.itemsize:
        raise ZooError(f"{path.name} is not a record of the zoo of version {VERSION}")
    counters = {name: int(header[name]) for name in (*COUNTERS, "origin_ns", "clock_step_ns")}
    rows = np.frombuffer(data, ROW, offset=HEADER.itemsize)
    if rows.size != counters.pop("requests"):
        raise ZooError(f"{path.name} is not complete")
    connections = Connections(**{name: counters.pop(name) for name in Connections.__dataclass_fields__})
    values: dict[str, Any] = {name: rows[name] for name in ROW.names or ()} | counters
    return Record(**values, connections=connections)


def build() -> Path:
    """Return the program, compiled if this source has not been yet; raise ZooError with the compiler's message."""
    sources = sorted(SOURCES.glob("*.[ch]"))
    key = hashlib.sha256("\0".join((*COMPILE, platform.machine())).encode())
    for source in sources:
        key.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = caches / "volley-tests" / f"zoo-{key.hexdigest()[:20]}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    # Several test processes may build at once: the last rename wins, and all are the same.
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        fresh = Path(folder) / "zoo"
        units = [str(source) for source in sources if source.suffix == ".c"]
        compiler = subprocess.run([*COMPILE, "-o", str(fresh), *units, "-lm"], capture_output=True, text=True)
        if compiler.returncode != 0:
            raise ZooError(f"gcc failed on tests/truth/zoo:\n{compiler.stderr}")
        fresh.rename(program)
    return program


@dataclass
class Server:
    """A running server of the zoo."""

    port: int
    address: str
    _path: Path
    _process: subprocess.Popen[str]
    _final: Record | None = field(default=None)

    @property
    def url(self) -> str:
        """Return the URL of its root."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}/"

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def record(self) -> Record:
        """Return its record up to now, or the final one after it has ended."""
        if self._final is not None:
            return self._final
        # No proxy of the environment may come between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + "_record", timeout=STOP_TIMEOUT_S):
            return read_record(self._path)

    def stop(self) -> Record:
        """End it and return its final record; raise ZooError if it did not end well."""
        if self._final is not None:
            return self._final
        self._process.terminate()
        status = self._process.wait(timeout=STOP_TIMEOUT_S)
        if status != 0:
            raise ZooError(f"the zoo ended with status {status}: {_error(self._process)}")
        self._final = read_record(self._path)
        return self._final


def _error(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read().strip()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    return process.stdout.readline() if ready else ""


def _word(name: str, value: str | float) -> str:
    return f"{name}={int(value) if isinstance(value, bool) else value}"


@contextmanager
def serve(behaviour: str, address: str = "127.0.0.1", **parameters: str | float) -> Iterator[Server]:
    """Run a server of this behaviour on a free port; end it afterwards. Raise ZooError if it refuses its parameters."""
    with tempfile.TemporaryDirectory(prefix="volley-zoo-") as folder:
        path = Path(folder) / "record"
        words = [behaviour, f"address={address}", f"record={path}"]
        words += [_word(name, value) for name, value in parameters.items()]
        pipe = subprocess.PIPE
        # The server ends with its standard input, so that a killed test leaves none behind.
        with subprocess.Popen([build(), *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                line = _first_line(process)
                if not line:
                    process.kill()
                    raise ZooError(_error(process) or "the zoo did not start")
                server = Server(int(line), address, path, process)
                yield server
                server.stop()
            finally:
                process.kill()
