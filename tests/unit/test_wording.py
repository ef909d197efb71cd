"""Every value of a file, made wrong in every way: no word of pydantic, no traceback, always something to do."""

import copy
import re
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from orchestrator.errors import ConfigurationError
from orchestrator.spec.checks import Checks
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import from_plain
from orchestrator.spec.models import Campaign
from orchestrator.spec.repeat import Adaptive
from orchestrator.spec.target import Build
from orchestrator.spec.wording import sentence

TLS = Path(__file__).parents[1] / "fakes" / "tls"
LIMITS = {"cpus": 1.5, "memory": "100MiB", "cpuset": "0-1", "pids": 9}
CONTAINER = {
    "entrypoint": ["e"],
    "environment": {"K": "v"},
    "ports": ["18001:8001"],
    "extra_hosts": {"h": "10.0.0.1"},
    "healthcheck": {"test": ["CMD", "t"], "interval": "1s", "timeout": "1s", "retries": 3, "start_period": "1s"},
    "volumes": ["v:/v", "/b:/b:ro"],
    "tmpfs": ["/t:size=1m"],
    "ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 3},
    "sysctls": {"net.core.somaxconn": "4"},
    "limits": LIMITS,
    "shm_size": "1MiB",
    "user": "u",
    "working_dir": "/w",
    "cap_add": ["SYS_NICE"],
    "cap_drop": ["CHOWN"],
}
SERVICE = {
    "image": "i",
    "port": 5432,
    "depends_on": ["cache"],
    "place": {"k": "v"},
    "lifetime": "run",
    "prepare": ["a", ["b", "c"]],
    "prepare_timeout": "1m",
    "ready": {"timeout": "1m"},
}
CAMPAIGN = {
    "campaign": "all",
    "services": {"db": SERVICE, "cache": {"build": ".", "place": "server", "lifetime": "run", "healthcheck": {"disable": True}}},
    "description": "d",
    "variables": {"n": 40, "t": "x", "f": 1.5, "b": True},
    "targets": {
        "a": {
            "build": {"context": ".", "dockerfile": "Dockerfile", "args": {"A": "1"}, "network": "host"},
            "port": 8001,
            "path": "/p",
            "scheme": "https",
            "command": ["a"],
            **CONTAINER,
            "network": "bridge",
            "needs": ["db"],
            "ready": {"path": "/r", "timeout": "40s"},
            "expect": {"status": 200, "body": "b", "json": {"m": 1}},
        },
        "b": {"build": ".", "port": 1},
        "c": {"image": "i:1", "port": 80},
        "u": {"url": "https://127.0.0.1:1/x"},
        "s": {"url": "http://localhost/", "socket": "/run/x"},
    },
    "loads": {
        "closed": {
            "model": "closed", "protocol": "http2", "clients": 40, "streams": 2, "duration": "5s", "warm_up": "1s",
            "tail": "1s", "timeout": "9s", "paths": ["/a"], "method": "PUT", "headers": {"X": "y"}, "body_file": "body",
            "agents": 2,
        },
        "count": {"clients": 4, "requests": 100, "give_up": "9s", "generator": {"command": ["mine"]},
                  "body": "x", "tls": {"verify": True, "ca": "ca.pem", "cert": "client.pem", "key": "client-key.pem",
                  "server_name": "n"}},
        "mix": {
            "clients": 4, "count": 100, "data": {"file": "rows.csv", "order": "random"},
            "requests": [
                {"name": "n", "path": "/a/${row.id}", "method": "PUT", "headers": {"X": "y"}, "body": "x", "weight": 2,
                 "expect": {"status": 200, "size": "3B"}, "timeout": "1s"},
                {"path": "/b", "json": [1]},
                {"path": "/c", "body_file": "body"},
                "/d",
            ],
        },
        "messages": {"protocol": "websocket", "clients": 4, "duration": "5s", "message_file": "body", "binary": True,
                     "subprotocols": ["v1"]},
        "text": {"protocol": "websocket", "clients": 4, "duration": "5s", "message": "x"},
        "listed": {"clients": 4, "duration": "5s", "requests": {"from": "requests.jsonl"}},
        "open": {"model": "open", "clients": 20, "rate": "500/s", "duration": "3s", "arrivals": "poisson"},
    },
    "agents": 2,
    "repetitions": {"until": {"metric": "p99", "narrower_than": "5%"}, "at_least": 2, "at_most": 9, "budget": "1h"},
    "retries": 1,
    "on_agent_loss": "degrade",
    "minimum_valid": 1,
    "seed": 7,
    "allow_targets": ["staging.example.com"],
    "cool_down": "1s",
    "compare": {"baseline": "a", "smallest_effect": "3%"},
    "place": {"server": {"k": "v"}, "load": {"k": "v"}, "service": {"k": "v"}, "share": True},
    "slo": {"a/*": "p99 < 50ms, errors < 0.1%"},
    "saturation": {
        "slo": "p99 < 50ms", "precision": "3%", "window": "10s", "warm_up": "1s", "tail": "1s", "soak": "30s",
        "lowest": "10/s", "highest": 5000, "budget": 60, "load": "open", "targets": ["a"],
    },
    "include": ["*"],
    "exclude": ["c/open", "s/c*"],
    "before": [{"run": "true", "host": "local", "timeout": "3s", "cases": "a/*"}],
    "after": [{"run": "true", "host": "server", "timeout": "3s", "cases": "a/*"}],
}  # fmt: skip
ACCESS = {"user": "u", "port": 22, "key": "k", "known_hosts": "kh", "jump": "u@h:1", "python": "python3"}
INVENTORY = {
    "coordinator": {"address": "127.0.0.1"},
    "defaults": ACCESS,
    "hosts": {
        "h1": {
            **ACCESS,
            "address": "10.0.0.1",
            "load_address": "10.1.0.1",
            "roles": ["load"],
            "labels": {"k": "v"},
            "slots": 3,
            "cores": [0, 1],
        },
        "h2": {"roles": ["server"]},
    },
    "ssh_config": "none",
    "host_keys": "strict",
    "images": "build",
    "environment": "relay",
    "encrypt": True,
    "ports": 20000,
}
CLUSTER = {"ray": {"address": "auto", "load": {"k": "v"}, "server": "docker", "service": {"k": "v"}}, "images": "build"}
WRONG = [
    None, "", " ", "x y", "\0", "a\nb", "../x", "[", "9" * 400, 0, -1, 10**400, 1.5, float("inf"), float("nan"), True,
    False, [], [None], [[]], ["x y", -1], {}, {"a": None}, {"x y": "\0"}, {"count": 1}, "::1", "1e999s", 2**63,
]  # fmt: skip
PYDANTIC = re.compile(
    r"Input should|should (be|have|match|not)|Field required|Extra inputs|Value error|Assertion|[Uu]nable to|"
    r"valid (integer|number|string|boolean|dictionary|list)|instance of|_type\b|NoneType|None|Unexpected|Traceback"
)


def _places(node, above=()):
    """Yield the way to every value of a document."""
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*above, key)
        yield from _places(child, (*above, key))


def _changed(document, place, change):
    document = copy.deepcopy(document)
    node = document
    for key in place[:-1]:
        node = node[key]
    change(node, place[-1])
    return document


# Each part of the changes takes seconds; one of them is enough to find what was forgotten.
PARTS = 6


def _changes(place):
    """Return what can be done to a value: make it wrong, leave it out, put a key that does not exist beside it."""
    changes = [lambda node, key, value=value: node.__setitem__(key, value) for value in WRONG]
    changes.append(lambda node, key: node.__delitem__(key))
    if isinstance(place[-1], str):
        changes.append(lambda node, key: node.__setitem__("zzz", node[key]))
    return changes


def _variants(document, part):
    """Yield one of PARTS changes of every place, and every change at one of PARTS places."""
    for at, place in enumerate(_places(document)):
        for change in _changes(place)[(at + part) % PARTS :: PARTS]:
            yield _changed(document, place, change)


def _problems(kind, document, folder):
    try:
        if kind is Campaign:
            from_plain(document, folder)
            return []
        checks = Checks(lambda location: ".".join(map(str, location)))
        checks.model(kind, document)
    except ConfigurationError as refused:
        return refused.problems
    return checks.problems


@pytest.fixture
def folder(tmp_path):
    for name in ("Dockerfile", "body"):
        (tmp_path / name).write_text("")
    (tmp_path / "rows.csv").write_text("id\n1\n")
    (tmp_path / "requests.jsonl").write_text("/a\n")
    for name in ("ca.pem", "client.pem", "client-key.pem"):
        shutil.copy(TLS / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.full) for part in range(1, PARTS))])
@pytest.mark.parametrize(("kind", "document"), [(Campaign, CAMPAIGN), (Inventory, INVENTORY), (Inventory, CLUSTER)])
def test_every_wrong_value_is_explained_in_our_words(kind, document, part, folder):
    """What is wrong and what to write, in a short sentence, whatever is wrong wherever."""
    assert _problems(kind, document, folder) == []
    refused = 0
    for variant in _variants(document, part):
        for problem in _problems(kind, variant, folder):
            refused += 1
            text = f"{problem.where}: {problem.what} -> {problem.hint}"
            assert not PYDANTIC.search(f"{problem.what} {problem.hint}"), text
            assert "is not accepted here" not in text
            assert problem.hint, text
            assert len(problem.what) < 200, text
    assert refused > (15 if document is CLUSTER else 80)


def _fields(model, seen):
    """Yield (model, field) for all that can occur in a kind of file."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield model, field.alias or name
        for inner in _models_in(field.annotation):
            yield from _fields(inner, seen)


def _models_in(annotation):
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


@pytest.mark.parametrize(("kind", "documents"), [(Campaign, [CAMPAIGN]), (Inventory, [INVENTORY, CLUSTER])])
def test_the_documents_above_have_every_field(kind, documents):
    """A new field must be added there, so that its errors are checked."""
    used = {key for each in documents for place in _places(each) for key in place if isinstance(key, str)}

    missing = [f"{model.__name__}.{name}" for model, name in _fields(kind, set()) if name not in used]

    assert not missing
    assert kind is Inventory or {Build, Adaptive} <= {model for model, _ in _fields(Campaign, set())}


def test_an_unknown_kind_of_error_has_a_sentence_too():
    """A later pydantic may report kinds that we do not know."""
    assert sentence("something_new", {}, 5) == ("5 is not accepted here", "check the value")


def test_names_of_users_stay_in_the_place(tmp_path):
    """Names such as 'count' are also names of pydantic's branches."""
    data = {"campaign": "c", "targets": {"str": {"url": "x"}}, "loads": {"count": {"clients": 0, "requests": 9}}}

    places = {problem.where.partition(": ")[2] for problem in _problems(Campaign, data, Path(tmp_path))}

    assert places == {"targets.str.url", "loads.count.clients"}
