"""Examples of every kind of input, from which others are made."""

from __future__ import annotations

import json

CAMPAIGN = """\
campaign: search-api
description: "[bold]Is 1.5 faster?[/bold]"
variables: {n: 40, path: "${HOME:-x}"}
targets:
  old: {url: "http://127.0.0.1:18401/search?q=x", ready: {path: /health, timeout: 2m}, expect: {status: 200, json: {a: [1, null]}}}
  new: {url: "http://[::1]:18402/", expect: {body: ok}}
  box: {image: "app:1", network: bridge, ports: ["18000:8000"], needs: [db], environment: {DB: "${db.address}:${db.port}"}, limits: {cpus: 1.5, memory: 64MiB}}
services:
  db: {image: "pg:1", port: 5432, lifetime: block, prepare: ["true"], tmpfs: "/d:size=64m", healthcheck: {test: "true", retries: 3}, ulimits: {nofile: 1024}}
loads:
  steady: {clients: "${n}", duration: 5s, warm_up: 1s, headers: {X-Trace: a}, agents: 2}
  burst: {clients: 4, requests: 100, method: POST, json: {item: 17}}
  mix: {clients: 4, duration: 5s, requests: [/a, {name: cart, path: "/c?q=ü", method: PUT, json: {a: [1]}, weight: 3, expect: {status: [200, 404]}, timeout: 1s}]}
  chat: {protocol: websocket, clients: 4, duration: 5s, message: hi, subprotocols: [v1.json]}
  open: {model: open, rate: 500/s, arrivals: poisson, duration: 10s, timeout: 2s, paths: [/a, "/b?x=[1]"]}
agents: 2
repetitions: {until: {metric: p99, narrower_than: 10%}, at_least: 3, at_most: 9, budget: 1h}
compare: {baseline: old, smallest_effect: 5%}
slo: {"new/*": "p99 < 50ms, errors < 0.1%, throughput > 10/s"}
saturation: {slo: "p99 < 50ms", window: 2s, highest: 900/s, targets: ["new*"]}
exclude: ["old/burst", "*/chat", "box/*"]
before: [{run: "true", host: local, timeout: 5s, cases: "new/*"}]
"""
INVENTORY = """\
coordinator: {address: 198.18.0.1}
defaults: {user: bench, port: 2222, jump: "ops@bastion.example:22"}
hosts:
  web1: {address: 198.18.0.11, roles: [server], labels: {cpu: epyc}}
  gen1: {address: "::1", roles: [load], slots: 4, cores: [2, 3]}
ssh_config: none
ports: 21000
"""
TASK = json.dumps(
    {
        "version": 1, "log": "/dev/null", "model": "open", "clients": 4, "rate_per_s": 10.5, "duration_us": 10**6, "seed": 3,
        "requests": [{"url": "http://127.0.0.1/", "method": "GET", "headers": [["a", "b"]], "body": "aGk=", "weight": 2.0}],
    }
)  # fmt: skip
SUMMARY = json.dumps({"planned": 10, "sent": 10, "done": 9, "failed": {"timeout": 1}, "connects": 4})
ROWS = b"1764000000000000\t1764000000000100\t200\t1500\t0\n1764000000001000\t1764000000001100\t-2\t2500000\t1\n"
H2LOAD_ROWS = b"1764000000000100\t200\t1500\n1764000000001100\t503\t25\n1764000000001100\t-1\t25000\n"
H2LOAD_SAYS = b"""\
finished in 1.02s, 980.39 req/s, 120.00KB/s
requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 122.07KB (125000) total, 102.54KB (105000) headers (space savings 0.00%), 10.74KB (11000) data
                     min         max         mean         sd        +/- sd
time for request:      331us     29.84ms      4.05ms      3.21ms    72.50%
"""
SERVICES = """\
campaign: shop
targets:
  shop:
    build: {context: box, dockerfile: Dockerfile, args: {VERSION: "1.2"}}
    command: ["serve", "--port", "8000"]
    entrypoint: tini --
    environment: [MODE=fast, "DB=${db.address}:${db.port}"]
    ports: [8000]
    needs: [db, cache]
    extra_hosts: ["other.test:10.0.0.5"]
    healthcheck: {test: [CMD, curl, -f, "http://localhost/"], interval: 1s, timeout: 2s, start_period: 1s}
    volumes: ["data:/data", "./box:/etc/box:ro"]
    tmpfs: ["/tmp:size=64m,mode=1777", /run]
    ulimits: {nofile: {soft: 1024, hard: 4096}, nproc: 64}
    limits: {cpus: 0.5, memory: 150MiB, cpuset: "0-1,3", pids: 64}
    shm_size: 128MiB
    user: "1000:1000"
    working_dir: /srv
    cap_add: [NET_BIND_SERVICE]
    cap_drop: [ALL]
services:
  db:
    image: registry.example.com:5000/team/pg:16@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    port: 5432
    lifetime: run
    environment: {POSTGRES_PASSWORD: "${HOME}", N: 5}
    prepare: ["psql -c 'select 1'", [psql, -c, "select ${db.port}"]]
    prepare_timeout: 1m
    ready: {timeout: 90s}
    sysctls: {kernel.shm_rmid_forced: 1}
  cache: {image: redis, port: 6379, depends_on: {db: {condition: service_healthy}}, place: {disk: fast}}
loads:
  steady: {clients: 4, duration: 5s}
"""
WITH_FILES = """\
campaign: files
targets: {a: {url: "http://127.0.0.1:18401/items/${row.id}"}}
loads:
  rows: {clients: 2, requests: 10, data: {file: rows.csv}, headers: {X-Name: "${row.name}"}}
  lines: {clients: 2, requests: 10, data: {file: rows.jsonl, order: random}, body: '{"id": "${row.id}"}'}
"""
LISTED = """\
campaign: listed
targets: {a: {url: "http://127.0.0.1:18401/"}}
loads: {mix: {clients: 2, count: 10, requests: {from: requests.txt}}}
"""
EXPECTING = """\
campaign: expecting
targets: {a: {url: "http://127.0.0.1:18401/", expect: EXPECT}}
loads: {l: {clients: 2, requests: 10}}
"""
EXPECT = (
    b"{status: 200, json: {day: 2024-01-01, n: [1, 2.5, null, true], text: caf\xc3\xa9}}",
    b"{status: [200, 404], body: ok, size: 12B}",
    b"{json: [[[{a: 1e400}]]]}",
)
CSV_ROWS = b'id,name\n1,"M\xc3\xbcller, A"\n2,"two ""quotes"""\n3,plain\n'
JSON_ROWS = b'{"id": 1, "name": "a"}\n{"id": "b/c", "name": null}\n{"id": [1], "name": {"x": 2}}\n'
REQUESTS = b"""\
# one a line
/a
/search?q=[x]&y=%zz
http://example.test/path?q=1#f
{"path": "/cart", "method": "PUT", "json": {"a": [1]}, "weight": 2, "name": "cart"}
{"path": "/x", "headers": {"X-A": "b"}, "body": "text", "expect": {"status": [200, 404]}, "timeout": "1s"}
"""
COMMAND_LINES = (
    b"bench http://127.0.0.1:8000/ -c 10 -d 5s --slo p99<50ms -H X-A:\xc2\xa0b --timeout 1s --expect-status 200",
    b"bench http://[::1]:8000/a?b=[c] --rate 500/s --arrivals poisson --paths /a,/b --agents 2 --repeat 3 -X put",
    b"bench ws://127.0.0.1/chat -n 100 --data hi",
    b"saturate https://example.test/ --slo p99<50ms --precision 5% --window 5s --highest 900/s --budget 25 --insecure",
    b"sweep http://127.0.0.1/ --clients 1,2,4 -d 2s --repeat 2 --http2 -m 4 --data-file body.bin",
)
LIMITS = (b"throughput<-5%, p99>10%, errors>0.1%", b"service p99>10%, response p50>5%, max>100%")
SSH_CONFIG = b"""\
Host web1 gen*
  Hostname 198.18.0.11
  User bench
  Port 2222
  IdentityFile ~/.ssh/id_%r
  UserKnownHostsFile ~/.ssh/known_%h ${HOME}/k
  ProxyJump ops@[::1]:22,second
Match host web1 user bench
  Ciphers aes128-ctr
  IdentitiesOnly yes
"""
CHECKSUMS = json.dumps(
    {
        "run": "bench-20261126T005555Z",
        "trial": "0001-url-load",
        "files": {"trial.json": "0" * 64, "agents.msgpack": "0" * 64},
    },
    indent=1,
).encode()
