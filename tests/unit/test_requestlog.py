"""The request log reader."""

import os

import numpy as np
import pytest

from agents.requestlog import LogTail, parse
from agents.rows import MalformedRow

START = 1795331418881963


def columns(data):
    rows = parse(data)
    return list(zip(rows.start_us.tolist(), rows.status.tolist(), rows.service_us.tolist(), strict=True))


def test_usual_rows():
    """Sixteen digits, three digits, some digits."""
    assert columns(b"%d\t200\t167\n%d\t503\t12345678\n" % (START, START + 1)) == [
        (START, 200, 167),
        (START + 1, 503, 12345678),
    ]


def test_every_permitted_form():
    """A failed stream, a request never sent, a lost status, a service time of eleven digits, in one chunk."""
    data = b"%d\t-1\t44\n0\t-1\t2888264961\n%d\t0\t2001834\n%d\t200\t12345678901\n%d\t200\t0\n" % ((START,) * 4)

    assert columns(data) == [
        (START, -1, 44),
        (0, -1, 2888264961),
        (START, 0, 2001834),
        (START, 200, 12345678901),
        (START, 200, 0),
    ]


def test_further_columns_are_ignored():
    """Later versions may add columns; rows with and without them mix."""
    assert columns(b"%d\t200\t167\tx\t9\n%d\t200\t5\n" % (START, START)) == [(START, 200, 167), (START, 200, 5)]


def test_nothing_is_no_rows():
    """An empty chunk has no rows."""
    assert len(parse(b"")) == 0


@pytest.mark.parametrize(
    "line",
    [b"", b"1", b"1\t2", b"1\t\t3", b"\t200\t3", b"1\t200\t", b"1 200 3", b"17953x1418881963\t200\t5", b"1\t2000\t3",
     b"1\t-2\t3", b"1\t-1\t-3", b"1\t200\t3.5", b"%d\t2 0\t5" % START, b"%d\t200\t5\r" % START, b"1234567890123456789\t200\t1"],
)  # fmt: skip
def test_a_malformed_line_is_told_with_its_offset(line):
    """The message has the byte at which the line starts, and the line."""
    good = b"%d\t200\t167\n" % START

    with pytest.raises(MalformedRow) as error:
        parse(good + line + b"\n" + good, offset=1000)

    assert f"byte {1000 + len(good)}: {line!r}" in str(error.value)


def test_tail_keeps_the_incomplete_last_line(tmp_path):
    """Half a row is not parsed before its other half is there."""
    log = tmp_path / "log"
    tail = LogTail(log)
    assert tail.read() is None  # no file yet
    log.write_bytes(b"%d\t200\t1" % START)
    assert len(tail.read()) == 0

    with log.open("ab") as file:
        file.write(b"67\n%d\t2" % START)
    rows = tail.read()

    assert rows.service_us.tolist() == [167]
    assert tail.read() is None
    assert tail.close() == b"%d\t2" % START
    assert tail.rows == 1


def test_memory_is_given_back_while_reading(tmp_path):
    """What has been read takes no room in the file system any more, and rows read later are right."""
    log = tmp_path / "log"
    rows = 1_000_000
    log.write_bytes(b"".join(b"%d\t200\t167\n" % (START + i) for i in range(rows)))
    size = log.stat().st_size
    tail = LogTail(log)
    seen = []
    while (part := tail.read()) is not None:
        seen.append(part.start_us)

    assert os.stat(log).st_blocks * 512 < 0.25 * size
    assert os.stat(log).st_size == size
    assert np.array_equal(np.concatenate(seen), START + np.arange(rows))


def test_a_file_without_line_ends_is_refused(tmp_path):
    """Something that is no log is not gathered up for ever."""
    log = tmp_path / "log"
    log.write_bytes(b"x" * 10_000)

    with pytest.raises(MalformedRow, match="no line ends within 4096 bytes"):
        LogTail(log).read()
