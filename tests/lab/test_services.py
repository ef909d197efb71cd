"""A service on a third host: shipped, reached at its address, metered there, and gone when the coordinator dies."""

import json
import signal
from pathlib import Path

import pytest

from tests.integration.machine import TINY, killed_at, only_run, volley
from tests.lab import world

DB_HOST = world.PLAIN


@pytest.fixture
def inventory(tmp_path):
    """The server host, two load hosts, and a host of services."""
    hosts = {name: {} for name in world.ADDRESSES}
    return world.inventory(tmp_path, hosts | {DB_HOST: {"roles": ["service"], "labels": {"disk": "nvme"}}})


def campaign(folder, check=None, **changes):
    db = {
        "build": str(TINY),
        "environment": {"PORT": "18511"},
        "port": 18511,
        "place": {"disk": "nvme"},
        "limits": {"cpus": 1},
        **({} if check is None else {"healthcheck": check}),
    }
    environment = {"PORT": "18501", "MODE": "front", "BEHIND": "${db.address}:${db.port}"}
    path = Path(world.campaign(folder, agents=2, campaign="lab-services", services={"db": db}, **changes))
    document = json.loads(path.read_text())
    target = document["targets"]["tiny"]
    del target["env"]
    target |= {"environment": environment, "needs": ["db"]}
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.silent("shared-host")
@pytest.mark.timeout(300)
def test_a_service_on_a_host_of_its_own(tmp_path, inventory):
    """Every request crossed to it; its counters and its clock are those of its host."""
    before = world.received_bytes(DB_HOST)
    done = volley("run", campaign(tmp_path), "--hosts", inventory, "--out", str(tmp_path / "runs"))
    (path,) = (only_run(tmp_path / "runs") / "trials").glob("*/trial.json")
    trial = json.loads(path.read_text())
    (service,) = trial["facts"]["services"]

    assert trial["metrics"]["requests"]["ok"] == 900, done.stderr
    assert (service["name"], service["host"], service["state"]) == ("db", DB_HOST, "ready")
    assert trial["metrics"]["services"]["db"]["cpu_s"] > 0
    assert DB_HOST in {clock["host"] for clock in trial["facts"]["clocks"]}
    assert {use["role"] for use in trial["facts"]["hosts"] if use["host"] == DB_HOST} == {"service"}
    assert world.received_bytes(DB_HOST) - before > 50_000
    assert "shared-host" not in [finding["code"] for finding in trial["findings"]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -9), pytest.param(signal.SIGINT, 130, marks=pytest.mark.full)]
)
def test_a_coordinator_that_is_ended_leaves_no_service_there(tmp_path, inventory, number, status):
    """With a service up: after kill -9 the guard of its host removes it."""
    run = ("run", campaign(tmp_path, repetitions=3), "--hosts", inventory, "--out", str(tmp_path / "runs"))
    assert killed_at("trial 1 of 3", *run, number=number) == status

    world.nothing_left_on_hosts()


@pytest.mark.timeout(300)
def test_a_service_that_is_not_healthy_leaves_nothing_there(tmp_path, inventory):
    """The command ends with 4, and the host is as before."""
    check = {"test": "echo no table; exit 1", "retries": 2, "interval": "50ms"}
    done = volley("run", campaign(tmp_path, check), "--hosts", inventory, "--out", str(tmp_path / "runs"))

    assert done.returncode == 4, done.stderr
    assert "Service db did not come up" in " ".join(done.stdout.split())

    world.nothing_left_on_hosts()
