"""What a host needs to run our node, as two archives: the packages as they are installed here, and our own code.

The host gets what the coordinator itself runs, file by file. So versions are the same by construction, nothing is
resolved, compiled or downloaded there, and no index is needed anywhere. Named by content: what a host has is not sent again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import agents
from orchestrator.errors import HostError

REQUIREMENTS = ["ray", "numpy", "msgpack", "docker", "httpx[http2]"]
# Parts of Ray that no node of ours touches: 100 of 240 MB. The GCS runs on the coordinator only.
LEFT_OUT = re.compile(
    r"^(ray/(jars|rllib|tune|train|serve|data|llm|cpp|dashboard/client)/|ray/core/src/ray/gcs/gcs_server$)|/tests/"
)
SHORT = 20
_packing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Archive:
    """A folder's worth of files by their names in it; the archive's own name is by content."""

    name: str
    files: list[tuple[str, Path]]

    def packed(self, zstd: bool) -> Path:
        """Give the packed archive, packing it when it is not there yet (some seconds for the packages, once).

        zstd: smaller, and unpacked in a seventh of the time that gzip takes; for hosts that have it.
        """
        path = cache_folder() / f"{self.name}.tar.{'zst' if zstd else 'gz'}"
        with _packing:
            if not path.exists():
                self._pack(path, zstd)
        return path

    def _pack(self, path: Path, zstd: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{self.name}.")
        try:
            with os.fdopen(descriptor, "wb") as raw:
                if zstd:
                    with subprocess.Popen(["zstd", "-q", "-c", "-T0"], stdin=subprocess.PIPE, stdout=raw) as packer:
                        assert packer.stdin is not None
                        self._write(packer.stdin, "w|")
                    if packer.returncode:
                        raise HostError(f"zstd failed on this machine ({packer.returncode})", "is its disk full?")
                else:
                    self._write(raw, "w:gz")
            Path(draft).rename(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        # What an earlier version of this kind left.
        for old in path.parent.glob(f"{self.name.partition('-')[0]}-*"):
            if not old.name.startswith(self.name):
                old.unlink(missing_ok=True)

    def _write(self, out: IO[bytes], mode: str) -> None:
        make: Any = tarfile.open
        level = {"compresslevel": 1} if mode == "w:gz" else {}
        # Times are kept: compiled files are valid for a source of that time only.
        with make(fileobj=out, mode=mode, **level) as archive:
            for inside, source in self.files:
                archive.add(source, arcname=inside, recursive=False, filter=_anonymous)


def have_zstd() -> bool:
    """Say whether this machine can pack with zstd."""
    return shutil.which("zstd") is not None


def cache_folder() -> Path:
    """Where archives are kept on this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "volley"


def archives() -> list[Archive]:
    """Give both archives, not packed yet."""
    return [packages(), project()]


def project() -> Archive:
    """Our own code: agents/, some ten kilobytes."""
    root = Path(agents.__file__).parent
    files = [(f"agents/{path.name}", path) for path in sorted(root.glob("*.py"))]
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return Archive(f"agents-{digest.hexdigest()[:SHORT]}", files)


def packages() -> Archive:
    """Every package that our node needs, as installed here."""
    found = {distribution.name: distribution for distribution in closure(REQUIREMENTS)}
    digest = hashlib.sha256(f"python {sys.version_info.major}.{sys.version_info.minor} {LEFT_OUT.pattern}".encode())
    for name, distribution in sorted(found.items()):
        record = distribution.read_text("RECORD") or ""
        digest.update(f"{name}={distribution.version}\0{hashlib.sha256(record.encode()).hexdigest()}\0".encode())
    files = [pair for distribution in found.values() for pair in _files(distribution)]
    return Archive(f"packages-{digest.hexdigest()[:SHORT]}", sorted(files))


def closure(requirements: list[str]) -> Iterator[metadata.Distribution]:
    """Give the installed packages that are required, and those that these require, each once."""
    from packaging.requirements import Requirement

    seen: set[tuple[str, frozenset[str]]] = set()
    given: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        key = (requirement.name.lower(), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        distribution = metadata.distribution(requirement.name)
        for text in distribution.requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ["", *requirement.extras]):
                waiting.append(needed)
        if distribution.name not in given:
            given.add(distribution.name)
            yield distribution


def _files(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for file in distribution.files or []:
        name = file.as_posix()
        if not name.startswith("..") and not LEFT_OUT.search(name):
            path = Path(str(distribution.locate_file(file)))
            if path.is_file():
                yield name, path


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
