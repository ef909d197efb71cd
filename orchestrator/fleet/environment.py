"""The environment of a host's Ray node, as two archives: installed packages, and Volley's own modules.

A host receives the files that the coordinator itself runs. Versions are therefore the same by
construction; nothing is resolved, compiled or downloaded on the host. Archives are named by
content, so a host receives each version once.
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

REQUIREMENTS = ["ray", "numpy", "msgpack", "docker", "httpx[http2]", "uvloop", "httptools", "websockets"]
# Everything of the package `agents` that a host needs, by path inside it. A list rather than the
# folder's content, because another distribution may have put files of its own beside ours.
MODULES = (
    "__init__.py",
    "actors.py",
    "answers.py",
    "arrivals.py",
    "buckets.py",
    "cgroup.py",
    "channel.py",
    "child.py",
    "clock.py",
    "cluster_node.py",
    "columns.py",
    "command.py",
    "connections.py",
    "container.py",
    "destinations.py",
    "digits.py",
    "docker_host.py",
    "ending.py",
    "engine.py",
    "execute.py",
    "expected.py",
    "gate.py",
    "generators/__init__.py",
    "generators/adapter.py",
    "generators/answer.py",
    "generators/body.py",
    "generators/choice.py",
    "generators/conformance.py",
    "generators/conformance_closed.py",
    "generators/conformance_data.py",
    "generators/conformance_failures.py",
    "generators/conformance_machine.py",
    "generators/conformance_open.py",
    "generators/conformance_program.py",
    "generators/conformance_rules.py",
    "generators/conformance_runs.py",
    "generators/conformance_server.py",
    "generators/contract.py",
    "generators/contract_fields.py",
    "generators/contract_log.py",
    "generators/contract_request.py",
    "generators/due.py",
    "generators/h2load.py",
    "generators/h2load_log.py",
    "generators/h2load_output.py",
    "generators/h2load_schedule.py",
    "generators/h2load_version.py",
    "generators/handshakes.py",
    "generators/held_h2load.py",
    "generators/paced.py",
    "generators/paced_closed.py",
    "generators/paced_connection.py",
    "generators/paced_load.py",
    "generators/paced_open.py",
    "generators/paced_pool.py",
    "generators/process.py",
    "generators/program.py",
    "generators/request.py",
    "generators/rowlog.py",
    "generators/template.py",
    "generators/timer.py",
    "generators/websocket.py",
    "generators/websocket_connection.py",
    "generators/websocket_load.py",
    "generators/websocket_message.py",
    "guard.py",
    "health.py",
    "histogram.py",
    "hostfiles.py",
    "hostmeter.py",
    "images.py",
    "lease.py",
    "live.py",
    "live_counters.py",
    "load_agent.py",
    "load_host.py",
    "mix.py",
    "node.py",
    "occupancy.py",
    "orders.py",
    "pauses.py",
    "plain.py",
    "ports.py",
    "printable.py",
    "preflight.py",
    "probe.py",
    "processes.py",
    "readiness.py",
    "recorder.py",
    "records.py",
    "relay.py",
    "requestlog.py",
    "room.py",
    "rows.py",
    "running_service.py",
    "sampler.py",
    "schedule_facts.py",
    "series.py",
    "server_host.py",
    "service.py",
    "service_host.py",
    "shells.py",
    "spoken.py",
    "standby.py",
    "success.py",
    "survey.py",
    "sweep.py",
    "tls.py",
    "totals.py",
    "trivial.py",
    "window_counters.py",
    "websocket_probe.py",
    "wire.py",
)
# Parts of Ray that no Volley node uses: 100 of 240 MB. The GCS runs on the coordinator only.
LEFT_OUT = re.compile(
    r"^(ray/(jars|rllib|tune|train|serve|data|llm|cpp|dashboard/client)/|ray/core/src/ray/gcs/gcs_server$)|/tests/"
)
SHORT = 20
_packing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Archive:
    """Files and their paths inside the archive. The archive's own name is derived from the content."""

    name: str
    files: list[tuple[str, Path]]

    def packed(self, zstd: bool) -> Path:
        """Return the path of the packed archive. Packing the packages takes a few seconds, once per version.

        zstd: for hosts that have zstd; smaller than gzip and seven times faster to unpack.
        Raises HostError when zstd fails.
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
                        raise HostError(
                            f"this machine: zstd failed with status {packer.returncode}",
                            f"free disk space under {path.parent} and try again",
                        )
                else:
                    self._write(raw, "w:gz")
            Path(draft).rename(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        # Archives of earlier versions are of no further use.
        for old in path.parent.glob(f"{self.name.partition('-')[0]}-*"):
            if not old.name.startswith(self.name):
                old.unlink(missing_ok=True)

    def _write(self, out: IO[bytes], mode: str) -> None:
        open_archive: Any = tarfile.open
        level = {"compresslevel": 1} if mode == "w:gz" else {}
        # Modification times are kept, because a .pyc file is valid only for the source time it
        # records.
        with open_archive(fileobj=out, mode=mode, **level) as archive:
            for inside, source in self.files:
                archive.add(source, arcname=inside, recursive=False, filter=_anonymous)


def have_zstd() -> bool:
    """Return whether this machine can pack with zstd."""
    return shutil.which("zstd") is not None


def cache_folder() -> Path:
    """Return the folder of packed archives on this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "volley"


def archives() -> list[Archive]:
    """Return both archives, not packed yet."""
    return [packages(), project()]


def project() -> Archive:
    """Return the archive of Volley's own modules, about 100 kB."""
    root = Path(agents.__file__).parent
    files = [(f"agents/{name}", root / name) for name in MODULES]
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return Archive(f"agents-{digest.hexdigest()[:SHORT]}", files)


def packages() -> Archive:
    """Return the archive of the packages that a Ray node needs, as installed here."""
    needed = {distribution.name: distribution for distribution in closure(REQUIREMENTS)}
    digest = hashlib.sha256(f"python {sys.version_info.major}.{sys.version_info.minor} {LEFT_OUT.pattern}".encode())
    for name, distribution in sorted(needed.items()):
        record = distribution.read_text("RECORD") or ""
        digest.update(f"{name}={distribution.version}\0{hashlib.sha256(record.encode()).hexdigest()}\0".encode())
    files = [pair for distribution in needed.values() for pair in _files(distribution)]
    return Archive(f"packages-{digest.hexdigest()[:SHORT]}", sorted(files))


def closure(requirements: list[str]) -> Iterator[metadata.Distribution]:
    """Yield the installed packages that the requirements need, directly or indirectly, each once."""
    from packaging.requirements import Requirement

    seen: set[tuple[str, frozenset[str]]] = set()
    yielded: set[str] = set()
    pending = [Requirement(text) for text in requirements]
    while pending:
        requirement = pending.pop()
        key = (requirement.name.lower(), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        distribution = metadata.distribution(requirement.name)
        for text in distribution.requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ["", *requirement.extras]):
                pending.append(needed)
        if distribution.name not in yielded:
            yielded.add(distribution.name)
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
