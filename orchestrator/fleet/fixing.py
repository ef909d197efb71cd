"""What `volley doctor --fix` can do: install the packages that this machine lacks, and start its Docker engine.

Two scripts of the package do the work: bootstrap-host.sh knows the packages, engine.sh how an engine starts. Both act as
root or with sudo, and print the command for an administrator where neither is possible.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents import engine
from agents.records import HostRole
from orchestrator.fleet.survey import HostSurvey, is_forbidden

BOOTSTRAP = Path(__file__).with_name("bootstrap-host.sh")
ENGINE = Path(__file__).with_name("engine.sh")
# Where systemd runs, it has this folder.
SYSTEMD = Path("/run/systemd/system")
LIST_TIMEOUT_S = 10.0

# Runs a script of the package with arguments; returns its exit code.
Script = Callable[[Path, Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Tools:
    """What this machine can be fixed with. dockerd: whether a Docker engine is installed, up or not."""

    apt: bool
    systemd: bool
    dockerd: bool

    @staticmethod
    def here() -> Tools:
        """Return the tools of this machine."""
        # The scripts need bash. An ordinary user's PATH on Debian has no sbin.
        bash = shutil.which("bash") is not None
        everywhere = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
        return Tools(
            apt=bash and shutil.which("apt-get") is not None,
            systemd=SYSTEMD.exists(),
            dockerd=bash and shutil.which("dockerd", path=everywhere) is not None,
        )


@dataclass(frozen=True, slots=True)
class Fixes:
    """What can be done here. roles: those that this machine lacks something for; packages: Debian packages to install.

    engine: start the Docker engine. lacks_apt: something is missing that cannot be installed here, for want of apt.
    """

    roles: tuple[HostRole, ...] = ()
    packages: tuple[str, ...] = ()
    engine: bool = False
    lacks_apt: bool = False

    def __bool__(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.packages) or self.engine

    @property
    def words(self) -> str:
        """What is done, in a few words: 'install nghttp2-client, start the Docker engine'."""
        parts = [f"install {' '.join(self.packages)}"] if self.packages else []
        return ", ".join([*parts, *(["start the Docker engine"] if self.engine else [])])


def fixes_for(survey: HostSurvey, tools: Tools, missing: Callable[[Sequence[HostRole]], list[str]]) -> Fixes:
    """Return what can be done on this machine. missing: returns the packages that roles need and this machine lacks.

    An engine on another machine, or one that this user may not use, is left alone: that is for the user to decide.
    """
    endpoint = survey.docker_endpoint
    elsewhere = isinstance(endpoint, str) and not engine.is_local(endpoint)
    silent = not isinstance(survey.docker, str) and not elsewhere and not is_forbidden(survey.docker)
    roles = [HostRole.LOAD] * (survey.h2load is None) + [HostRole.SERVER] * silent
    packages = missing(roles) if roles and tools.apt else []
    brings_engine = any(name.startswith("docker") for name in packages)
    lacks_apt = not tools.apt and (survey.h2load is None or (silent and not tools.dockerd))
    return Fixes(tuple(roles), tuple(packages), silent and (tools.dockerd or brings_engine), lacks_apt)


def missing_here(roles: Sequence[HostRole]) -> list[str]:
    """Return the packages that this machine lacks for roles; none where that cannot be found out."""
    command = ["bash", str(BOOTSTRAP), "--list", *roles]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIST_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()


def carry_out(fixes: Fixes, run: Script) -> bool:
    """Do what can be done; return whether all of it worked. The scripts report each step, and each failure with its fix."""
    installed = not fixes.packages or run(BOOTSTRAP, [str(role) for role in fixes.roles]) == 0
    if not fixes.engine:
        return installed
    # Without its packages, an engine cannot be started.
    if not installed and any(name.startswith("docker") for name in fixes.packages):
        return False
    return run(ENGINE, ["up"]) == 0 and installed


def run_script(script: Path, arguments: Sequence[str]) -> int:
    """Run a script of the package in this terminal, with its output on stderr; return its exit code.

    No time limit, because sudo may ask for a password: Ctrl-C ends it.
    """
    sys.stderr.flush()
    return subprocess.run(["bash", str(script), *arguments], stdout=sys.stderr, check=False).returncode
