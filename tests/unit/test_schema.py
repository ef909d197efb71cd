"""The JSON Schemas and the reference: what editors accept is what Volley accepts, and every key is explained."""

import json
import re
from functools import cache

import pytest
from jsonschema import Draft202012Validator

from orchestrator.errors import ConfigurationError
from orchestrator.spec import reference, schema
from orchestrator.spec.checks import Checks
from orchestrator.spec.container import Container
from orchestrator.spec.document import plain, read_value, read_yaml
from orchestrator.spec.examples import EXAMPLES
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import load
from orchestrator.spec.models import Campaign
from tests.conftest import ROOT

MADE = {"campaign": schema.campaign_schema, "inventory": schema.inventory_schema}
FILES = {
    "configs/volley.schema.json": lambda: json.dumps(schema.campaign_schema(), indent=2) + "\n",
    "configs/volley-inventory.schema.json": lambda: json.dumps(schema.inventory_schema(), indent=2) + "\n",
    "docs/reference/campaign.md": reference.campaign_reference,
    "docs/reference/inventory.md": reference.inventory_reference,
}
CAMPAIGN = {
    "campaign": "c",
    "targets": {"t": {"url": "http://h/"}},
    "loads": {"l": {"clients": 4, "requests": 100}},
}


@cache
def validator(kind):
    return Draft202012Validator(MADE[kind]())


def nodes(kind):
    """Every mapping of a schema: its name, its keys."""
    made = MADE[kind]()
    return {made["title"]: made, **made["$defs"]}


@pytest.mark.parametrize("path", FILES)
def test_the_files_made_from_the_models_are_up_to_date(path):
    """Make them again: volley schema [inventory] [--markdown]."""
    assert (ROOT / path).read_text(encoding="utf-8") == FILES[path]()


@pytest.mark.parametrize("kind", MADE)
def test_a_schema_is_one(kind):
    """By the rules of its dialect; its references lead somewhere."""
    made = MADE[kind]()
    Draft202012Validator.check_schema(made)

    assert set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(made))) <= set(made["$defs"])


@pytest.mark.parametrize("kind", MADE)
def test_every_key_has_a_description_and_an_example_and_a_default_that_its_schema_accepts(kind):
    """As a user would write them: '1m', not 60000000."""
    within, defaults = validator(kind), {}
    for name, node in nodes(kind).items():
        for key, shown in node.get("properties", {}).items():
            assert len(shown["description"]) > 10, (name, key)
            (example,) = shown["examples"]
            for value in (example, shown.get("default", example)):
                assert within.evolve(schema=shown).is_valid(value), (name, key, value)
            defaults[name, key] = shown.get("default")
    if kind == "campaign":
        assert (defaults["Ready", "timeout"], defaults["Saturate", "precision"]) == ("1m", "3%")


def test_every_example_is_accepted_by_volley():
    """In place of the usual value of its key."""
    for key, example in EXAMPLES["Campaign"].items():
        data = CAMPAIGN | {"targets": {"t": {"url": "http://h/"}, **{n: {"url": "http://h/"} for n in ("old", "new")}}}
        data |= {"loads": {n: {"clients": 4, "requests": 100} for n in ("steady", "burst", "orders")}, key: example}
        data |= {"compare": None} if key == "targets" else {}
        checked = Checks(lambda location: ".".join(map(str, location)))
        assert checked.model(Campaign, data) is not None, (key, checked.problems)
    models = {model.__name__: model for root in (Campaign, Inventory) for model in schema.models_in(root)}
    models[Container.__name__] = Container
    assert set(EXAMPLES) >= set(models)
    for name, examples in EXAMPLES.items():
        field_names = {key for key, _ in schema.fields_of(models[name])}
        assert set(examples) <= field_names, name


def blocks(path):
    """The YAML blocks of a document."""
    return re.findall(r"^```ya?ml\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = [
    *(
        (path.relative_to(ROOT).as_posix(), plain(read_yaml(path)))
        for path in sorted((ROOT / "configs").rglob("*.yaml"))
    ),
    *((path.relative_to(ROOT).as_posix(), read_value(text)) for path in DOCUMENTS for text in blocks(path)),
]
WHOLE = [(where, data) for where, data in WRITTEN if isinstance(data, dict) and {"hosts", "targets"} & set(data)]


@pytest.mark.parametrize(("where", "data"), WHOLE, ids=[where for where, _ in WHOLE])
def test_every_file_and_every_example_of_the_documentation_is_accepted(where, data):
    """Campaigns and inventories in configs/, docs/ and the README."""
    errors = validator("inventory" if "hosts" in data or set(data) == {"ray"} else "campaign").iter_errors(data)

    assert [error.message for error in errors] == []


def test_the_documentation_has_campaigns_and_inventories():
    """Those above are found."""
    documents = {
        "docs/how-to/write-a-campaign.md",
        "docs/how-to/use-several-hosts.md",
        "configs/inventories/example.yaml",
    }
    assert documents <= {where for where, _ in WHOLE}


def target(**keys):
    return {"targets": {"t": keys}}


def of_load(**keys):
    return {
        "loads": {"l": {key: value for key, value in ({"clients": 4, "requests": 100} | keys).items() if value != ""}}
    }


OPEN = {"model": "open", "rate": "500/s", "duration": "5s", "requests": ""}
CONTAINER = {"image": "i", "port": 80}
GOOD = [
    {},
    {"agents": "${N:-4}", "repetitions": "${N:-4}", "seed": "4"},
    {"repetitions": {"until": {"metric": "${M:-p99}", "narrower_than": "${N:-4}%"}}},
    {"variables": {"a": 1, "b": 1.5, "c": True, "d": "x"}},
    {"slo": {"t/l": "p99 < 50ms, errors<0.1%,throughput > 1e3/s"}},
    {"saturation": {"slo": "p99.9 < 50ms", "highest": 5000}},
    {"cool_down": None, "compare": {"baseline": "t"}},
    target(**CONTAINER),
    target(build={"context": "."}, port="${N:-80}", limits={"cpus": "${N:-1.5}", "memory": "512MiB"}),
    target(**CONTAINER, command=["x"], environment={"A": "b"}, scheme="https", expect={"json": [None], "status": 200}),
    target(url="http://[::1]:80/a?b=$c", ready={"path": "/up", "timeout": "90s"}),
    target(url="${U:-http://h}"),
    of_load(clients="${N:-4}", requests="${N:-100}"),
    of_load(requests="", duration="${N:-4}s", warm_up="1m30s"),
    of_load(**OPEN, arrivals="poisson", timeout="1s", generator="paced"),
    of_load(**OPEN | {"rate": 100, "clients": ""}),
    of_load(model="${M:-closed}"),
    of_load(protocol="http2", streams=9),
    of_load(body="x", method="PUT", headers={"A": "b"}, paths=["/a?$b"]),
    of_load(json={"a": 1}, generator={"command": ["x"]}),
    of_load(json=None),
]
BAD = [
    {"campaign": "a b"},
    {"campaign": "a" * 81},
    {"targets": {}},
    {"targets": {"a b": {"url": "http://h/"}}},
    {"agents": 0},
    {"agents": "four"},
    {"agents": 1.5},
    {"repetitions": {"at_least": 5}},
    {"unknown": 1},
    {"cool_down": 5},
    {"slo": {"t/l": "p99"}},
    {"slo": {"t/l": "p98 < 5ms"}},
    {"saturation": {"slo": "p99 < 5ms", "precision": 3}},
    {"variables": {"a": [1]}},
    {"place": {"share": "maybe"}},
    target(port=80),
    target(image="i"),
    target(image="i", url="http://h/"),
    target(url="http://h/", port=80),
    target(url="ftp://h/"),
    target(url="http://h x/"),
    target(url="http://h/", socket="app.sock"),
    target(**CONTAINER, path="x"),
    target(**CONTAINER, scheme="ftp"),
    target(**CONTAINER, limits={"memory": "100m"}),
    target(**CONTAINER, environment={"A": [5]}),
    of_load(clients=""),
    of_load(clients=0),
    of_load(requests=""),
    of_load(duration="5s"),
    of_load(rate="5/s"),
    of_load(arrivals="poisson"),
    of_load(warm_up="1s"),
    of_load(**OPEN | {"rate": ""}),
    of_load(**OPEN | {"requests": 5}),
    of_load(**OPEN, generator="h2load", timeout="1s"),
    of_load(requests="", duration="5"),
    of_load(streams=2),
    of_load(protocol="http2", generator="paced"),
    of_load(body="x", json=1),
    of_load(body="x", body_file="README.md"),
    of_load(body={"a": 1}),
    of_load(method="get"),
    of_load(headers={"A": 5}),
    of_load(generator="wrk"),
    of_load(paths=[]),
]


@pytest.mark.parametrize(("changes", "good"), [*((one, True) for one in GOOD), *((one, False) for one in BAD)], ids=str)
def test_an_editor_accepts_the_campaigns_that_volley_accepts(changes, good, tmp_path):
    """Also with ${VARIABLES} where numbers, choices and quantities are wanted."""
    data = CAMPAIGN | changes
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(data))
    (tmp_path / "Dockerfile").touch()
    (tmp_path / "README.md").touch()
    try:
        load(path, environment={})
        refused = ""
    except ConfigurationError as error:
        refused = str(error)

    assert (refused == "") == good, refused
    assert good == validator("campaign").is_valid(data)


HOST = {"address": "10.0.0.5", "roles": ["load"]}


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ({"hosts": {"g": HOST}}, True),
        ({"hosts": {"g": HOST | {"port": "${P}", "slots": 2, "cores": ["${C}", 3]}}, "host_keys": "${K}"}, True),
        ({"hosts": {}}, False),
        ({"hosts": {"g": HOST | {"roles": ["server", "client"]}}}, False),
        ({"hosts": {"g": HOST | {"roles": []}}}, False),
        ({"hosts": {"g": HOST | {"port": 70_000}}}, False),
        ({"hosts": {"g": HOST | {"labels": {"a": 1}}}}, False),
        ({"hosts": {"g": HOST}, "images": "push"}, False),
        ({"hosts": {"a b": HOST}}, False),
        ({"ray": {"address": "auto"}}, True),
        ({"ray": {"address": "${A:-auto}", "load": "load", "server": {"docker": "yes"}}, "images": "send"}, True),
        ({"ray": {"load": {"a": 1}}}, False),
        ({"ray": {"address": "auto"}, "hosts": {"g": HOST}}, False),
        ({"ray": {"address": "auto"}, "ports": 21000}, False),
    ],
    ids=str,
)
def test_an_editor_accepts_the_inventories_that_volley_accepts(data, good):
    """As for campaigns."""
    filled = json.loads(
        json.dumps(data)
        .replace("${P}", "22")
        .replace("${C}", "2")
        .replace("${K}", "strict")
        .replace("${A:-auto}", "auto")
    )

    assert (Checks(str).model(Inventory, filled) is not None) == good == validator("inventory").is_valid(data)


def test_a_campaign_as_the_reference_shows_it_is_a_campaign():
    """The examples of the whole file's keys are valid YAML: they are read as they were meant."""
    for row in re.findall(
        r"^\| `(\w+)` .* `([^`]*)` \|$", reference.campaign_reference().split("\n## ")[0], re.MULTILINE
    ):
        key, written = row
        assert read_value(written) == EXAMPLES["Campaign"][key], row
