"""A short part of `make fuzz`, with inputs that are the same in every run, and the inputs that once went wrong."""

import os
import re
import time

import pytest

from orchestrator import bounded
from orchestrator.errors import ConfigurationError
from orchestrator.spec.load import load
from tests.fuzz import running
from tests.fuzz.kinds import Kind, kinds
from tests.fuzz.running import Fuzzed, fuzz, try_one
from tests.fuzz.supervised import supervised

INPUTS = 60
# On a machine that other programs share, CPU time counts what they slow down.
BUSY = 5
NAMES = [
    "campaign", "services", "set", "only", "expect", "rows (CSV)", "rows (JSON)", "requests", "inventory", "ssh_config",
    "command line", "objective", "limits", "quantity", "stored run", "checksums", "frames", "request log", "h2load's log",
    "h2load's output", "messages",
]  # fmt: skip
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
TARGET, LOAD = "targets: {a: {url: 'http://a/'}}\n", "loads: {l: {clients: 1, requests: 1}}\n"


def test_every_kind_is_here(tmp_path):
    """A kind that is added is fuzzed in `make test`, too."""
    assert list(kinds(tmp_path)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_made_up_inputs_are_refused_in_a_sentence(name, tmp_path):
    """No error but a refusal, no hang, bounded memory; and some are accepted, or the reader refuses everything."""
    done = fuzz(kinds(tmp_path)[name], range(INPUTS), f"{name}/short", times=BUSY)

    assert done.inputs == INPUTS
    assert not done.wrong, done.wrong[:3]
    assert done.accepted


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("campaign", BOMB.encode()),
        ("campaign", b"[" * 100_000),
        ("campaign", b"campaign: x\n" + b"- " * 20_000),
        ("campaign", b"\xff\xfe\x00"),
        ("campaign", b"a: 1\n" * 200_000),
        ("campaign", b"".join(b"k%d: ${x}\n" % i for i in range(20_000))),
        ("campaign", f"campaign: c\n{TARGET}loads: {{{','.join(f'l{i}: 1' for i in range(9000))}}}".encode()),
        ("campaign", f"campaign: c\n{TARGET}{LOAD}repetitions: 1000\nexclude: [{'x*,' * 2_000}]".encode()),
        ("campaign", f"campaign: c\n{TARGET}{LOAD}slo: {{'*': '{'[' * 20_000}p99 < 1s'}}".encode()),
        ("requests", b"/\n" * 3_000),
        ("requests", b"/\n" * 10_001),
        ("rows (CSV)", b"id,name\n" + b"1,2\n" * 50_000),
        ("rows (JSON)", b"[" * 100_000),
        ("quantity", b"9" * 5_000 + b"s"),
        ("objective", b"[" * 50_000 + b"p99 < 1s"),
        ("set", b"slo=`id`"),
        ("checksums", b"[" * 100_000),
        ("stored run", b"*summary.json\n" + b"[" * 100_000),
        ("stored run", b'*plan.json\n{"a": [' + b"[]," * 3_000_000 + b"[]]}"),
    ],
    ids=[
        "alias bomb",
        "deep brackets",
        "deep lists",
        "no text",
        "equal keys",
        "unset variables",
        "too many loads",
        "many globs",
        "deep objective",
        "equal requests",
        "too many requests",
        "many rows",
        "deep rows",
        "digits",
        "brackets",
        "backquotes",
        "deep checksums",
        "deep summary",
        "many values",
    ],
)
def test_what_once_took_minutes_or_gigabytes(name, data, tmp_path):
    """In the memory of any other input; beside other tests on a busy machine one of them may take longer."""
    kind, done = kinds(tmp_path)[name], Fuzzed()
    try_one(kind, kind.corpus[0], Fuzzed(), most_bytes=None)
    try_one(kind, data, done, times=BUSY)

    assert not done.wrong


def _sparse(path):
    with path.open("wb") as file:
        file.truncate(2 << 30)


def _endless(path):
    path.symlink_to("/dev/zero")


def _folder(path):
    path.mkdir()


def _circle(path):
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_sparse, "larger than 1 MiB"),
        (_endless, "larger than 1 MiB"),
        (_folder, "Is a directory"),
        (_circle, "Too many levels of symbolic links"),
        (os.mkfifo, "writer did not finish in time"),
    ],
)
def test_what_is_no_file_of_yaml(make, words, tmp_path, monkeypatch):
    """Whatever a path leads to is read up to a limit, and refused."""
    monkeypatch.setattr(bounded, "PATIENCE_S", 0.1)
    path = tmp_path / "campaign.yaml"
    make(path)
    done, found = Fuzzed(), []

    def read(data):
        with pytest.raises(ConfigurationError) as raised:
            load(path)
        found.append(str(raised.value))

    try_one(Kind([b""], read), b"", done)

    assert not done.wrong
    assert words in found[0]


@pytest.mark.parametrize("make", [_sparse, _endless, _folder, os.mkfifo])
@pytest.mark.parametrize("key", ["requests: {from: NAME}", "data: {file: NAME}", "body_file: NAME", "tls: {ca: NAME}"])
def test_what_is_no_file_that_a_campaign_names(make, key, tmp_path, monkeypatch):
    """Each is refused under the key that names it."""
    monkeypatch.setattr(bounded, "PATIENCE_S", 0.1)
    make(tmp_path / "named")
    path = tmp_path / "campaign.yaml"
    count = "count" if key.startswith("requests") else "requests"
    path.write_text(
        "campaign: c\ntargets: {a: {url: 'https://a.test/${row.x}'}}\nloads:\n  l: {clients: 1, "
        f"{count}: 1, {key.replace('NAME', 'named')}}}\n"
    )
    done, found = Fuzzed(), []

    def read(data):
        with pytest.raises(ConfigurationError) as raised:
            load(path)
        found.append(str(raised.value))

    try_one(Kind([b""], read), b"", done)

    assert not done.wrong
    assert re.search(rf"yaml:4: loads\.l\.{key.partition(':')[0]}", found[0]), found


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda data: bytearray(300 << 20), "took more than 200 MiB"),
        (lambda data: time.sleep(60), "or waited"),
        (lambda data: [None for _ in iter(int, 1)], "took longer"),
        (lambda data: {}["x"], "KeyError"),
    ],
    ids=["memory", "waiting", "computing", "traceback"],
)
def test_what_goes_wrong_is_noticed(read, words, monkeypatch):
    """Otherwise a table without findings means nothing."""
    monkeypatch.setattr(running, "MOST_S", 0.2)
    monkeypatch.setattr(running, "MOST_WAITED_S", 0.3)
    done = Fuzzed()
    try_one(Kind([b""], read), b"x", done)

    assert [data for data, _ in done.wrong] == [b"x"]
    assert words in done.wrong[0][1]


@pytest.mark.process
def test_a_process_of_its_own_reads_the_same_inputs(tmp_path):
    """In chunks or at once: each input depends on its number alone."""
    done = supervised("quantity", range(40, 60), "s")
    here = fuzz(kinds(tmp_path)["quantity"], range(40, 60), "s")

    assert (done.inputs, done.accepted, done.wrong) == (20, here.accepted, [])
