#!/usr/bin/env python3
"""Many hosts on one Linux machine, to try and test Volley with several hosts: namespaces, sshd, Docker engines.

Each host has its own network, process, mount and host name namespaces, its own sshd and, if it is a
server host, its own Docker engine. Addresses are from 198.18.0.0/24 (RFC 2544, benchmarking), on a
bridge without any other connection. Needs root, sshd and iproute2; Docker for server hosts; a C
compiler for --clock. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

STATE = Path(os.environ.get("VOLLEY_LAB_STATE", "/var/lib/volley-lab"))
HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
INVENTORY = CHECKOUT / "configs" / "inventories" / "lab.yaml"
BRIDGE, NETWORK = "volley-lab", "198.18.0"
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
UP_WITHIN_S = 60.0


def fail(message: str, hint: str) -> NoReturn:
    """Print what is wrong and how to fix it, and exit with 4."""
    print(f"lab: {message}\n  -> {hint}", file=sys.stderr)
    sys.exit(4)


def do(*command: str, check: bool = True) -> str:
    """Run a command and return its output. With check, exit when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode != 0:
        fail(
            f"{' '.join(command)}: {done.stderr.strip() or done.returncode}", "fix that, then run: deploy/lab/lab down"
        )
    return done.stdout


def pairs(words: list[str], names: list[str], what: str) -> dict[str, str]:
    """Return the values of HOST=VALUE options by host."""
    values = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in names:
            fail(f"--{what} {word!r} is not HOST=VALUE", f"use one of these hosts: {', '.join(names)}")
        values[name] = value
    return values


def seconds(text: str) -> float:
    """Return the seconds in a text such as '5ms' or '0.005s'."""
    return float(text[:-2]) / 1e3 if text.endswith("ms") else float(text.rstrip("s"))


def up(options: argparse.Namespace) -> None:
    """Create the hosts and write the inventory."""
    if os.geteuid() != 0:
        fail("creating namespaces needs root", "sudo deploy/lab/lab up")
    for tool, package in {"ip": "iproute2", "nsenter": "util-linux", "ssh-keygen": "openssh-client"}.items():
        if shutil.which(tool) is None:
            fail(f"{tool} is missing", f"sudo apt-get install {package}")
    if not Path("/usr/sbin/sshd").exists():
        fail("sshd is missing", "sudo apt-get install openssh-server")
    if STATE.exists():
        fail(f"{STATE} exists: a lab is up, or its remains are there", "deploy/lab/lab down")
    servers = [f"web{i + 1}" for i in range(options.servers)]
    loads = [f"gen{i + 1}" for i in range(options.hosts - options.servers)]
    names = servers + loads
    if not servers or not loads:
        fail(
            f"{options.hosts} hosts, {options.servers} of them servers: this needs at least one of each",
            "use --hosts 2 --servers 1 or more",
        )
    if unknown := [name for name in options.service if name not in loads]:
        fail(f"--service {unknown[0]!r} is not a load host", f"use one of these hosts: {', '.join(loads)}")
    delays, losses = pairs(options.delay, names, "delay"), pairs(options.loss, names, "loss")
    clocks = pairs(options.clock, names, "clock")
    STATE.mkdir(mode=0o700, parents=True)
    do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "volley-lab", "-f", str(STATE / "key"))
    make_bridge()
    hosts: dict[str, Any] = {}
    for i, name in enumerate(names):
        address = f"{NETWORK}.{11 + i}"
        hosts[name] = {
            "address": address,
            "server": name in servers,
            "engine": name in servers or name in options.service,
            "index": i,
            "clock": clocks.get(name),
        }
        delay, loss = seconds(delays.get(name, "0s")), float(losses.get(name, "0%").rstrip("%")) / 100
        make_network(name, i, address, delay, loss)
        make_host(name, hosts[name])
        start(name, hosts[name])
    write_state(hosts)
    wait_for(hosts)
    write_known_hosts(hosts)
    write_inventory(hosts)
    print("lab: up: " + ", ".join(f"{name} {host['address']}" for name, host in hosts.items()))
    print(f"lab: inventory in {INVENTORY.relative_to(CHECKOUT)}; remove the hosts with: deploy/lab/lab down")


def make_bridge() -> None:
    """Create the network of all hosts and this machine."""
    do("ip", "link", "add", BRIDGE, "type", "bridge")
    do("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
    do("ip", "link", "set", BRIDGE, "up")
    if BRIDGE_FILTER.exists():
        # The FORWARD policy of another Docker engine would drop packets between hosts.
        (STATE / "bridge-filter").write_text(BRIDGE_FILTER.read_text())
        BRIDGE_FILTER.write_text("0\n")


def make_network(name: str, index: int, address: str, delay_s: float, loss: float) -> None:
    """Create a namespace with the interface eth0, slow or lossy by netem, or by wire.py if the kernel has no netem."""
    space, outside = f"volley-{name}", f"vlab{index}"
    do("ip", "netns", "add", space)
    netem = ["tc", "-n", space, "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{delay_s * 1e3}ms"]
    do("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
    if (delay_s or loss) and subprocess.run([*netem, "loss", f"{loss:%}"], capture_output=True).returncode != 0:
        do("ip", "link", "del", outside)
        log = (STATE / f"wire-{name}.log").open("wb")
        argv = [sys.executable, str(HERE / "wire.py"), space, "eth0", outside, str(delay_s), str(loss)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        (STATE / f"wire-{name}.pid").write_text(str(process.pid))
        until(lambda: Path(f"/sys/class/net/{outside}").exists(), f"the wire of {name}", 5)
        until(lambda: "eth0" in do("ip", "-n", space, "link"), f"the wire of {name}", 5)
    do("ip", "link", "set", outside, "master", BRIDGE, "up")
    for command in (
        ["link", "set", "lo", "up"],
        ["addr", "add", f"{address}/24", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
    ):
        do("ip", "-n", space, *command)


def make_host(name: str, host: dict[str, Any]) -> None:
    """Create a host's files: keys and the settings of sshd."""
    folder, clock = STATE / name, host["clock"]
    (folder / "home" / ".ssh").mkdir(parents=True)
    shutil.copy(STATE / "key.pub", folder / "home" / ".ssh" / "authorized_keys")
    do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / "host_key"))
    settings = [
        "Port 22",
        f"ListenAddress {host['address']}",
        "HostKey /run/host_key",
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "AuthorizedKeysFile /root/.ssh/authorized_keys",
        "Subsystem sftp internal-sftp",
        "PrintMotd no",
    ]
    if clock is not None:
        settings.append(f"SetEnv LD_PRELOAD={STATE}/clock.so VOLLEY_LAB_CLOCK_FILE={folder}/clock")
        set_clock(name, clock)
        # Hosts can read the lab's folder; only the checkout is hidden from them.
        compiler = shutil.which("cc") or fail("--clock needs a C compiler", "sudo apt-get install gcc libc6-dev")
        do(compiler, "-shared", "-fPIC", "-O2", "-o", str(STATE / "clock.so"), str(HERE / "clock.c"), "-ldl")
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")


def set_clock(name: str, text: str) -> None:
    """Set how far the wall clock of a host is off: at once, also in the processes that run there."""
    try:
        off_ns = round(seconds(text) * 1e9)
    except ValueError:
        fail(f"{text!r} is not a time", "write it as +3.7s, -2s or 5ms")
    path = STATE / name / "clock"
    # Written in place: processes have mapped the file.
    with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
        file.write(off_ns.to_bytes(8, sys.byteorder, signed=True))


def start(name: str, host: dict[str, Any]) -> None:
    """Switch a host on: start its process 1 in new namespaces."""
    folder = STATE / name
    bip = f"198.18.{100 + host['index']}.1/24" if host["engine"] else "-"
    spaces = [
        "nsenter", f"--net=/run/netns/volley-{name}", "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork",
        "--kill-child", "--mount-proc", "--propagation", "private",
    ]  # fmt: skip
    log = (folder / "host.log").open("wb")
    process = subprocess.Popen(
        [*spaces, str(HERE / "host.sh"), name, str(folder), str(CHECKOUT), bip],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env={"PATH": os.environ["PATH"]},
    )
    (folder / "pid").write_text(str(process.pid))


def until(condition: Any, what: str, within_s: float = UP_WITHIN_S) -> None:
    """Wait for a condition; exit with an error when it is not met in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            fail(f"waited {within_s:g} s for {what}", f"read the logs in {STATE}, then run: deploy/lab/lab down")
        time.sleep(0.05)


def wait_for(hosts: dict[str, Any]) -> None:
    """Wait until every sshd listens and every engine answers."""
    for name, host in hosts.items():
        until(lambda n=name: ":22 " in inside(n, "ss", "-ltn"), f"sshd of {name}")
        if host["engine"]:
            until(lambda n=name: inside(n, "docker", "version", "-f", "{{.Server.Version}}"), f"engine of {name}")


def write_known_hosts(hosts: dict[str, Any]) -> None:
    """Record the host keys, as `volley hosts trust` would; here they are known to be right."""
    lines = []
    for name, host in hosts.items():
        kind, key = (STATE / name / "host_key.pub").read_text().split()[:2]
        lines.append(f"{host['address']} {kind} {key}\n")
    (STATE / "known_hosts").write_text("".join(lines))


def init_of(name: str) -> int:
    """Return the pid of a host's process 1 as seen from here; 0 when the host is off."""
    try:
        parent = (STATE / name / "pid").read_text()
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return 0


def inside(name: str, *command: str) -> str:
    """Run a command in a host and return its output."""
    argv = ["nsenter", "-t", str(init_of(name)), "-a", *command]
    return subprocess.run(argv, capture_output=True, text=True).stdout


def write_state(hosts: dict[str, Any]) -> None:
    (STATE / "hosts.json").write_text(json.dumps(hosts))


def read_state() -> dict[str, Any]:
    try:
        return dict(json.loads((STATE / "hosts.json").read_text()))
    except OSError:
        fail("no lab is up", "deploy/lab/lab up")


def write_inventory(hosts: dict[str, Any]) -> None:
    """Write the inventory file."""
    lines = [
        "# yaml-language-server: $schema=../volley-inventory.schema.json",
        "# Written by deploy/lab/lab up. The hosts have no internet: images are built here and sent.",
        f"coordinator: {{address: {NETWORK}.1}}",
        "images: send",
        "defaults:",
        "  user: root",
        f"  key: {STATE}/key",
        f"  known_hosts: {STATE}/known_hosts",
        "hosts:",
    ]
    for name, host in hosts.items():
        role = "server" if host["server"] else "load, service" if host["engine"] else "load"
        lines.append(f"  {name}: {{address: {host['address']}, roles: [{role}]}}")
    INVENTORY.parent.mkdir(parents=True, exist_ok=True)
    INVENTORY.write_text("\n".join(lines) + "\n")


def kill(name: str) -> None:
    """Switch a host off: all its processes die at once."""
    if pid := init_of(name):
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists() or not init_of(name), f"the end of {name}", 20)


def down() -> None:
    """Remove all hosts and everything that belongs to them."""
    for name in sorted(p.name for p in STATE.iterdir() if p.is_dir()) if STATE.exists() else []:
        kill(name)
    for file in STATE.glob("wire-*.pid") if STATE.exists() else []:
        pid = int(file.read_text())
        if "wire.py" in _arguments(pid):
            os.kill(pid, signal.SIGTERM)
            until(lambda p=pid: "wire.py" not in _arguments(p), "the end of a wire", 5)
    for space in do("ip", "netns", "list", check=False).split("\n"):
        if space.startswith(("volley-web", "volley-gen")):
            do("ip", "netns", "del", space.split()[0], check=False)
    for link in Path("/sys/class/net").glob("vlab*"):
        do("ip", "link", "del", link.name, check=False)
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        do("ip", "link", "del", BRIDGE)
    saved = STATE / "bridge-filter"
    if saved.exists() and BRIDGE_FILTER.exists():
        BRIDGE_FILTER.write_text(saved.read_text())
    forget_cgroups()
    # Mounts of a host end a moment after its processes.
    until(_removed, f"the end of what uses {STATE}", 20)
    INVENTORY.unlink(missing_ok=True)
    print("lab: down")


def _removed() -> bool:
    """Remove the lab's folder; return whether all of it is gone."""
    shutil.rmtree(STATE, ignore_errors=True)
    return not STATE.exists()


def _arguments(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def forget_cgroups() -> None:
    """Remove the empty cgroups of containers that an engine leaves when it is switched off."""
    ids = {p.name for p in STATE.glob("*/docker/containers/*")} if STATE.exists() else set()
    for controller in Path("/sys/fs/cgroup").glob("**/docker/*"):
        if controller.name in ids:
            with contextlib.suppress(OSError):
                controller.rmdir()


def link(name: str, state: str) -> None:
    """Set the state of a host's link: 'up' or 'down'."""
    index = read_state()[name]["index"]
    do("ip", "link", "set", f"vlab{index}", state)


def main() -> None:
    """Run the verb of the command line."""
    parser = argparse.ArgumentParser(
        prog="deploy/lab/lab", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("up", help="create the hosts and write configs/inventories/lab.yaml")
    make.add_argument("--hosts", type=int, default=4, help="number of hosts, including server hosts")
    make.add_argument("--servers", type=int, default=1, help="number of server hosts among them")
    make.add_argument(
        "--service", action="append", default=[], metavar="HOST", help="a load host that can run services, too"
    )
    for option, example in {"delay": "gen1=5ms", "loss": "gen1=1%%", "clock": "gen2=+3.7s"}.items():
        make.add_argument(
            f"--{option}", action="append", default=[], metavar="HOST=VALUE", help=f"for example {example}"
        )
    verbs.add_parser("down", help="remove all hosts and their files")
    verbs.add_parser("status", help="show which hosts are on")
    for verb, text in {
        "kill": "switch a host off",
        "start": "switch it on again",
        "cut": "disconnect its network",
        "reconnect": "connect it again",
    }.items():
        verbs.add_parser(verb, help=text).add_argument("host")
    step = verbs.add_parser("clock", help="step the wall clock of a host that was created with --clock")
    step.add_argument("host")
    step.add_argument("offset", help="how far it is off from now on, for example +2s; write -2s as ' -2s'")
    run = verbs.add_parser("exec", help="run a command in a host")
    run.add_argument("host")
    run.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.verb == "up":
        up(options)
    elif options.verb == "down":
        down()
    else:
        hosts = read_state()
        if options.verb != "status" and options.host not in hosts:
            fail(f"unknown host {options.host!r}", f"use one of: {', '.join(hosts)}")
        if options.verb == "status":
            for name, host in hosts.items():
                print(f"{name:8}{host['address']:16}{'on' if init_of(name) else 'off'}")
        elif options.verb == "kill":
            kill(options.host)
        elif options.verb == "start":
            start(options.host, hosts[options.host])
            wait_for({options.host: hosts[options.host]})
        elif options.verb == "clock":
            if hosts[options.host]["clock"] is None:
                fail(f"{options.host} has the clock of this machine", f"deploy/lab/lab up --clock {options.host}=0s")
            set_clock(options.host, options.offset.strip())
        elif options.verb == "exec":
            command = [word for i, word in enumerate(options.command) if i or word != "--"]
            os.execvp("nsenter", ["nsenter", "-t", str(init_of(options.host)), "-a", *command])
        else:
            link(options.host, "down" if options.verb == "cut" else "up")


if __name__ == "__main__":
    main()
