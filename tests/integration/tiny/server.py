"""A server of a few lines whose behaviour is chosen by MODE: ok, wrong, silent, exit, hog, die-on-load, slow, front, busy.

slow: one request at a time, 10 ms each, so 100 a second. front: asks BEHIND (HOST:PORT), and answers as it does; 502 without
an answer. busy: computes for 2 ms before each answer. echo: answers with all that it knows, and prints it: the request, its
environment and its arguments, with a terminal's escape sequences; never measure it.
"""

import base64
import http.client
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE, PORT = os.environ.get("MODE", "ok"), int(os.environ["PORT"])
served = 0
one_worker = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together: two small writes would wait for a delayed acknowledgement, 40 ms each.
    wbufsize = -1
    behind = None

    def ask(self):
        """Return the status of the server behind, over a connection that is kept."""
        self.behind = self.behind or http.client.HTTPConnection(os.environ["BEHIND"], timeout=5)
        try:
            self.behind.request("GET", "/")
            answer = self.behind.getresponse()
            answer.read()
            return answer.status
        except OSError:
            self.behind.close()
            return 502

    def echo(self):
        """Return everything that is secret, as it is and encoded, and print it."""
        length = int(self.headers.get("Content-Length", 0))
        known = {
            "path": self.path,
            "headers": dict(self.headers),
            "body": self.rfile.read(length).decode(errors="replace"),
        }
        known["encoded"] = base64.b64encode(str(known).encode()).decode()
        if served < 20:
            print(f"\x1b]0;owned\x07\x1b[31m{known}", flush=True)
        return json.dumps(known).encode()

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        global served
        served += 1
        if MODE == "die-on-load" and served > 50:
            os._exit(7)
        if MODE == "slow":
            with one_worker:
                time.sleep(0.01)
        if MODE == "busy":
            until = time.thread_time() + 0.002
            while time.thread_time() < until:
                pass
        status = self.ask() if MODE == "front" else 200
        body = b'{"message": "no"}' if MODE == "wrong" else b'{"message": "ok"}'
        if self.path == "/big":
            body = bytes(50_000)
        if MODE == "echo":
            body = self.echo()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


print(f"tiny server, mode {MODE}", flush=True)
if MODE == "echo":
    print(f"\x1b[2J\x9b31m{dict(os.environ)} {sys.argv}\u202e", flush=True)
    if "--fail" in sys.argv:
        sys.exit(f"cannot connect: {dict(os.environ)}")
if MODE == "exit":
    sys.exit("no configuration found")
if MODE == "silent":
    time.sleep(600)
if MODE == "hog":
    # A child that takes more than there is, again and again: it is killed, the first process lives.
    while True:
        if os.fork() == 0:
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(1 << 20)))
        os.wait()
ThreadingHTTPServer.request_queue_size = 256
ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
