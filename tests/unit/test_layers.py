"""The contracts of import-linter name their modules: a new file of the command line must be in one of them."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_module_of_the_command_line_belongs_to_one_tower():
    """Otherwise a new verb could import both towers unseen."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = [module for contract in contracts for module in contract.get("source_modules", [])]
    modules = {f"orchestrator.cli.{path.stem}" for path in (ROOT / "orchestrator" / "cli").glob("*.py")}

    assert sorted(module for module in named if module.startswith("orchestrator.cli.")) == sorted(
        modules - {"orchestrator.cli.__init__"}
    )
