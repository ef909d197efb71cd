#!/usr/bin/env python3
# ruff: noqa: ANN001, ANN201, ANN204, D102, SIM115, T201
"""A generator of slow readers, closed loop: each client reads its answer at N bytes a second, then sends its next request.

python3 slow_readers.py --bytes-per-s=N     Standard library only; docs/reference/generators.md explains the contract.

The kernel holds little of what the client has not read yet, so that the server feels how slow it is. Answers need a
Content-Length. Rows have the time to the first byte and the bytes received where the task allows for them.
"""

import asyncio
import base64
import json
import random
import signal
import socket
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

NAMES = {-1: "failed", -2: "timeout", -3: "reset", -4: "refused", -5: "protocol", -6: "unanswered", -7: "unsent"}
FAILED, TIMEOUT, RESET, REFUSED, PROTOCOL, UNANSWERED, UNSENT = range(-1, -8, -1)
PACE_S = 0.05
RECEIVE_BUFFER = 65_536


def prepare(request):
    """Return a request as bytes."""
    url, body = urlsplit(request["url"]), base64.b64decode(request["body"] or "")
    headers = [f"{name}: {value}" for name, value in request["headers"]]
    if body or request["method"] in ("POST", "PUT", "PATCH"):
        headers.append(f"Content-Length: {len(body)}")
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [f"{request['method']} {target} HTTP/1.1", f"Host: {url.netloc}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def parse(head):
    """Return the status of an answer, the length of its body, and whether the connection can be used again."""
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    version, status = first.split()[0], int(first.split()[1])
    length = 0 if status in (204, 304) else int(fields["content-length"])
    return status, length, version == "http/1.1" and fields.get("connection") != "close"


class Answer:
    """What is known of the answer that is being read."""

    first_byte_us, received = -1, 0


class Load:
    """One load, from its task to its summary."""

    def __init__(self, task, bytes_per_s):
        self.task, self.bytes_per_s = task, bytes_per_s
        self.url = urlsplit(task["requests"][0]["url"])  # all requests go to one server
        self.data = [prepare(request) for request in task["requests"]]
        self.weights = [request["weight"] for request in task["requests"]]
        self.random = random.Random(task["seed"])
        self.timeout_s = task["timeout_us"] and task["timeout_us"] / 1e6
        self.is_long = task.get("columns", 5) >= 7
        self.log = open(task["log"], "a")
        self.lines, self.counts = [], Counter()
        self.due = self.sent = self.received = 0

    async def connect(self):
        family = socket.AF_INET6 if ":" in self.url.hostname else socket.AF_INET
        connection = socket.socket(family)
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        try:
            address = (self.url.hostname, self.url.port or 80)
            await asyncio.get_running_loop().sock_connect(connection, address)
        except BaseException:
            connection.close()
            raise
        return connection

    async def receive(self, connection, most):
        data = await asyncio.get_running_loop().sock_recv(connection, most)
        if not data:
            raise ConnectionResetError
        return data

    async def read(self, connection, answer, start_ns):
        """Read one answer at the pace of a slow reader; return its status and whether the connection stays open."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self.receive(connection, 1024)
            if answer.first_byte_us < 0:
                answer.first_byte_us = (time.monotonic_ns() - start_ns) // 1000
        head, _, rest = data.partition(b"\r\n\r\n")
        status, length, keep = parse(head)
        answer.received, began = len(rest), time.monotonic()
        while answer.received < length:
            # In ticks: reading what each moment allows would be thousands of tiny reads.
            allowed = min(length, int((time.monotonic() - began + PACE_S) * self.bytes_per_s))
            while answer.received < allowed:
                answer.received += len(await self.receive(connection, allowed - answer.received))
            if answer.received < length:
                await asyncio.sleep(PACE_S)
        return status, keep

    async def exchange(self, connection):
        """Send one request and write its row, whatever happens; return the connection if it can be used again."""
        index = self.random.choices(range(len(self.data)), self.weights)[0]
        began_ns, start_ns, status, keep, answer = time.monotonic_ns(), 0, FAILED, False, Answer()
        try:
            async with asyncio.timeout(self.timeout_s):
                connection = connection or await self.connect()
            self.sent, start_ns = self.sent + 1, time.monotonic_ns()
            async with asyncio.timeout(self.timeout_s):  # again: connecting is not part of the request
                await asyncio.get_running_loop().sock_sendall(connection, self.data[index])
                status, keep = await self.read(connection, answer, start_ns)
        except asyncio.CancelledError:  # the end of the run
            status = UNANSWERED if start_ns else UNSENT
            raise
        except TimeoutError:
            status = TIMEOUT if start_ns else REFUSED
        except OSError:
            status = RESET if start_ns else REFUSED
        except (ValueError, IndexError, KeyError):
            status = PROTOCOL
        finally:
            self.row(start_ns or began_ns, index, status, answer)
            if not keep and connection:
                connection.close()
        if status == REFUSED:
            await asyncio.sleep(0.05)  # a server that is down must not make this loop spin
        return connection if keep else None

    def row(self, start_ns, index, status, answer):
        """Add a row: wall clock in whole microseconds; no due time, because the loop is closed."""
        took_us, start_us = (time.monotonic_ns() - start_ns) // 1000, (start_ns + self.wall_ns) // 1000
        more = f"\t{answer.first_byte_us}\t{answer.received}" if self.is_long else ""
        self.lines.append(f"0\t{start_us}\t{status}\t{took_us}\t{index}{more}\n")
        self.counts[status] += 1
        self.received += answer.received if status > 0 else 0

    async def repeat(self):
        connection = None
        while self.due != self.task["count"]:
            self.due += 1
            connection = await self.exchange(connection)

    async def write_rows(self):
        """Write what has happened, in whole lines, until the load has ended."""
        while True:
            self.log.write("".join(self.lines))
            self.log.flush()
            self.lines.clear()
            await asyncio.sleep(0.2)

    async def run(self, t0_ns, ended):
        """Send from T0 until the duration is over, all requests are finished, or the end is ordered."""
        self.wall_ns = time.time_ns() - time.monotonic_ns()  # the ONE reading of the wall clock
        await asyncio.sleep((t0_ns - self.wall_ns - time.monotonic_ns()) / 1e9)
        writing = asyncio.create_task(self.write_rows())
        sending = asyncio.gather(*(self.repeat() for _ in range(self.task["clients"])), return_exceptions=True)
        duration_us = self.task["duration_us"]
        left_s = None if duration_us is None else (t0_ns - time.time_ns()) / 1e9 + duration_us / 1e6
        await asyncio.wait([sending, ended], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()  # every request without an answer writes its row now
        await asyncio.wait([sending])
        writing.cancel()
        self.log.write("".join(self.lines))
        self.log.close()

    def summary(self):
        failed = {name: self.counts[status] for status, name in NAMES.items()}
        return {
            "planned": self.task["count"],
            "sent": self.sent,
            "done": self.counts.total() - sum(failed.values()),
            "failed": failed,
            "bytes_body": self.received,
        }


async def main(bytes_per_s):
    commands = asyncio.StreamReader(limit=1 << 28)  # a body can make the task's line long
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    task = json.loads(await commands.readline())
    if task["model"] != "closed" or task["protocol"] != "http1" or not task["requests"][0]["url"].startswith("http:"):
        sys.exit("slow readers are a closed loop over HTTP/1.1 without TLS")
    load = Load(task, bytes_per_s)
    print("ready", flush=True)
    go = await commands.readline()
    if go:  # else the input has ended, and with it the run
        ended = asyncio.create_task(commands.read())  # the end of the input: Volley is gone
        loop.add_signal_handler(signal.SIGTERM, ended.cancel)
        await load.run(int(go.split()[1]), ended)
        print(json.dumps(load.summary()), flush=True)


option, _, value = (sys.argv[1:] or [""])[0].partition("=")
if len(sys.argv) != 2 or option != "--bytes-per-s" or not value.isdecimal() or not int(value):
    sys.exit("name how many bytes a second each client reads: slow_readers.py --bytes-per-s=1000000")
asyncio.run(main(int(value)))
