"""What one row of the table says, and whether it is as it should be. Pure, except for reading a run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CLEAN_WITHIN_S = 20.0
REQUESTS, TRIALS = 150, 2
# The server answers one request after the other, 10 ms each. A trial that differs by more was disturbed, which a finding
# has to say.
SAME_RATE = 0.3


@dataclass(frozen=True, slots=True)
class Expected:
    """What a fault may do. notice_s: by then Volley has noticed it. endings: exit codes of the run.

    codes: one of these is recorded, in the findings of a trial or of a try or as the kind of an event. harmless: it may
    also go unnoticed, if the run ends with 0 and the numbers are right.
    """

    notice_s: float
    endings: Collection[int]
    codes: Collection[str] = ()
    harmless: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What was seen. Times in s. noticed_s, cleaned_s: after the fault, after the end of the run; None: never.

    ending, sentence: the exit code of the run, and what it said last. left: what it had left CLEAN_WITHIN_S after its
    end. codes: recorded in trials, tries and events. intact: the files of the first trial did not change. resumed: the
    exit code of `volley resume`. counts: good requests of each trial of the plan after that; None for one that is
    INVALID. rates_per_s: their throughput, in the same order. missing: foreign things that did not survive. trouble: why
    the row could not be measured. said: all output, where the row is wrong.
    """

    fault: str
    moment: str
    world: str
    noticed_s: float | None = None
    cleaned_s: float | None = None
    ending: int | None = None
    sentence: str = ""
    left: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    tries: int = 0
    intact: bool = False
    resumed: int | None = None
    resume_sentence: str = ""
    counts: list[int | None] = field(default_factory=list)
    rates_per_s: list[float | None] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    trouble: str = ""
    said: list[str] = field(default_factory=list)
    lasted_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def unnoticed(self) -> bool:
        """Whether nothing at all was said about the fault."""
        return self.noticed_s is None


def judge(row: Row, expected: Expected) -> list[str]:
    """Return what is wrong with a row; nothing when it is as it should be."""
    if row.trouble:
        return [row.trouble]
    wrong = []
    ignored = expected.harmless and row.unnoticed and row.ending == 0
    if not ignored:
        if row.noticed_s is None or row.noticed_s > expected.notice_s:
            wrong.append(f"noticed after {_s(row.noticed_s)}, not within {expected.notice_s:g} s")
        if expected.codes and not set(expected.codes) & set(row.codes):
            wrong.append(f"none of {', '.join(sorted(expected.codes))} is recorded")
    if row.ending not in expected.endings:
        wrong.append(f"exit code {row.ending}")
    if row.ending == 1 or "Traceback" in row.sentence + row.resume_sentence:
        wrong.append("a traceback")
    if row.left or row.cleaned_s is None or row.cleaned_s > CLEAN_WITHIN_S:
        wrong.append(f"left: {', '.join(row.left) or 'cleaned up too late'}")
    if not row.intact:
        wrong.append("the finished trial was changed")
    if row.resumed not in (0, 3):
        wrong.append(f"resume ended with {row.resumed}: {row.resume_sentence}")
    if len(row.counts) != TRIALS or any(count not in (REQUESTS, None) for count in row.counts) or row.counts[0] is None:
        wrong.append(f"counts {row.counts}")
    if ignored and _differs(row.rates_per_s):
        wrong.append(f"throughput {row.rates_per_s}, and no finding says why")
    if row.missing:
        wrong.append(f"foreign things gone: {', '.join(row.missing)}")
    return wrong


def _differs(rates_per_s: Sequence[float | None]) -> bool:
    first, *others = (rate or 0.0 for rate in rates_per_s or [0.0])
    return any(abs(rate - first) > SAME_RATE * first for rate in others)


def _s(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def to_line(row: Row) -> str:
    """Return a row as one line of JSON."""
    return json.dumps(asdict(row), ensure_ascii=False)


def from_line(line: str) -> Row:
    """Return the row of a line."""
    return Row(**json.loads(line))


def sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def trial_files(run: Path) -> list[Path]:
    """Return trial.json of each trial and try of a run."""
    return sorted(path for kind in ("trials", "tries") for path in run.glob(f"{kind}/0*/trial.json"))


def findings(path: Path) -> list[str]:
    """Return the codes of the findings in a trial.json."""
    return [finding["code"] for finding in json.loads(path.read_text())["findings"]]


def counts(run: Path) -> list[int | None]:
    """Return the good requests of each planned trial, in order. None: INVALID. Trials that are not there are left out."""
    return [_good(trial) for trial in _planned(run)]


def rates_per_s(run: Path) -> list[float | None]:
    """Return the throughput of each planned trial, as counts() does."""
    return [None if trial["verdict"] == "INVALID" else trial["metrics"]["throughput_per_s"] for trial in _planned(run)]


def _planned(run: Path) -> list[dict[str, Any]]:
    names = [planned["folder"] for planned in json.loads((run / "plan.json").read_text())["trials"]]
    paths = [run / "trials" / name / "trial.json" for name in names]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def _good(trial: dict[str, Any]) -> int | None:
    """Return the good requests of a trial, if they are those that its agents have logged; -1 if they are not."""
    if trial["verdict"] == "INVALID":
        return None
    good = trial["metrics"]["requests"]["ok"]
    logged = sum(agent["rows"] for agent in trial["facts"]["agents"])
    return int(good) if good == logged else -1


def events(run: Path) -> list[str]:
    """Return the kinds of the events of a run."""
    return [json.loads(line)["kind"] for line in (run / "journal.jsonl").read_text().splitlines()]


def error_of(lines: Sequence[str]) -> str:
    """Return the error that a command ended with; empty where it printed none."""
    return next((line.strip() for line in lines if line.startswith("error:")), "")


def doubt_of(run: Path) -> str:
    """Return the sentence of the first finding that makes a trial of a run INVALID."""
    for path in sorted(run.glob("trials/0*/trial.json")):
        for finding in json.loads(path.read_text())["findings"]:
            if finding["severity"] == "invalid":
                return str(finding.get("sentence", finding["code"]))
    return ""
