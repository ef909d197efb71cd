"""`make chaos`: every fault at every moment. `python -m tests.chaos [--fault GLOB] [--moment M] [--world W] [--out FILE]`.

`python -m tests.chaos page FILE ...` prints the page of the docs from the rows in files that --out has written.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.faults import Fault
    from tests.chaos.moments import Moment
    from tests.chaos.records import Row


def main() -> int:
    """Print a line for each row; return 1 when one is WRONG."""
    if sys.argv[1:2] == ["page"]:
        return _page([Path(name) for name in sys.argv[2:]])
    from tests import sessions

    if os.geteuid() != 0:
        print("make chaos needs root: it mounts small disks and creates network namespaces", file=sys.stderr)
        return 2
    # Before anything looks for the folder of temporary files.
    sessions.begin()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run()
    finally:
        sessions.end()


def _run() -> int:
    from tests.chaos import records, table
    from tests.chaos.several import run_rows

    asked, chosen = _select()
    began, rows = time.monotonic(), []
    print(table.HEAD, flush=True)
    for row in run_rows(chosen, Path(tempfile.gettempdir()) / "chaos"):
        rows.append(row)
        print(table.line(row), flush=True)
        if asked.out is not None:
            with asked.out.open("a") as file:
                file.write(records.to_line(row) + "\n")
    print(table.summary(rows, time.monotonic() - began))
    return 1 if any(row.wrong for row in rows) else 0


def _select() -> tuple[argparse.Namespace, list[tuple[str, Fault, Moment]]]:
    """Return the options, and the rows that the command line asks for; exit with a message when there are none."""
    from tests.chaos.faults import ANYWHERE, FAULTS
    from tests.chaos.moments import Moment

    parser = argparse.ArgumentParser(
        prog="make chaos ARGS=...", description="Make every part of a run fail, and print how the runs ended."
    )
    parser.add_argument(
        "--fault", action="append", metavar="GLOB", help="a glob over the first column, e.g. 'clock*'; can be repeated"
    )
    parser.add_argument("--moment", choices=[str(moment) for moment in Moment], help="one moment only")
    parser.add_argument("--world", choices=ANYWHERE, help="one world only")
    parser.add_argument(
        "--full", action="store_true", help="every fault at every moment in the lab, too (half an hour)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="also append the rows to FILE, as JSON: one that is WRONG has all output",
    )
    asked = parser.parse_args()
    chosen = [
        (world, fault, moment)
        for world in ANYWHERE
        for fault in FAULTS.values()
        for moment in fault.moments_in(world, asked.full)
        if world in fault.worlds
        and asked.world in (None, world)
        and asked.moment in (None, moment)
        and any(fnmatch.fnmatch(fault.name, glob) for glob in asked.fault or ["*"])
    ]
    if not chosen:
        parser.error("no row has all of this; the faults are: " + ", ".join(FAULTS))
    return asked, chosen


def _page(files: list[Path]) -> int:
    from tests.chaos import records, table
    from tests.chaos.faults import ANYWHERE, FAULTS

    try:
        rows = [_judged(records.from_line(line)) for file in files for line in file.read_text().splitlines()]
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"error: the rows cannot be read: {error}\n  -> name files that --out has written", file=sys.stderr)
        return 2
    planned = {
        world: sum(len(fault.moments_in(world)) for fault in FAULTS.values() if world in fault.worlds)
        for world in ANYWHERE
    }
    print(table.page(rows, list(FAULTS), planned), end="")
    return 0


def _judged(row: Row) -> Row:
    """Return a row, held against what is promised now."""
    from tests.chaos.expected import expected
    from tests.chaos.faults import FAULTS
    from tests.chaos.moments import Moment
    from tests.chaos.records import judge

    return replace(row, wrong=judge(row, expected(FAULTS[row.fault], Moment(row.moment), row.world)))


if __name__ == "__main__":
    sys.exit(main())
