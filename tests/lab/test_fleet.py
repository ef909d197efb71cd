"""Many hosts: real sshd, real engines, real Ray nodes, real h2load, between network namespaces."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.machine import (
    ROOT,
    VOLLEY,
    containers_here,
    measured,
    nothing_left,
    only_run,
    tiny_campaign,
    valid_but_for_the_machine,
    volley,
)
from tests.lab import world

FAIR = str(ROOT / "configs" / "campaigns" / "flask-vs-fastapi-fair.yaml")


def trials(out):
    return [json.loads(path.read_text()) for path in sorted((only_run(out) / "trials").glob("*/trial.json"))]


@pytest.mark.silent("shared-host")
@pytest.mark.timeout(600)
def test_the_main_comparison_runs_over_the_hosts(tmp_path):
    """Containers run on the server host only, h2load on the load hosts only; traffic passes between; counts are exact."""
    before = {host: world.received_bytes(host) for host in (world.SERVER, world.FAR, world.WRONG_CLOCK)}
    process = subprocess.Popen(
        [*VOLLEY, "run", FAIR, "--only", "*/burst", "--set", "repetitions=1", "--set", "campaign=lab-fair", "--hosts", str(world.INVENTORY),
         "--out", str(tmp_path / "runs"), "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    agents, containers, here = set(), set(), set()
    while process.poll() is None:
        agents |= set(world.running("h2load").values())
        containers |= set(world.on(world.SERVER, "docker ps -q --filter label=volley.run").split())
        here |= {container.run for container in containers_here()}
        time.sleep(0.05)
    out, err = process.communicate()
    crossed = {host: world.received_bytes(host) - seen for host, seen in before.items()}
    cases = {case["case"]: case for case in json.loads(out)["cases"]}

    assert measured(process.returncode, only_run(tmp_path / "runs")), err
    assert agents == {world.FAR, world.WRONG_CLOCK}
    assert len(containers) == 2
    assert only_run(tmp_path / "runs").name not in here
    for name in ("flask/burst", "fastapi/burst"):
        counted = cases[name]["requests"]
        assert counted["ok"] + counted["http_error"] + counted["failed"] == 1000
        assert counted["ok"] == 1000
        assert "shared-host" not in [f["code"] for f in cases[name]["findings"]]
    # Each of 2000 requests and answers has some hundred bytes; half of them went over each load host.
    assert crossed[world.FAR] > 100_000
    assert crossed[world.WRONG_CLOCK] > 100_000
    assert crossed[world.SERVER] > 100_000
    assert {(a["agent"], a["requests"]) for t in trials(tmp_path / "runs") for a in t["metrics"]["agents"]} == {
        (f"{world.FAR}/0", 500),
        (f"{world.WRONG_CLOCK}/0", 500),
    }


@pytest.mark.silent("network-saturated", "clock-bound", "clock-step", "start-skew", "agent-lost", "counts-mismatch")
def test_a_wrong_clock_and_a_far_host_are_measured_and_the_result_is_valid(tmp_path):
    """The bounds contain the truth before and after; skew is reported per agent; the server host builds the image."""
    inventory = world.inventory(tmp_path, images="build")
    world.on(world.SERVER, "docker images -q volley/tiny | sort -u | xargs -r docker rmi -f", check=False)

    loads = {
        "burst": {"clients": 9, "requests": 900},
        "steady": {"clients": 9, "duration": "3s", "warm_up": "1s", "tail": "500ms"},
    }
    done = volley(
        "run", world.campaign(tmp_path, loads=loads), "--hosts", inventory, "--out", str(tmp_path / "runs"), "--json"
    )
    summary = json.loads(done.stdout)
    found = trials(tmp_path / "runs")

    assert measured(done.returncode, only_run(tmp_path / "runs")), done.stderr
    valid_but_for_the_machine(summary, found)
    assert f"sending {world.tiny_context()} to {world.SERVER}" in done.stderr
    assert summary["cases"][0]["requests"]["ok"] == 900
    truth = {world.WRONG_CLOCK: world.CLOCK_OFF_NS}
    for trial in found:
        clocks = {clock["host"]: clock for clock in trial["facts"]["clocks"]}
        assert set(clocks) == set(world.ADDRESSES)
        for host, clock in clocks.items():
            for bound in (clock["before"], clock["after"]):
                assert bound["exchanges"] >= 32
                assert bound["low_ns"] <= truth.get(host, 0) <= bound["high_ns"], (host, bound)
        far = clocks[world.FAR]["before"]
        assert far["round_trip_ns"] >= world.DELAY_NS
        skews = {agent["agent"]: agent["start_skew_us"] for agent in trial["metrics"]["agents"]}
        assert set(skews) == {f"{host}/0" for host in (world.FAR, world.WRONG_CLOCK, world.PLAIN)}
        # On one axis: a clock that is off by seconds shows up as milliseconds, if at all.
        assert all(abs(skew) < 500_000 for skew in skews.values()), skews


def over_a_narrow_link(tmp_path, inventory):
    """The server host's link has 20 Mbit/s and a short queue: retransmissions reveal it."""
    world.on(world.SERVER, "tc qdisc add dev eth0 root tbf rate 20mbit burst 5kb limit 10kb")
    try:
        path = world.campaign(
            tmp_path, loads={"big": {"clients": 9, "duration": "1500ms", "warm_up": "300ms", "tail": "500ms", "paths": ["/big"]}},
            target={"expect": {"status": 200}},
        )  # fmt: skip
        volley("run", path, "--hosts", inventory, "--out", str(tmp_path / "d"))
    finally:
        world.on(world.SERVER, "tc qdisc del dev eth0 root")
    (trial,) = trials(tmp_path / "d")
    found = [f for f in trial["findings"] if f["code"] == "network-saturated"]
    assert world.SERVER in [f["facts"]["host"] for f in found], trial["facts"]["hosts"]
    assert {use["host"] for use in trial["facts"]["hosts"]} == set(world.ADDRESSES)


def calibrated(tmp_path, inventory):
    """Each load host sends to the next one; a dry run then shows how much an agent there can send."""
    done = volley("hosts", "calibrate", "--hosts", inventory, "--up-to", "500", "--json")
    assert done.returncode == 0, done.stderr
    found = {each["host"]: each for each in json.loads(done.stdout)}
    kept = Path(done.stderr.rpartition("stored in ")[2].strip())
    try:
        dry = volley("run", world.campaign(tmp_path), "--hosts", inventory, "--dry-run")
    finally:
        kept.unlink()

    ring = {world.FAR: world.WRONG_CLOCK, world.WRONG_CLOCK: world.PLAIN, world.PLAIN: world.FAR}
    assert {name: each["served_from"] for name, each in found.items()} == ring
    assert all(each["per_s"] >= 500 and each["cpu_us_per_request"] > 0 for each in found.values())
    assert f"an agent can send: {world.FAR} " in dry.stdout


def searched(tmp_path, inventory):
    """A search over the hosts: the agents of its probes are on the load hosts, and five probes give a result."""
    saturation = {
        "slo": "p50 < 100ms, errors < 1%",
        "window": "500ms",
        "warm_up": "200ms",
        "tail": "200ms",
        "budget": 5,
    }
    path = tiny_campaign(tmp_path, 18502, "slow", campaign="lab-slow", saturation=saturation, agents=3)
    done = volley("saturate", path, "--hosts", inventory, "--out", str(tmp_path / "e"), "--json")
    assert measured(done.returncode, only_run(tmp_path / "e")), done.stderr
    (found,) = json.loads(done.stdout)["saturation"]
    assert found["ending"] in ("budget", "capacity"), found
    assert 2 <= found["probes"] <= 5
    probed = [t for t in trials(tmp_path / "e") if t["facts"]["case"]["load"] != "estimate"]
    hosts = {agent["agent"].partition("/")[0] for trial in probed for agent in trial["metrics"]["agents"]}
    assert hosts == {world.FAR, world.WRONG_CLOCK, world.PLAIN}


@pytest.mark.provokes("network-saturated")
@pytest.mark.timeout(400)
def test_a_fleet_that_is_up_is_joined_and_stays(tmp_path):
    """hosts up, one run at a time, a second one is refused; hosts down leaves nothing."""
    inventory = world.inventory(tmp_path)
    up = volley("hosts", "up", "--hosts", inventory)
    assert up.returncode == 0, up.stderr
    try:
        first = volley("run", world.campaign(tmp_path), "--hosts", inventory, "--out", str(tmp_path / "a"))
        assert measured(first.returncode, only_run(tmp_path / "a")), first.stderr
        assert "joined the fleet" in first.stderr
        assert volley("hosts", "up", "--hosts", inventory).stderr.count("is up") == 1

        long = world.campaign(tmp_path, loads={"long": {"clients": 3, "duration": "60s", "warm_up": "1s"}})
        process = subprocess.Popen(
            [*VOLLEY, "run", long, "--hosts", inventory, "--out", str(tmp_path / "b"), "-q"], cwd=ROOT
        )
        deadline = time.monotonic() + 60
        while len(world.running("h2load")) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = volley("bench", f"http://{world.ADDRESSES[world.SERVER]}:18501/", "-n", "100", "--hosts", inventory)
        assert second.returncode == 4
        assert re.search(r"the fleet is in use by \S+@\S+: run lab-", second.stderr), second.stderr
        for refused in (volley("hosts", "down", "--hosts", inventory), volley("hosts", "clean", "--hosts", inventory)):
            assert "in use by" in refused.stderr + refused.stdout
        assert process.poll() is None

        # The run is killed: the fleet stays, and the keeper removes what the run had there.
        process.kill()
        process.wait()
        deadline = time.monotonic() + 15
        while world.running("h2load") or world.on(world.SERVER, "docker ps -aq --filter label=volley.run").split():
            assert time.monotonic() < deadline
            time.sleep(0.2)
        again = volley("run", world.campaign(tmp_path), "--hosts", inventory, "--out", str(tmp_path / "c"))
        assert measured(again.returncode, only_run(tmp_path / "c")), again.stderr
        over_a_narrow_link(tmp_path, inventory)
    finally:
        down = volley("hosts", "down", "--hosts", inventory)
    assert down.returncode == 0
    assert down.stdout.startswith("down: fleet-")
    assert volley("hosts", "down", "--hosts", inventory).stdout == "no fleet of this inventory is running\n"


@pytest.mark.full
@pytest.mark.timeout(400)
def test_a_fleet_that_is_up_is_calibrated_and_searched_with(tmp_path):
    """Calibration of its load hosts, and a search that joins it."""
    inventory = world.inventory(tmp_path)
    up = volley("hosts", "up", "--hosts", inventory)
    assert up.returncode == 0, up.stderr
    try:
        calibrated(tmp_path, inventory)
        searched(tmp_path, inventory)
    finally:
        down = volley("hosts", "down", "--hosts", inventory)
    assert down.returncode == 0


def test_several_agents_on_one_host_have_cores_of_their_own(tmp_path):
    """With `cores`, each agent of a host is pinned to its own core. A host that only runs commands runs them."""
    pinned = {"cores": [1, 0], "labels": {"for": "load"}}
    inventory = world.inventory(tmp_path, {world.SERVER: {}, world.PLAIN: pinned, world.FAR: {}})
    long = world.campaign(
        tmp_path, 2, loads={"long": {"clients": 4, "duration": "2s", "warm_up": "500ms", "tail": "300ms"}}, place={"load": {"for": "load"}},
        before=[{"run": "ip -4 -o addr show eth0; echo for $VOLLEY_SERVER", "host": world.FAR}],
    )  # fmt: skip
    process = subprocess.Popen(
        [*VOLLEY, "run", long, "--hosts", inventory, "--out", str(tmp_path / "runs"), "-q", "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    cores = {}
    while process.poll() is None:
        for pid in world.running("h2load"):
            try:
                with open(f"/proc/{pid}/status") as status:
                    cores[pid] = next(line.split()[1] for line in status if line.startswith("Cpus_allowed_list"))
            except OSError:
                continue
        time.sleep(0.05)
    process.communicate()

    assert measured(process.returncode, only_run(tmp_path / "runs"))
    assert {core for core in cores.values() if "-" not in core} == {"0", "1"}
    (done,) = trials(tmp_path / "runs")[0]["facts"]["commands"]
    assert (done["host"], done["status"]) == (world.FAR, 0)
    assert world.ADDRESSES[world.FAR] in done["output"]
    assert f"for {world.ADDRESSES[world.SERVER]}" in done["output"]


def dead_lease(host, run, item):
    """Write the lease of a run that is dead on a host."""
    holder = {"owner": "anna@laptop", "run": run, "marks": [run], "boot": "BOOT", "space": "SPACE"}
    text = json.dumps(holder).replace('"SPACE"', "'$(stat -Lc %i /proc/self/ns/net)'")
    text = text.replace("BOOT", "'$(cat /proc/sys/kernel/random/boot_id)'")
    path = f"/var/tmp/volley/{host}-{run}"
    world.on(
        host, f"mkdir -pm 1777 /var/tmp/volley; echo '{text}' >{path}.lease; echo '{json.dumps(item)}' >{path}.items"
    )


@pytest.mark.full
@pytest.mark.timeout(400)
def test_two_coordinators_at_once(tmp_path):
    """With other ports, so that nothing else is in the way: refused by name, or next; `clean` and `up` end nothing.

    The first coordinator is killed with -9 in the end: its lock is free at once, for the one that waits.
    """
    pair = {world.SERVER: {}, world.PLAIN: {}}
    (tmp_path / "other").mkdir()
    inventory, other = world.inventory(tmp_path, pair), world.inventory(tmp_path / "other", pair, ports=24_000)
    loads = {"long": {"clients": 3, "duration": "150s", "warm_up": "1s"}}
    long, short = world.campaign(tmp_path, 1, loads=loads), world.campaign(tmp_path / "other", 1)
    first = subprocess.Popen([*VOLLEY, "run", long, "--hosts", inventory, "--out", str(tmp_path / "a"), "-q"], cwd=ROOT)
    try:
        deadline = time.monotonic() + 90
        while not world.running("h2load"):
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        load = world.running("h2load")
        second = volley("run", short, "--hosts", other, "--out", str(tmp_path / "b"))
        up = volley("hosts", "up", "--hosts", other)
        cleaned = volley("hosts", "clean", "--hosts", other)
        assert world.running("h2load") == load
        waiting = subprocess.Popen(
            [*VOLLEY, "run", short, "--hosts", other, "--out", str(tmp_path / "c"), "--wait"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        lines = iter(waiting.stderr.readline, "")
        assert any("waiting: " in line for line in lines)
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    _, rest = waiting.communicate(timeout=120)

    for refused in (second, up):
        assert refused.returncode == 4, refused.stderr
        assert re.search(r"web1.* (is|are) in use by \S+@\S+: run lab-\d+T\d+Z, for \d+ s", refused.stderr), (
            refused.stderr
        )
        assert "--wait" in refused.stderr
    assert cleaned.returncode == 0
    assert cleaned.stdout.count("left alone: in use by") == 2, cleaned.stdout
    assert measured(waiting.returncode, only_run(tmp_path / "c")), rest
    world.nothing_left_on_hosts()
    nothing_left()


def test_clean_works_where_nothing_of_ray_is_left(tmp_path):
    """Containers, processes and files of runs whose nodes and guards are gone; --run selects one run."""
    inventory = world.inventory(tmp_path)
    world.on(world.PLAIN, "mkdir /tmp/volley-results /dev/shm/volley-results")
    for run in ("one", "two"):
        world.on(world.SERVER, f"docker run -d --label volley.run={run} python:3.13-slim sleep 600 >/dev/null")
        dead_lease(world.SERVER, run, {"mark": run, "containers": True})
        world.on(world.PLAIN, f"VOLLEY_RUN={run} setsid sleep 600 >/dev/null 2>&1 & mkdir /dev/shm/volley-{run}-x")
        dead_lease(world.PLAIN, run, {"mark": run, "folder": f"/dev/shm/volley-{run}-x"})

    only = volley("hosts", "clean", "--hosts", inventory, "--run", "one")
    kept = world.on(world.PLAIN, "rmdir -v /tmp/volley-results /dev/shm/volley-results")
    still = {host: len(world.left_on(host)) for host in (world.SERVER, world.PLAIN)}
    rest = volley("hosts", "clean", "--hosts", inventory)

    assert only.returncode == rest.returncode == 0, only.stderr + rest.stderr
    assert f"{world.SERVER}: 0 processes, 1 container, 0 folders removed" in only.stdout
    assert f"{world.PLAIN}: 1 process, 0 containers, 1 folder removed" in only.stdout
    assert kept.count("volley-results") == 2
    assert still == {world.SERVER: 1, world.PLAIN: 2}
    assert f"{world.SERVER}: 0 processes, 1 container" in rest.stdout
    assert world.on(world.PLAIN, "ls -A ~/.cache 2>/dev/null", check=False).split() == []
