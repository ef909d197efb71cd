"""Tables of a run as pandas frames: the same columns and values as in the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.report.columns import ColumnKind

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.report.tables import Table

_DTYPES = {ColumnKind.TEXT: "str", ColumnKind.NUMBER: "float64", ColumnKind.FLAG: "bool"}


def frame(table: Table) -> pd.DataFrame:
    """Return a table as a frame. A missing number is NaN; a column of whole numbers without any missing is int64."""
    import pandas as pd

    data: dict[str, pd.Series] = {}
    for name, kind in table.columns.items():
        values = [row.get(name) for row in table.rows]
        if kind is ColumnKind.WHOLE:
            dtype = "float64" if any(value is None for value in values) else "int64"
        else:
            dtype = _DTYPES[kind]
        if kind is ColumnKind.TEXT:
            values = ["" if value is None else value for value in values]
        data[name] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(data, columns=list(table.columns))
