"""A real nginx on a free port, with a configuration of its own, in the foreground."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 10
CONFIGURATION = """
daemon off; pid {folder}/pid; error_log stderr crit; worker_processes 1; {user}
events {{ worker_connections {connections}; }}
http {{ access_log off; keepalive_requests 100000000; {zone}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {folder}; location / {{ {limit} }} }} }}
"""


@contextmanager
def nginx(limit_per_s: int | None = None, burst: int = 0, connections: int = 10_000) -> Iterator[str]:
    """Run nginx serving one small file; return its URL.

    limit_per_s, burst: limit_req, excess is refused with 503. connections: that it takes, its listening socket among them.
    """
    zone = "" if limit_per_s is None else f"limit_req_zone $binary_remote_addr zone=z:1m rate={limit_per_s}r/s;"
    # limit_req acts on files only: a location with `return` answers before it.
    limit = "" if limit_per_s is None else f"limit_req zone=z burst={burst} nodelay;"
    with tempfile.TemporaryDirectory(prefix="volley-nginx-") as name:
        folder, port = Path(name), _free_port()
        folder.chmod(0o755)
        (folder / "index.html").write_text("ok\n")
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIGURATION.format(
            folder=folder, port=port, zone=zone, limit=limit, user=user, connections=connections
        )
        (folder / "nginx.conf").write_text(text)
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        with subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-e", "stderr"]) as process:
            try:
                _wait_for(port, process)
                yield f"http://127.0.0.1:{port}/index.html"
            finally:
                process.terminate()
                process.wait(timeout=DEADLINE_S)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError("nginx does not listen: is nginx-light installed? Run deploy/bootstrap-host.sh tests")
