"""Room for request logs: where they go, and what is said where they find none. On file systems that really are full."""

import contextlib
import errno
import subprocess
import tempfile
from pathlib import Path

import pytest

from agents import room
from agents.load_agent import needed_bytes
from agents.records import Assignment

MIB = 1 << 20


@pytest.fixture
def mounted(tmp_path):
    """Mount small file systems in memory: mounted(name, bytes). They are unmounted on any way out."""
    made = []

    def mount(name, size):
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "volley-test", str(folder)], check=True)
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Write until nothing more fits."""
    with (folder / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    assert room.free_bytes(folder) == 0


@pytest.mark.process
def test_logs_go_to_memory_then_to_the_temporary_folder(mounted, monkeypatch):
    """The first that has the room; where none has, the error names memory, and both numbers."""
    memory, temporary = mounted("shm", 3 * MIB), mounted("tmp", 5 * MIB)
    monkeypatch.setattr(room, "MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    assert room.scratch_root(2 * MIB) == memory
    assert room.scratch_root(4 * MIB) == temporary
    with pytest.raises(room.NoSpace, match=rf"^{memory} has 3\.0 MiB free, and the request logs need 8\.0 MiB$"):
        room.scratch_root(8 * MIB)
    fill(memory)
    assert room.free_bytes(memory) == 0
    assert room.scratch_root(2 * MIB) == temporary


def task(**changes):
    plain = {"agent": "a/0", "run": "r", "url": "http://127.0.0.1:9/", "clients": 4, "give_up_us": 10_000_000}
    return Assignment(**(plain | changes))


@pytest.mark.parametrize(
    ("changes", "log"),
    [
        ({"duration_us": 60_000_000}, room.LOG_BYTES),
        ({"count": 1_000}, 1_000 * room.ROW_BYTES),
        ({"count": 10**9}, room.LOG_BYTES),
        ({"duration_us": 10_000_000, "rate_per_s": 50.0}, 1_000 * room.ROW_BYTES),
        ({"count": 10, "body": b"x" * 5_000}, 10 * room.ROW_BYTES + 5_000),
    ],
)
def test_a_log_needs_what_its_rows_take_and_never_more_than_is_read_back_in_time(changes, log):
    """Small loads fit into the /dev/shm of a container."""
    assert needed_bytes(task(**changes)) == log + room.OTHER_BYTES


def test_what_says_that_nothing_more_fits():
    """The system's two errors, and their words in a program's output."""
    assert room.is_full(OSError(errno.ENOSPC, "x"))
    assert room.is_full(OSError(errno.EDQUOT, "x"))
    assert not room.is_full(OSError(errno.EIO, "x"))
    assert room.says_full("paced: No space left on device: the request log")
    assert room.says_full("write: Disk quota exceeded")
    assert not room.says_full("killed")
