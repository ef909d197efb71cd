"""A server of a few lines whose behaviour is chosen by MODE: ok, wrong, silent, exit, hog, die-on-load, slow.

slow: one request at a time, 10 ms each, so 100 a second.
"""

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

    def do_GET(self):
        global served
        served += 1
        if MODE == "die-on-load" and served > 50:
            os._exit(7)
        if MODE == "slow":
            with one_worker:
                time.sleep(0.01)
        body = b'{"message": "no"}' if MODE == "wrong" else b'{"message": "ok"}'
        if self.path == "/big":
            body = bytes(50_000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


print(f"tiny server, mode {MODE}", flush=True)
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
