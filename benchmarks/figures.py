"""Figures with the bounds that they have to keep: shown as a table, and kept as JSON with commit and machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "out"
PACKAGES = ("numpy", "msgpack", "ray", "pydantic", "scipy")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. samples: of each round, in order; value: their median. at_most, at_least: its bound, if any."""

    name: str
    unit: str
    samples: list[float]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.samples)

    @property
    def is_missed(self) -> bool:
        """Whether the median is beyond its bound."""
        return (self.at_most is not None and self.value > self.at_most) or (
            self.at_least is not None and self.value < self.at_least
        )

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return "" if self.at_least is None else f"≥ {self.at_least:g}"


def rounds_of(count: int, measure: Callable[[], dict[str, float]]) -> dict[str, list[float]]:
    """Measure several times; return the samples by name."""
    found: dict[str, list[float]] = {}
    for _ in range(count):
        for name, value in measure().items():
            found.setdefault(name, []).append(value)
    return found


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print a table: the least and the median of the rounds, and the bound."""
    print(f"\n{title}\n{'':52}{'unit':>8}{'least':>12}{'median':>12}{'bound':>10}")
    for figure in figures:
        missed = "  MISSED" if figure.is_missed else ""
        numbers = f"{min(figure.samples):12.4g}{figure.value:12.4g}"
        print(f"{figure.name:52}{figure.unit:>8}{numbers}{figure.bound:>10}{missed}", flush=True)


def keep(part: str, figures: Sequence[Figure]) -> Path:
    """Write the figures of a part as JSON into OUT; return the file."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    plain = {
        "part": part,
        "when": stamp,
        **commit(),
        "machine": machine(),
        "figures": [{**asdict(figure), "value": figure.value, "is_missed": figure.is_missed} for figure in figures],
    }
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{part}-{stamp}.json"
    path.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    return path


def machine() -> dict[str, object]:
    """Return what the figures depend on; no names of hosts."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "virtual": any(line.startswith("flags") and " hypervisor" in line for line in lines),
        "memory_mb": memory_kb // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "load_average": os.getloadavg(),
    }


def commit() -> dict[str, object]:
    """Return the commit of this folder, and whether its files differ from it."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, cwd=ROOT)
    return {"commit": done.stdout.strip(), "changed": bool(changed.stdout.strip())}
