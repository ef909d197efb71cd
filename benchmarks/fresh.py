"""Run something in a process of its own, and see what it took: time, CPU time, the most memory.

python -m benchmarks.fresh MODULE FUNCTION [TEXT]... calls a function, and prints what it took as the last line.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import ROOT


def measured(module: str, function: str, *arguments: str) -> dict[str, float]:
    """Call a function in a fresh process. Returns wall_s and cpu_s of the whole process, and peak_mb.

    What the function returns, numbers by name, is added.
    """
    argv = [sys.executable, "-m", "benchmarks.fresh", module, function, *arguments]
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    wall_s = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{module}.{function}: {done.stderr[-800:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {"wall_s": wall_s, **found}


def verb(*arguments: str) -> dict[str, float]:
    """Run a verb of volley in a fresh process; return what it took."""
    return measured("benchmarks.fresh", "volley", *arguments)


def volley(*arguments: str) -> dict[str, float]:
    """Run a verb in this process."""
    from orchestrator.cli.app import app

    with contextlib.suppress(SystemExit):
        app(list(arguments))
    return {}


def peak_mb() -> float:
    """Return the most memory that this process has had. (getrusage would include the process that started it.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Call, and print."""
    module, function, *arguments = sys.argv[1:]
    found = getattr(importlib.import_module(module), function)(*arguments) or {}
    print("\n" + json.dumps({"cpu_s": time.process_time(), "peak_mb": peak_mb(), **found}))


if __name__ == "__main__":
    main()
