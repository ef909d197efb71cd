"""How a run waits for hosts, or is refused: whom it names, how long it waits, and that two coordinators never lock up."""

import asyncio
import math
import random
import re

import pytest

from agents import lease
from agents.orders import Busy
from orchestrator.cli.waiting import spelled_out, wait_s_of
from orchestrator.errors import HostError, UsageError
from orchestrator.fleet import claims, take_all
from orchestrator.fleet.claims import Claim, Queue

ANNA = Busy("anna@laptop", "shop-20261126T120000Z", 200.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test advances."""
    now = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]
    return now


@pytest.mark.unit
def test_a_run_that_does_not_wait_is_refused_and_names_who_has_the_hosts(clock):
    """After the time in which a coordinator that was killed is noticed."""
    queue = Queue(Claim.of("mine"), print)
    queue.wait({"load1": ANNA})
    clock[0] = claims.PATIENCE_S + 0.1

    with pytest.raises(HostError) as raised:
        queue.wait({"load1": ANNA, "load2": ANNA, "web1": Busy("bert@desk", "other", 7200.0, fleet=True)})

    assert raised.value.message == (
        "load1, load2 are in use by anna@laptop: run shop-20261126T120000Z, for 3 min; "
        "web1 is kept up by bert@desk with 'volley hosts up', for 2 h 0 min"
    )
    assert "--wait" in raised.value.hint
    assert "VOLLEY_SHARE_HOST=1" in raised.value.hint
    assert raised.value.exit_code == 4


@pytest.mark.unit
def test_a_run_that_waits_says_for_whom_and_again_when_that_changes(clock):
    """And from time to time; it gives up after its time."""
    said = []
    queue = Queue(Claim.of("mine", 1000.0), said.append)
    for at_s, busy in ((0, ANNA), (1, ANNA), (2, ANNA), (3, Busy("bert@desk", "b", 1.0, before=3)), (400, ANNA)):
        clock[0] = at_s
        queue.wait({"load1": busy})

    assert said == [
        "waiting: load1 is in use by anna@laptop: run shop-20261126T120000Z, for 3 min",
        "waiting: load1 is in use by bert@desk: run b, for 1 s; 2 more before this run",
        "waiting: load1 is in use by anna@laptop: run shop-20261126T120000Z, for 3 min",
    ]
    clock[0] = 1001
    with pytest.raises(HostError, match=r"for 3 min \(waited 17 min\)"):
        queue.wait({"load1": ANNA})


@pytest.mark.unit
def test_a_run_that_is_being_cleaned_up_is_waited_for(clock):
    """Such as the one that was interrupted a moment ago; not for ever."""
    queue = Queue(Claim.of("mine"), print)
    ending = {"load1": Busy("anna@laptop", "x", 1.0, ending=True)}
    for at_s in (0.0, 10.0, 59.0):
        clock[0] = at_s
        queue.wait(ending)
    clock[0] = 61.0
    with pytest.raises(HostError, match="load1 is being cleaned up after run x of anna@laptop"):
        queue.wait(ending)


@pytest.mark.unit
def test_marks_are_unique_and_a_restart_keeps_its_place():
    """Runs of one second with one name have marks of their own."""
    one, two = Claim.of("x"), Claim.of("x")
    again = one.again()

    assert len({one.mark, two.mark, again.mark}) == 3
    assert (again.stamp_ns, again.name, again.wait_s) == (one.stamp_ns, "x", math.inf)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("bench URL --wait", "bench URL --wait forever"),
        ("bench --wait http://x/", "bench --wait forever http://x/"),
        ("bench --wait 1m30s http://x/", "bench --wait 1m30s http://x/"),
        ("run --wait -q c.yaml", "run --wait forever -q c.yaml"),
        ("run --wait 5.yaml", "run --wait forever 5.yaml"),
        ("run --wait=5m c.yaml", "run --wait=5m c.yaml"),
        ("generator check ./g --wait", "generator check ./g --wait"),
        ("", ""),
    ],
)
def test_the_duration_of_wait_can_be_left_out(typed, read):
    """Also before the argument."""
    assert spelled_out(typed.split()) == read.split()


@pytest.mark.unit
def test_what_wait_means():
    """In seconds."""
    assert (wait_s_of(None), wait_s_of("forever"), wait_s_of("1m30s")) == (0.0, math.inf, 90.0)
    with pytest.raises(UsageError, match=r"^--wait: "):
        wait_s_of("5x")


@pytest.mark.process
def test_this_machine_is_refused_by_name_and_the_claim_leaves_the_queue(tmp_path, monkeypatch):
    """A claim that was refused leaves the queue."""
    monkeypatch.setenv(lease.FOLDER_VARIABLE, str(tmp_path / "leases"))
    monkeypatch.setattr(claims, "PATIENCE_S", 0.0)
    held = claims.take_here(Claim.of("first"), print)

    with pytest.raises(HostError, match=f"^this machine is in use by {re.escape(claims.owner())}: run first, for 0 s$"):
        claims.take_here(Claim.of("second"), print)

    assert [seen.holder.run for seen in lease.leases()] == ["first"]
    monkeypatch.setenv(claims.SHARE_VARIABLE, "1")
    claims.take_here(Claim.of("third"), print).remove()
    held.remove()
    monkeypatch.delenv(claims.SHARE_VARIABLE)
    claims.take_here(Claim.of("fourth"), print).remove()
    assert lease.leases() == []


class Host:
    """One host's queue, by the rules of a lease."""

    def __init__(self, name):
        self.name, self.holder, self.waiting = name, None, set()

    def busy(self, stamp):
        if self.holder is not None and self.holder != stamp:
            return Busy("o", str(self.holder))
        before = [other for other in self.waiting if other < stamp]
        return Busy("o", str(min(before))) if before else None


class At:
    """A claim at one host, whose guard answers late and in any order."""

    def __init__(self, host, stamp, rng):
        self._host, self._stamp, self._rng, self.host = host, stamp, rng, host.name

    @property
    def busy(self):
        return self._host.busy(self._stamp)

    async def _late(self):
        for _ in range(self._rng.randrange(4)):
            await asyncio.sleep(0)

    async def take(self):
        await self._late()
        if self.busy is not None:
            return False
        self._host.waiting.discard(self._stamp)
        self._host.holder = self._stamp
        await self._late()
        return True

    async def give_back(self):
        await self._late()
        self._host.waiting.add(self._stamp)
        self._host.holder = None

    def require(self):
        pass


@pytest.mark.unit
@pytest.mark.parametrize("seed", range(40))
def test_coordinators_that_want_overlapping_hosts_all_get_them_one_after_the_other(seed, monkeypatch):
    """Whatever order their words arrive in: no coordinator holds a host that another one needs while it waits for a second."""
    rng = random.Random(seed)
    hosts = [Host(f"h{n}") for n in range(4)]
    ended, using = [], set()
    yield_now = asyncio.sleep
    monkeypatch.setattr(take_all, "POLL_S", 0)

    async def coordinator(stamp):
        wanted = rng.sample(hosts, rng.randint(1, 4))
        for _ in range(rng.randrange(6)):
            await yield_now(0)
        for host in wanted:
            host.waiting.add(stamp)
            for _ in range(rng.randrange(3)):
                await yield_now(0)
        claim = Claim("m", "n", math.inf, stamp_ns=stamp)
        await take_all.take_all([At(host, stamp, rng) for host in wanted], claim, lambda text: None)
        names = {host.name for host in wanted}
        assert not names & using
        using.update(names)
        for _ in range(5):
            await yield_now(0)
        using.difference_update(names)
        for host in wanted:
            host.holder = None
        ended.append(stamp)

    async def all_of_them():
        async with asyncio.timeout(20):
            await asyncio.gather(*(coordinator(stamp) for stamp in range(1, 7)))

    asyncio.run(all_of_them())
    assert sorted(ended) == [1, 2, 3, 4, 5, 6]
