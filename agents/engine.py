"""Which Docker engine this host uses: the one rule for the SDK, the docker command and the guard.

The docker command follows DOCKER_HOST, then DOCKER_CONTEXT, then `docker context use`; the SDK follows
DOCKER_HOST only. Everything here is asked for and named explicitly, so that check, run and clean-up
never talk to different engines. Standard library only: the guard uses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT = "unix:///var/run/docker.sock"


def endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """Return the engine's address, as DOCKER_HOST would have it."""
    if host := environment.get("DOCKER_HOST"):
        return host
    folder = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        name = environment.get("DOCKER_CONTEXT") or json.loads((folder / "config.json").read_text())["currentContext"]
        if name and name != "default":
            meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
            return str(json.loads(meta.read_text())["Endpoints"]["docker"]["Host"])
    return DEFAULT


def is_local(address: str) -> bool:
    """Return whether an engine runs on this machine. A server elsewhere cannot be metered from here."""
    parts = urlsplit(address)
    return parts.scheme == "unix" or (parts.hostname or "") in ("localhost", "127.0.0.1", "::1")


def environment() -> dict[str, str]:
    """Return the environment of a docker command, which names the engine."""
    named = {**os.environ, "DOCKER_HOST": endpoint()}
    named.pop("DOCKER_CONTEXT", None)
    return named


def is_there() -> bool:
    """Return whether there may be an engine: its socket exists, or it is reached over the network."""
    parts = urlsplit(endpoint())
    return parts.scheme != "unix" or Path(parts.path).exists()
