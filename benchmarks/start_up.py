"""How long a verb takes that has little to do: what each imports, from Enter to the prompt."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.figures import ROOT, Figure, rounds_of
from benchmarks.fresh import verb
from benchmarks.made_run import make_run

ROUNDS = 5
HELP_S, SMALL_S = 0.5, 1.5
CAMPAIGN = str(ROOT / "configs" / "campaigns" / "flask-vs-fastapi.yaml")


def measure() -> list[Figure]:
    """Measure the CPU time of each verb; one thread does it all."""
    with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder:
        run = str(make_run(Path(folder), 4))
        verbs = {
            ("--help",): HELP_S,
            ("run", "--help"): HELP_S,
            ("bench", "--help"): HELP_S,
            ("schema",): SMALL_S,
            ("validate", CAMPAIGN): SMALL_S,
            ("runs", folder): SMALL_S,
            ("report", run): SMALL_S,
        }
        figures = []
        for arguments, limit in verbs.items():
            found = rounds_of(ROUNDS, lambda arguments=arguments: verb(*arguments))  # type: ignore[misc]
            name = " ".join(Path(word).name if word.startswith("/") else word for word in arguments)
            name = "report RUN" if arguments[0] == "report" else "runs FOLDER" if arguments[0] == "runs" else name
            figures += [
                Figure(f"volley {name}, CPU", "s", found["cpu_s"], at_most=limit),
                Figure(f"volley {name}, most memory", "MB", found["peak_mb"]),
            ]
        return figures
