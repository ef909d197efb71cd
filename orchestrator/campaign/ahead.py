"""Import what the end of a run needs while its first load warms up, so that results follow the last request at once.

The imports take a core for half a second. During a warm-up nothing is measured yet, so that they disturb nothing even
where load and server share this machine.
"""

from __future__ import annotations

import contextlib
import importlib
import threading

from orchestrator.run.events import Event, Say

# In the order in which they are used. Modules of the page, of statistics and of the tables.
MODULES = ("scipy.special", "orchestrator.report.files", "orchestrator.report.terminal", "rich.console", "rich.table",
           "pyarrow.csv", "pyarrow.parquet", "jinja2", "orchestrator.report.html.run")  # fmt: skip
# A shorter warm-up would end before the imports do.
SHORTEST_US = 400_000


def importing_ahead(say: Say) -> Say:
    """Return `say`, which also starts the imports at the first load with a warm-up that is long enough."""
    started = False

    def with_imports(event: Event) -> None:
        nonlocal started
        say(event)
        if not started and event.kind == "released" and event.facts["warm_up_us"] >= SHORTEST_US:
            started = True
            threading.Thread(target=_import, name="import-ahead", daemon=True).start()

    return with_imports


def _import() -> None:
    for name in MODULES:
        # What is missing is reported where it is used.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
