"""The program's entry point, also as `python -m orchestrator.cli`.

It checks that the package `agents` is Volley's own before it imports the verbs, which may import it.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

from orchestrator.cli import signals


def main() -> NoReturn:
    """Check the installation, then run the verb of the command line and exit with its code."""
    signals.quit_at_once()
    # From here on a signal is answered: what takes longer to import comes after it.
    from orchestrator.cli import account, streams

    streams.prepare()
    account.prepare()
    _leave(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    from orchestrator.cli import exit as leaving
    from orchestrator.cli.own_agents import require_own_agents
    from orchestrator.errors import VolleyError

    try:
        require_own_agents()
    except VolleyError as error:
        return leaving.exit_code_of(error)
    from orchestrator.cli import app

    return app.main(arguments)


def _leave(code: int) -> NoReturn:
    """Exit with a code, without freeing every module one by one, which takes a tenth of a second."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # Python knows what to do about an output that is gone
    os._exit(code)


if __name__ == "__main__":
    main()
