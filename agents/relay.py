"""Receive a packed archive, unpack it, and pass it on to other hosts: `python3 -m agents.relay`, over an SSH channel.

Standard input carries an Order as a line of JSON, then one request: `{"take": true}` and the archive's bytes, or
`{"fetch": {...}}`. Standard output carries reports, a line of JSON each. The packed file has no name on the disk, so it
ends with this process. The process ends with standard input, or at its deadline. Standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

CHUNK_BYTES = 1 << 18
# A host that is silent for longer is given up: the coordinator can send, too.
SILENT_S = 5.0
# Connections that are open at a time; those of strangers end at the token.
AT_ONCE = 4
SETTLED_TRIES = 50
PATH = "/archive"


class Failed(Exception):
    """A step failed. blame: the sender is at fault, so nobody else should fetch from it."""

    def __init__(self, reason: str, blame: bool = False) -> None:
        super().__init__(reason)
        self.blame = blame


@dataclass(frozen=True)
class Order:
    """What the coordinator wants. folder: of unpacked archives. digest: SHA-256 of the packed file, in hex.

    address, port: of this host, to serve at. uses: how many receivers it serves.
    """

    folder: str
    name: str
    zstd: bool
    digest: str
    size: int
    address: str
    port: int
    token: str
    uses: int
    deadline_s: float


def receive(source: Any, order: Order, file: IO[bytes], deadline: float = float("inf")) -> None:
    """Write the packed archive to a file while it is read, and verify it. Raises Failed, OSError.

    source: a binary stream with read1().
    """
    digest, left = hashlib.sha256(), order.size
    while left:
        # What has arrived, so that a sender of single bytes does not evade the deadline.
        chunk = source.read1(min(CHUNK_BYTES, left))
        if not chunk:
            raise Failed(f"the archive ended after {order.size - left} of {order.size} bytes", blame=True)
        if time.monotonic() > deadline:
            raise Failed(f"it was too slow: {order.size - left} of {order.size} bytes in time")
        digest.update(chunk)
        file.write(chunk)
        left -= len(chunk)
    file.flush()
    if not hmac.compare_digest(digest.hexdigest(), order.digest):
        raise Failed("the SHA-256 of what was received is wrong", blame=True)


def fetch(order: Order, address: str, port: int, token: str, within_s: float, file: IO[bytes]) -> None:
    """Fetch the archive from another host. Raises Failed."""
    host = f"[{address}]" if ":" in address else address
    request = urllib.request.Request(f"http://{host}:{port}{PATH}", headers={"Authorization": f"Bearer {token}"})
    # Hosts are reached directly, whatever http_proxy says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + within_s
    try:
        with opener.open(request, timeout=min(SILENT_S, within_s)) as answer:
            receive(answer, order, file, deadline)
    except urllib.error.HTTPError as error:
        raise Failed(f"it answered {error.code} {error.reason}", blame=True) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Failed(str(getattr(reason, "strerror", None) or reason or "no answer")) from None


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves one file to those who have the token, a limited number of times."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, order: Order, descriptor: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in order.address else socket.AF_INET
        self.order, self.descriptor = order, descriptor
        self._left = order.uses
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(AT_ONCE)
        super().__init__((order.address, order.port), _Handler)

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)

    def allowed(self) -> bool:
        """Count a receiver; return whether it may be served."""
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether there is room for another connection."""
        return self._room.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a receiver that went away: the coordinator hears it from the receiver."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    timeout = SILENT_S

    def do_GET(self) -> None:
        order = self.server.order
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {order.token}".encode()) or self.path != PATH:
            self.send_error(404)
        elif not self.server.allowed():
            self.send_error(410)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(order.size))
            self.end_headers()
            offset = 0
            while chunk := os.pread(self.server.descriptor, CHUNK_BYTES, offset):
                self.wfile.write(chunk)
                offset += len(chunk)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class Relay:
    """One archive on this host: received, unpacked, passed on."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = Path(order.folder).expanduser()
        self._draft = self._folder / f".{order.name}.{os.getpid()}"
        self._unpacking: subprocess.Popen[bytes] | None = None
        self._ending = threading.RLock()

    def receive(self, request: dict[str, Any], given: IO[bytes]) -> None:
        """Store the archive that a request names, and serve it from then on. Raises Failed."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            # Open until the process ends: the server's threads read it.
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            if "fetch" in request:
                fetch(self._order, file=self._file, **request["fetch"])
            else:
                receive(given, self._order, self._file)
        except OSError as error:
            raise Failed(f"cannot store the archive: {error.strerror or error}") from None
        report(received=True, **self._serve(self._file.fileno()))

    def _serve(self, descriptor: int) -> dict[str, str]:
        try:
            server = Server(self._order, descriptor)
        except OSError as error:
            return {"silent": error.strerror or str(error)}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return {}

    def unpack(self) -> None:
        """Unpack under another name and rename: a folder of the archive's name is always complete. Raises Failed."""
        self._file.seek(0)
        unpack = "zstd -dcq | tar -xf - -C" if self._order.zstd else "tar -xzf - -C"
        with self._ending:
            self._draft.mkdir(mode=0o700)
            unpacking = self._unpacking = subprocess.Popen(
                ["sh", "-c", f'umask 077; {unpack} "$1"', "sh", str(self._draft)],
                stdin=self._file, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        _, errors = unpacking.communicate()
        with self._ending:
            status, self._unpacking = unpacking.returncode, None
            place = self._folder / self._order.name
            try:
                if status:
                    lines = errors.decode(errors="replace").splitlines() or ["no reason given"]
                    raise Failed(f"cannot unpack the archive: {lines[0][:120]}")
                self._draft.rename(place)
            except OSError as error:
                if not place.is_dir():
                    raise Failed(f"cannot unpack the archive: {error.strerror}") from None
            finally:
                shutil.rmtree(str(self._draft), ignore_errors=True)

    def _sweep(self) -> None:
        """Remove drafts of processes that were killed."""
        for old in self._folder.glob(f".{self._order.name}.*"):
            if not Path(f"/proc/{old.name.rpartition('.')[2]}").exists():
                shutil.rmtree(str(old), ignore_errors=True)

    def end(self) -> NoReturn:
        """End this process and leave nothing behind."""
        with self._ending:
            if self._unpacking is not None:
                os.killpg(self._unpacking.pid, signal.SIGKILL)
                self._unpacking.wait()
            # A program that is being killed may still create a file.
            for _ in range(SETTLED_TRIES):
                shutil.rmtree(str(self._draft), ignore_errors=True)
                if not self._draft.exists():
                    break
                time.sleep(0.02)
            os._exit(0)


def report(**facts: Any) -> None:
    """Report to the coordinator. It may be gone, which standard input says, too."""
    try:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
    except OSError:
        pass


def main() -> None:
    """Serve one archive until standard input ends."""
    given = sys.stdin.buffer
    order = Order(**json.loads(given.readline()))
    relay = Relay(order)
    timer = threading.Timer(order.deadline_s, relay.end)
    timer.daemon = True
    timer.start()
    signal.signal(signal.SIGTERM, lambda *_: relay.end())
    request = json.loads(given.readline() or b"null")
    if request is None:
        relay.end()

    def received() -> bool:
        return _step(lambda: relay.receive(request, given))

    def unpacked() -> None:
        if _step(relay.unpack):
            report(unpacked=True)

    def fetched() -> None:
        if received():
            unpacked()

    # An archive on standard input is read here; everything else is done while this thread waits for the end of it.
    if "take" not in request:
        threading.Thread(target=fetched, daemon=True).start()
    elif received():
        threading.Thread(target=unpacked, daemon=True).start()
    while given.read(CHUNK_BYTES):
        pass
    relay.end()


def _step(step: Callable[[], None]) -> bool:
    """Take a step; return whether it succeeded. A failure is reported."""
    try:
        step()
    except Failed as error:
        report(failed=str(error), blame=error.blame)
        return False
    except OSError as error:
        report(failed=f"cannot unpack the archive: {error.strerror or error}")
        return False
    return True


if __name__ == "__main__":
    main()
