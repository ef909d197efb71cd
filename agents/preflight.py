"""The real steps that a host's node takes, tried before it starts: `python3 -c "$(cat preflight.py)" '{...}'`.

Like the survey, it needs the standard library only, runs on Python 3.7, and works before Volley sends
anything. It prints one JSON document, {step: problem}, where the problem of a step that works is
null. If it was asked to listen, it then keeps its listener until standard input ends or wait_s have passed.
It leaves nothing behind.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What Ray adds to its temporary folder for the longest of its sockets.
SOCKET = "ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.0"
LONGEST_SOCKET = 107
CONNECT_WITHIN_S = 3.0


def folder(path: str, wanted_bytes: int) -> str | None:
    """Return why files cannot be stored and run in a folder, which is created for the trial; None if they can."""
    target = Path(path).expanduser()
    made = [p for p in (target, *target.parents) if not p.exists()]
    draft = None
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".preflight-", dir=str(target)))
        with (draft / "data").open("wb") as data:
            os.posix_fallocate(data.fileno(), 0, wanted_bytes)
        program = draft / "program"
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o700)
        try:
            subprocess.run([str(program)], check=True, timeout=10)
        except PermissionError:
            return f"programs cannot be executed in {target} (mounted noexec?)"
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{target} has no room for {wanted_bytes >> 20} MiB: {error.strerror}"
        return f"cannot write to {error.filename or target}: {error.strerror}"
    except subprocess.SubprocessError as error:
        return f"programs in {target} fail: {error}"
    finally:
        if draft is not None:
            shutil.rmtree(str(draft), ignore_errors=True)
        for each in made:
            try:
                each.rmdir()
            except OSError:
                break
    return None


def sockets() -> str | None:
    """Return why a node's sockets cannot be created in the temporary folder; None if they can."""
    place = None
    try:
        place = Path(tempfile.mkdtemp(prefix="volley-"))
        path = place / SOCKET
        beyond = len(os.fsencode(str(path))) - LONGEST_SOCKET
        if beyond > 0:
            return f"{place.parent} is too long a path for a node's sockets, by {beyond} characters"
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            trial.bind(str(path))
    except OSError as error:
        return f"cannot create a socket below {place.parent if place else 'it'}: {error.strerror or error}"
    finally:
        if place is not None:
            shutil.rmtree(str(place), ignore_errors=True)
    return None


def free_ports(tcp: list[int], udp: list[int]) -> str | None:
    """Return which ports are taken; None if all are free."""
    taken = []
    for kind, ports in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
        for port in ports:
            with socket.socket(socket.AF_INET, kind) as trial:
                if kind == socket.SOCK_STREAM:
                    # A connection that ended a moment ago does not count.
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    trial.bind(("", port))
                except OSError:
                    taken.append(port)
    return f"in use: {', '.join(map(str, taken))}" if taken else None


def reach(address: str, port: int) -> str | None:
    """Return why a connection to another machine fails; None if it is made."""
    try:
        socket.create_connection((address, port), CONNECT_WITHIN_S).close()
    except socket.gaierror:
        return f"the name {address} is unknown here"
    except OSError as error:
        return error.strerror or str(error)
    return None


def own(address: str) -> str | None:
    """Return why an address is not the host's own; None if it is."""
    listener, problem = listen(address, 0)
    if listener is not None:
        listener.close()
    return problem


def listen(address: str, port: int) -> tuple[socket.socket | None, str | None]:
    """Return a listener at an address, or why there is none."""
    try:
        kind, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(kind, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(5)
    except socket.gaierror:
        return None, f"the host does not know its own name {address}"
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return None, f"{address} is not an address of the host itself"
        return None, error.strerror or str(error)
    return listener, None


def main(order: dict[str, Any]) -> None:
    """Take the steps of an order and report them: each key is a step, its value the arguments."""
    steps: dict[str, Callable[..., str | None]] = {
        "folder": folder,
        "sockets": sockets,
        "ports": free_ports,
        "reach": reach,
        "own": own,
    }
    found = {name: steps[name](*order[name]) for name in steps if name in order}
    listener = None
    if "listen" in order:
        listener, found["listen"] = listen(*order["listen"])
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    if listener is not None:
        select.select([sys.stdin], [], [], order.get("wait_s", 10))
        listener.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
