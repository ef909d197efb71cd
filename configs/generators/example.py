#!/usr/bin/env python3
# ruff: noqa: ANN001, ANN201, ANN202, ANN204, D102, SIM115, T201
"""A complete generator for HTTP/1.1: open and closed loop, standard library only. Copy it and change what it sends.

docs/reference/generators.md explains every step. Check a copy: volley generator check python3 /path/to/copy.py
"""

import asyncio
import base64
import json
import random
import signal
import ssl
import sys
import time
from collections import Counter, deque
from urllib.parse import urlsplit

NAMES = {-1: "failed", -2: "timeout", -3: "reset", -4: "refused", -5: "protocol", -6: "unanswered", -7: "unsent"}
FAILED, TIMEOUT, RESET, REFUSED, PROTOCOL, UNANSWERED, UNSENT = range(-1, -8, -1)
WITH_LENGTH = ("POST", "PUT", "PATCH")


def prepare(request, row=None):
    """Return a request as bytes, with the values of a row of the task's data in place of ${row.COLUMN}."""

    def filled(text):
        for column, value in (row or {}).items():
            text = text.replace("${row.%s}" % column, value)  # noqa: UP031
        return text

    url, body = urlsplit(filled(request["url"])), base64.b64decode(request["body"] or "")
    if row and b"${row." in body:
        body = filled(body.decode()).encode()
    headers = [f"{name}: {filled(value)}" for name, value in request["headers"]]
    if body or request["method"] in WITH_LENGTH:
        headers.append(f"Content-Length: {len(body)}")
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return (
        "\r\n".join([f"{request['method']} {target} HTTP/1.1", f"Host: {url.netloc}", *headers, "", ""]).encode() + body
    )


async def read_answer(reader, method):
    """Return the status of one answer, and whether its connection can be used again."""
    status = 100
    while status < 200:  # an interim answer, such as 103 Early Hints, is not the answer
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        version, status = head[0].split()[0], int(head[0].split()[1])
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if method == "HEAD" or status in (204, 304):
        pass
    elif "chunked" in fields.get("transfer-encoding", ""):
        while size := int((await reader.readuntil(b"\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        while await reader.readuntil(b"\n") != b"\r\n":
            pass
    elif "content-length" in fields:
        await reader.readexactly(int(fields["content-length"]))
    else:
        await reader.read()  # it lasts until the connection ends
    return status, version == "http/1.1" and fields.get("connection") != "close" and not reader.at_eof()


class Slot:
    """One connection at a time: opened when it is first needed, and again after it has ended."""

    reader = writer = None

    async def open(self, url):
        if self.writer is None or self.reader.at_eof():
            self.close()
            context = ssl._create_unverified_context() if url.scheme == "https" else None
            port = url.port or (443 if context else 80)
            self.reader, self.writer = await asyncio.open_connection(url.hostname, port, ssl=context)

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None


class Load:
    """One load, from its task to its summary."""

    def __init__(self, task):
        self.task, self.requests = task, task["requests"]
        self.url = urlsplit(self.requests[0]["url"])  # all requests go to one server
        self.data = [prepare(request) for request in self.requests]
        self.weights = [request["weight"] for request in self.requests]
        self.random = random.Random(task["seed"])
        limits = [request.get("timeout_us") or task["timeout_us"] for request in self.requests]
        self.timeouts_s = [limit and limit / 1e6 for limit in limits]
        self.rows, self.rows_taken = task.get("data"), 0
        self.log = open(task["log"], "a")
        self.lines, self.counts = [], Counter()
        self.due = self.sent = 0
        self.free, self.waiting, self.running = [], deque(), set()

    def choose(self):
        return self.random.choices(range(len(self.requests)), self.weights)[0]

    def message(self, index):
        """Return what is sent: a request with a placeholder takes a row, in turn or at random."""
        if self.rows is None or "${row." not in json.dumps(self.requests[index]) + self.data[index].decode("latin-1"):
            return self.data[index]
        rows = self.rows["rows"]
        number = self.rows_taken % len(rows) if self.rows["order"] == "cycle" else self.random.randrange(len(rows))
        self.rows_taken += 1
        return prepare(self.requests[index], dict(zip(self.rows["columns"], rows[number], strict=True)))

    async def exchange(self, slot, due_ns, index):
        """Send one request and write its row, whatever happens. due_ns is 0 in the closed loop."""
        began_ns, start_ns, status, keep = time.monotonic_ns(), 0, FAILED, False
        try:
            async with asyncio.timeout(self.timeouts_s[index]):
                await slot.open(self.url)
            message = self.message(index)
            self.sent, start_ns = self.sent + 1, time.monotonic_ns()
            async with asyncio.timeout(self.timeouts_s[index]):  # again: connecting is not part of the request
                slot.writer.write(message)
                status, keep = await read_answer(slot.reader, self.requests[index]["method"])
        except asyncio.CancelledError:  # the end of the run
            status = UNANSWERED if start_ns else UNSENT
            raise
        except TimeoutError:
            status = TIMEOUT if start_ns else REFUSED
        except (OSError, EOFError):
            status = RESET if start_ns else REFUSED
        except (ValueError, IndexError, asyncio.LimitOverrunError):
            status = PROTOCOL
        finally:
            # Without a due time, a request that could not be sent starts when its slot began to connect.
            self.row(due_ns, start_ns or (0 if due_ns else began_ns), index, status)
            if not keep:
                slot.close()
        if status == REFUSED:
            await asyncio.sleep(0.05)  # a server that is down must not make this loop spin

    def row(self, due_ns, start_ns, index, status):
        """Add a row: wall clock in whole microseconds, 0 for no time; then how long it took."""
        took_us = (time.monotonic_ns() - (start_ns or due_ns)) // 1000
        due_us, start_us = (ns and (ns + self.wall_ns) // 1000 for ns in (due_ns, start_ns))
        self.lines.append(f"{due_us}\t{start_us}\t{status}\t{took_us}\t{index}\n")
        self.counts[status] += 1

    async def write_rows(self):
        """Write what has happened, in whole lines, until the load has ended."""
        while True:
            self.log.write("".join(self.lines))
            self.log.flush()
            self.lines.clear()
            await asyncio.sleep(0.2)

    def due_times(self):
        """Yield due times. Even ones are computed from k itself, so that rounding errors do not add up."""
        rate, poisson_ns, k = self.task["rate_per_s"], 0, 0
        while k != self.task["count"]:
            poisson_ns += int(self.random.expovariate(rate) * 1e9)
            even_ns = self.task["first_due_ns"] + int(k * 1e9 / rate)
            due_ns = poisson_ns if self.task["arrivals"] == "poisson" else even_ns
            if self.task["duration_us"] is not None and due_ns >= self.task["duration_us"] * 1000:
                break
            yield self.t0_ns + due_ns
            k += 1

    async def open_loop(self):
        """Send each request when it is due, on the free slot used last, else on a new one, else when one is free."""
        for due_ns in self.due_times():
            await sleep_until(due_ns)
            self.due, index = self.due + 1, self.choose()
            if self.free or len(self.running) < self.task["clients"]:
                self.start(self.serve(self.free.pop() if self.free else Slot(), due_ns, index))
            else:
                self.waiting.append((due_ns, index))

    async def serve(self, slot, due_ns, index):
        """Send a request, then those that wait for a slot, oldest first."""
        await self.exchange(slot, due_ns, index)
        while self.waiting:
            due_ns, index = self.waiting.popleft()
            if self.timeouts_s[index] and time.monotonic_ns() > due_ns + self.timeouts_s[index] * 1e9:
                self.row(due_ns, 0, index, UNSENT)
            else:
                await self.exchange(slot, due_ns, index)
        self.free.append(slot)

    async def closed_loop(self):
        """Let each slot send its next request when the one before has ended."""
        await sleep_until(self.t0_ns)
        for _ in range(self.task["clients"]):
            self.start(self.repeat(Slot()))

    async def repeat(self, slot):
        while self.due != self.task["count"]:
            self.due += 1
            await self.exchange(slot, 0, self.choose())

    def start(self, coroutine):
        self.running.add(running := asyncio.create_task(coroutine))
        running.add_done_callback(self.running.discard)

    async def send(self):
        await (self.open_loop() if self.task["model"] == "open" else self.closed_loop())
        while self.running:  # then nothing is due any more; run() limits how long answers may take
            await asyncio.wait(self.running)

    async def run(self, t0_ns, ended):
        """Send from T0 until the duration is over, all requests are finished, or somebody wants it to end."""
        self.wall_ns = time.time_ns() - time.monotonic_ns()  # the ONE reading of the wall clock
        self.t0_ns = t0_ns - self.wall_ns
        writing, sending = asyncio.create_task(self.write_rows()), asyncio.create_task(self.send())
        duration_us = self.task["duration_us"]
        left_s = None if duration_us is None else (self.t0_ns - time.monotonic_ns()) / 1e9 + duration_us / 1e6
        await asyncio.wait([sending, ended], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        await asyncio.wait([sending])
        # Everything that was due and has no answer gets its row: cancelling makes exchange() write it.
        while self.waiting:
            due_ns, index = self.waiting.popleft()
            self.row(due_ns, 0, index, UNSENT)
        for running in self.running:
            running.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        writing.cancel()
        self.log.write("".join(self.lines))
        self.log.close()

    def summary(self):
        planned = self.due if self.task["model"] == "open" else self.task["count"]
        failed = {name: self.counts[status] for status, name in NAMES.items()}
        return {
            "planned": planned,
            "rows_taken": self.rows_taken,
            "sent": self.sent,
            "done": self.counts.total() - sum(failed.values()),
            "failed": failed,
        }


async def sleep_until(at_ns):
    await asyncio.sleep((at_ns - time.monotonic_ns()) / 1e9)


async def main():
    commands = asyncio.StreamReader(limit=1 << 28)  # a body can make the task's line long
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    task = json.loads(await commands.readline())
    if task["protocol"] != "http1":
        sys.exit("this generator speaks HTTP/1.1 only")
    load = Load(task)
    print("ready", flush=True)
    go = await commands.readline()
    if go:  # else the input has ended: nobody wants this load any more
        ended = asyncio.create_task(commands.read())  # the end of the input: Volley is gone
        loop.add_signal_handler(signal.SIGTERM, ended.cancel)
        await load.run(int(go.split()[1]), ended)
        print(json.dumps(load.summary()), flush=True)


asyncio.run(main())
