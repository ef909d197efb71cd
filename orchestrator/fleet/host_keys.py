"""Which keys of a host are trusted: known_hosts files, read and extended as OpenSSH does it.

Handles hashed names, wildcards, certificate authorities and revoked keys. A key that is recorded
without a port counts for every port of that host, as in OpenSSH.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import HostError

if TYPE_CHECKING:
    import asyncssh

# Host key algorithms by the type of the key, in the order in which they are offered.
_ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
_CERTIFICATES = tuple(
    f"{algorithm}-cert-v01@openssh.com" for algorithms in _ALGORITHMS.values() for algorithm in algorithms
)


class KeyState(StrEnum):
    """What is known of a key that a host presents. OTHER_TYPE: only keys of other types are recorded."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    OTHER_TYPE = "other type"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The files of trusted keys. New keys go into the first of `user`; the files of `system` are only read."""

    user: tuple[Path, ...]
    system: tuple[Path, ...]

    def recorded(self, name: str) -> Recorded:
        """Return everything that is recorded for a host. Raises HostError when a file cannot be read."""
        keys: list[tuple[asyncssh.SSHKey, Path]] = []
        authorities: list[asyncssh.SSHKey] = []
        revoked: list[asyncssh.SSHKey] = []
        for file in (*self.user, *self.system):
            found = _match(file, name)
            keys += [(key, file) for key in found[0]]
            authorities += found[1]
            revoked += found[2]
        return Recorded(keys, authorities, revoked)

    def record(self, name: str, key: asyncssh.SSHKey) -> Path:
        """Record a key as trusted; return the file. Raises HostError when no file can take it."""
        file = self.user[0] if self.user else None
        if file is None or (file.exists() and not file.is_file()):
            raise HostError(
                f"no host key can be recorded: UserKnownHostsFile in ssh_config is {file or 'none'}",
                "name a file in the inventory: known_hosts: FILE",
            )
        try:
            _append(file, name, key)
        except OSError as error:
            raise HostError(
                f"the host key cannot be recorded in {file}: {error.strerror}",
                "make the file writable, or name another one in the inventory: known_hosts: FILE",
            ) from None
        return file


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the files hold about one host: keys with their files, authorities that sign its keys, and revoked keys."""

    keys: list[tuple[asyncssh.SSHKey, Path]]
    authorities: list[asyncssh.SSHKey]
    revoked: list[asyncssh.SSHKey]

    @property
    def trusted(self) -> tuple[Any, Any, Any]:
        """The keys, authorities and revoked keys, as asyncssh takes them."""
        return [key for key, _ in self.keys], list(self.authorities), list(self.revoked)

    def judge(self, key: asyncssh.SSHKey) -> KeyState:
        """Return what is known of a key."""
        if any(known.public_data == key.public_data for known in self.revoked):
            return KeyState.REVOKED
        if any(known.public_data == key.public_data for known, _ in self.keys):
            return KeyState.TRUSTED
        if any(known.get_algorithm() == key.get_algorithm() for known, _ in self.keys):
            return KeyState.CHANGED
        return KeyState.OTHER_TYPE if self.keys else KeyState.UNKNOWN

    def algorithms(self, certificates: bool) -> list[str]:
        """Return the algorithms to offer, those of recorded keys first: a host with several keys then presents that one.

        certificates: offer certificates first if an authority is recorded.
        """
        types = [key.get_algorithm() for key, _ in self.keys]
        ordered = sorted(_ALGORITHMS, key=lambda kind: kind not in types)
        plain = [algorithm for kind in ordered for algorithm in _ALGORITHMS[kind]]
        return [*(_CERTIFICATES if certificates and self.authorities else ()), *plain]

    def types(self) -> str:
        """Return the types of the recorded keys, for messages."""
        return ", ".join(dict.fromkeys(key.get_algorithm() for key, _ in self.keys))


def fingerprint(key: asyncssh.SSHKey) -> str:
    """Return a key's type and fingerprint, as ssh-keygen -l shows it."""
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


def line_of(file: Path, key: asyncssh.SSHKey) -> int | None:
    """Return the number of the line of a file that holds a key, from 1; None where it cannot be found."""
    blob = key.export_public_key().split()[1].decode()
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((number for number, line in enumerate(lines, 1) if blob in line.split()), None)


def _match(file: Path, name: str) -> tuple[Any, Any, Any]:
    try:
        stat = file.stat()
    except OSError:
        return [], [], []
    bare, port = name, None
    if name.startswith("[") and "]:" in name:
        bare, _, digits = name[1:].partition("]:")
        port = int(digits)
    keys, authorities, revoked, *_ = _read(file, stat.st_mtime_ns, stat.st_size).match(bare, "", port)
    return keys, authorities, revoked


@functools.lru_cache(maxsize=16)
def _read(file: Path, _mtime_ns: int, _size: int) -> Any:
    """Return a parsed file. Lines that are not valid are left out, as OpenSSH does. Raises HostError."""
    import asyncssh

    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise HostError(
            f"cannot read the host keys in {file}: {error.strerror}", "make the file readable for you"
        ) from None
    return asyncssh.import_known_hosts("\n".join(line for line in lines if _valid(line)))


def _valid(line: str) -> bool:
    import asyncssh

    try:
        asyncssh.import_known_hosts(line)
    except ValueError:
        return False
    return True


def _append(file: Path, name: str, key: asyncssh.SSHKey) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{name} {key.export_public_key().decode().strip()}\n"
    with file.open("a+", encoding="utf-8") as out:
        out.seek(0)
        ends_well = (out.read() or "\n").endswith("\n")
        out.write(line if ends_well else "\n" + line)
