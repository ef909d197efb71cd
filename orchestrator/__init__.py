"""Volley: the coordinator, and a Python API for stored runs (docs/reference/python-api.md).

>>> import orchestrator as volley
>>> run = volley.open_run("runs/bench-20261126T005555Z")  # doctest: +SKIP

The API is loaded when it is first used, so that importing this package stays instant. __init__.pyi has its types.
"""

from importlib import import_module

__version__ = "0.2.0"
_API = {
    "open_run": "orchestrator.data.run",
    "Run": "orchestrator.data.run",
    "compare": "orchestrator.data.comparing",
    "ComparedRuns": "orchestrator.data.comparing",
    "Histogram": "orchestrator.data.histogram",
    "VolleyError": "orchestrator.errors",
    "UsageError": "orchestrator.errors",
    "StoredRunError": "orchestrator.errors",
}
__all__ = ["ComparedRuns", "Histogram", "Run", "StoredRunError", "UsageError", "VolleyError", "compare", "open_run"]


def __getattr__(name: str) -> object:
    """Load a name of the API from its module, once."""
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_API[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the names of the API too, for completion."""
    return sorted({*globals(), *_API})
