"""Serve live metrics over HTTP while a run lasts."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.errors import HostError, UsageError
from orchestrator.metrics.live import LiveMetrics

LOOPBACK = "127.0.0.1"
# A monitor that does not read its answer must not keep the command from ending.
ANSWERED_WITHIN_S = 5.0


@contextmanager
def serving(address: str, port: int) -> Iterator[tuple[str, LiveMetrics]]:
    """Serve until the block ends, however it ends. Yield the URL, and the metrics, which take in the run's events.

    port: 0 for any free one. Raise HostError where the port is in use, UsageError for an address that is not this
    machine's.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    metrics = LiveMetrics()
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise _refused(address, port, error) from error
    answers = _Answers(server.get_app())
    server.set_app(answers)
    try:
        yield f"http://{_host(address)}:{server.server_port}/metrics", metrics
    finally:
        # Requests are answered in threads of their own, which the end of the process would cut short.
        answers.wait(ANSWERED_WITHIN_S)
        server.shutdown()
        server.server_close()
        thread.join()


class _Answers:
    """A WSGI application that knows how many of its answers are still being sent."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._changed = threading.Condition()
        self._under_way = 0

    def __call__(self, environment: Any, start_response: Any) -> Iterable[bytes]:
        """Answer a request. The server closes what is returned once it was sent, or could not be."""
        with self._changed:
            self._under_way += 1
        try:
            yield from self._application(environment, start_response)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Wait until every answer was sent, up to timeout_s."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0, timeout_s)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _refused(address: str, port: int, error: OSError) -> HostError | UsageError:
    where = f"live metrics cannot be served at {_host(address)}:{port}"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            f"{where}: this machine does not have that address",
            f"omit --metrics-address (default {LOOPBACK}), or name an address of this machine",
        )
    if error.errno == errno.EADDRINUSE:
        return HostError(f"{where}: the port is in use", "choose another --metrics-port; 0 takes any free port")
    return HostError(f"{where}: {error.strerror}", "choose another --metrics-port, above 1023")
