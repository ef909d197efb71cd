"""A user that the system does not know, as in a container that runs under any number: without a name and a home."""

from __future__ import annotations

import os
import pwd
from collections.abc import MutableMapping

# As Docker has it for such a user.
NO_HOME = "/"


def complete(environment: MutableMapping[str, str], user: int) -> None:
    """Set HOME and USER for a user that is in no list of users, so that nothing has to ask for them in vain."""
    try:
        pwd.getpwuid(user)
    except KeyError:
        environment.setdefault("HOME", NO_HOME)
        if not any(environment.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
            environment["USER"] = f"user-{user}"


def prepare() -> None:
    """Complete the environment of this process, which those that it starts inherit."""
    complete(os.environ, os.getuid())
