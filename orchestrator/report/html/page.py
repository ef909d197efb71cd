"""From the parts of a page to its text: one file, with its style, its script and its numbers inside."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.report.html.figures import Figure
from orchestrator.report.html.text import unbroken, visible

ASSETS = Path(__file__).parent / "assets"
PLOTLY = "plotly-cartesian-4.1.1.min.js"
# Plots that a template places where there are any.
PLACES = ("spectrum", "trials", "time", "heat", "server", "hosts")


@functools.cache
def templates() -> Any:
    """Return the templates. Names and messages come from files and servers: whatever is put in is escaped."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    found.filters["unbroken"] = unbroken
    return found


def _shown(value: object) -> object:
    # Markup has been escaped, or is a part of the page itself.
    return visible(value) if type(value) is str else value


def rendered(template: str, figures: Sequence[Figure], **parts: object) -> str:
    """Return a page. figures: those that the template places, by id."""
    from markupsafe import Markup

    scripts = [asset(PLOTLY), asset("page.js")]
    return str(
        templates()
        .get_template(template)
        .render(
            **parts,
            figures=dict.fromkeys(PLACES) | {figure.id: figure for figure in figures},
            style=Markup(asset("page.css")),
            scripts=[Markup(script) for script in scripts],
            policy=policy(scripts),
            numbers=Markup(as_script([figure.plain() for figure in figures])),
        )
    )


def policy(scripts: Sequence[str]) -> str:
    """Return the rules that a browser applies: no network, and no script but those of the page.

    Text that should ever get through unescaped could still not run, or send anything anywhere.
    """
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"


def as_script(content: object) -> str:
    """Return JSON that can stand inside <script>: nothing in it ends the element or starts a comment."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


@functools.cache
def asset(name: str) -> str:
    """Return a file that pages embed."""
    return (ASSETS / name).read_text(encoding="utf-8").replace("</script", "<\\/script")
