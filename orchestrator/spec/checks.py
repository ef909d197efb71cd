"""Check data as a model, and collect everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.errors import ConfigurationError, Problem
from orchestrator.redact import hidden, keep_secret
from orchestrator.slo import legible
from orchestrator.spec.document import Document
from orchestrator.spec.listed import Wrong, expanded, place_of, wrong_data
from orchestrator.spec.models import Campaign
from orchestrator.spec.objectives import wrong_requests
from orchestrator.spec.reach import unreachable
from orchestrator.spec.references import missing_files, wrong_references
from orchestrator.spec.secrets import Written
from orchestrator.spec.variables import Location, Unset
from orchestrator.spec.wording import mistakes

_LINE = re.compile(r":([0-9]+)(?::|$)")
M = TypeVar("M", bound=BaseModel)
# Nobody reads more at once, and to name the places of thousands takes minutes.
MOST_PROBLEMS = 100
MOST_IN_A_TEXT = 500


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked campaign, the folder its paths are relative to, and the resolved input as plain data.

    document: the file that it was read from; None for a campaign that a program made.
    """

    campaign: Campaign
    folder: Path
    plain: dict[str, Any]
    document: Document | None = None


@dataclass(slots=True)
class Checks:
    """The problems of one file or command line. name: what the user calls a place: a line, or an option.

    written: the file before and after its variables were replaced, so that no problem shows a secret.
    """

    name: Callable[[Location], str]
    problems: list[Problem] = field(default_factory=list)
    # Where a variable is unset: what else is wrong there follows from it.
    incomplete: set[Location] = field(default_factory=set)
    written: Written | None = None

    def add(self, location: Location, what: str, hint: str) -> None:
        """Note a problem, without values that are secret; beyond MOST_PROBLEMS only that there are more."""
        if self.is_full:
            if len(self.problems) == MOST_PROBLEMS:
                self.problems.append(Problem(self.name(()), "has more problems than these", "fix these first"))
            return
        if self.written is not None:
            what, hint = self.written.told(location, what), self.written.told(location, hint)
        # They quote names of the file, which can hold anything.
        what, hint = legible(hidden(what), MOST_IN_A_TEXT), legible(hidden(hint), MOST_IN_A_TEXT)
        self.problems.append(Problem(self.name(location), what, hint))

    @property
    def is_full(self) -> bool:
        """Return whether no further problem is noted."""
        return len(self.problems) >= MOST_PROBLEMS

    def unset(self, missing: Sequence[Unset]) -> None:
        """Note the variables that could not be replaced."""
        for one in missing:
            self.incomplete.add(one.location)
            self.add(one.location, one.what, one.hint)

    def model(self, kind: type[M], data: dict[str, Any]) -> M | None:
        """Return the data as a model, or None after noting everything that is wrong with it."""
        try:
            return kind.model_validate(data)
        except ValidationError as error:
            for mistake in mistakes(error, data, kind):
                if len(self.problems) > MOST_PROBLEMS:
                    break
                if mistake.location not in self.incomplete:
                    self.add(mistake.location, mistake.what, mistake.hint)
            return None

    def campaign(self, data: dict[str, Any], folder: Path) -> Campaign:
        """Return the data as a campaign. Raise ConfigurationError with all problems, those noted before included."""
        data, lines, wrong = expanded(data, folder)
        own_values = Written(data, data)
        keep_secret(own_values.known(), sought=False)
        keep_secret(own_values.sought())
        own = self.name
        checks = replace(self, name=lambda location: place_of(location, lines) or own(location)) if lines else self
        return checks.checked(data, folder, wrong)

    def checked(self, data: dict[str, Any], folder: Path, wrong: Sequence[Wrong]) -> Campaign:
        """Return data without names of files of requests as a campaign. wrong: what is known to be wrong already."""
        campaign = self.model(Campaign, data)
        known = () if campaign is None else (*wrong_data(campaign, folder), *wrong_requests(campaign))
        for each in (*wrong, *known):
            self.add(each.location, each.what, each.hint)
        for location, what, hint in (*wrong_references(data), *missing_files(data, folder), *unreachable(data, folder)):
            self.add(location, what, hint)
        if campaign is None or self.problems:
            raise ConfigurationError(self.in_order())
        return campaign

    def in_order(self) -> list[Problem]:
        """Return the problems by line; those of options and of the whole file come first."""
        return [*sorted(self.problems[:MOST_PROBLEMS], key=_line), *self.problems[MOST_PROBLEMS:]]


def _line(problem: Problem) -> int:
    """Return the line of a problem; 0 without one."""
    line = _LINE.search(problem.where)
    return int(line[1]) if line else 0
