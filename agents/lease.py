"""Who uses this host, and what was created on it: a lease per run, in files that every user of the host can read.

    /var/tmp/volley/NAME.lease    one Holder as JSON, locked (flock) while the run lives
    /var/tmp/volley/NAME.items    what the run creates, an Item as JSON per line, written before it is created

The lock of a lease ends with the processes that hold it, however they end. A lease without a lock is dead: what it
lists is left over, and nothing else is ever removed. Leases are also the queue for the host: a run that wants the host
alone waits for those that hold it, and for those that asked before.

VOLLEY_LEASES names another folder. Hosts that share a file system differ in their network namespace.
Standard library only: the guard needs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path

FOLDER_VARIABLE = "VOLLEY_LEASES"
FOLDER = Path("/var/tmp/volley")
LEASE, ITEMS, MUTEX = ".lease", ".items", "mutex"
MUTEX_WITHIN_S = 10.0
MOST_BYTES = 65_536


class LeaseError(OSError):
    """The folder of leases cannot be used."""


class State(StrEnum):
    """WAITING: in the queue for the host. HELD: it uses the host. ENDING: what it created is being removed."""

    WAITING = "waiting"
    HELD = "held"
    ENDING = "ending"


class Kind(StrEnum):
    """RUN: a run. FLEET: hosts that 'volley hosts up' keeps up between runs."""

    RUN = "run"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease.

    owner: user@machine of the coordinator; run: the run's name. marks: values of VOLLEY_RUN in its processes and of the
    label of its containers, each unique to this run. alone: it wants the host for itself; share: it does not mind
    others. stamp_ns: its place in the queue. pid, started: the process that made the lease, with its start time in
    ticks; standby, standby_started: the one that takes over when it is killed, 0 for none. space, boot: the network
    namespace, and the boot of the machine.
    """

    owner: str
    run: str
    marks: list[str]
    kind: Kind = Kind.RUN
    state: State = State.HELD
    alone: bool = False
    share: bool = False
    stamp_ns: int = 0
    since_s: float = 0.0
    created_s: float = 0.0
    pid: int = 0
    started: int = 0
    standby: int = 0
    standby_started: int = 0
    space: int = 0
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a run created: a folder, or containers with the run's label."""

    mark: str
    folder: str = ""
    containers: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A lease as others see it. ours: it belongs to this user, so that this user may clean it up."""

    path: Path
    holder: Holder
    live: bool
    ours: bool


@dataclass(slots=True)
class Lease:
    """A lease of this process. Its lock is held until close() or remove(), and by processes that inherit `descriptor`."""

    path: Path
    descriptor: int
    holder: Holder

    @staticmethod
    def adopt(path: Path, descriptor: int) -> Lease:
        """Take over a lease whose locked descriptor this process has inherited. Raises LeaseError."""
        os.set_inheritable(descriptor, False)
        holder = _holder_of(os.pread(descriptor, MOST_BYTES, 0))
        if holder is None:
            raise LeaseError(f"{path} is not a lease")
        return Lease(path, descriptor, holder)

    def blockers(self) -> list[Holder]:
        """Return who keeps this run from having the host alone: holders first, then the queue before this run."""
        if self.holder.share or not self.holder.alone:
            return []
        others = [seen for seen in leases() if seen.live and seen.holder.alone and not self._is_own(seen.holder)]
        using = [seen.holder for seen in others if seen.holder.state is not State.WAITING]
        mine = (self.holder.stamp_ns, self.path.name)
        before = [
            s.holder for s in others if s.holder.state is State.WAITING and (s.holder.stamp_ns, s.path.name) < mine
        ]
        return using + sorted(before, key=lambda holder: holder.stamp_ns)

    def _is_own(self, other: Holder) -> bool:
        return not set(other.marks).isdisjoint(self.holder.marks)

    def take(self) -> list[Holder]:
        """Take the host, unless others are in the way; return those. Raises LeaseError."""
        with mutex():
            if not (blockers := self.blockers()):
                self.become(State.HELD)
        return blockers

    def become(self, state: State) -> None:
        """Change the state of the lease, for all to see."""
        self.holder = replace(self.holder, state=state, since_s=time.time())
        self._write()

    def renew(self) -> None:
        """Record that the coordinator was heard just now: the time of the file."""
        with contextlib.suppress(OSError):
            os.utime(self.descriptor)

    def add_marks(self, marks: Iterable[str]) -> None:
        """Add marks of the same run."""
        self.holder = replace(self.holder, marks=[*self.holder.marks, *marks])
        self._write()

    def name_standby(self, pid: int) -> None:
        """Record the process that takes over when this one is killed."""
        self.holder = replace(self.holder, standby=pid, standby_started=start_time(pid))
        self._write()

    def _write(self) -> None:
        # Padded, so that one write replaces what was there.
        padded = json.dumps(asdict(self.holder)).encode().ljust(os.fstat(self.descriptor).st_size)
        os.pwrite(self.descriptor, padded, 0)

    def remove(self) -> None:
        """End the lease: nothing of the run is left."""
        self.path.with_suffix(ITEMS).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the lock. If no other process has it, the lease is dead."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


def folder() -> Path:
    """Return the folder of leases, which every user can write to. Raises LeaseError."""
    path = Path(os.environ.get(FOLDER_VARIABLE) or FOLDER)
    try:
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                path.mkdir(parents=True)
                path.chmod(0o1777)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or (found.st_uid != os.geteuid() and not found.st_mode & stat.S_ISVTX):
            raise LeaseError(f"{path} is not a folder with the permissions 1777")
        if not os.access(path, os.W_OK):
            raise LeaseError(f"{path} is not writable")
    except LeaseError:
        raise
    except OSError as error:
        raise LeaseError(f"{path} cannot be created: {error.strerror}") from error
    return path


@contextmanager
def mutex() -> Iterator[None]:
    """Let one process at a time look at the queue and change it. Raises LeaseError."""
    path = folder() / MUTEX
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        # Without O_CREAT first: in a folder for everybody the kernel may refuse to create what another user has created.
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT, 0o644)
            os.fchmod(descriptor, 0o644)
    except OSError as error:
        raise LeaseError(f"{path} cannot be opened: {error.strerror}") from error
    deadline = time.monotonic() + MUTEX_WITHIN_S
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LeaseError(f"{path} is locked by another process") from None
                time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def create(holder: Holder) -> Lease:
    """Make a lease, locked from the first moment that others can see it. Raises LeaseError."""
    parent, pid = folder(), os.getpid()
    holder = replace(
        holder,
        created_s=time.time(),
        since_s=time.time(),
        stamp_ns=holder.stamp_ns or time.time_ns(),
        pid=pid,
        started=start_time(pid),
        space=_space(),
        boot=_boot(),
    )
    name = re.sub(r"[^\w.=-]", "_", holder.marks[0])[-150:]
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{name}.", dir=parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.fchmod(descriptor, 0o644)
        lease = Lease(parent / f"{Path(draft).name[1:]}{LEASE}", descriptor, holder)
        # Room for more marks.
        os.ftruncate(descriptor, len(json.dumps(asdict(holder)).encode()) + 2048)
        lease._write()
        Path(draft).rename(lease.path)
    except OSError as error:
        raise LeaseError(f"{parent}: {error.strerror}") from error
    return lease


def leases() -> list[Seen]:
    """Return the leases of this host, live and dead, the oldest first. Raises LeaseError."""
    found = []
    for path in folder().glob(f"*{LEASE}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                owner = os.fstat(descriptor).st_uid
                holder = _holder_of(os.pread(descriptor, MOST_BYTES, 0))
                if holder is not None and _is_here(holder):
                    found.append(Seen(path, holder, not _lockable(descriptor), owner == os.geteuid()))
            finally:
                os.close(descriptor)
    return sorted(found, key=lambda seen: seen.holder.stamp_ns)


def seize(path: Path) -> Lease | None:
    """Take over a dead lease of this user in order to clean it up; None where it lives, or another process does it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            now, held = path.stat(), os.fstat(descriptor)
            if (now.st_ino, held.st_uid) == (held.st_ino, os.geteuid()):
                return Lease.adopt(path, descriptor)
        os.close(descriptor)
    return None


def others_here() -> list[str]:
    """Return the other runs that use this host now, as 'RUN of OWNER'; none where this process belongs to no run."""
    mark = os.environ.get("VOLLEY_RUN")
    if mark is None:
        return []
    with contextlib.suppress(LeaseError):
        using = [s.holder for s in leases() if s.live and s.holder.alone and s.holder.state is State.HELD]
        return [f"{holder.run} of {holder.owner}" for holder in using if mark not in holder.marks]
    return []


def made_folder(mark: str, prefix: str, parent: Path) -> Path:
    """Make a new folder of a run and return it; the run's lease lists it before it is there.

    Where the run has no lease on this host, only the caller knows the folder.
    """
    while True:
        # The name is short because the path of a socket inside must not exceed 107 bytes.
        path = parent / f"{prefix}{os.urandom(4).hex()}"
        if not os.path.lexists(path):
            break
    register(Item(mark, folder=str(path)))
    path.mkdir(mode=0o700)
    return path


def register(item: Item) -> None:
    """Write down what a run is about to create, in its lease on this host, if it has one."""
    path = _items_of(item.mark)
    if path is not None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(json.dumps(asdict(item)).encode() + b"\n")


def _items_of(mark: str) -> Path | None:
    with contextlib.suppress(LeaseError):
        for seen in leases():
            if seen.live and seen.ours and mark in seen.holder.marks:
                return seen.path.with_suffix(ITEMS)
    return None


def items(lease: Lease) -> list[Item]:
    """Return what a lease lists."""
    found = []
    try:
        path = lease.path.with_suffix(ITEMS)
        lines = path.read_bytes().splitlines() if path.lstat().st_uid == os.geteuid() else []
    except OSError:
        return []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):  # a line that was cut short: nothing was created then
            found.append(Item(**json.loads(line)))
    return found


def start_time(pid: int) -> int:
    """Return when a process started, in ticks since boot; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError):
        return 0


def _lockable(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder_of(data: bytes) -> Holder | None:
    """Return the holder that a lease names; None for anything else. Other users' words are cleaned for a terminal."""
    try:
        plain = json.loads(data)
        known = {each.name for each in fields(Holder)}
        holder = Holder(**{key: value for key, value in plain.items() if key in known})
        return replace(
            holder,
            owner=_shown(holder.owner),
            run=_shown(holder.run),
            marks=[str(mark) for mark in holder.marks],
            kind=Kind(holder.kind),
            state=State(holder.state),
            stamp_ns=int(holder.stamp_ns),
            since_s=float(holder.since_s),
        )
    except (ValueError, TypeError, AttributeError):
        return None


def _shown(text: object) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(text))[:200]


def _is_here(holder: Holder) -> bool:
    """Return whether a lease is one of this host. What an earlier boot left belongs to every host, and is dead."""
    return holder.boot != _boot() or holder.space == _space()


def _space() -> int:
    try:
        return Path("/proc/self/ns/net").stat().st_ino
    except OSError:
        return 0


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
