"""Which values of a campaign are secret; no message and no stored campaign shows one."""

import contextlib
import json
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from agents.generators.contract import Protocol
from agents.records import AssignedData, AssignedRequest, GeneratorKind
from orchestrator.campaign.resume import resume
from orchestrator.errors import ConfigurationError, UsageError
from orchestrator.facts import Traffic
from orchestrator.plan import make_plan
from orchestrator.redact import HIDDEN, hidden, is_secret
from orchestrator.run.targets import request_to
from orchestrator.spec import inline
from orchestrator.spec.asked import RequestOptions
from orchestrator.spec.load import load, load_inventory
from orchestrator.spec.secrets import is_secret_name, unwrapped
from orchestrator.spec.source import stored_source, without_secrets

S = "pl4nted-S3cret"


def read(tmp_path, document, sets=(), **environment):
    path = tmp_path / "c.yaml"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return load(path, sets, environment)


def campaign(load_keys=None, target=None, **more):
    target = {"image": "i", "port": 80, **(target or {})}
    own = {"clients": 2, "count": 10, **(load_keys or {})}
    return {"campaign": "c", "targets": {"a": target}, "loads": {"x": own}, **more}


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "X-Api-Key", "DB_PASSWORD", "accessToken", "X-Auth", "client_secret"]
)
def test_names_of_secrets(name):
    """Of headers, variables and parameters."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["Accept", "author", "X-Request-Id", "PORT", "Content-Type", "workers"])
def test_names_of_other_values(name):
    """They are shown."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "document",
    [
        campaign({"headers": {"X-Tenant": "${V}"}}),
        campaign({"headers": {"Authorization": "Bearer ${V}"}}),
        campaign({"body": "user=${V}"}),
        campaign({"json": {"a": [{"b": "${V}"}]}}),
        campaign({"paths": ["/${V}"]}),
        campaign({"requests": [{"path": "/", "headers": {"A": "${V}"}}], "duration": "1s", "count": None}),
        campaign(target={"environment": {"X": "${V}"}}),
        campaign(target={"env": ["X=${V}"]}),
        campaign(target={"command": ["run", "${V}"]}),
        campaign(target={"path": "/a?x=${V}"}),
        campaign(target={"expect": {"body": "${V}"}}),
        campaign(variables={"v": "${V}"}),
        campaign({"headers": {"A": "${v}"}}, variables={"v": "${V}"}),
        campaign(target={"image": None, "port": None, "url": "http://h/${V}/x"}),
        campaign(services={"db": {"image": "i", "environment": {"X": "${V}"}}}),
        campaign({"headers": {"A": {"secret": S}}}),
        campaign({"body": {"secret": S}}),
        campaign(target={"environment": {"X": {"secret": S}}}),
        campaign(variables={"v": {"secret": S}}),
        campaign({"headers": {"Authorization": S}}),
        campaign({"headers": {"Cookie": f"a=b; sid={S}"}}),
        campaign(target={"environment": {"DB_PASSWORD": S}}),
        campaign(target={"environment": {"DATABASE": f"postgresql://u:{S}@db/x"}}),
        campaign(target={"path": f"/a?token={S}"}),
    ],
)  # fmt: skip
def test_values_that_are_looked_for(tmp_path, document):
    """From the environment, marked, or with a name that says so; wherever a secret can be."""
    # Whether the campaign is right does not matter here: its values are noted before.
    with contextlib.suppress(ConfigurationError):
        read(tmp_path, document, V=S)

    assert hidden(f"it said {S}!") == f"it said {HIDDEN}!"


def test_ordinary_values_are_not_looked_for(tmp_path):
    """Numbers, short words, addresses, and what a whole URL begins with."""
    target = {"environment": {"W": "${W}", "STAGE": "${STAGE}", "H": "${H}"}, "url": "${URL}"}
    target = {"url": "${URL}"}
    read(tmp_path, campaign(target=None) | {"targets": {"a": target, "b": {"image": "i", "port": 80, "environment": {
        "W": "${W}", "STAGE": "${STAGE}", "H": "${H}", "POSTGRES_PASSWORD": "postgres"}}}},
        W="4", STAGE="prod", H="127.0.0.1:5432", URL="http://198.18.0.1:8000")  # fmt: skip

    text = "4 prod 127.0.0.1:5432 http://198.18.0.1:8000/ postgres"
    assert hidden(text) == text


def test_a_short_word_is_looked_for_where_its_name_says_that_it_is_secret(tmp_path):
    """From the environment."""
    read(tmp_path, campaign(target={"environment": {"A": "${API_TOKEN}"}}), API_TOKEN="hunter")

    assert hidden("hunter") == HIDDEN


def test_basic_authentication_is_known_in_all_its_forms(tmp_path):
    """The header, what is encoded, and the password."""
    read(tmp_path, campaign({"headers": {"Authorization": "Basic dXNlcjpwbDRudGVkLVMzY3JldA=="}}))

    assert hidden("user:pl4nted-S3cret") == HIDDEN
    assert hidden("it is pl4nted-S3cret") == f"it is {HIDDEN}"
    assert "dXNl" not in hidden("dXNlcjpwbDRudGVkLVMzY3JldA==")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "x"},
        {"cookie": "a=b"},
        {"X-Tenant": "${V}"},
        {"X-Tenant": {"secret": "x"}},
        {"Accept": "${V}"},
    ],
)
def test_a_load_with_a_secret_header_is_sent_by_paced(tmp_path, headers):
    """h2load has headers in its command line. No other generator sends HTTP/2, so that is refused with the reason."""
    loaded = read(tmp_path, campaign({"headers": headers}), V="text/html")
    assert [c.generator for c in make_plan(loaded.campaign).cases] == [GeneratorKind.PACED]

    for keys in ({"generator": "h2load"}, {"protocol": "http2"}):
        with pytest.raises(ConfigurationError, match="would show the secret header"):
            read(tmp_path, campaign({"headers": headers, **keys}), V="text/html")
    own = {"protocol": "http2", "generator": {"command": ["mine"]}}
    assert make_plan(read(tmp_path, campaign({"headers": headers, **own}), V="x").campaign).cases[0].program == ["mine"]


def test_other_headers_stay_with_h2load(tmp_path):
    """They are no secret."""
    loaded = read(tmp_path, campaign({"headers": {"Accept": "text/html", "X-Tenant": "acme"}}))

    assert make_plan(loaded.campaign).cases[0].generator is GeneratorKind.H2LOAD


def test_a_secret_header_of_a_command_line():
    """The same for -H."""
    asked = inline.Bench(
        "http://127.0.0.1:9/?token=" + S, None, 1, request=RequestOptions(headers=[f"Authorization: {S}2"])
    )
    loaded = inline.bench(asked)

    assert make_plan(loaded.campaign).cases[0].generator is GeneratorKind.PACED
    assert S not in inline.source(loaded)
    assert is_secret(asked.url)


@pytest.mark.parametrize("keys", [{"http2": True}, {"generator": "h2load"}])
def test_a_secret_header_of_a_command_line_that_only_h2load_can_send(keys):
    """By the option, with what to omit."""
    asked = inline.Bench("http://h/", None, 1, request=RequestOptions(headers=["Cookie: a=bcdefghij"], **keys))

    with pytest.raises(ConfigurationError, match="would show the secret header 'Cookie'") as caught:
        inline.bench(asked)
    assert "omit --" in caught.value.problems[0].hint
    assert "abcdefghij" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"campaign: c\ntargets: {{a: {{image: i, port: 1}}}}\nloads: {{x: {{headers: {{A: {S}, A: b}}}}}}\n",
        f"campaign: c\nloads:\n  x:\n    headers:\n      Authorization: *{S}\n",
        f"campaign: c\nloads:\n  x:\n    headers:\n      Authorization: !{S}\n",
        f"campaign: c\nloads:\n  x:\n    headers:\n      Authorization: &{S}\n      Authorization: &{S}\n",
        f"campaign: c\nloads:\n  x:\n    headers: 'Authorization: {S}'\n",
        f"campaign: c\nloads:\n  x:\n    headers: ['Authorization: {S}']\n",
        f"campaign: c\nloads:\n  x:\n    body: [{S}]\n    clients: {{a: {S}}}\n",
        f"campaign: c\nloads:\n  x:\n    headers:\n      Authorization: '{S}\n",
        f"campaign: c\nloads:\n  x:\n    headers:\n      Authorization: \"{S}\\q\"\n",
        f"campaign: c\nloads:\n  x:\n    headers:\n      Authorization: %{S}\n",
        f"campaign: c\ntargets:\n  a:\n    environment: '{S}'\n",
        f"campaign: c\ntargets:\n  a:\n    environment: ['{S}']\n",
        f"campaign: c\ntargets:\n  a:\n    url: http://me:{S}@host/\n",
        "campaign: c\nloads:\n  x:\n    rate: ${V}\n    clients: ${V}\n    duration: a${V}\n    model: ${V}\n",
        "campaign: ${V}\ntargets:\n  a:\n    port: ${V}\n    image: ${V}\n    limits: {memory: '${V}'}\n",
        "campaign: c\nslo: {'*': 'p99 < ${V}'}\nbefore: [{run: x, host: '${V}', timeout: '${V}'}]\n",
    ],
)  # fmt: skip
def test_no_problem_shows_a_secret(tmp_path, text):
    """Duplicate keys, values that look like YAML's own signs, wrong types, wrong quantities."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text, V=S)

    told = "\n".join(f"{p.where} {p.what} {p.hint}" for p in caught.value.problems)
    for part in (S, S[:8], S[-8:]):
        assert part not in told, told


@pytest.mark.parametrize(
    "override",
    [
        f"loads.x.headers.Authorization: {S}",
        f"loads.x.headers=[{S}",
        f"loads.x.headers=*{S}",
        f"loads.x.headers={S}",
        f"loads.y.headers.A={S}",
        f"loads.x.headers.A=[{S}]",
        f"loads.x.body={{a: {S}}}",
    ],
)  # fmt: skip
def test_no_problem_with_set_shows_its_value(tmp_path, override):
    """The option is named by its path."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, campaign({"headers": {"B": "b"}}), [override])

    assert S not in str(caught.value)
    assert S not in "".join(p.hint for p in caught.value.problems)


def test_a_variable_is_named_where_its_value_is_wrong(tmp_path):
    """The name says more than a value that cannot be shown."""
    with pytest.raises(ConfigurationError, match=r"\$\{RATE\} is not a whole number"):
        read(tmp_path, campaign({"clients": "${RATE}"}), RATE="many-many")


SOURCE = f"""\
# A comment stays.
campaign: c
variables: {{token: {S}, size: 4}}
targets:
  a:
    image: i
    environment: {{DB_PASSWORD: {S}, WORKERS: 4, OTHER: "postgresql://u:{S}@h/x"}}
    path: /x?token={S}
loads:
  x:
    headers:
      Authorization: "Bearer {S}"
      X-Tenant: &tenant {S}
      X-Again: *tenant
      X-Env: ${{NAME}}
      X-Bearer: Bearer ${{NAME}}
      X-Default: ${{NAME:-{S}}}
    body: |
      several lines {S}
      of it
    clients: 2  # as before
  y:
    requests:
      - {{path: /, headers: {{A: {S}}}, json: {{user: {{name: {S}}}}}}}
      - /plain
    headers: {{A: {{secret: {S}}}}}
"""


def test_a_stored_campaign_has_no_values_of_headers_and_bodies():
    """All else is as it was written, and it is still YAML."""
    stored = stored_source(SOURCE, [f"loads.x.headers.A={S}", "loads.x.clients=4", "loads.x.body=${NAME}"])
    tree = YAML(typ="safe").load(stored)

    assert S not in stored
    assert "# A comment stays." in stored
    assert "clients: 2  # as before" in stored
    assert tree["loads"]["x"]["headers"]["X-Env"] == "${NAME}"
    assert tree["loads"]["x"]["headers"]["X-Bearer"] == "Bearer ${NAME}"
    assert {tree["loads"]["x"]["headers"][name] for name in ("Authorization", "X-Tenant", "X-Again", "X-Default")} == {
        "..."
    }
    assert tree["loads"]["x"]["body"] == "..."
    assert tree["loads"]["y"]["requests"][0] == {
        "path": "/",
        "headers": {"A": "..."},
        "json": {"user": {"name": "..."}},
    }
    assert (tree["variables"]["size"], tree["targets"]["a"]["environment"]["WORKERS"]) == (4, 4)
    assert tree["targets"]["a"]["environment"]["OTHER"] == "postgresql://u:...@h/x"
    assert tree["targets"]["a"]["path"] == "/x?token=..."
    assert "# --set loads.x.clients=4\n" in stored
    assert "# --set loads.x.headers.A=...\n" in stored
    assert "# --set loads.x.body=${NAME}\n" in stored


def test_values_of_set_that_are_secret_are_not_stored():
    """By their place; a name of a variable is stored as it is."""
    kept, left_out = without_secrets(
        [
            "loads.x.clients=4",
            "loads.x.headers={A: b}",
            "loads.x={clients: 3, headers: {A: b}}",
            "targets.a.environment.DB_PASSWORD=x",
            "targets.a.environment.WORKERS=4",
            "loads.x.headers.A=${NAME}",
            "targets.a.environment.X={secret: x}",
        ]
    )

    assert kept == ["loads.x.clients=4", "targets.a.environment.WORKERS=4", "loads.x.headers.A=${NAME}"]
    assert left_out == ["loads.x.headers", "loads.x", "targets.a.environment.DB_PASSWORD", "targets.a.environment.X"]


def test_a_run_whose_secret_was_typed_says_how_to_go_on(monkeypatch, tmp_path):
    """With a variable, which is stored."""
    origin = SimpleNamespace(
        file="c.yaml", overrides=[], left_out=["loads.x.headers.A"], only=None, hosts=None, ray=False
    )
    monkeypatch.setattr("orchestrator.campaign.resume.read_plan", lambda run: SimpleNamespace(origin=origin, parts={}))

    with pytest.raises(UsageError, match=r"a secret that is not stored: --set loads\.x\.headers\.A") as caught:
        resume(tmp_path, lambda event: None)
    assert caught.value.hint.endswith("--set 'loads.x.headers.A=${NAME}'")


def test_secret_is_an_ordinary_key_elsewhere():
    """Of a JSON document, and as the name of a target, a header or a variable."""
    data = {
        "targets": {"secret": {"image": "i"}},
        "variables": {"secret": "x"},
        "loads": {"x": {"json": {"secret": "x"}, "headers": {"secret": "x"}}},
    }

    assert unwrapped(data) == (data, set())


def test_the_row_that_is_sent_before_a_load_is_known():
    """Its token can be in an answer that a message quotes."""
    request = AssignedRequest(
        "GET /", "http://h/", headers=[["Authorization", "Bearer ${row.token}"], ["A", "${row.a}"]]
    )
    data = AssignedData(["token", "a"], [["t0ken-of-a-user", "long-and-ordinary"], ["other-t0ken", "x"]])

    request_to(Traffic([request], Protocol.HTTP1, data=data))

    assert hidden("it said t0ken-of-a-user long-and-ordinary") == f"it said {HIDDEN} long-and-ordinary"


def test_no_problem_of_an_inventory_shows_a_value_of_the_environment(tmp_path):
    """The name of the variable instead."""
    path = tmp_path / "hosts.yaml"
    path.write_text("hosts: {web: {address: '${V}', roles: ['${V}'], port: '${V}'}}\n")

    with pytest.raises(ConfigurationError, match=r"\$\{V\}") as caught:
        load_inventory(path, {"V": f"{S}!"})
    assert S not in str(caught.value)
