"""What is fuzzed: for each kind of input, examples to begin with and the reader that must survive it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.generators import contract_log, h2load_log, h2load_output
from agents.generators.contract import BadMessage, parse_go, parse_summary, parse_task
from agents.requestlog import parse
from agents.wire import frames_of, unpack_result
from orchestrator.analyse.regression import limits
from orchestrator.slo import share
from orchestrator.spec import units
from orchestrator.spec.slo import terms
from tests.fuzz import corpus
from tests.fuzz.command_lines import command_line
from tests.fuzz.files import Files
from tests.fuzz.refusals import check_text
from tests.fuzz.runs import Runs


@dataclass(frozen=True)
class Kind:
    """One kind of input. read: returns for what is accepted, and raises one of REFUSALS for the rest."""

    corpus: Sequence[bytes]
    read: Callable[[bytes], object]


def _texts(*readers: Callable[[str], object], refusal: type[ValueError] = ValueError) -> Callable[[bytes], None]:
    """Return a reader of text. Accepted is what one of several accepts; a refusal is an error in a sentence."""

    def read(data: bytes) -> None:
        text = data.decode(errors="replace")
        refused: list[ValueError] = []
        for each in readers:
            try:
                each(text)
            except refusal as error:
                check_text(str(error))
                refused.append(error)
        if len(refused) == len(readers):
            raise BadMessage(str(refused[0]))

    return read


def _frames(data: bytes) -> None:
    for payload in frames_of(data):
        unpack_result(payload)


def _log(reader: Callable[..., object]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        whole = data[: data.rfind(b"\n") + 1]
        parse(whole, 0, reader)  # type: ignore[arg-type]

    return read


def kinds(folder: Path) -> dict[str, Kind]:
    """Return every kind, by name. folder: for the files that some of them read."""
    files, runs = Files(folder), Runs(folder)
    messages = [corpus.TASK.encode(), corpus.SUMMARY.encode(), b"go 1764000000000000000"]
    objectives = [b"p99 < 50ms, errors < 0.1%, throughput > 1000/s", b"response p50 < 1s, [GET /a] slower than 1s < 5%"]
    return {
        "campaign": Kind([corpus.CAMPAIGN.encode()], files.campaign),
        "services": Kind([corpus.SERVICES.encode()], files.campaign),
        "set": Kind([b"loads.steady.clients=80", b"slo.new/*=p99 < 5ms", b"loads={a: {clients: 1}}"], files.override),
        "only": Kind([b"old/*", b"[a-z]*", b"new/steady"], files.only),
        "expect": Kind(corpus.EXPECT, files.expect),
        "rows (CSV)": Kind([corpus.CSV_ROWS], files.csv_rows),
        "rows (JSON)": Kind([corpus.JSON_ROWS], files.json_rows),
        "requests": Kind([corpus.REQUESTS], files.requests),
        "inventory": Kind([corpus.INVENTORY.encode()], files.inventory),
        "ssh_config": Kind([corpus.SSH_CONFIG], files.ssh_config),
        "command line": Kind(corpus.COMMAND_LINES, command_line),
        "objective": Kind(objectives, _texts(terms)),
        "limits": Kind(corpus.LIMITS, _texts(limits)),
        "quantity": Kind(
            [b"1m30s", b"100MiB", b"6000/min", b"3%", b"0.5", b"1e3", b"50MB/s", b"9" * 400 + b"s"],
            _texts(units.duration_us, units.size_bytes, units.rate_per_s, units.bytes_per_s, share),
        ),
        "stored run": Kind(runs.corpus(), runs.read),
        "checksums": Kind([runs.checksums()], runs.read_checksums),
        "frames": Kind(runs.frames(), _frames),
        "request log": Kind([corpus.ROWS * 3], _log(contract_log.parse_lines)),
        "h2load's log": Kind([corpus.H2LOAD_ROWS * 3], _log(h2load_log.parse_lines)),
        "h2load's output": Kind(
            [corpus.H2LOAD_SAYS], lambda data: h2load_output.parse_output(data.decode(errors="replace"))
        ),
        "messages": Kind(messages, _texts(parse_task, parse_summary, parse_go, refusal=BadMessage)),
    }
