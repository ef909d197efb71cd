"""The steps of a trial, over hosts that only note what they are asked: the order, and what happens on every way out."""

from pathlib import Path

import pytest

from agents.probe import Checked
from agents.records import ServerFacts, ServerState
from orchestrator.errors import HostError
from orchestrator.run import load, server
from orchestrator.spec.models import Campaign
from tests.unit.facts import agent_facts
from tests.unit.trial_world import AHEAD_NS, LEFT, World, clocks  # noqa: F401


def test_the_steps_of_a_trial_and_their_order():
    """Armed before T0 is known, metered once it is; asked again when the load is over; nothing is left."""
    world = World(paths=["/x", "/y"])
    output = world.run()

    asked = "gen.check GET http://198.18.0.1:80"
    assert world.calls[:-4] == [
        "web.run_command prepare", "web.start", f"{asked}/y", "gen.arm", *world.calls[4:6], "gen.wait",
        "gen.collect", *world.calls[8:10], "web.finish", f"{asked}/x", "web.run_command tidy", "web.log",
    ]  # fmt: skip
    # These are on several hosts at once.
    assert sorted(world.calls[4:6]) == ["gen.release_at", "web.meter"]
    assert sorted(world.calls[8:10]) == ["gen.use", "web.use"]
    assert sorted(world.calls[-4:]) == LEFT
    assert list(output.facts.stages_us) == ["before", "server", "clocks", "arm", "load", "collect", "after", "leave"]
    assert (output.facts.error, output.server_log) == (None, b"log")
    assert output.facts.server.afterwards == ServerState.READY


def test_hosts_are_told_in_their_own_clock_and_the_result_is_on_ours():
    """T0 and the window an hour later there; first and last request an hour earlier here."""
    world = World()
    output = world.run()
    facts = output.facts

    assert world.load.t0_ns == facts.t0_ns + AHEAD_NS
    assert facts.window_start_us == facts.t0_ns // 1000 + 1_000_000
    assert facts.window_end_us == facts.window_start_us + 2_000_000
    assert world.server.window == (facts.window_start_us * 1000 + AHEAD_NS, facts.window_end_us * 1000 + AHEAD_NS)
    assert next(iter(output.agents)).facts.first_start_us == agent_facts().first_start_us - AHEAD_NS // 1000


def test_a_server_that_does_not_become_ready_is_not_loaded():
    """Its state is the result, its log is kept, and the commands after are run."""
    world = World()
    world.server.facts = ServerFacts(ServerState.EXITED, "exit code 1")
    output = world.run()

    assert (output.facts.server.state, output.facts.error) == (ServerState.EXITED, "exit code 1")
    assert world.calls[:-4] == ["web.run_command prepare", "web.start", "web.run_command tidy", "web.log"]
    assert output.server_log == b"log"


def test_an_endpoint_that_answers_otherwise_is_not_loaded():
    """Further endpoints are asked, too; which one it was is said."""
    world = World(paths=["/x", "/y"])
    world.load.checked = Checked(ServerState.MISMATCH, "status 404", status=404, asked="GET /y")
    output = world.run()

    assert output.facts.server.state == ServerState.MISMATCH
    assert output.facts.error == "GET /y: status 404"
    assert "gen.arm" not in world.calls


def test_a_command_that_fails_before_a_trial_ends_it_before_the_server_starts():
    """What it should have prepared is missing."""
    world = World()
    world.server.status = 3
    output = world.run()

    assert output.facts.server.state == ServerState.NOT_STARTED
    assert [command.status for command in output.facts.commands] == [3, 3]
    assert "web.start" not in world.calls
    assert sorted(world.calls[-4:]) == LEFT


def test_the_body_is_read_once(tmp_path, monkeypatch):
    """And it is what every agent sends and every check asks with."""
    (tmp_path / "body").write_bytes(b"{}")
    reads, read = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read(path))
    world = World(body_file="body", paths=["/x", "/y"])
    world.run(tmp_path)

    assert reads == [tmp_path / "body"]
    assert [(sent.method, sent.body) for sent in world.load.armed] == [("POST", b"{}")]


@pytest.mark.parametrize(("address", "lead_ms"), [("127.0.0.1", 50), ("198.18.0.1", 250)])
def test_t0_is_as_far_ahead_as_the_hosts_are_away(address, lead_ms, monkeypatch):
    """On this machine it takes one call to say when T0 is."""
    monkeypatch.setattr(load.time, "time_ns", lambda: 1_000_000_000)  # type: ignore[attr-defined]
    world = World()
    world.load.address = world.server.address = address

    monkeypatch.setattr(load, "telling_ns", lambda loads: 7_000)

    assert world.run().facts.t0_ns == 1_000_000_000 + lead_ms * 1_000_000 + 3 * 20 + 7_000


class Hours:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def of_url(ready, monkeypatch):
    """A world whose target is a URL, and its clock."""
    world, hours = World(method="POST"), Hours()
    plain = world.campaign.model_dump(mode="json", by_alias=True, exclude_unset=True)
    plain["targets"]["t"] = {"url": "http://api/x"} | ready
    world.campaign = Campaign.model_validate(plain)
    monkeypatch.setattr(server, "time", hours)
    return world, hours


@pytest.mark.parametrize(("ready", "waited_s"), [({}, 0), ({"ready": {"timeout": "9s"}}, 9)])
def test_a_url_is_asked_once_unless_the_campaign_waits_for_it(ready, waited_s, monkeypatch):
    """What is not up already is an error now; ready.timeout is kept as it is."""
    world, hours = of_url(ready, monkeypatch)
    world.load.checked = Checked(ServerState.NOT_READY, "Connection refused")
    output = world.run()

    assert output.facts.server.state == ServerState.NOT_READY
    assert waited_s <= hours.now < waited_s + 1
    assert "gen.arm" not in world.calls


@pytest.mark.parametrize(("path", "asked"), [({}, "POST /x"), ({"path": "/up"}, "GET /up")])
def test_a_url_that_is_not_ready_in_time_is_a_result_that_names_the_request(path, asked, monkeypatch):
    """It answers, but as a server that is not up; a server that does not know the method is up."""
    world, _ = of_url({"ready": {"timeout": "9s"} | path}, monkeypatch)
    world.load.checked = Checked(ServerState.MISMATCH, "status 503", status=503)
    server = world.run().facts.server

    assert server.state == ServerState.NOT_READY
    assert server.detail == f"{asked}: only status 503 within 9 s"
    assert f"gen.check {asked.replace(' ', ' http://api')}" in world.calls

    world.load.checked = Checked(ServerState.MISMATCH, "status 501", status=501, asked="POST /x")
    assert world.run().facts.server.asked == "POST /x"


CLOSES = ServerFacts(ServerState.READY, closes=True)


@pytest.mark.parametrize(("h2load", "sender"), [("1.63", "paced"), ("1.64", "h2load"), ("2.0", "h2load")])
def test_a_server_that_closes_every_connection_is_loaded_by_paced_where_h2load_is_old(h2load, sender):
    """The facts name the generator that sent the load, and no ceiling of another one."""
    world = World()
    world.server.facts, world.load.h2load = CLOSES, h2load
    facts = world.run(ceilings_per_s={"gen": 1_000.0}).facts

    assert [task.generator for task in world.load.armed] == [facts.case.generator] == [sender]
    assert facts.ceilings_per_s == ({} if sender == "paced" else {"gen": 1_000.0})


def test_a_load_that_asks_for_the_end_of_each_connection_is_not_the_servers_doing():
    """Neither in the words about the generator nor in the facts that findings are made from."""
    world, said = World(headers={"connection": "Close"}), []
    world.server.facts, world.load.h2load = CLOSES, "1.63"
    output = world.run(say=lambda event: said.append(event.text))

    assert output.facts.server.asked_to_close
    assert "the load's header Connection: close ends every connection: paced sends this load instead of h2load" in said


@pytest.mark.parametrize(("more", "length"), [({}, 5), ({"paths": ["/x", "/y"]}, None)])
def test_what_the_load_expects_is_known_of_a_container_after_the_load(more, length):
    """Its host returns its own facts when the load is over, and knows no load: the expected redirect became a finding."""
    world = World({"expect": {"status": [302]}}, **more)
    world.server.facts = ServerFacts(ServerState.READY, body_bytes=5)
    server = world.run().facts.server

    assert (server.allowed, server.body_bytes) == ([302], length)


@pytest.mark.parametrize("lasting", [{}, {"requests": 40}])
def test_answers_that_end_with_their_connection_are_loaded_by_paced(lasting):
    """h2load of any version never sees them end, timed or not."""
    world = World(**lasting)
    world.server.facts = ServerFacts(ServerState.READY, closes=True, until_close=True)
    facts = world.run().facts

    assert facts.case.generator == "paced"
    world = World(generator="h2load")
    world.server.facts = ServerFacts(ServerState.READY, closes=True, until_close=True)
    with pytest.raises(HostError, match="its answers have no Content-Length and end with the connection, and h2load"):
        world.run()


@pytest.mark.parametrize(
    ("load_changes", "ready", "allowed_s"),
    [({}, {}, 60.0), ({"timeout": "9s"}, {}, 9.0), ({}, {"ready": {"timeout": "90s"}}, 90.0)],
)
def test_a_url_may_take_as_long_to_answer_as_the_campaign_says(load_changes, ready, allowed_s):
    """The load's timeout, else ready.timeout: nothing else limits it."""
    world = World(**load_changes)
    plain = world.campaign.model_dump(mode="json", by_alias=True, exclude_unset=True)
    plain["targets"]["t"] = {"url": "http://api/x"} | ready
    world.campaign = Campaign.model_validate(plain)
    world.load.checked = Checked(ServerState.READY, status=200, answer_us=7_000_000)
    world.run()

    *before, afterwards = world.load.allowed_s
    assert before[-1] == pytest.approx(allowed_s, abs=0.1)
    # Four times the slowest answer seen.
    assert afterwards == min(28.0, allowed_s)


@pytest.mark.parametrize(
    ("load_changes", "answer_us", "words"),
    [
        ({}, 6_000_000, "t/l: one answer took 6 s, and the load lasts 4 s: set its duration and tail"),
        ({"requests": 400}, 6_000_000, "so the load needs about 600 s, and is given up after 60 s: raise its give_up"),
        ({}, 2_000_000, "t/l: after 2 s its answer had not ended; a stream without end cannot be measured"),
        ({}, 1_000, ""),
    ],
)
def test_a_load_that_is_too_short_for_the_answers_is_said_before_it(load_changes, answer_us, words):
    """The run goes on: its findings say what came of it."""
    world = World(**load_changes)
    world.server.facts = ServerFacts(ServerState.READY, answer_us=answer_us, endless="stream" in words)
    said = []
    world.run(say=said.append)

    slow = [event.text for event in said if event.kind == "slow"]
    assert len(slow) == (1 if words else 0)
    assert all(words in text for text in slow)


@pytest.mark.parametrize("at", ["start", "ready"])
def test_commands_after_a_trial_run_when_it_is_interrupted(at):
    """Ctrl-C while the server starts: what is under way is ended first, and the hosts are left as they were."""
    world = World()
    world.server.fail[at] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.run()

    ended, tidied = world.calls.index("web.abort"), world.calls.index("web.run_command tidy")
    assert ended < tidied
    assert sorted(world.calls[-4:]) == LEFT


def test_an_old_h2load_that_the_campaign_names_is_refused_before_the_load():
    """With the reason and the fix; the hosts are left as they were."""
    world = World(generator="h2load")
    world.server.facts, world.load.h2load = CLOSES, "1.52"
    with pytest.raises(HostError, match=r"loads\.l: .*h2load 1\.52 on host gen never ends") as raised:
        world.run()

    assert "omit 'generator'" in raised.value.hint
    assert "gen.arm" not in world.calls
    assert sorted(world.calls[-4:]) == LEFT


@pytest.mark.parametrize(
    "load",
    [
        {"requests": 100, "duration": None, "warm_up": None},
        {"model": "open", "rate": "10/s", "generator": "h2load"},
        {"protocol": "http2"},
        {"generator": "paced"},
    ],
)
def test_other_loads_of_such_a_server_keep_their_generator(load):
    """Only a timed closed load by h2load over HTTP/1.1 does not end: no version is asked for."""
    world = World(**load)
    world.server.facts = CLOSES
    facts = world.run().facts

    assert "gen.describe" not in world.calls
    assert facts.case.generator == ("paced" if load.get("generator") == "paced" else "h2load")
