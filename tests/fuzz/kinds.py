"""What is fuzzed: for each kind of input, examples to begin with and the reader that must survive it."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.generators import contract_log, h2load_log, h2load_output
from agents.generators.contract import BadMessage, parse_go, parse_summary, parse_task
from agents.requestlog import parse
from agents.rows import MalformedRow
from agents.wire import BadFrame, frames_of, unpack_result
from orchestrator.errors import ConfigurationError, StoredRunError, UsageError
from orchestrator.plan import make_plan
from orchestrator.slo import share
from orchestrator.spec import units
from orchestrator.spec.load import load, load_inventory
from orchestrator.spec.slo import terms
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.listing import list_runs
from tests.conftest import ROOT

REFUSALS = (ConfigurationError, UsageError, StoredRunError, BadFrame, BadMessage, MalformedRow)
LONGEST_MESSAGE = 500
FIXTURES = ROOT / "tests" / "fixtures" / "format1"
CAMPAIGN = """\
campaign: search-api
description: "[bold]Is 1.5 faster?[/bold]"
variables: {n: 40, path: "${HOME:-x}"}
targets:
  old: {url: "http://127.0.0.1:18401/search?q=x", ready: {path: /health, timeout: 2m}, expect: {status: 200, json: {a: [1, null]}}}
  new: {url: "http://[::1]:18402/", expect: {body: ok}}
  box: {image: "app:1", network: bridge, ports: ["18000:8000"], needs: [db], environment: {DB: "${db.address}:${db.port}"}, limits: {cpus: 1.5, memory: 64MiB}}
services:
  db: {image: "pg:1", port: 5432, lifetime: block, prepare: ["true"], tmpfs: "/d:size=64m", healthcheck: {test: "true", retries: 3}, ulimits: {nofile: 1024}}
loads:
  steady: {clients: "${n}", duration: 5s, warm_up: 1s, headers: {X-Trace: a}, agents: 2}
  burst: {clients: 4, requests: 100, method: POST, json: {item: 17}}
  mix: {clients: 4, duration: 5s, requests: [/a, {name: cart, path: "/c?q=ü", method: PUT, json: {a: [1]}, weight: 3, expect: {status: [200, 404]}, timeout: 1s}]}
  chat: {protocol: websocket, clients: 4, duration: 5s, message: hi, subprotocols: [v1.json]}
  open: {model: open, rate: 500/s, arrivals: poisson, duration: 10s, timeout: 2s, paths: [/a, "/b?x=[1]"]}
agents: 2
repetitions: {until: {metric: p99, narrower_than: 10%}, at_least: 3, at_most: 9, budget: 1h}
compare: {baseline: old, smallest_effect: 5%}
slo: {"new/*": "p99 < 50ms, errors < 0.1%, throughput > 10/s"}
saturation: {slo: "p99 < 50ms", window: 2s, highest: 900/s, targets: ["new*"]}
exclude: ["old/burst", "*/chat", "box/*"]
before: [{run: "true", host: local, timeout: 5s, cases: "new/*"}]
"""
INVENTORY = """\
coordinator: {address: 198.18.0.1}
defaults: {user: bench, port: 2222, jump: "ops@bastion.example:22"}
hosts:
  web1: {address: 198.18.0.11, roles: [server], labels: {cpu: epyc}}
  gen1: {address: "::1", roles: [load], slots: 4, cores: [2, 3]}
ssh_config: none
ports: 21000
"""
TASK = json.dumps(
    {
        "version": 1, "log": "/dev/null", "model": "open", "clients": 4, "rate_per_s": 10.5, "duration_us": 10**6, "seed": 3,
        "requests": [{"url": "http://127.0.0.1/", "method": "GET", "headers": [["a", "b"]], "body": "aGk=", "weight": 2.0}],
    }
)  # fmt: skip
SUMMARY = json.dumps({"planned": 10, "sent": 10, "done": 9, "failed": {"timeout": 1}, "connects": 4})
ROWS = b"1764000000000000\t1764000000000100\t200\t1500\t0\n1764000000001000\t1764000000001100\t-2\t2500000\t1\n"
H2LOAD_ROWS = b"1764000000000100\t200\t1500\n1764000000001100\t503\t25\n1764000000001100\t-1\t25000\n"
H2LOAD_SAYS = b"""\
finished in 1.02s, 980.39 req/s, 120.00KB/s
requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 122.07KB (125000) total, 102.54KB (105000) headers (space savings 0.00%), 10.74KB (11000) data
                     min         max         mean         sd        +/- sd
time for request:      331us     29.84ms      4.05ms      3.21ms    72.50%
"""


@dataclass(frozen=True)
class Kind:
    """One kind of input. read: returns for what is accepted, and raises one of REFUSALS for the rest."""

    corpus: Sequence[bytes]
    read: Callable[[bytes], object]


class Files:
    """Readers of files, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plain = folder / "plain.yaml"
        self._plain.write_text(CAMPAIGN)

    def _written(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def campaign(self, data: bytes) -> None:
        loaded = load(self._written("campaign.yaml", data), environment={"HOME": "/root"})
        make_plan(loaded.campaign)

    def override(self, data: bytes) -> None:
        load(self._plain, [data.decode(errors="surrogateescape")], environment={}, parts=("slo", "saturation"))

    def only(self, data: bytes) -> None:
        make_plan(load(self._plain, environment={}).campaign, data.decode(errors="replace"))

    def inventory(self, data: bytes) -> None:
        load_inventory(self._written("inventory.yaml", data), environment={})

    def stored(self, data: bytes) -> None:
        """Take the first line for the name of a file of a stored run, and the rest for its content."""
        name, _, content = data.partition(b"\n")
        run = self.folder / "bench-20261126T005555Z"
        known = {path.relative_to(FIXTURES / run.name).as_posix(): path for path in (FIXTURES / run.name).rglob("*.*")}
        files = [each for each in sorted(known) if known[each].is_file()]
        for each in files:
            (run / each).parent.mkdir(parents=True, exist_ok=True)
            (run / each).write_bytes(known[each].read_bytes())
        matching = fnmatch.filter(files, name.decode(errors="replace")[:80]) or [files[len(content) % len(files)]]
        (run / matching[0]).write_bytes(content)
        list_runs(self.folder)
        evaluate_run(run)


def _is_a_sentence(text: str) -> None:
    """Raise AssertionError for a message that says nothing, or shows a whole input."""
    assert 0 < len(text) < LONGEST_MESSAGE, f"a message of {len(text)} characters"
    assert text.isprintable(), "a message with control characters"


def _quantity(data: bytes) -> None:
    text = data.decode(errors="replace")
    for read in (units.duration_us, units.size_bytes, units.rate_per_s, share):
        try:
            read(text)
        except ValueError as error:
            _is_a_sentence(str(error))


def _objective(data: bytes) -> None:
    try:
        terms(data.decode(errors="replace"))
    except ValueError as error:
        _is_a_sentence(str(error))


def _frames(data: bytes) -> None:
    for payload in frames_of(data):
        unpack_result(payload)


def _log(reader: Callable[..., object]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        whole = data[: data.rfind(b"\n") + 1]
        parse(whole, 0, reader)  # type: ignore[arg-type]

    return read


def _messages(data: bytes) -> None:
    for read in (parse_task, parse_summary, lambda line: parse_go(line.decode(errors="replace"))):
        try:
            read(data)
        except BadMessage as error:
            _is_a_sentence(str(error))


def kinds(folder: Path) -> dict[str, Kind]:
    """Return every kind, by name. folder: for the files that some of them read."""
    files = Files(folder)
    stored = FIXTURES / "bench-20261126T005555Z"
    pieces = [path for path in sorted(stored.rglob("*.*")) if path.is_file() and path.suffix != ".yaml"]
    by_name = [f"{path.relative_to(stored).as_posix()}\n".encode() + path.read_bytes() for path in pieces]
    frames = [path.read_bytes() for path in sorted(stored.rglob("agents.msgpack"))]
    return {
        "campaign": Kind([CAMPAIGN.encode()], files.campaign),
        "set": Kind([b"loads.steady.clients=80", b"slo.new/*=p99 < 5ms", b"loads={a: {clients: 1}}"], files.override),
        "only": Kind([b"flask/*", b"[a-z]*", b"new/steady"], files.only),
        "inventory": Kind([INVENTORY.encode()], files.inventory),
        "objective": Kind([b"p99 < 50ms, errors < 0.1%, throughput > 1000/s", b"response p50 < 1s"], _objective),
        "quantity": Kind([b"1m30s", b"100MiB", b"6000/min", b"3%", b"0.5", b"1e3"], _quantity),
        "stored run": Kind(by_name, files.stored),
        "frames": Kind(frames, _frames),
        "request log": Kind([ROWS * 3], _log(contract_log.parse_lines)),
        "h2load's log": Kind([H2LOAD_ROWS * 3], _log(h2load_log.parse_lines)),
        "h2load's output": Kind([H2LOAD_SAYS], lambda data: h2load_output.parse_output(data.decode(errors="replace"))),
        "messages": Kind([TASK.encode(), SUMMARY.encode(), b"go 1764000000000000000"], _messages),
    }
