"""JUnit files: test cases with their failures, errors and skips, and the totals of a suite."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from xml.etree import ElementTree

from agents.printable import printable
from orchestrator.result import GateState


class Result(StrEnum):
    """Why a test case did not pass: the name of its element."""

    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


_TOTALS = {"failures": Result.FAILURE, "errors": Result.ERROR, "skipped": Result.SKIPPED}
_RESULTS = {
    GateState.PASSED: None,
    GateState.FAILED: Result.FAILURE,
    GateState.UNDECIDED: Result.SKIPPED,
    GateState.NOT_JUDGED: Result.ERROR,
}
# Characters that XML cannot hold, whatever they are written as.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def result_of(state: GateState, strict: bool = False) -> Result | None:
    """Return what an objective or a gate is in CI. strict: whatever did not pass is a failure."""
    if strict and state is not GateState.PASSED:
        return Result.FAILURE
    return _RESULTS[state]


class Suite:
    """One test suite in a file of its own. started: when what it tests began."""

    def __init__(self, name: str, started: datetime) -> None:
        self._root = ElementTree.Element("testsuites", name="volley")
        stamp = started.replace(microsecond=0, tzinfo=None).isoformat()
        self._suite = ElementTree.SubElement(self._root, "testsuite", name=_clean(name), timestamp=stamp)
        self._took_s = 0.0

    def add(
        self,
        classname: str,
        name: str,
        result: Result | None = None,
        message: str = "",
        took_s: float = 0.0,
        output: str = "",
    ) -> None:
        """Add a test case; result None: it passed. output: what is known besides."""
        names = {"classname": _clean(classname), "name": _clean(name), "time": f"{took_s:.3f}"}
        test = ElementTree.SubElement(self._suite, "testcase", names)
        self._took_s += took_s
        if result is not None:
            ElementTree.SubElement(test, result, message=_clean(message))
        if output:
            ElementTree.SubElement(test, "system-out").text = _clean(output)

    def xml(self) -> str:
        """Return the suite with its totals as XML."""
        totals = {"tests": str(len(self._suite))}
        for total, result in _TOTALS.items():
            totals[total] = str(len(self._suite.findall(f"./testcase/{result}")))
        totals["time"] = f"{self._took_s:.3f}"
        for element in (self._root, self._suite):
            element.attrib.update(totals)
        ElementTree.indent(self._root)
        return ElementTree.tostring(self._root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", printable(text))
