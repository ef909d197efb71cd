"""The program's entry point, also as `python -m orchestrator.cli`.

It checks that the package `agents` is Volley's own before it imports the verbs, which may import it.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

from orchestrator.cli import account, streams
from orchestrator.cli import exit as leaving
from orchestrator.cli.own_agents import require_own_agents
from orchestrator.errors import VolleyError


def main() -> NoReturn:
    """Check the installation, then run the verb of the command line and exit with its code."""
    streams.prepare()
    account.prepare()
    try:
        require_own_agents()
    except VolleyError as error:
        sys.exit(leaving.exit_code_of(error))
    from orchestrator.cli.app import main as run_verb

    try:
        run_verb()
    except SystemExit as left:
        _leave(left.code)


def _leave(code: object) -> NoReturn:
    """Exit with a code, without freeing every module one by one, which takes a tenth of a second."""
    if not isinstance(code, int):
        sys.exit(0 if code is None else str(code))
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # Python knows what to do about an output that is gone
    os._exit(code)


if __name__ == "__main__":
    main()
