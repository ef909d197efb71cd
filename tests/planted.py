"""Search for planted secrets: in what a run prints and stores, in process lists, and in temporary folders."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

EVERY_S = 0.01
FOLDERS = (Path("/dev/shm"), Path(tempfile.gettempdir()))
# Larger files are request logs and images; both are looked for elsewhere.
MOST_BYTES = 8 << 20


def planted(name: str) -> str:
    """Return a new secret, with characters that URLs and JSON escape."""
    return f"{secrets.token_hex(8)}/{name}+ {secrets.token_hex(4)}"


def found_in(data: bytes, values: Iterable[str]) -> list[str]:
    """Return the secrets that some bytes hold, plain or encoded."""
    return [value for value in values if any(form in data for form in _forms(value))]


def _forms(value: str) -> list[bytes]:
    # Where it begins in what was encoded changes base64: the middle of it is enough.
    encoded = [base64.b64encode(b"x" * before + value.encode())[4:-4] for before in range(3)]
    # A part that is long enough to be guessed from.
    parts = [value[:10], value[-10:]]
    return [form.encode() for form in (value, quote(value, safe=""), *parts)] + encoded


@dataclass
class Watch:
    """Looks at all processes and temporary folders while a command runs.

    seen: what was found, as text. private: files with a secret that no other user can read. typed: the command line
    that is the user's own. commands: the names of all processes. logs: the names of files in folders of logs.
    """

    values: Sequence[str]
    typed: bytes = b""
    seen: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    looks: int = 0
    logs: set[str] = field(default_factory=set)
    commands: set[str] = field(default_factory=set)

    def __enter__(self) -> Watch:
        """Begin to look."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, after a last look."""
        self._over.set()
        self._thread.join(timeout=30)

    def _look(self) -> None:
        files_at = 0.0
        while not self._over.wait(EVERY_S):
            self._look_at_processes()
            if time.monotonic() > files_at:
                self.seen |= set(readable_by_others(self.values))
                self.private |= set(left_in_files(self.values))
                self.logs |= {path.name for path in _files(private=True) if path.parent.name == "logs"}
                files_at = time.monotonic() + 0.2
            self.looks += 1

    def _look_at_processes(self) -> None:
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            # Also of the copy of a process that is about to become another program.
            if line == self.typed:
                continue
            self.commands.add(line.split(b"\0", 1)[0].decode(errors="replace").rpartition("/")[2])
            if found := found_in(line, self.values):
                self.seen.add(f"the command line {line!r}: {found}")


def readable_by_others(values: Sequence[str]) -> Iterator[str]:
    """Yield the temporary files with a secret that another user could read."""
    for path in _files(private=False):
        if (data := _content(path)) and (found := found_in(data, values)):
            yield f"{path}: {found}"


def left_in_files(values: Sequence[str]) -> list[str]:
    """Return the temporary files with a secret, whoever can read them."""
    files = ((path, _content(path)) for path in _files(private=True))
    return [f"{path}: {found}" for path, data in files if data and (found := found_in(data, values))]


def _files(private: bool) -> Iterator[Path]:
    """Yield files in folders of a run. private: also those in folders that no other user can enter."""
    for root in FOLDERS:
        for top in root.glob("volley-*"):
            for folder, inner, names in os.walk(top):
                try:
                    closed = not os.stat(folder).st_mode & 0o005
                except OSError:
                    continue
                if closed and not private:
                    inner.clear()
                    continue
                yield from (Path(folder) / name for name in names)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return b""
        return path.read_bytes()
    except OSError:
        return b""


def in_folder(folder: Path, values: Sequence[str]) -> list[str]:
    """Return the files below a folder with a secret in content or name."""
    return [
        f"{path}: {seen}"
        for path in folder.rglob("*")
        if path.is_file() and (seen := found_in(path.read_bytes() + str(path).encode(), values))
    ]


def watched(
    argv: Sequence[str], values: Sequence[str], env: dict[str, str], timeout_s: float = 150
) -> tuple[subprocess.CompletedProcess[str], Watch]:
    """Run a command under a watch. Its own command line is the user's."""
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with Watch(values, b"".join(f"{word}\0".encode() for word in argv)) as watch:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"it did not end within {timeout_s:g} s: {err[-2000:]}") from None
    return subprocess.CompletedProcess(argv, process.returncode, out, err), watch
