"""The program's entry point, also as `python -m orchestrator.cli`.

It checks that the package `agents` is Volley's own before it imports the verbs, which may import it.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from orchestrator.cli import exit as leaving
from orchestrator.cli.own_agents import require_own_agents
from orchestrator.errors import VolleyError


def main() -> NoReturn:
    """Check the installation, then run the verb of the command line and exit with its code."""
    try:
        require_own_agents()
    except VolleyError as error:
        sys.exit(leaving.exit_code_of(error))
    from orchestrator.cli.app import main as run_verb

    run_verb()


if __name__ == "__main__":
    main()
