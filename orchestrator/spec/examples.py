"""One example for every key of campaigns and inventories: for editors and for the reference."""

from __future__ import annotations

from typing import Any

# By model, then by key as it is written in the file.
EXAMPLES: dict[str, dict[str, Any]] = {
    "Campaign": {
        "campaign": "search-api",
        "description": "Does release 1.5 answer faster than 1.4?",
        "variables": {"clients": 40},
        "targets": {"new": {"image": "search:1.5", "port": 8080}},
        "loads": {"steady": {"clients": 40, "duration": "30s"}},
        "agents": 4,
        "repetitions": 10,
        "retries": 2,
        "minimum_valid": 3,
        "seed": 7,
        "cool_down": "10s",
        "compare": {"baseline": "old"},
        "place": {"load": {"rack": "b"}},
        "slo": {"new/*": "p99 < 50ms, errors < 0.1%"},
        "saturation": {"slo": "p99 < 50ms, errors < 0.1%"},
        "include": ["new/*"],
        "exclude": ["old/burst"],
        "before": [{"run": "psql -c 'truncate cart'", "host": "db1"}],
        "after": [{"run": "docker stats --no-stream"}],
    },
    "Target": {
        "build": "../targets/flask",
        "image": "search:1.5",
        "url": "http://127.0.0.1:8000/search",
        "port": 8080,
        "path": "/search?q=x",
        "scheme": "https",
        "command": ["gunicorn", "--workers=4", "app:app"],
        "env": {"LOG_LEVEL": "error"},
        "limits": {"cpus": 2, "memory": "512MiB"},
        "network": "bridge",
        "ready": {"path": "/health", "timeout": "2m"},
        "expect": {"status": 200},
    },
    "Build": {
        "context": "../targets/flask",
        "dockerfile": "docker/Dockerfile",
        "args": {"PYTHON": "3.13"},
        "network": "default",
    },
    "Limits": {"cpus": 1.5, "memory": "512MiB", "cpuset": "0-1"},
    "Ready": {"path": "/health", "timeout": "2m"},
    "Expect": {"status": 200, "body": "ok", "json": {"message": "Hello, World!"}},
    "Load": {
        "model": "open",
        "protocol": "http2",
        "clients": 40,
        "streams": 10,
        "requests": 100_000,
        "rate": "500/s",
        "arrivals": "poisson",
        "generator": "paced",
        "duration": "30s",
        "warm_up": "5s",
        "tail": "2s",
        "timeout": "2s",
        "give_up": "10m",
        "paths": ["/search", "/suggest"],
        "method": "PUT",
        "headers": {"Authorization": "Bearer ${TOKEN}"},
        "body": "name=x&count=2",
        "json": {"item": 17},
        "body_file": "order.json",
        "verify": True,
        "agents": 4,
    },
    "Program": {"command": ["python3", "my_generator.py"]},
    "Compare": {"baseline": "old", "smallest_effect": "5%"},
    "Place": {"server": {"cpu": "epyc"}, "load": {"rack": "b"}, "share": True},
    "Saturate": {
        "slo": "p99 < 50ms, errors < 0.1%",
        "precision": "5%",
        "window": "20s",
        "warm_up": "2s",
        "tail": "2s",
        "soak": "5m",
        "lowest": "100/s",
        "highest": "20000/s",
        "budget": 40,
        "load": "steady",
        "targets": ["new*"],
    },
    "Until": {"metric": "p99", "narrower_than": "10%"},
    "Adaptive": {
        "until": {"metric": "p99", "narrower_than": "10%"},
        "at_least": 5,
        "at_most": 20,
        "budget": "2h",
    },
    "Command": {"run": "sync", "host": "db1", "timeout": "5m", "cases": "new/*"},
    "Access": {
        "user": "bench",
        "port": 2222,
        "key": "~/.ssh/bench_ed25519",
        "known_hosts": "known_hosts",
        "jump": "ops@bastion.example:22",
        "python": "/usr/bin/python3.13",
    },
    "Host": {
        "address": "10.0.0.5",
        "load_address": "10.1.0.5",
        "roles": ["load"],
        "labels": {"rack": "b"},
        "slots": 4,
        "cores": [2, 3],
    },
    "Coordinator": {"address": "10.0.0.1"},
    "Inventory": {
        "coordinator": {"address": "10.0.0.1"},
        "defaults": {"user": "bench"},
        "hosts": {"gen1": {"address": "10.0.0.5", "roles": ["load"]}},
        "ssh_config": "none",
        "host_keys": "accept-new",
        "images": "send",
        "ports": 21000,
    },
}


def example(model: type, key: str) -> Any:
    """Return the example of a key of a model; those of the models that it extends included. Raise KeyError without one."""
    for one in model.__mro__:
        if key in EXAMPLES.get(one.__name__, {}):
            return EXAMPLES[one.__name__][key]
    raise KeyError(f"{model.__name__}.{key} has no example")
