"""Which h2load a host has, and what each version can do."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

OLDEST = (1, 43)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one version of h2load can do. Sources: the release notes and source, version by version."""

    version: tuple[int, int]
    rps: bool  # --rps, since 1.44
    steady_rps: bool  # --rps paced by the steady clock: a step of the wall clock is harmless, since 1.54
    alpn_list: bool  # --alpn-list instead of --npn-list, since 1.59
    final_status: bool  # a 1xx is not taken for the response's status, since 1.59
    host_header: bool  # -H 'Host: ...' overrides, since 1.61; before it was ':host'
    ends_on_close: bool  # --h1 -D ends although the server closes every connection, since 1.64
    flushes_stdout: bool  # prints line by line into a pipe, so that a full pipe can hold it, up to 1.69
    columns_169: bool  # median, p95 and p99 columns in the summary, since 1.69


def capabilities(version: tuple[int, int]) -> Capabilities:
    """Return the row of the table for a version."""
    return Capabilities(
        version=version,
        rps=version >= (1, 44),
        steady_rps=version >= (1, 54),
        alpn_list=version >= (1, 59),
        final_status=version >= (1, 59),
        host_header=version >= (1, 61),
        ends_on_close=version >= (1, 64),
        flushes_stdout=version <= (1, 69),
        columns_169=version >= (1, 69),
    )


class H2loadMissing(RuntimeError):
    """This host has no h2load that Volley can use."""


def parse_version(text: str) -> tuple[int, int]:
    """Read 'h2load nghttp2/1.52.0'. Raises H2loadMissing when it says something else."""
    match = re.search(r"nghttp2/(\d+)\.(\d+)", text)
    if not match:
        raise H2loadMissing(f"'h2load --version' answered {text.strip()[:80]!r}, which names no version")
    return int(match[1]), int(match[2])


def detect(program: str = "h2load") -> Capabilities:
    """Ask the program on this host for its version.

    Raises H2loadMissing when it is absent, fails, or is older than OLDEST.
    """
    path = shutil.which(program)
    if path is None:
        raise H2loadMissing(f"'{program}' is not on the PATH")
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise H2loadMissing(f"'{path} --version' failed: {error}") from error
    version = parse_version(answer.stdout + answer.stderr)
    if version < OLDEST:
        raise H2loadMissing(f"h2load {version[0]}.{version[1]} is older than {OLDEST[0]}.{OLDEST[1]}")
    return capabilities(version)
