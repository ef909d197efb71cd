"""A Ray node under guard: its folder, its process and its output. Standard library only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from agents import lease
from agents.orders import RUN_VARIABLE, GuardEvent, GuardEventKind, Order

GRACE_S = 1.0
# What went wrong first stands before what follows from it.
LOG_TAIL = 8_000
CHUNK_BYTES = 65536
# How much of the end of a node's output is searched for what says that it is up, or never will be.
EXAMINED_BYTES = 2 * CHUNK_BYTES


class Node:
    """The node of an order; none where the order has no command. It exists once start() was called."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._tail = b""
        self._reported: set[GuardEventKind] = set()

    def start(self, python_path: str = "") -> None:
        """Write the token and other secrets, which only this user can read, and start the node, if there is one.

        python_path: where its packages are; it may name $HOME.
        """
        order = self._order
        if not order.command:
            return
        self.folder = lease.made_folder(order.run, "volley-", Path(tempfile.gettempdir()))
        for name, content in {"token": order.token, **order.files}.items():
            descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(content)
        environment = {key: self._fill(value) for key, value in order.environment.items()}
        if python_path:
            environment["PYTHONPATH"] = os.path.expandvars(python_path.strip('"'))
        self._log = (self.folder / "node.log").open("wb", buffering=0)
        self._process = subprocess.Popen(
            [self._fill(word) for word in order.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, RUN_VARIABLE: order.run},
            preexec_fn=_default_signals,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _fill(self, text: str) -> str:
        return text.replace("{folder}", str(self.folder)).replace("{python}", sys.executable)

    @property
    def output(self) -> list[IO[bytes]]:
        """What has news of the node when it is readable; empty without a node, and once its output has ended."""
        out = self._process.stdout if self._process is not None else None
        return [] if out is None or out.closed else [out]

    def events(self) -> Iterator[GuardEvent]:
        """Read what the node has printed, and yield what is new: READY, and once ENDED."""
        if self._process is None:
            return
        # Before its output is read to the end: what it printed last belongs to its end.
        exited = self._process.poll() is not None
        self._read()
        seen = self._tail.decode(errors="replace")
        ready = GuardEventKind.READY in self._reported
        if not ready and self._order.ready in seen:
            self._reported.add(GuardEventKind.READY)
            yield GuardEvent(GuardEventKind.READY)
        # Once the node is up, such a message is about another node that was refused.
        hopeless = not ready and any(sign in seen for sign in self._order.hopeless)
        if (exited or hopeless) and GuardEventKind.ENDED not in self._reported:
            self._reported.add(GuardEventKind.ENDED)
            yield GuardEvent(GuardEventKind.ENDED, status=self._process.returncode, log=seen[-LOG_TAIL:])

    def _read(self) -> None:
        """Move the node's output to its log, and keep the end of it."""
        for out in self.output:
            while (chunk := _available(out)) is not None:
                if not chunk:
                    out.close()
                    return
                self._tail = (self._tail + chunk)[-EXAMINED_BYTES:]
                if self._log is not None:
                    with contextlib.suppress(OSError):  # a full disk; the end is in memory
                        self._log.write(chunk)

    def remove(self) -> None:
        """Remove the node's folder and reap its process, after everything of the run was ended."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=GRACE_S)


def _available(out: IO[bytes]) -> bytes | None:
    """Return what can be read now; empty at the end, None when nothing has arrived."""
    try:
        return os.read(out.fileno(), CHUNK_BYTES)
    except BlockingIOError:
        return None


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
