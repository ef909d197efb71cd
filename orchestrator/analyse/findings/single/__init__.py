"""Findings with a module each: its code, its words and its rule. The package finds the modules by itself.

A module has:
- CODE: FindingCode("some-code"). It is a member of FindingCode only if other modules name it, too.
- ENTRY: the severities and the words of the code.
- AFTER: the rule after whose findings it is shown, because causes come first.
- rule(facts, metrics): yield the finding where the facts of one trial give a reason for it.

docs/reference/findings.md explains the code, and a test provokes it. CONTRIBUTING.md has an example.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.analyse.findings.template import Entry
from orchestrator.facts import TrialFacts
from orchestrator.result import Finding, Metrics

Rule = Callable[[TrialFacts, Metrics | None], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Single:
    """What a module of this package has."""

    entry: Entry
    rule: Rule
    after: Rule


def singles() -> list[Single]:
    """Return the findings of all modules here, by the names of the modules."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [Single(module.ENTRY, module.rule, module.AFTER) for module in modules]
