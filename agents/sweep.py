"""Remove what the leases of this host list: of one run at its end, or of runs that are dead. Nothing else is touched.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from agents import ending, lease
from agents.lease import Holder, Kind, Lease, LeaseError, Seen, State
from agents.orders import Busy, Cleaned, Removed

# How long a run that is ended by force may take to clean up after itself.
TERMINATED_WITHIN_S = 5.0
SETTLED_WITHIN_S = 15.0


def clean(held: Lease, containers: bool = False) -> tuple[Removed, str]:
    """Stop and remove everything that a lease lists; return how much there was, and what could not be removed.

    containers: look for containers even if none are listed. The lease is removed too, unless something is left; it is
    dead then, and the next run on this host tries again.
    """
    with contextlib.suppress(OSError):
        held.become(State.ENDING)
    marks = held.holder.marks
    processes = ending.end_processes(marks)
    listed = lease.items(held)
    # Containers come second: once the actors are gone, none starts another container.
    removed, trouble = 0, ""
    has_listed = any(item.containers for item in listed)
    if has_listed or (containers and ending.has_engine()):
        try:
            removed = ending.remove_containers(marks)
        except ending.EngineTrouble as error:
            trouble = f"cannot remove containers: {error}"
    files = sum(_remove_folder(Path(item.folder)) for item in listed if item.folder)
    if trouble and has_listed:
        held.close()
    else:
        held.remove()
    return Removed(processes, removed, files), trouble


def _remove_folder(path: Path) -> bool:
    """Remove a folder that this user owns; return whether it was there."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if found.st_uid != os.geteuid():
        return False
    shutil.rmtree(path, ignore_errors=True)
    return True


def sweep() -> Removed:
    """Remove what dead leases of this user list; return how much. A new run does this before it starts."""
    removed = Removed()
    with contextlib.suppress(LeaseError):
        for seen in lease.leases():
            if not seen.live and seen.ours and (held := lease.seize(seen.path)) is not None:
                removed += clean(held)[0]
    return removed


def clean_host(run: str | None, force: bool) -> Cleaned:
    """Clean this host up: dead leases of this user, all or those of one run; with force also live ones.

    run: the run's name or its mark. Raises LeaseError.
    """
    removed, trouble, left = Removed(), [], []
    for seen in lease.leases():
        if run is not None and run != seen.holder.run and run not in seen.holder.marks:
            continue
        held = _ended(seen, force) if seen.ours else None
        if held is None:
            if seen.live and seen.path.exists():
                left.append(busy_of([seen.holder]))
            continue
        count, problem = clean(held, containers=force)
        removed += count
        trouble += [problem] if problem else []
    return Cleaned(removed, left, trouble)


def _ended(seen: Seen, force: bool) -> Lease | None:
    """Return a lease that is dead or being ended, or is ended by force; None for one that stays as it is."""
    if not seen.live:
        return lease.seize(seen.path)
    if not force:
        return None
    # The process that made the lease: a coordinator of this host, which then leaves in an orderly way, or a guard, which
    # does not listen to the first signal.
    for number, within_s in ((signal.SIGTERM, TERMINATED_WITHIN_S), (signal.SIGKILL, SETTLED_WITHIN_S)):
        _signal(seen.holder.pid, seen.holder.started, number)
        if number == signal.SIGKILL:
            # Second, because a guard that lives starts another one. What it has begun to clean up is finished here.
            _signal(seen.holder.standby, seen.holder.standby_started, number)
        deadline = time.monotonic() + within_s
        while seen.path.exists() and time.monotonic() < deadline:
            if (held := lease.seize(seen.path)) is not None:
                return held
            time.sleep(0.05)
    return None


def _signal(pid: int, started: int, number: signal.Signals) -> None:
    """Send a signal to a process, unless another one has its number now. started: in ticks since boot."""
    if pid > 0 and lease.start_time(pid) == started:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def busy_of(blockers: Iterable[Holder]) -> Busy:
    """Return who has the host, for the coordinator. blockers: at least one; the first is named."""
    blockers = list(blockers)
    first = blockers[0]
    return Busy(
        owner=first.owner,
        run=first.run,
        for_s=round(max(0.0, time.time() - first.since_s), 1),
        fleet=first.kind is Kind.FLEET,
        ending=all(holder.state is State.ENDING for holder in blockers),
        before=len(blockers),
        waiting=first.state is State.WAITING,
    )
