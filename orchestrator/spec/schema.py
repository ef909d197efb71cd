"""JSON Schemas of the files that users write, for editors: what pydantic knows, as a user would write it.

They accept what `volley validate` accepts, except what one part of a file says about another (a baseline that is not a
target), files that are missing, and ranges of quantities.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator.slo import NUMBER
from orchestrator.spec.base import Model
from orchestrator.spec.examples import example
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.models import Campaign
from orchestrator.spec.secrets import SECRET
from orchestrator.spec.target import OF_CONTAINERS
from orchestrator.spec.units import quantities
from orchestrator.spec.variables import USES_A_VARIABLE

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Keywords that describe a value, and say nothing about what it may be.
_NOTES = ("title", "description", "default", "examples")


def _text(name: str, pattern: str) -> Schema:
    return {"description": name, "type": "string", "pattern": f"{pattern}{USES_A_VARIABLE}"}


# A value of the environment is text, so text that reads as a number is one.
_TEXTS = {
    "WholeNumberText": _text("a whole number as text, or a ${VARIABLE}", "^[+-]?[0-9]+$|"),
    "NumberText": _text("a number as text, or a ${VARIABLE}", f"^[+-]?{NUMBER}$|"),
    "BooleanText": _text("true or false as text, or a ${VARIABLE}", "^(true|false)$|"),
    "Variable": _text("text with a ${VARIABLE}", ""),
}
_TEXT_OF = {"integer": "WholeNumberText", "number": "NumberText", "boolean": "BooleanText"}


def _is(key: str, value: str) -> Schema:
    return {"properties": {key: {"const": value}}, "required": [key]}


def _without(*keys: str) -> Schema:
    return dict.fromkeys(keys, False)


# A number of requests ends the load; a list or a file of requests does not.
_LISTED: Schema = {"required": ["requests"], "properties": {"requests": {"type": ["array", "object"]}}}
_COUNTED: Schema = {
    "anyOf": [
        {"required": ["count"]},
        {"required": ["requests"], "properties": {"requests": {"not": {"type": ["array", "object"]}}}},
    ]
}
_ONE_BODY: list[Schema] = [
    {"not": {"required": ["body", "json"]}},
    {"not": {"required": ["body", "body_file"]}},
    {"not": {"required": ["json", "body_file"]}},
]
_ONE_MESSAGE: list[Schema] = [
    {"not": {"required": ["message", "json"]}},
    {"not": {"required": ["message", "message_file"]}},
    {"not": {"required": ["json", "message_file"]}},
    {"if": {"properties": {"binary": {"const": True}}, "required": ["binary"]}, "then": {"required": ["message_file"]}},
]
# How the keys that lead to a model name an entry of a mapping or a list.
_STEPS: dict[Any, tuple[str, ...]] = {dict: ("NAME",), list: ("NUMBER",)}
# A value that is marked as a secret, and the keys of each model that can hold one.
_SECRET: Schema = {
    "description": "a value that is neither shown nor stored",
    "type": "object",
    "properties": {
        SECRET: {
            "description": "The value; a variable of the environment, such as ${TOKEN}, needs no mark.",
            "type": ["string", "number"],
            "examples": ["acme-7f3"],
        }
    },
    "required": [SECRET],
    "additionalProperties": False,
}
_WITH_SECRETS = {
    "Campaign": ("variables",),
    "Target": ("environment",),
    "Service": ("environment",),
    "Build": ("args",),
    "Load": ("headers", "body", "message"),
    "Request": ("headers", "body"),
}
_POISSON: Schema = {"not": {"const": "poisson"}}
# What validators of ours check between the keys of one mapping.
_RULES: dict[str, Schema] = {
    "Target": {
        "oneOf": [{"required": ["build"]}, {"required": ["image"]}, {"required": ["url"]}],
        "if": {"required": ["url"]},
        "then": {"properties": _without(*OF_CONTAINERS)},
        "else": {"anyOf": [{"required": ["port"]}, {"required": ["ports"]}], "properties": _without("socket")},
    },
    "Service": {"oneOf": [{"required": ["build"]}, {"required": ["image"]}]},
    "Healthcheck": {"not": {"required": ["test", "disable"]}},
    "Load": {
        "allOf": [
            {
                "if": _is("model", "open"),
                "then": {"required": ["rate", "duration"], "not": _COUNTED},
            },
            {
                # Also without the key.
                "if": {"properties": {"model": {"const": "closed"}}},
                "then": {
                    "required": ["clients"],
                    "oneOf": [_COUNTED, {"required": ["duration"]}],
                    "properties": _without("rate") | {"arrivals": _POISSON},
                },
            },
            {"if": _COUNTED, "then": {"properties": _without("warm_up")}},
            {"if": _LISTED, "then": {"properties": _without("paths", "method", "body", "json", "body_file")}},
            *_ONE_BODY,
            {"if": _is("protocol", "http2"), "then": {"properties": {"generator": {"not": {"const": "paced"}}}}},
            {
                "if": _is("protocol", "websocket"),
                "then": {
                    "not": _LISTED,
                    "properties": _without("method", "body", "body_file", "paths")
                    | {"generator": {"not": {"enum": ["h2load", "paced"]}}},
                },
                "else": {
                    "properties": _without("message", "message_file", "binary", "subprotocols")
                    | {"generator": {"not": {"const": "websocket"}}},
                },
            },
            *_ONE_MESSAGE,
            {
                "if": {"properties": {"protocol": {"const": "http1"}}},
                "then": {"properties": {"streams": {"not": {"type": "integer", "minimum": 2}}}},
            },
            {"if": _is("generator", "h2load"), "then": {"properties": _without("timeout") | {"arrivals": _POISSON}}},
        ]
    },
    "Request": {"allOf": _ONE_BODY},
    "Inventory": {
        "oneOf": [
            {"required": ["hosts"], "properties": {"hosts": {"minProperties": 1}}},
            {"required": ["ray"]},
        ],
        "if": {"required": ["ray"]},
        "then": {"properties": _without("coordinator", "defaults", "ssh_config", "host_keys", "ports")},
    },
}


def campaign_schema() -> Schema:
    """Return the JSON Schema of a campaign file."""
    return _schema(Campaign)


def inventory_schema() -> Schema:
    """Return the JSON Schema of an inventory file."""
    return _schema(Inventory)


def fields_of(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the keys of a model as they are written in a file, each with its field."""
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def models_in(root: type[BaseModel]) -> dict[type[BaseModel], tuple[str, ...]]:
    """Return the models that a file consists of, each with the keys that lead to it first; NAME for a name of the user's,
    NUMBER for a place in a list."""
    found: dict[type[BaseModel], tuple[str, ...]] = {root: ()}
    waiting = [root]
    while waiting:
        model = waiting.pop(0)
        for key, field in fields_of(model):
            for inner, steps in models_inside(field.annotation):
                if inner not in found:
                    found[inner] = (*found[model], key, *steps)
                    waiting.append(inner)
    return found


def models_inside(annotation: Any) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    """Yield the models in a type, each with the names that lead to it inside."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ()
    steps = _STEPS.get(getattr(annotation, "__origin__", None), ())
    for part in get_args(annotation):
        for model, inner in models_inside(part):
            yield model, (*steps, *inner)


def default_of(model: type[BaseModel], key: str, field: FieldInfo) -> Any:
    """Return a key's default as a user would write it; None without one."""
    if field.is_required() or (value := field.get_default(call_default_factory=True)) is None:
        return None
    name = next(name for name, each in model.model_fields.items() if each is field)
    made = model.model_construct(**{name: value})
    written = made.model_dump(mode="json", by_alias=True, include={name}, exclude_unset=True)[key]
    return int(written) if isinstance(written, float) and written.is_integer() else written


def _schema(root: type[Model]) -> Schema:
    made = root.model_json_schema(by_alias=True)
    definitions = made.pop("$defs", {})
    for model in models_in(root):
        node = made if model is root else definitions[model.__name__]
        for key, field in fields_of(model):
            shown = node["properties"][key]
            shown.pop("title", None)
            shown.pop("default", None)
            # Also where pydantic leaves it out because the mapping there has the same.
            shown["description"] = " ".join((field.description or "").split())
            if (default := default_of(model, key, field)) is not None:
                shown["default"] = default
            shown["examples"] = [example(model, key)]
        for key in _WITH_SECRETS.get(model.__name__, ()):
            node["properties"][key] = _with_secrets(node["properties"][key])
        node |= _RULES.get(model.__name__, {})
    if root is Campaign:
        definitions["Secret"] = _SECRET
    named = _TEXTS | {name: _quantity_or_variable(node) for name, node in quantities().items()}
    whole = {name: _accepting(node) for name, node in definitions.items()}
    used = _accepting(made) | {"$defs": {name: (whole | named)[name] for name in sorted(whole | named)}}
    return {"$schema": DIALECT, **used}


def _with_secrets(node: Schema) -> Schema:
    """Return the schema of a text, or of a mapping of texts, each of which can be marked as a secret."""
    marked: Schema = {"$ref": "#/$defs/Secret"}
    if "patternProperties" in node:
        ((pattern, inner),) = node["patternProperties"].items()
        return node | {"patternProperties": {pattern: {"anyOf": [*inner.get("anyOf", [inner]), marked]}}}
    if isinstance(inner := node.get("additionalProperties"), dict):
        return node | {"additionalProperties": {"anyOf": [*inner.get("anyOf", [inner]), marked]}}
    if any(branch.get("type") == "object" for branch in node.get("anyOf", ())):
        branches = [_with_secrets(branch) if branch["type"] == "object" else branch for branch in node["anyOf"]]
        return node | {"anyOf": branches}
    return node | {"anyOf": [*node["anyOf"], marked]}


def _accepting(node: Schema) -> Schema:
    """Return a schema that also accepts ${VARIABLES}, and refers to the schemas of quantities."""
    if (quantity := _quantity(node)) is not None:
        own = _notes(node)
        return ({} if own == _notes(quantities()[quantity]) else own) | {"$ref": f"#/$defs/{quantity}"}
    for key in ("anyOf", "oneOf"):
        if {"type": "string"} in node.get(key, ()):
            # Any text is accepted already.
            return node
        if key in node and "properties" not in node:
            branches = [_accepting(branch) for branch in node[key]]
            # Without the nesting where a branch says nothing else.
            flat = [inner for branch in branches for inner in (branch["anyOf"] if [*branch] == ["anyOf"] else [branch])]
            return node | {key: flat if key == "anyOf" else branches}
    kind = node.get("type")
    if kind == "array" and "items" in node:
        return node | {"items": _accepting(node["items"])}
    if kind == "object":
        node = _closed(node)
        return node | _accepting_object(node)
    # Text that has a form, or is one of a few.
    limited = kind == "string" and not {"pattern", "enum", "const", "minLength"}.isdisjoint(node)
    name = _TEXT_OF.get(str(kind), "Variable" if limited else None)
    if name is None:
        return node
    core = {key: value for key, value in node.items() if key not in _NOTES}
    return _notes(node) | {"anyOf": [core, {"$ref": f"#/$defs/{name}"}]}


def _quantity_or_variable(node: Schema) -> Schema:
    core = {key: value for key, value in node.items() if key not in _NOTES}
    return _notes(node) | {"anyOf": [*core.get("anyOf", [core]), {"$ref": "#/$defs/Variable"}]}


def _closed(node: Schema) -> Schema:
    """Return a mapping from names of a form that refuses all others, as the models do."""
    if "patternProperties" not in node:
        return node
    ((pattern, inner),) = node["patternProperties"].items()
    names = {"pattern": pattern, **node.get("propertyNames", {})}
    kept = {key: value for key, value in node.items() if key != "patternProperties"}
    return kept | {"propertyNames": names, "additionalProperties": inner}


def _accepting_object(node: Schema) -> Schema:
    found: Schema = {}
    if "properties" in node:
        found["properties"] = {name: _accepting(inner) for name, inner in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        found["additionalProperties"] = _accepting(node["additionalProperties"])
    return found


def _notes(node: Schema) -> Schema:
    return {key: node[key] for key in _NOTES if key in node}


def _quantity(node: Schema) -> str | None:
    """Return the name of the quantity whose schema this is, whatever its notes say."""
    core = {key: value for key, value in node.items() if key not in _NOTES}
    for name, known in quantities().items():
        if core and core == {key: value for key, value in known.items() if key not in _NOTES}:
            return name
    return None
