#!/usr/bin/env bash
# Compare Flask with FastAPI over four hosts on one machine, and remove the hosts afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."
hosts=configs/inventories/lab.yaml

deploy/lab/lab up --hosts 4
trap 'deploy/lab/lab down' EXIT
.venv/bin/volley hosts check --hosts "$hosts"
echo
.venv/bin/volley run configs/campaigns/flask-vs-fastapi-fair.yaml --hosts "$hosts" --dry-run
echo
.venv/bin/volley run configs/campaigns/flask-vs-fastapi-fair.yaml --hosts "$hosts" --set repetitions=2 --set agents=3
