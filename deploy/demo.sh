#!/usr/bin/env bash
# The main job on this machine: Flask against FastAPI, first in the published limits, in which FastAPI does not fit, then
# in the smallest limits in which both do. About three minutes; fewer repetitions than the campaign files ask for.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== 1/2  one CPU and 100 MiB, as published: expect INVALID for FastAPI, with the reason"
code=0
.venv/bin/volley run configs/campaigns/flask-vs-fastapi.yaml --set repetitions=1 || code=$?
if [ "$code" != 3 ]; then
  echo "demo: exit code 3 (a result is INVALID) was expected and $code came" >&2
  exit 1
fi

echo
echo "== 2/2  one CPU and 150 MiB: both fit"
.venv/bin/volley run configs/campaigns/flask-vs-fastapi-fair.yaml --set repetitions=3
