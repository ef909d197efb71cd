"""One row: a run of two trials, a fault at a moment of the second, and what became of it all."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.chaos import records
from tests.chaos.expected import expected
from tests.chaos.faults import Fault, Injection
from tests.chaos.moments import Moment, Passed, UnderWay
from tests.chaos.records import Expected, Row
from tests.chaos.worlds import World
from tests.integration.machine import TINY

ENDS_WITHIN_S, RESUMES_WITHIN_S = 150.0, 120.0
# A server that takes a moment to start, so that a fault can meet it.
STARTS_AFTER_S = 0.7
ATTEMPTS = 3
# A trial that found no room in its run's folder waits elsewhere for `volley resume`.
KEPT = "/volley-kept-"
# What a line of a run says when something went wrong.
_NOTICED = re.compile(r"retried|restarting|error:|INVALID|lost|gone|died|no space|stopped|interrupted", re.IGNORECASE)
_NOT_TIME = re.compile(r"^\s*[\d.]+ s  ")


class Output:
    """Reads what a command prints, with the time of each line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[tuple[float, str]] = []
        self._stream = process.stdout
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._stream is not None
        for line in self._stream:
            self.lines.append((time.monotonic(), _NOT_TIME.sub("", line.rstrip("\n"))))

    def finish(self) -> list[str]:
        """Return all lines, once the command has ended: a process that it left behind may hold the stream."""
        self._thread.join(timeout=5)
        return [text for _, text in self.lines]

    def noticed(self, after: float) -> float | None:
        """Return when the first line after a moment says that something went wrong."""
        return next((at for at, text in list(self.lines) if at >= after and _NOTICED.search(text)), None)


def campaign(folder: Path, name: str, ports: tuple[int, int], service: bool) -> Path:
    """Write the campaign of a row: 150 requests of 10 ms each, one at a time, in each of two trials."""
    port, behind = ports
    limits = {"cpus": 1, "memory": "64MiB"}
    late = ["sh", "-c", f"sleep {STARTS_AFTER_S}; exec python3 /server.py"]
    target: dict[str, Any] = {
        "build": str(TINY), "port": port, "env": {"MODE": "slow", "PORT": str(port)}, "command": late,
        "limits": limits, "ready": {"timeout": "8s"}, "expect": {"json": {"message": "ok"}},
    }  # fmt: skip
    services = {}
    if service:
        target |= {"env": {"MODE": "front", "PORT": str(port), "BEHIND": "${back.address}:${back.port}"}}
        target |= {"needs": ["back"]}
        services["back"] = {
            "build": str(TINY), "port": behind, "environment": {"MODE": "slow", "PORT": str(behind)},
            "command": late, "limits": limits, "ready": {"timeout": "8s"},
        }  # fmt: skip
    document = {
        "campaign": name, "targets": {"tiny": target}, "agents": 2, "retries": 2, "repetitions": records.TRIALS,
        "loads": {"some": {"clients": 4, "requests": records.REQUESTS, "generator": "h2load"}},
        **({"services": services} if services else {}),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


def run_row(fault: Fault, moment: Moment, world: World, number: int) -> Row:
    """Measure one row. A moment that was over too soon is tried again."""
    began = time.monotonic()
    wanted = expected(fault, moment, world.name)
    row = Row(fault.name, moment, world.name)
    for attempt in range(ATTEMPTS):
        try:
            row = _attempt(fault, moment, world, f"chaos-{os.getpid()}-{number}-{attempt}", wanted)
            break
        except Passed as error:
            row = Row(fault.name, moment, world.name, trouble=f"the moment was missed: {error}")
        except (TimeoutError, subprocess.TimeoutExpired, LookupError, OSError, AssertionError) as error:
            row = Row(fault.name, moment, world.name, trouble=f"{type(error).__name__}: {error}")
            break
    wrong = records.judge(row, wanted)
    return replace(row, wrong=wrong, said=row.said if wrong else [], lasted_s=round(time.monotonic() - began, 1))


@dataclass(frozen=True, slots=True)
class Met:
    """A run that met its fault and has ended. at, ended: of the monotonic clock; at_ns: of the wall clock.

    folder: of the run; first: its first trial, with the checksums of its files before the fault.
    """

    process: subprocess.Popen[str]
    output: Output
    at: float
    at_ns: int
    ended: float
    folder: Path
    first: Path
    sums: dict[str, str]


def _attempt(fault: Fault, moment: Moment, world: World, name: str, wanted: Expected) -> Row:
    path = campaign(world.folder, name, world.ports, fault.service)
    environment = world.clock_environment() if fault.clock else {}
    met = _meet(fault, moment, world, name, path, environment)
    lines, ending = met.output.finish(), met.process.returncode
    if fault.engine:
        # Nobody can remove a container while its engine is off: the next run does, and this verb.
        world.start(["hosts", "clean", *world.options], environment).communicate(timeout=RESUMES_WITHIN_S)
    left, clean = _clean(world, name, met.ended, but=KEPT)
    noticed = _noticed(met, wanted, clean)
    codes, tries = _recorded(met.folder)
    code, resumed = _resume(world, world.disk_path() / name / met.folder.name, environment)
    left += [each for each in _clean(world, name, time.monotonic())[0] if each not in left]
    return Row(
        fault.name, moment, world.name,
        noticed_s=None if noticed is None else round(noticed - met.at, 1),
        cleaned_s=clean,
        ending=ending,
        sentence=_sentence(lines, ending) or (records.doubt_of(met.folder) if ending > 0 else ""),
        left=left,
        codes=sorted(codes),
        tries=tries,
        intact=records.sums(met.first) == met.sums,
        resumed=code,
        resume_sentence=_sentence(resumed, code),
        said=[*lines, *resumed],
        counts=records.counts(met.folder),
        rates_per_s=records.rates_per_s(met.folder),
        missing=world.foreign_missing(),
    )  # fmt: skip


def _meet(fault: Fault, moment: Moment, world: World, name: str, path: Path, environment: dict[str, str]) -> Met:
    """Start a run, and let the fault happen at its moment. Raises Passed when it came too late for that."""
    seen = world.disk() / name
    options = [*world.options, "--out", str(world.disk_path() / name)]
    process = world.start(["run", str(path), *options], environment)
    output, run = Output(process), UnderWay(world, seen, process.pid)
    injection: Injection | None = None
    ending: threading.Timer | None = None
    try:
        world.add_foreign_container(run.wait_for_image())
        first = run.wait_for_first_trial()
        before = records.sums(first)
        injection = _reach(fault, moment, run)
        run.require(moment)
        at, at_ns = time.monotonic(), time.time_ns()
        injection.begin()
        run.require_not_stored()
        if injection.lasts_s is not None:
            ending = _at_end_of(injection.lasts_s, injection.end)
        process.wait(timeout=ENDS_WITHIN_S)
        ended = time.monotonic()
    finally:
        _finish(process, output, injection, ending)
    (folder,) = seen.iterdir()
    return Met(process, output, at, at_ns, ended, folder, first, before)


def _reach(fault: Fault, moment: Moment, run: UnderWay) -> Injection:
    """Wait for a moment; return the fault, aimed."""
    if moment is Moment.START:
        if fault.gated:
            run.held = run.wait_at_gate()
        else:
            run.wait_for_container(run.world.ports[fault.service])
        return fault.aim(run)
    run.wait_in_window()
    injection = fault.aim(run)
    if moment is Moment.COLLECT:
        run.wait_until_collecting()
    return injection


def _at_end_of(lasts_s: float, end: Callable[[], None]) -> threading.Timer:
    """End a fault after its time, while the run continues."""
    timer = threading.Timer(lasts_s, end)
    timer.start()
    return timer


def _finish(
    process: subprocess.Popen[str], output: Output, injection: Injection | None, ending: threading.Timer | None
) -> None:
    """End the fault, at the latest now; and the run, if it does not end."""
    if ending is not None:
        ending.join()
    elif injection is not None:
        injection.end()
    if process.poll() is None:
        process.kill()
        process.wait()
        output.finish()


def _clean(world: World, name: str, ended: float, but: str | None = None) -> tuple[list[str], float | None]:
    """Wait until nothing is left; return what still is, or after how long it was gone. but: part of what may stay."""
    while left := [each for each in world.left(name) if but is None or but not in each]:
        if time.monotonic() - ended > records.CLEAN_WITHIN_S:
            return left, None
        time.sleep(0.1)
    return [], round(time.monotonic() - ended, 1)


def _noticed(met: Met, wanted: Expected, clean: float | None) -> float | None:
    """Return when the fault was noticed: by a line, by a stored trial with such a finding, or by the end of the run.

    clean: how long after its end nothing was left. That is what a coordinator that was killed is judged by.
    """
    code = met.process.returncode
    if code < 0:
        return None if clean is None else met.ended + clean
    times = [met.output.noticed(met.at), met.ended if code != 0 else None]
    stored = [path for path in records.trial_files(met.folder) if set(wanted.codes) & set(records.findings(path))]
    after_ns = [path.stat().st_mtime_ns - met.at_ns for path in stored]
    times += [met.at + ns / 1e9 for ns in after_ns if ns > 0]
    return min((each for each in times if each is not None), default=None)


def _recorded(run: Path) -> tuple[set[str], int]:
    """Return the codes of all findings but those of the first trial, with the events of losses; and the number of tries."""
    codes: set[str] = set()
    for path in records.trial_files(run):
        codes |= set(records.findings(path))
    first = next(run.glob("trials/0001-*/trial.json"), None)
    kept = codes - (set(records.findings(first)) if first is not None else set())
    kept |= {"host-lost"} if {"renew", "host-lost"} & set(records.events(run)) else set()
    return kept, len(list(run.glob("tries/0*")))


def _resume(world: World, run: Path, environment: dict[str, str]) -> tuple[int, list[str]]:
    """Resume a run; return the exit code and what was said."""
    process = world.start(["resume", str(run), "--quiet"], environment)
    output = Output(process)
    try:
        process.wait(timeout=RESUMES_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return process.returncode, output.finish()


def _sentence(lines: list[str], code: int) -> str:
    """Return the error that a command ended with, where it did."""
    if any(line.startswith("Traceback") for line in lines):
        return "Traceback: " + lines[-1].strip()
    return "" if code == 0 else records.error_of(lines)


def forget(world: World) -> None:
    """Remove the runs of the rows so far: the disk is small."""
    for folder in world.disk().iterdir():
        shutil.rmtree(folder, ignore_errors=True)
