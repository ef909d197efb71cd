"""Run the published comparisons, and write their page.

python -m benchmarks.comparisons run [--quick] [--only NAME]... [--out FOLDER]
python -m benchmarks.comparisons page RUN...  > docs/explanation/comparisons.md     runs, or folders of runs
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.comparisons.claims import Comparison, Step, read_claims
from benchmarks.comparisons.page import Run, campaigns_of, render
from benchmarks.figures import ROOT
from orchestrator.errors import VolleyError
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.reading import read_environment

# A result was INVALID, or an objective was missed: results all the same.
RESULTS = (0, 3, 99)
INTERRUPTED = (130, 143)


def main(arguments: Sequence[str]) -> int:
    """Carry out one of the two verbs; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparisons", description="The published comparisons.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    running = verbs.add_parser("run", help="run the campaigns, and write the page beside their runs")
    running.add_argument(
        "--quick", action="store_true", help="short windows: under 20 minutes, too few trials for claims"
    )
    running.add_argument("--only", action="append", metavar="NAME", help="only this comparison (can be repeated)")
    running.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the runs go (default: runs/comparisons-TIME)"
    )
    paging = verbs.add_parser("page", help="print the page of stored runs")
    paging.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a run, or a folder of runs")
    asked = parser.parse_args(arguments)
    comparisons = read_claims()
    try:
        if asked.verb == "page":
            sys.stdout.write(render(comparisons, stored(asked.runs, comparisons)))
            return 0
        names = [comparison.name for comparison in comparisons]
        if unknown := [name for name in asked.only or () if name not in names]:
            parser.error(f"'{unknown[0]}' is not a comparison. Use: {', '.join(names)}")
        out = asked.out or ROOT / "runs" / f"comparisons-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        return carry_out([each for each in comparisons if not asked.only or each.name in asked.only], asked.quick, out)
    except VolleyError as error:
        print(f"error: {error.message}\n  -> {error.hint}", file=sys.stderr)
        return 2


def stored(paths: Sequence[Path], comparisons: Sequence[Comparison]) -> list[Run]:
    """Return the runs in these folders, in the order of their names' times. Raise VolleyError for what is not one."""
    folders = [path for given in paths for path in ([given] if (given / "plan.json").exists() else _inside(given))]
    known = set().union(*(campaigns_of(comparison) for comparison in comparisons))
    runs = []
    for folder in sorted(folders, key=lambda path: path.name.rpartition("-")[2]):
        finished = evaluate_run(folder)
        if finished.summary.campaign not in known:
            hint = f"leave {folder} out, or add its campaign to benchmarks/comparisons/claims.yaml"
            raise VolleyError(
                f"{folder.name} is of the campaign {finished.summary.campaign}, which is not compared", hint
            )
        runs.append(Run(folder.name, finished.summary, finished.trials, read_environment(folder)))
    return runs


def _inside(folder: Path) -> list[Path]:
    """Return the runs in a folder; the folder itself where there are none, so that reading it says what is wrong."""
    return sorted(path.parent for path in folder.glob("*/plan.json")) or [folder]


def carry_out(comparisons: Sequence[Comparison], quick: bool, out: Path) -> int:
    """Run every step, whatever became of the one before; write the page. Return the exit status."""
    failed, began = [], time.monotonic()
    for comparison in comparisons:
        last: Path | None = None
        for step in comparison.steps:
            if step.twice and last is None:
                failed.append(f"{comparison.name}: the step before has no result")
                continue
            at = time.monotonic()
            code, last = launch(step, quick, out, last)
            print(f"== {comparison.name}: exit code {code} after {time.monotonic() - at:.0f} s\n", flush=True)
            if code in INTERRUPTED:
                return code
            if code not in RESULTS or last is None:
                failed.append(f"{comparison.name}: volley {step.verb} {step.path} ended with exit code {code}")
    print(f"all comparisons took {time.monotonic() - began:.0f} s")
    page = out / "comparisons.md"
    if list(out.glob("*/plan.json")):
        page.write_text(render(read_claims(), stored([out], read_claims())), encoding="utf-8")
        print(
            f"page: {page}\nto publish it: .venv/bin/python -m benchmarks.comparisons page {out} "
            "> docs/explanation/comparisons.md"
        )
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def launch(step: Step, quick: bool, out: Path, last: Path | None) -> tuple[int, Path | None]:
    """Run one step; return its exit code and the folder of its run, None where it made none."""
    highest = None if last is None or not step.twice else _highest(last)
    argv = [str(ROOT / ".venv" / "bin" / "volley"), *step.arguments(quick, highest), "--out", str(out)]
    before = set(out.glob("*/plan.json"))
    print(f"== volley {' '.join(argv[1:])}", flush=True)
    code = subprocess.run(argv, cwd=ROOT, check=False).returncode
    made = set(out.glob("*/plan.json")) - before
    return code, made.pop().parent if len(made) == 1 else None


def _highest(run: Path) -> float | None:
    """Return the highest throughput of the cases of a run."""
    cases = evaluate_run(run).summary.cases
    return max((case.throughput_per_s.estimate for case in cases if case.throughput_per_s is not None), default=None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
