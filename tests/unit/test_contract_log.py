"""Rows of the generator contract: what is read, what is refused and where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.generators.contract_log import parse_lines
from agents.requestlog import LogTail, parse
from agents.rows import MalformedRow

NOW_US = 1_795_331_418_881_963

rows = st.tuples(
    st.one_of(st.just(0), st.integers(10**15, 10**17)),
    st.one_of(st.just(0), st.integers(10**15, 10**17)),
    st.one_of(st.integers(-7, -1), st.integers(100, 999)),
    st.integers(0, 10**12),
    st.integers(0, 99),
)


def text_of(values):
    return "".join("\t".join(map(str, row)) + "\n" for row in values).encode()


@given(st.lists(rows, min_size=1, max_size=60))
def test_every_permitted_row_is_read_as_written(values):
    """Five columns of any permitted length, in file order."""
    read = parse(text_of(values), lines=parse_lines)

    columns = [read.due_us, read.start_us, read.status, read.service_us, read.request]
    assert [tuple(int(v) for v in row) for row in zip(*columns, strict=True)] == values


def test_further_columns_are_ignored():
    """A later version may add some; a line may have them and the next not."""
    read = parse(f"{NOW_US}\t{NOW_US}\t200\t5\t0\textra\t7\n0\t{NOW_US}\t-2\t9\t1\n".encode(), lines=parse_lines)

    assert read.status.tolist() == [200, -2]
    assert read.request.tolist() == [0, 1]


@pytest.mark.parametrize(
    "bad",
    [
        b"1\t2\t200\t3\n",
        b"\n",
        b"a\t2\t200\t3\t0\n",
        b"1\t2\t-8\t3\t0\n",
        b"1\t2\t1000\t3\t0\n",
        b"1\t\t200\t3\t0\n",
        b"1\t2\t--\t3\t0\n",
        b"1 2 200 3 0\n",
        b"-1\t2\t200\t3\t0\n",
        b"1\t2\t200\t3\t0x\n",
    ],
)
def test_a_line_that_is_not_a_row_is_refused_with_its_place(bad):
    """The byte of the file at which it starts, and what it is."""
    good = text_of([(NOW_US, NOW_US, 200, 5, 0)] * 2)

    with pytest.raises(MalformedRow, match=f"byte {1000 + len(good)}"):
        parse(good + bad + good, 1000, parse_lines)


def test_a_growing_log_is_read_whole_lines_at_a_time(tmp_path):
    """The incomplete last line waits for its end."""
    log = tmp_path / "log"
    tail = LogTail(log, parse_lines)
    assert tail.read() is None
    whole = text_of([(NOW_US + k, NOW_US + k, 200, k, 0) for k in range(1000)])
    with log.open("ab", buffering=0) as file:
        file.write(whole[:777])
        first = tail.read()
        file.write(whole[777:])
        second = tail.read()

    assert first is not None
    assert second is not None
    assert np.concatenate([first.service_us, second.service_us]).tolist() == list(range(1000))
    assert tail.close() == b""
