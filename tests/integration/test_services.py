"""Services of a campaign, through the command and on a real engine: what a target needs is up, metered, and gone after."""

import json
import signal
import subprocess
import time
from typing import Any

import pytest

from tests import sessions
from tests.integration.machine import ROOT, TINY, VOLLEY, killed_at, nothing_left, only_run, volley

NOT_STARTED, FAILED = 4, 3


def tiny(port: int, mode: str = "ok", **more: Any) -> dict[str, Any]:
    environment = {"PORT": str(port), "MODE": mode, **more.pop("environment", {})}
    return {"build": str(TINY), "port": port, "environment": environment, **more}


def written(folder, **document: Any) -> str:
    path = folder / "services.yaml"
    whole = {"campaign": "with-services", "loads": {"any": {"clients": 4, "requests": 400}}, "repetitions": 1}
    path.write_text(json.dumps(whole | {"agents": 1} | document))
    return str(path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Two blocks over two targets: one whose services are well, and one whose database ends under the load."""
    folder = tmp_path_factory.mktemp("services")
    db = {"prepare": ["grep -q api /etc/hosts; echo prepared on ${db.port}", ["true"]], "lifetime": "run"}
    path = written(
        folder,
        services={
            "db": tiny(18411, **db, limits={"cpus": 1, "memory": "64MiB"}),
            "api": tiny(18412, "front", environment={"BEHIND": "${db.address}:${db.port}"}, depends_on=["db"]),
            "dying": tiny(18413, "die-on-load"),
            "unused": {"image": "volley-no-such-image:1"},
        },
        targets={
            "well": tiny(18414, "front", environment={"BEHIND": "api:${api.port}"}, needs=["api"]),
            "ill": tiny(18415, "front", environment={"BEHIND": "dying:18413"}, needs=["dying"]),
        },
        repetitions=2,
    )
    done = volley("run", path, "--out", str(folder / "runs"))
    run = only_run(folder / "runs")
    trials = [json.loads((each / "trial.json").read_text()) for each in sorted((run / "trials").glob("0*"))]
    return done, run, trials


def of_target(trials, name):
    return [trial for trial in trials if trial["facts"]["case"]["target"] == name]


def test_what_a_target_needs_is_up_in_order_and_only_that(ran):
    """The target reaches its service by name, and that one its own by address: every request went through both."""
    done, run, trials = ran
    well = of_target(trials, "well")

    assert done.returncode == FAILED, done.stderr
    assert [trial["metrics"]["requests"]["ok"] for trial in well] == [400, 400]
    assert [[service["name"] for service in trial["facts"]["services"]] for trial in well] == [["db", "api"]] * 2
    assert all(service["state"] == "ready" and service["running"] for t in well for service in t["facts"]["services"])
    assert all(trial["metrics"]["services"]["db"]["cpu_s"] > 0 for trial in well)
    assert (run / "trials" / "0001-well-any" / "service-db.log").exists() or (
        run / "trials" / "0002-well-any" / "service-db.log"
    ).exists()


def test_a_service_of_the_run_is_kept_and_one_of_a_trial_is_not(ran):
    """The same container in both blocks, and another one."""
    _, _, trials = ran
    db, api = (
        [
            service["container"]
            for trial in of_target(trials, "well")
            for service in trial["facts"]["services"]
            if service["name"] == name
        ]
        for name in ("db", "api")
    )

    assert len(set(db)) == 1
    assert len(set(api)) == 2


def test_a_service_that_ends_under_the_load_is_a_finding_with_its_name(ran):
    """INVALID, with the exit code, on the page as well."""
    done, _, trials = ran
    (found, _) = [
        finding for t in of_target(trials, "ill") for finding in t["findings"] if finding["code"] == "service-exited"
    ]

    assert [trial["verdict"] for trial in of_target(trials, "ill")] == ["INVALID"] * 2
    assert found["sentence"].startswith("Service dying ended ")
    assert "exit code 7" in found["sentence"]
    assert "Service dying ended" in " ".join(done.stdout.split())


def test_services_that_do_not_come_up_or_cannot_be_prepared_leave_nothing(tmp_path):
    """No load is sent, and the page says why; the services before them are removed as well."""
    check = {"test": "echo no table; exit 1", "retries": 2, "interval": "50ms"}
    path = written(
        tmp_path,
        services={
            "db": tiny(18421),
            "sick": tiny(18422, healthcheck=check, depends_on=["db"]),
            "empty": tiny(18424, prepare=["true", "echo table users exists; exit 3"]),
        },
        targets={"one": tiny(18423, needs=["sick"]), "other": tiny(18425, needs=["empty"])},
    )
    done = volley("run", path, "--out", str(tmp_path / "runs"))
    nothing_left()
    words = " ".join(done.stdout.split())

    assert done.returncode == NOT_STARTED, done.stderr
    assert "Service sick did not come up" in words
    assert (
        "Service empty could not be prepared: prepare command 2 failed with exit status 3: table users exists" in words
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_coordinator_that_is_ended_leaves_no_service(tmp_path, number, status):
    """While a service of the run and one of the trial are up."""
    path = written(
        tmp_path,
        services={"db": tiny(18426, lifetime="run"), "api": tiny(18427)},
        targets={"t": tiny(18428, needs=["db", "api"])},
        repetitions=3,
    )
    run = ("run", path, "--out", str(tmp_path / "runs"))
    assert killed_at("trial 1 of 3: t/any: ", *run, number=number) == status
    nothing_left()


def test_a_database_that_is_killed_in_mid_trial_is_named(tmp_path):
    """From outside, under the load: INVALID, by its name and how it ended."""
    path = written(
        tmp_path,
        services={"db": tiny(18431)},
        targets={"t": tiny(18432, "front", environment={"BEHIND": "${db.address}:${db.port}"}, needs=["db"])},
        loads={"long": {"clients": 2, "duration": "4s", "warm_up": "500ms", "tail": "300ms"}},
    )
    process = subprocess.Popen(
        [*VOLLEY, "run", path, "--out", str(tmp_path / "runs")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not any(each.info["name"] == "h2load" for each in sessions.processes()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = ["docker", "ps", "-q", "--filter", "label=volley.service=db"]
    (database,) = subprocess.run(found, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["docker", "kill", database], capture_output=True, check=True)
    process.communicate(timeout=60)
    (trial,) = (only_run(tmp_path / "runs") / "trials").glob("0*/trial.json")
    document = json.loads(trial.read_text())
    sentences = [each["sentence"] for each in document["findings"] if each["code"] == "service-exited"]

    assert process.returncode == FAILED
    assert document["verdict"] == "INVALID"
    assert "Service db ended " in sentences[0]
    assert "exit code 137" in sentences[0]


@pytest.mark.full
def test_the_quota_of_a_service_is_the_bottleneck_of_a_search(tmp_path):
    """The database computes for 2 ms a request and may use a fifth of a core: 100 requests a second."""
    saturation = {"slo": "p50 < 100ms, errors < 1%", "precision": "20%", "budget": 6, "lowest": "50/s"}
    path = written(
        tmp_path,
        services={"db": tiny(18429, "busy", limits={"cpus": 0.2})},
        targets={"t": tiny(18430, "front", environment={"BEHIND": "${db.address}:${db.port}"}, needs=["db"])},
        saturation=saturation | {"window": "1s", "warm_up": "200ms", "tail": "200ms", "soak": "1s"},
    )
    done = volley("saturate", path, "--out", str(tmp_path / "runs"), "--json")
    (found,) = json.loads(done.stdout)["saturation"]

    assert (found["bottleneck"], found["resource"]) == ("service cpu quota", "db: CPU quota of 0.2 cores"), done.stderr
