"""JUnit files: test cases with their failures, errors and skips, and the totals of a suite."""

from __future__ import annotations

from enum import StrEnum
from xml.etree import ElementTree


class Result(StrEnum):
    """Why a test case did not pass: the name of its element."""

    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


_TOTALS = {"failures": Result.FAILURE, "errors": Result.ERROR, "skipped": Result.SKIPPED}


class Suite:
    """One test suite."""

    def __init__(self, name: str) -> None:
        self._root = ElementTree.Element("testsuite", name=name)

    def add(self, classname: str, name: str, result: Result | None = None, message: str = "") -> None:
        """Add a test case; result None: it passed."""
        test = ElementTree.SubElement(self._root, "testcase", classname=classname, name=name)
        if result is not None:
            ElementTree.SubElement(test, result, message=message)

    def xml(self) -> str:
        """Return the suite with its totals as XML."""
        self._root.set("tests", str(len(self._root)))
        for total, result in _TOTALS.items():
            self._root.set(total, str(len(self._root.findall(f"./testcase/{result}"))))
        ElementTree.indent(self._root)
        return ElementTree.tostring(self._root, encoding="unicode", xml_declaration=True) + "\n"
