"""Expected errors: wrong input, and hosts that fail. Each says what happened, where, what to do next, and its exit code."""

from __future__ import annotations

from dataclasses import dataclass

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_INVALID = 3
EXIT_UNREACHABLE = 4
EXIT_FAILED = 99


class VolleyError(Exception):
    """An expected error. hint: what to do next, as an imperative."""

    exit_code = EXIT_BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. where: file, line and key, or the option; what: what is wrong; hint: what to write instead."""

    where: str
    what: str
    hint: str = ""


class ConfigurationError(VolleyError):
    """A campaign, an inventory or a command line is wrong. Holds all problems at once."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.where}: {p.what}" for p in problems))
        self.problems = problems


class UsageError(VolleyError):
    """The command line asks for something that is impossible."""

    exit_code = EXIT_USAGE


class HostError(VolleyError):
    """A host, image or server cannot be placed, reached, built or started."""

    exit_code = EXIT_UNREACHABLE


class NothingToMeasure(HostError):
    """The only server of a run does not answer. There is nothing that would be worth keeping or resuming."""


class Several(HostError):
    """Several errors at once: of several hosts, or of one."""

    def __init__(self, errors: list[HostError]) -> None:
        flat: list[HostError] = []
        for error in errors:
            flat += error.errors if isinstance(error, Several) else [error]
        super().__init__("; ".join(error.message for error in flat))
        self.errors: list[HostError] = flat


class Shortage(HostError):
    """The hosts have less than the plan needs. The message has the numbers."""


class StoredRunError(VolleyError):
    """A run folder is incomplete, or of another version."""

    exit_code = EXIT_USAGE


class NotStored(VolleyError):
    """A run cannot be written to its folder: the disk is full or fails, or the folder is read-only or was removed."""

    exit_code = EXIT_UNREACHABLE


class Interrupted(VolleyError):
    """A signal ended the run: 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, number: int) -> None:
        # A run says itself what is kept, and how to go on; the other verbs have nothing to keep.
        super().__init__(f"interrupted by signal {number}")
        self.exit_code = 128 + number
