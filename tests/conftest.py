"""What all tests share: the fake h2load, and no silent skipping in CI."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from orchestrator import redact
from tests import findings_table, no_processes, second_try, sessions

sessions.begin()
# How quickly examples are made depends on what else this machine does.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
ROOT = Path(__file__).parent.parent
# Markers of tests in the folders of unit tests that are not unit tests.
NOT_UNIT = ("process", "slow")
# Tests that take turns on what they use, when tests run beside each other: the engine and Ray here, and the lab. Files may
# be in another group than their folder, so that all groups take about as long.
GROUPS = {"integration": "engine", "chaos": "engine", "lab": "lab", "integration/test_wheel.py": "lab"}
ORDER = ("versions", "unit", "property", "fuzz", "truth", "integration", "chaos", "lab")
ATTEMPTS = pytest.StashKey[list[str]]()
POSITION = pytest.StashKey[int]()
_positions = itertools.count()
FAKE_H2LOAD = str(Path(__file__).parent / "fakes" / "h2load")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options of our own: for golden files, and for a table of findings over several runs of pytest."""
    parser.addoption("--update-golden", action="store_true", help="overwrite the golden files")
    parser.addoption("--findings-to", metavar="FILE", help="add the findings of the tests to FILE, and print no table")
    parser.addoption("--findings-from", metavar="FILE", help="print a table that includes the findings in FILE")
    parser.addoption("--failed-to", metavar="FILE", help="write the tests to FILE that may be tried a second time")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Remember where each test was before pytest-randomly shuffles all of them."""
    item.stash[POSITION] = next(_positions)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test after its folder. A test that is marked 'process' or 'slow' is not a unit test."""
    markers = {
        "unit": "unit",
        "property": "unit",
        "fuzz": "unit",
        "truth": "truth",
        "integration": "integration",
        "versions": "integration",
        "chaos": "chaos",
        "lab": "lab",
    }
    for item in items:
        own = any(item.get_closest_marker(name) for name in NOT_UNIT)
        if (name := folder(item)) in markers and not (own and markers[name] == "unit"):
            item.add_marker(markers[name])
    # The unit tests run in random order. All others keep theirs: they share an engine, a fleet that is up, a lab.
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, int]:
    """The longest first, then quick tests and those against known truth; the lab last."""
    name = folder(item)
    shuffled = name in ("unit", "property", "fuzz")
    return ORDER.index(name) if name in ORDER else len(ORDER), 0 if shuffled else item.stash[POSITION]


class InGroups(LoadScopeScheduling):
    """Tests of one group run one after the other in one worker, all others wherever a worker is free.

    pytest-xdist's own loadgroup does this by marks, but not with this version of pytest.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].removeprefix("tests/")
        return GROUPS.get(file) or GROUPS.get(file.partition("/")[0], nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> InGroups | None:
    """Use the groups with --dist loadgroup."""
    return InGroups(config, log) if config.option.dist == "loadgroup" else None


def folder(item: pytest.Item) -> str:
    """The folder of a test below tests/."""
    return Path(item.fspath).relative_to(ROOT / "tests").parts[0]


def pytest_unconfigure() -> None:
    """Remove the temporary files of this session."""
    sessions.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Let no unit test start a process or use a socket, fixtures included."""
    if item.get_closest_marker("unit") is None:
        return (yield)
    with no_processes.forbidden() as attempts:
        item.stash[ATTEMPTS] = attempts
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Fail a test that hid such an attempt."""
    result = yield
    if attempts := item.stash.get(ATTEMPTS, []):
        pytest.fail(f"a unit test tried {', '.join(attempts)}: mark it 'process'")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Add the findings that a test provokes to its report."""
    report = yield
    if report.when == "call":
        findings_table.mark(item, report)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember them for the table."""
    if report.when == "call":
        findings_table.note(report)


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the table of findings, and the lines of tests: record_property("print", ...)."""
    options = terminalreporter.config.option
    if (seed := options.__dict__.get("randomly_seed")) is not None:
        terminalreporter.write_line(f"order of the unit tests: --randomly-seed={seed}")
    if options.findings_from:
        findings_table.load(Path(options.findings_from))
    if options.findings_to:
        findings_table.save(Path(options.findings_to))
    else:
        findings_table.write(terminalreporter)
    if options.failed_to:
        failed = [report for kind in ("failed", "error") for report in terminalreporter.getreports(kind)]
        second_try.save(Path(options.failed_to), failed)
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [str(text) for report in reports for name, text in report.user_properties if name == "print"]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _no_secrets() -> None:
    """Forget the secrets of other tests: they are noted for the whole process."""
    redact.forget()


@pytest.fixture
def golden(request: pytest.FixtureRequest):
    """Compare text with tests/golden/NAME."""

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert text == path.read_text()

    return compare


def require(*tools: str) -> None:
    """Tools that a test needs: missing is a failure, here as in CI."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    assert not missing, f"{missing} missing: run 'make setup' and 'deploy/bootstrap-host.sh lab tests'"


@pytest.fixture
def scratch_is_clean() -> Iterator[None]:
    """Check that the test leaves no request log behind.

    A run that another session has killed leaves one until its guard has removed it.
    """
    before = sessions.scratch()
    yield
    deadline = time.monotonic() + 15
    while left := sessions.scratch() - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
