"""Every error that is the user's or the world's, not ours: what, where, and what to do next; with its exit code."""

from __future__ import annotations

from dataclasses import dataclass

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_INVALID = 3
EXIT_UNREACHABLE = 4
EXIT_FAILED = 99


class VolleyError(Exception):
    """An expected error. `hint` is an imperative: what to do next."""

    exit_code = EXIT_BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file: where it is (file:line and path inside), what it is, what would be right."""

    where: str
    what: str
    hint: str = ""


class ConfigurationError(VolleyError):
    """The campaign, inventory or command line is wrong: all problems at once."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.where}: {p.what}" for p in problems))
        self.problems = problems


class UsageError(VolleyError):
    """The command line asks for something that cannot be."""

    exit_code = EXIT_USAGE


class HostError(VolleyError):
    """Something cannot be placed, reached, built or started."""

    exit_code = EXIT_UNREACHABLE


class Several(HostError):
    """Several hosts, or several things at one host: all of them at once."""

    def __init__(self, errors: list[HostError]) -> None:
        flat: list[HostError] = []
        for error in errors:
            flat += error.errors if isinstance(error, Several) else [error]
        super().__init__("; ".join(error.message for error in flat))
        self.errors: list[HostError] = flat


class Shortage(HostError):
    """The hosts do not have what the plan needs, told in numbers."""


class StoredRunError(VolleyError):
    """A run's folder is missing something, or is of another version."""

    exit_code = EXIT_USAGE


class Interrupted(VolleyError):
    """A signal ended the run: 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by signal {number}", "what was finished is in the run's folder")
        self.exit_code = 128 + number
