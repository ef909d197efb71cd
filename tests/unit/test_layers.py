"""What holds for the files of the project: contracts that name all modules, and files that can be read at a sitting."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITTEN_HERE = ("agents", "benchmarks", "configs", "deploy", "orchestrator", "tests")
MOST_LINES = 400


def test_every_module_of_the_command_line_belongs_to_one_tower():
    """Otherwise a new verb could import both towers unseen."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = [module for contract in contracts for module in contract.get("source_modules", [])]
    modules = {f"orchestrator.cli.{path.stem}" for path in (ROOT / "orchestrator" / "cli").glob("*.py")}

    assert sorted(module for module in named if module.startswith("orchestrator.cli.")) == sorted(
        modules - {"orchestrator.cli.__init__"}
    )


def test_no_file_is_longer_than_contributing_says():
    """Long files hide what they are about."""
    lines = {
        str(path.relative_to(ROOT)): path.read_text().count("\n")
        for folder in WRITTEN_HERE for suffix in ("py", "sh", "c", "js", "css") for path in (ROOT / folder).rglob(f"*.{suffix}")
    }  # fmt: skip

    assert f"**Files** have at most {MOST_LINES} lines" in (ROOT / "CONTRIBUTING.md").read_text()
    assert len(lines) > 500
    assert {name: number for name, number in lines.items() if number > MOST_LINES} == {}
