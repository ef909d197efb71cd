"""Instants as a person names them, in the time of this machine."""

from __future__ import annotations

from datetime import datetime, timedelta


def when(instant: datetime | None, now: datetime) -> str:
    """Return an instant beside another: 'today 22:56', 'yesterday 14:02', '23 Nov 09:10', '23 Nov 2025'.

    Both are aware of their time zone; the result is in that of `now`. Empty without an instant.
    """
    if instant is None:
        return ""
    local = instant.astimezone(now.tzinfo)
    if local.date() == now.date():
        return f"today {local:%H:%M}"
    if local.date() == now.date() - timedelta(days=1):
        return f"yesterday {local:%H:%M}"
    if local.year == now.year:
        return f"{local.day} {local:%b %H:%M}"
    return f"{local.day} {local:%b %Y}"
