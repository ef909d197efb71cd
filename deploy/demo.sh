#!/usr/bin/env bash
# Compare Flask with FastAPI on this machine: first with the published limits, which FastAPI exceeds,
# then with the smallest limits that both meet. Takes about three minutes, with fewer repetitions than
# the campaign files set.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== 1/2  1 CPU and 100 MiB, as published: FastAPI is expected to be INVALID, with the reason"
code=0
.venv/bin/volley run configs/campaigns/flask-vs-fastapi.yaml --set repetitions=1 || code=$?
if [ "$code" != 3 ]; then
  echo "demo: expected exit code 3 (a result is INVALID), got $code" >&2
  exit 1
fi

echo
echo "== 2/2  1 CPU and 150 MiB: enough for both"
.venv/bin/volley run configs/campaigns/flask-vs-fastapi-fair.yaml --set repetitions=3
