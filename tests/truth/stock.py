"""Stock servers, as their packages deliver them: each on a free port, from a configuration made here, in the foreground."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.truth.paced_world import unused_port

START_WITHIN_S = 10.0
STOP_WITHIN_S = 10.0
# Debian installs servers where only root looks.
PATHS = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
APACHE_MODULES = "/usr/lib/apache2/modules"

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/www;
  }}
}}
"""
APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
User nobody
Group nogroup
DocumentRoot {folder}/www
KeepAlive On
MaxKeepAliveRequests 100
"""
HAPROXY = """
defaults
  mode http
  timeout client 30s
  timeout connect 5s
  timeout server 30s
frontend proxy
  bind 127.0.0.1:{port}
  default_backend behind
backend behind
  server static 127.0.0.1:{behind}
frontend static
  bind 127.0.0.1:{behind}
  http-request return status 200 content-type text/plain string ok
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\\n"]
"""
ASGI = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"ok\\n"})
"""


def tool(name: str) -> str:
    """Return the path of a program; raise AssertionError with the fix when it is missing."""
    path = shutil.which(name, path=PATHS)
    assert path, f"{name} missing: run 'deploy/bootstrap-host.sh tests'"
    return path


def _nginx(folder: Path, port: int) -> list[str]:
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    return [tool("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def _apache(folder: Path, port: int) -> list[str]:
    (folder / "apache.conf").write_text(APACHE.format(folder=folder, port=port, modules=APACHE_MODULES))
    return [tool("apache2"), "-d", str(folder), "-f", str(folder / "apache.conf"), "-DFOREGROUND"]


def _haproxy(folder: Path, port: int) -> list[str]:
    (folder / "haproxy.conf").write_text(HAPROXY.format(port=port, behind=unused_port()))
    return [tool("haproxy"), "-db", "-f", str(folder / "haproxy.conf")]


def _gunicorn(folder: Path, port: int) -> list[str]:
    (folder / "wsgi.py").write_text(WSGI)
    # Its control socket would be in the home folder.
    options = ["--chdir", str(folder), "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    return [sys.executable, "-m", "gunicorn", *options, "wsgi:app"]


def _uvicorn(folder: Path, port: int) -> list[str]:
    (folder / "asgi.py").write_text(ASGI)
    options = ["--app-dir", str(folder), "--port", str(port), "--no-access-log"]
    return [sys.executable, "-m", "uvicorn", *options, "asgi:app"]


SERVERS: dict[str, Callable[[Path, int], list[str]]] = {
    "nginx": _nginx,
    "apache": _apache,
    "haproxy": _haproxy,
    "gunicorn": _gunicorn,
    "uvicorn": _uvicorn,
}


@contextmanager
def stock(name: str, core: int) -> Iterator[str]:
    """Run a server on one core; yield the URL of a small response. Raise AssertionError when it does not start."""
    with tempfile.TemporaryDirectory(prefix="volley-stock-") as made:
        folder, port = Path(made), unused_port()
        # Workers of a server that root started run as another user.
        folder.chmod(0o755)
        (folder / "www").mkdir()
        (folder / "www" / "small").write_text("ok\n")
        log = folder / "output"
        command = ["taskset", "-c", str(core), *SERVERS[name](folder, port)]
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=folder) as process:
            try:
                _wait_until_it_listens(process, port, log)
                yield f"http://127.0.0.1:{port}/small"
            finally:
                _stop(process)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            ended = process.poll() is not None or time.monotonic() > deadline
            assert not ended, f"the server did not start:\n{log.read_text()}"
            time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()


def wrk_per_s(url: str, connections: int, core: int, seconds: int = 1) -> float:
    """Return the throughput that wrk measures on one core."""
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command = ["taskset", "-c", str(core), tool("wrk"), *options, url]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert "Non-2xx" not in said, said
    found = re.search(r"^Requests/sec:\s+([\d.]+)$", said, re.MULTILINE)
    assert found, said
    return float(found[1])
