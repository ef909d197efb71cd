"""Files, pipes and devices that are read up to a limit."""

import errno
import os
import threading
from pathlib import Path

import pytest

from orchestrator import bounded


def test_a_file_of_exactly_the_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)

    assert bounded.read_bytes(path, 10) == b"x" * 10
    with pytest.raises(OSError, match="larger than") as raised:
        bounded.read_bytes(path, 9)
    assert raised.value.errno == errno.EFBIG


def test_a_file_that_says_it_is_empty():
    """As those of the kernel do."""
    assert bounded.read_bytes(Path("/proc/self/stat"), 1 << 20)


def test_a_device_that_never_ends():
    with pytest.raises(OSError, match="larger than 1 MiB"):
        bounded.read_bytes(Path("/dev/zero"), 1 << 20)


def test_a_pipe_is_read_to_its_end(tmp_path):
    """Its writer may open it later than we do, and write more than a pipe holds."""
    path, data = tmp_path / "pipe", os.urandom(300_000)
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()

    assert bounded.read_bytes(path, 1 << 20) == data
    writer.join()


@pytest.mark.parametrize("written", [b"", b"campaign: c"])
def test_a_pipe_that_stays_open(written):
    """Its writer is there and has not finished: it is waited for, but not for ever."""
    reading, writing = os.pipe()
    os.write(writing, written)
    try:
        with pytest.raises(TimeoutError, match="did not finish in time"):
            bounded.read_bytes(Path(f"/dev/fd/{reading}"), 1 << 20, patience_s=0.05)
    finally:
        os.close(reading)
        os.close(writing)
