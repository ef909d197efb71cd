"""The reference of campaign and inventory files, made from the models: `volley schema --markdown`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from orchestrator.errors import ConfigurationError
from orchestrator.spec.document import read_value
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.models import Campaign
from orchestrator.spec.schema import Schema, campaign_schema, fields_of, inventory_schema, models_in, models_inside
from orchestrator.spec.units import quantities
from orchestrator.spec.variables import USES_A_VARIABLE

_NO_LIMIT = 2**53
WIDTH = 100
_CAMPAIGN = """A campaign file says what to measure, how often, and what to compare.
[Write a campaign](../how-to/write-a-campaign.md) explains how to write one.

Every value can hold `${VARIABLES}`. Durations, rates, sizes and shares are written with units:
[quantities](../how-to/write-a-campaign.md#quantities)."""
_INVENTORY = """An inventory lists the hosts of a fleet.
[Use several hosts](../how-to/use-several-hosts.md) explains how to use one.

Every value can hold `${VARIABLES}` of the environment."""


def campaign_reference() -> str:
    """Return docs/reference/campaign.md."""
    return _document("Campaign file", "campaign", _CAMPAIGN, Campaign, campaign_schema())


def inventory_reference() -> str:
    """Return docs/reference/inventory.md."""
    return _document("Inventory file", "inventory", _INVENTORY, Inventory, inventory_schema())


def _document(title: str, kind: str, introduction: str, root: type[BaseModel], schema: Schema) -> str:
    models = models_in(root)
    headings = {model.__name__: _heading(model, steps, root) or title for model, steps in models.items()}
    lines = [f"# {title}", "", f"<!-- Made by: volley schema {kind} --markdown -->", "", introduction]
    for model in models:
        node = schema if model is root else schema["$defs"][model.__name__]
        if model is not root:
            lines += ["", f"## {headings[model.__name__]}", "", *textwrap.wrap(_flow(node["description"]), WIDTH)]
        lines += ["", *_table(model, node, headings)]
    return "\n".join(lines) + "\n"


def _heading(model: type[BaseModel], steps: tuple[str, ...], root: type[BaseModel]) -> str:
    """Return the keys that lead to a model, such as targets.NAME; all of them where they are keys of the whole file."""
    direct = [
        key for key, field in fields_of(root) if any(inner is model for inner, _ in models_inside(field.annotation))
    ]
    return " and ".join(direct) if len(direct) > 1 else ".".join(steps)


def _table(model: type[BaseModel], node: Schema, headings: dict[str, str]) -> Iterator[str]:
    yield "| key | value | default | meaning | example |"
    yield "|---|---|---|---|---|"
    required = node.get("required", [])
    for key, _ in fields_of(model):
        shown = node["properties"][key]
        default = "required" if key in required else _code(shown["default"]) if _worth(shown) else ""
        cells = [f"`{key}`", _kind(shown, headings), default, _flow(shown["description"]), _code(shown["examples"][0])]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _worth(shown: Schema) -> bool:
    """Return whether a default says something: an empty list does not."""
    return shown.get("default") not in (None, "", [], {})


def _code(value: Any) -> str:
    """Return a value as YAML in one line."""
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(inner) for inner in value) + "]"
    if isinstance(value, str):
        return value if _reads_back(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _reads_back(text: str) -> bool:
    """Return whether YAML takes a text for itself without quotes, also inside of a list or a mapping."""
    try:
        return bool(read_value(f"{{key: [{text}]}}") == {"key": [text]} and read_value(text) == text)
    except ConfigurationError:
        return False


def _flow(text: str) -> str:
    """Return a docstring as one line."""
    return " ".join(text.split())


def _kind(node: Schema, headings: dict[str, str]) -> str:
    """Return what a value may be, in words."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name in headings:
            return f"[mapping](#{_anchor(headings[name])})"
        return name.lower() if name in quantities() else ""
    for key in ("anyOf", "oneOf"):
        if key in node:
            return " or ".join(dict.fromkeys(words for one in node[key] if (words := _kind(one, headings))))
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    kind = node.get("type")
    if kind == "array":
        return f"list of: {_kind(node['items'], headings)}"
    if kind == "object":
        return f"mapping of names to: {_kind(node['additionalProperties'], headings)}"
    if kind == "string":
        return "" if str(node.get("pattern", "")).endswith(USES_A_VARIABLE) else "text"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(node)
    return {"boolean": "`true` or `false`", "null": ""}.get(str(kind), "any value")


def _range(node: Schema) -> str:
    least, most = node.get("minimum"), node.get("maximum")
    above = "above 0" if node.get("exclusiveMinimum") == 0 else ""
    if least is not None and most is not None:
        return f" ({least:,} to {most:,})"
    one_end = f"at least {least:,}" if least is not None and abs(least) < _NO_LIMIT else ""
    words = ", up to ".join(part for part in (above or one_end, f"{most:,}" if most is not None else "") if part)
    return f" ({words})" if words else ""


def _anchor(heading: str) -> str:
    """Return GitHub's anchor of a heading."""
    return heading.lower().replace(".", "").replace(" ", "-")
