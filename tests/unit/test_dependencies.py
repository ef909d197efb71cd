"""What the packages import is what pyproject.toml declares: no less, and no more."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    """Return the name of a distribution as all its spellings have it."""
    return name.lower().replace("_", "-")


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~ ;]", requirement)[0].lower() for requirement in requirements}


CORE = names(PROJECT["dependencies"])
EXTRAS = {name: names(wanted) for name, wanted in PROJECT["optional-dependencies"].items()}


# Every distribution by the package that it provides: found once, because that reads the files of all of them.
PROVIDED = packages_distributions()


def imported() -> set[str]:
    """Return the distributions that the packages import, at the top or inside functions."""
    modules: set[str] = set()
    for path in [*(ROOT / "orchestrator").rglob("*.py"), *(ROOT / "agents").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(str(node.module).partition(".")[0])
    foreign = modules - set(sys.stdlib_module_names) - {"orchestrator", "agents"}
    # Several distributions may share a package, as ruamel.* do: one that is declared is enough.
    return {
        next(iter(sorted({normal(d) for d in PROVIDED[m]} & declared()) or map(normal, PROVIDED[m])))
        for m in foreign
        if m in PROVIDED
    }


def declared() -> set[str]:
    return CORE.union(*EXTRAS.values())


def test_every_import_is_declared():
    assert imported() - declared() == set()


def test_every_dependency_is_imported():
    assert declared() - imported() == set()


def test_no_dependency_is_declared_twice():
    listed = [re.split(r"[\[<>=]", each)[0] for each in PROJECT["dependencies"]]
    assert sorted(set(listed)) == sorted(listed)
    assert all(CORE.isdisjoint(extra) for extra in EXTRAS.values())


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_extras_are_imported_only_inside_functions(extra):
    """So that a core installation starts."""
    # agents.actors is the one module that is Ray's own; what imports it is imported where hosts are used.
    allowed = {ROOT / "agents/actors.py"} if extra == "hosts" else set()
    for path in [*(ROOT / "orchestrator").rglob("*.py"), *(ROOT / "agents").rglob("*.py")]:
        if path in allowed:
            continue
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in top:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            found = {name for m in modules for name in PROVIDED.get(m.partition(".")[0], [])}
            assert not ({normal(f) for f in found} & EXTRAS[extra]), path


def pins(lock: str) -> dict[str, str]:
    """Return the versions that a lock file has, by distribution."""
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "deploy" / lock).read_text(), re.MULTILINE))


def test_an_environment_for_users_can_build_this_project():
    """`make setup` installs it in place without asking an index: from the locks alone, which agree."""
    users, build, development = pins("requirements.lock"), pins("build.lock"), pins("development.lock")
    required = names(tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"])

    assert required | {"editables"} <= build.keys()
    for lock in (users, build):
        assert {name: version for name, version in lock.items() if development.get(name, version) != version} == {}
