"""The fleet over the lab: start skew beside a plain ssh loop, orchestration per stage, hosts up on one host and on four."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.overhead import CONFIGURATION, PORT
from orchestrator.campaign.hosts import Hosts
from orchestrator.fleet.place import place
from orchestrator.plan import make_plan
from orchestrator.run.inputs import TrialInput
from orchestrator.run.trial import run_trial
from orchestrator.spec.load import from_plain, load_inventory

ROOT = Path(__file__).resolve().parents[1]
LAB = str(ROOT / "deploy" / "lab" / "lab")
STATE = Path("/var/lib/volley-lab")
INVENTORY = ROOT / "configs" / "inventories" / "lab.yaml"
CAMPAIGN = ROOT / "configs" / "campaigns" / "flask-vs-fastapi-fair.yaml"
VOLLEY = [sys.executable, "-m", "orchestrator.cli"]
SERVER, LOADS = "198.18.0.11", ["198.18.0.12", "198.18.0.13", "198.18.0.14"]
ROUNDS, TRIALS, UPS = 30, 6, 3
REQUESTS, CLIENTS = 300, 6


@contextmanager
def lab() -> Iterator[None]:
    """One server host, three load hosts; no delay, true clocks: the truth is known to be zero."""
    subprocess.run([LAB, "up", "--hosts", "4"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run([LAB, "down"], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def nginx() -> Iterator[str]:
    """A server on the server host that answers at once."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=STATE) as folder:
        text = CONFIGURATION.format(folder="/tmp", port=PORT).replace("127.0.0.1", "0.0.0.0")
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(text)
        process = subprocess.Popen([LAB, "exec", "web1", "--", "nginx", "-c", str(configuration)])
        try:
            yield f"http://{SERVER}:{PORT}/"
        finally:
            process.terminate()
            process.wait(timeout=10)


def ours(url: str) -> list[float]:
    """Start skew of trials over three load hosts: latest minus earliest first request, ms, on the coordinator's clock."""
    plain = {
        "campaign": "skew",
        "targets": {"nginx": {"url": url}},
        "loads": {"burst": {"clients": CLIENTS, "requests": REQUESTS}},
        "agents": len(LOADS),
        "repetitions": ROUNDS,
    }
    campaign = from_plain(plain).campaign
    plan = make_plan(campaign)
    hosts = Hosts(load_inventory(INVENTORY), INVENTORY.parent)
    placements = place(plan, hosts.machines(), campaign.place)
    skews = []
    claim = hosts.claim("bench-skew")
    with hosts.fleet(claim, placements, []) as fleet:
        fleet.up(lambda text: None)
        for trial in plan.trials:
            item = TrialInput(trial, campaign.targets["nginx"], campaign.loads["burst"], None, Path.cwd(), claim.mark)
            with fleet.reserve(placements[trial.case.name]) as placed:
                facts = run_trial(item, placed, lambda event: None).facts
            starts = [agent.first_start_us for agent in facts.agents]
            if len(starts) != len(LOADS) or any(agent.rows != REQUESTS // len(LOADS) for agent in facts.agents):
                raise RuntimeError(f"a trial went wrong: {facts.error}")
            skews.append((max(starts) - min(starts)) / 1e3)
    return skews


def ssh_loop(url: str) -> list[float]:
    """The same of `for h in hosts; do ssh $h h2load ... & done`."""
    ssh = ["ssh", "-i", str(STATE / "key"), "-o", f"UserKnownHostsFile={STATE}/known_hosts"]
    argv = f"h2load --h1 -n{REQUESTS // len(LOADS)} -c{CLIENTS // len(LOADS)} -t1 --log-file=/tmp/log {url} >/dev/null"
    skews = []
    for _ in range(ROUNDS):
        command = f"rm -f /tmp/log; {argv}; head -n 1 /tmp/log"
        started = [
            subprocess.Popen([*ssh, f"root@{host}", command], stdout=subprocess.PIPE, text=True) for host in LOADS
        ]
        starts = [int(process.communicate()[0].split()[0]) for process in started]
        skews.append((max(starts) - min(starts)) / 1e3)
    return skews


def stages() -> dict[str, list[float]]:
    """Seconds per stage of warm trials of a real container; 'beyond the load' is all but the load itself."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder:
        argv = ["run", str(CAMPAIGN), "--only", "flask/burst", "--set", f"repetitions={TRIALS}", "--set", "agents=3"]
        volley("hosts", "up", "--hosts", str(INVENTORY))
        try:
            volley(*argv, "--hosts", str(INVENTORY), "--out", folder, "-q")
        finally:
            volley("hosts", "down", "--hosts", str(INVENTORY))
        for path in sorted(Path(folder).glob("*/trials/*/trial.json")):
            facts = json.loads(path.read_text())["facts"]
            for name, lasted_us in facts["stages_us"].items():
                found.setdefault(name, []).append(lasted_us / 1e6)
            load_s = (
                max(a["last_end_us"] for a in facts["agents"]) - min(a["first_start_us"] for a in facts["agents"])
            ) / 1e6
            ready_s = facts["server"]["ready_after_us"] / 1e6
            whole_s = sum(facts["stages_us"].values()) / 1e6
            found.setdefault("the load itself", []).append(load_s)
            found.setdefault("the server's own start", []).append(ready_s)
            found.setdefault("beyond load and server", []).append(whole_s - load_s - ready_s)
            found.setdefault("beyond the load", []).append(whole_s - load_s)
    return found


def hosts_up(hosts: int, cold: bool) -> float:
    """Seconds that `volley hosts up` takes on so many hosts; cold: with nothing of ours there yet."""
    inventory = INVENTORY.with_name("bench.yaml")
    lines = INVENTORY.read_text().splitlines()
    first = lines.index("hosts:") + 1
    inventory.write_text("\n".join(lines[: first + hosts]) + "\n")
    try:
        if cold:
            volley("hosts", "clean", "--hosts", str(inventory))
        began = time.monotonic()
        volley("hosts", "up", "--hosts", str(inventory))
        lasted = time.monotonic() - began
        volley("hosts", "down", "--hosts", str(inventory))
    finally:
        inventory.unlink()
    return lasted


def volley(*arguments: str) -> None:
    """Run a verb that has to work."""
    done = subprocess.run([*VOLLEY, *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"volley {' '.join(arguments)}: {done.returncode}: {done.stderr[-500:]}")


def skew_line(name: str, skews: list[float]) -> str:
    """Median and 95th percentile."""
    ordered = sorted(skews)
    p95 = ordered[round(0.95 * (len(ordered) - 1))]
    return f"{name:28}{statistics.median(ordered):10.2f}{p95:10.2f}{ordered[-1]:10.2f}"


def report() -> None:
    """Print it all."""
    with lab():
        with nginx() as url:
            print(f"\nstart skew of {len(LOADS)} agents on {len(LOADS)} hosts, {ROUNDS} rounds, ms")
            print(f"{'':28}{'median':>10}{'p95':>10}{'max':>10}")
            print(skew_line("volley", ours(url)), flush=True)
            print(skew_line("ssh host h2load &", ssh_loop(url)), flush=True)
        print(f"\nhosts up, seconds, median of {UPS}")
        times: dict[Any, float] = {}
        for cold in (True, False):
            for hosts in (1, 4):
                times[cold, hosts] = statistics.median(hosts_up(hosts, cold) for _ in range(UPS))
            one, four = times[cold, 1], times[cold, 4]
            name = "cold (environment is sent)" if cold else "warm"
            print(f"{name:28}1 host {one:6.1f}   4 hosts {four:6.1f}   ratio {four / one:.2f}", flush=True)
        print(
            f"\na warm trial over hosts, seconds per stage, median of {TRIALS} (a container, 3 agents, 1000 requests)"
        )
        for name, seconds in stages().items():
            print(f"{name:28}{statistics.median(seconds):8.2f}")


if __name__ == "__main__":
    report()
