"""Claim hosts for one run alone: wait for the runs that have them, or refuse and name those."""

from __future__ import annotations

import getpass
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agents import lease
from agents.lease import Holder, Kind, Lease, LeaseError, State
from agents.orders import Busy
from agents.sweep import busy_of
from orchestrator.errors import HostError
from orchestrator.fleet.actors import Notify

HERE = "this machine"
SHARE_VARIABLE = "VOLLEY_SHARE_HOST"
# How long a run without --wait waits: two runs may be asking for the hosts at the same time, and a coordinator that was
# killed may not have been noticed yet.
PATIENCE_S = 2.0
# A run that is being cleaned up is waited for.
ENDED_WITHIN_S = 60.0
POLL_S = 0.1
SHOWN_AFTER_S = 0.5
# A run that waits says so again after this time.
REMINDED_AFTER_S = 300.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What a run says of itself on its hosts.

    mark: unique among all runs; name: the run's name, which another run may have, too. wait_s: how long to wait for
    hosts that are in use, 0 not at all. share: other runs may use the hosts at the same time. fleet: it outlives runs.
    stamp_ns: its place in the queue.
    """

    mark: str
    name: str
    wait_s: float = 0.0
    share: bool = False
    fleet: bool = False
    stamp_ns: int = field(default_factory=time.time_ns)

    @staticmethod
    def of(name: str, wait_s: float = 0.0) -> Claim:
        """Return the claim of a new run."""
        return Claim(_unique(name), name, wait_s, bool(os.environ.get(SHARE_VARIABLE)))

    def again(self) -> Claim:
        """Return the claim of the same run after its hosts were lost: it keeps its place, and waits for it."""
        return replace(self, mark=_unique(self.name), wait_s=math.inf)

    def holder(self, marks: Sequence[str] = ()) -> Holder:
        """Return how a lease names the run before it has its host. marks: further marks of its processes."""
        return Holder(
            owner=owner(),
            run=self.name,
            marks=[self.mark, *marks],
            kind=Kind.FLEET if self.fleet else Kind.RUN,
            state=State.WAITING,
            alone=True,
            share=self.share,
            stamp_ns=self.stamp_ns,
        )


def _unique(name: str) -> str:
    return f"{name}-{os.urandom(3).hex()}"


def owner() -> str:
    """Return who runs Volley here, as user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class Queue:
    """How one claim waits: what it says meanwhile, and when it gives up."""

    def __init__(self, claim: Claim, notify: Notify) -> None:
        self._claim, self._notify = claim, notify
        self._began = time.monotonic()
        self._shown, self._shown_at = "", -math.inf

    def wait(self, busy: Mapping[str, Busy]) -> None:
        """Note who has which hosts, and say for whom the run waits. Raises HostError once it does not wait any longer."""
        waited_s = time.monotonic() - self._began
        is_ending = all(each.ending for each in busy.values())
        if waited_s > max(self._claim.wait_s, ENDED_WITHIN_S if is_ending else PATIENCE_S):
            raise in_use(busy, self._claim.wait_s)
        if self._claim.wait_s or is_ending:
            self._show(busy, waited_s)

    def _show(self, busy: Mapping[str, Busy], waited_s: float) -> None:
        about = repr(sorted((host, each.owner, each.run, each.ending, each.before) for host, each in busy.items()))
        # A run that gives up soon says so at its end.
        shown_after_s = SHOWN_AFTER_S if self._claim.wait_s else PATIENCE_S
        if waited_s > shown_after_s and (about != self._shown or time.monotonic() > self._shown_at + REMINDED_AFTER_S):
            self._shown, self._shown_at = about, time.monotonic()
            self._notify("waiting: " + _in_words(busy))


def in_use(busy: Mapping[str, Busy], waited_s: float) -> HostError:
    """Return the error about hosts that others use."""
    waited = f" (waited {age(waited_s)})" if waited_s else ""
    if all(each.ending for each in busy.values()):
        return HostError(_in_words(busy) + waited, "try again; 'volley hosts clean' ends what hangs there")
    if all(each.fleet for each in busy.values()):
        return HostError(
            _in_words(busy) + waited, "ask its owner to run 'volley hosts down', or wait for it with --wait"
        )
    return HostError(
        _in_words(busy) + waited,
        f"wait for it with --wait; {SHARE_VARIABLE}=1 measures beside it, and both results are SUSPECT",
    )


def _in_words(busy: Mapping[str, Busy]) -> str:
    by_holder: dict[tuple[str, str], list[str]] = {}
    for host, each in busy.items():
        by_holder.setdefault((each.owner, each.run), []).append(host)
    texts = []
    for hosts in by_holder.values():
        each = busy[hosts[0]]
        verb = "is" if len(hosts) == 1 else "are"
        texts.append(f"{', '.join(sorted(hosts))} {verb} {used_by(each)}")
    before = max(each.before for each in busy.values())
    return "; ".join(texts) + (f"; {before - 1} more before this run" if before > 1 else "")


def used_by(busy: Busy) -> str:
    """Return who uses a host, in words: 'in use by anna@laptop: run X, for 3 min'."""
    if busy.ending:
        return f"being cleaned up after run {busy.run} of {busy.owner}"
    if busy.waiting:
        return f"waited for by {busy.owner}: run {busy.run}, for {age(busy.for_s)}"
    if busy.fleet:
        return f"kept up by {busy.owner} with 'volley hosts up', for {age(busy.for_s)}"
    return f"in use by {busy.owner}: run {busy.run}, for {age(busy.for_s)}"


def age(seconds: float) -> str:
    """Return a duration for a person."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def unusable(error: LeaseError) -> HostError:
    """Return the error about a folder of leases that cannot be used."""
    return HostError(
        f"cannot record who uses {HERE}: {error}",
        f"name a folder that all its users can write to: {lease.FOLDER_VARIABLE}",
    )


def beside(mark: str, marks: Sequence[str]) -> Lease:
    """Return a lease on this machine for a run that may be beside others. Raises HostError."""
    try:
        return lease.create(replace(Claim(mark, mark).holder(marks), state=State.HELD, alone=False))
    except LeaseError as error:
        raise unusable(error) from error


def take_here(claim: Claim, notify: Notify, marks: Sequence[str] = ()) -> Lease:
    """Take this machine for a run, as soon as it is free. Raises HostError.

    The lease is held by this process, and by those that inherit its descriptor.
    """
    try:
        held = lease.create(claim.holder(marks))
    except LeaseError as error:
        raise unusable(error) from error
    try:
        queue = Queue(claim, notify)
        while blockers := held.take():
            queue.wait({HERE: busy_of(blockers)})
            time.sleep(POLL_S)
    except LeaseError as error:
        held.remove()
        raise unusable(error) from error
    except BaseException:
        held.remove()
        raise
    return held


def not_clean(hosts: Sequence[str], run: str) -> HostError:
    """Return the error of a run that has ended and has left something on hosts. run: its name."""
    where = "" if list(hosts) == [HERE] else "--hosts INVENTORY "
    return HostError(
        f"{', '.join(hosts)} could not be cleaned up: its guard needs more time, or its Docker engine is down",
        f"check, and if necessary run: volley hosts clean {where}--run {run}",
    )
