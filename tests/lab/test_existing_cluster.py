"""A Ray cluster that is already there, as hosts: runs and searches work, and the cluster is afterwards as it was."""

import contextlib
import http.server
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.integration.machine import ROOT, VOLLEY, measured, only_run, volley
from tests.lab import ray_cluster, world

LOADS = [world.WRONG_CLOCK, world.PLAIN]
HOSTS = [world.SERVER, *LOADS]


@pytest.fixture(scope="module", autouse=True)
def _cluster(tmp_path_factory):
    with ray_cluster.cluster(tmp_path_factory.mktemp("ray")):
        yield


@pytest.fixture(autouse=True)
def _clean():
    """Instead of the one for fleets of Volley's own: idle workers of the cluster may stay."""
    yield
    nothing_left_of_runs()


@pytest.fixture
def inventory(tmp_path):
    path = tmp_path / "cluster.yaml"
    document = {"address": ray_cluster.HEAD, "load": {"team": "perf"}, "server": {"docker": "yes"}}
    path.write_text(json.dumps({"ray": document, "images": "send"}))
    return str(path)


def left_on(host):
    """Return what a run has left on a host; the cluster's own processes are not a run's."""
    look = """ls -d /tmp/volley-* /dev/shm/volley-* /var/tmp/volley/*.lease 2>/dev/null
        grep -lz ^VOLLEY_RUN= /proc/[0-9]*/environ 2>/dev/null
        grep -l 'agents[.]guard' /proc/[0-9]*/cmdline 2>/dev/null
        grep -l '^h2loa[d]' /proc/[0-9]*/cmdline 2>/dev/null
        [ ! -S /run/docker.sock ] || docker ps -aq --filter label=volley.run"""
    return world.on(host, look, check=False).split()


def nothing_left_of_runs(within_s=15.0):
    deadline = time.monotonic() + within_s
    for host in HOSTS:
        while left := left_on(host):
            assert time.monotonic() < deadline, f"{host}: {left}"
            time.sleep(0.1)


def on_the_cluster(*arguments):
    return volley(*arguments, env=ray_cluster.environment())


def started(path, inventory, out):
    """Start a run, and return its process once both load hosts send."""
    process = subprocess.Popen(
        [*VOLLEY, "run", path, "--hosts", inventory, "--out", str(out)],
        cwd=ROOT, env=ray_cluster.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while sorted(world.running("h2load").values()) != LOADS:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


@contextlib.contextmanager
def answering():
    """Run a small server on this machine where the nodes can reach it; yield its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("198.18.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        try:
            yield f"http://198.18.0.1:{serving.server_port}/"
        finally:
            serving.shutdown()


def long_campaign(folder):
    loads = {"long": {"clients": 9, "duration": "60s", "warm_up": "1s"}}
    return world.campaign(folder, agents=2, loads=loads, retries=0)


def test_a_run_beside_another_job(tmp_path, inventory):
    """A container on one node, load from two: exact counts, and the cluster and the other job's actor are as before."""
    with ray_cluster.another_job(world.PLAIN, 1) as job:
        before = ray_cluster.seen()
        path = world.campaign(tmp_path, agents=3)
        done = on_the_cluster("run", path, "--hosts", inventory, "--out", str(tmp_path / "runs"), "--json")
        ray_cluster.settled(before)
        job.stdin.write("\n")
        job.stdin.flush()
        assert job.stdout.readline() == "2\n"
    (case,) = json.loads(done.stdout)["cases"]
    (trial,) = [json.loads(each.read_text()) for each in (only_run(tmp_path / "runs") / "trials").glob("*/trial.json")]

    assert measured(done.returncode, only_run(tmp_path / "runs")), done.stderr
    assert case["requests"]["ok"] == 900
    assert {agent["agent"] for agent in trial["metrics"]["agents"]} == {
        f"{world.WRONG_CLOCK}/0", f"{world.WRONG_CLOCK}/1", f"{world.PLAIN}/0"
    }  # fmt: skip
    assert (len(before["nodes"]), len(before["actors"]), len(before["groups"])) == (4, 1, 1)


def test_a_search(tmp_path, inventory):
    """Of a URL, from two nodes, and the cluster is as before."""
    before = ray_cluster.seen()
    saturation = {
        "slo": "p50 < 5s, errors < 1%",
        "highest": "200/s",
        "window": "1s",
        "warm_up": "200ms",
        "tail": "200ms",
    }
    with answering() as url:
        document = {
            "campaign": "cluster-search",
            "targets": {"always": {"url": url}},
            "loads": {"any": {"clients": 4, "duration": "1s"}},
            "agents": 2,
            "saturation": saturation,
        }
        path = tmp_path / "search.yaml"
        path.write_text(json.dumps(document))
        done = on_the_cluster("saturate", str(path), "--hosts", inventory, "--out", str(tmp_path / "runs"), "--json")
    ray_cluster.settled(before)
    (found,) = json.loads(done.stdout)["saturation"]

    assert measured(done.returncode, only_run(tmp_path / "runs")), done.stderr
    assert (found["ending"], found["held_per_s"]) == ("always met", 200.0)


def test_a_coordinator_that_is_killed(tmp_path, inventory):
    """kill -9 in mid-load: no load, container, file, actor or reservation is left after 15 s."""
    before = ray_cluster.seen()
    process = started(long_campaign(tmp_path), inventory, tmp_path / "runs")
    pids = world.running("h2load")
    scheduled = [(os.getpriority(os.PRIO_PROCESS, pid), Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in pids]

    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    nothing_left_of_runs(within_s=15)
    ray_cluster.settled(before)

    assert scheduled == [(0, "0\n")] * len(pids)


def test_cpus_that_another_job_holds(tmp_path, inventory):
    """A shortage with numbers, before anything starts."""
    with ray_cluster.another_job(world.WRONG_CLOCK, 2):
        path = world.campaign(tmp_path, agents=4)
        done = on_the_cluster("run", path, "--hosts", inventory, "--out", str(tmp_path / "runs"))

    assert done.returncode == 4, done.stderr
    assert f"{world.WRONG_CLOCK} has 1 of its 3 CPUs free, and the run needs 2" in done.stderr


def test_the_verbs_about_hosts(inventory):
    """`check` surveys the nodes; `clean` finds nothing; `up` says that it does not apply."""
    check = on_the_cluster("hosts", "check", "--hosts", inventory, "--json")
    clean = on_the_cluster("hosts", "clean", "--hosts", inventory)
    up = on_the_cluster("hosts", "up", "--hosts", inventory)
    found = {each["host"]: each for each in json.loads(check.stdout)}

    assert check.returncode == 0, check.stderr + check.stdout
    assert {name: (each["ready"], each["roles"]) for name, each in found.items()} == {
        world.SERVER: (True, ["server"]), world.WRONG_CLOCK: (True, ["load"]), world.PLAIN: (True, ["load"])
    }  # fmt: skip
    assert clean.returncode == 0, clean.stderr
    assert clean.stdout.count("0 processes, 0 containers, 0 folders removed") == 3
    assert (up.returncode, "does not apply" in up.stderr) == (2, True)


def test_a_network_that_is_cut(tmp_path, inventory):
    """The node cannot hear the coordinator: the guard there ends the load when the lease runs out.

    The last test: Ray may declare the node dead, and then the cluster has one less.
    """
    process = started(long_campaign(tmp_path), inventory, tmp_path / "runs")
    world.lab("cut", world.PLAIN)
    try:
        deadline = time.monotonic() + 15
        while world.PLAIN in world.running("h2load").values() or left_on(world.PLAIN):
            assert time.monotonic() < deadline, left_on(world.PLAIN)
            time.sleep(0.1)
    finally:
        world.lab("reconnect", world.PLAIN)
    output, _ = process.communicate(timeout=150)

    assert process.returncode in (3, 4), output
    assert world.PLAIN in output
    assert "Traceback" not in output
