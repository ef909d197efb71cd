#!/usr/bin/env bash
# Set up this checkout on one machine: system packages, .venv from the lock, a Docker engine, the base
# image. Steps that are already done are skipped.
#
#   deploy/setup.sh [python|system|engine|base]...     all by default
set -euo pipefail
cd "$(dirname "$0")/.."

python_environment() {
  local stamp=.venv/.volley-lock
  local want
  want=$(cat deploy/requirements.lock pyproject.toml | sha256sum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && .venv/bin/volley --version >/dev/null 2>&1; then
    return 0
  fi
  local python=""
  for candidate in python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "python: Volley needs Python 3.11 or newer with venv. Run: sudo apt-get install python3 python3-venv" >&2
    return 1
  fi
  echo "python: creating .venv with $("$python" --version) from deploy/requirements.lock (about a minute)"
  rm -rf .venv
  "$python" -m venv .venv
  .venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r deploy/requirements.lock
  .venv/bin/pip install -qq --disable-pip-version-check --no-build-isolation --no-deps -e .
  echo "$want" >"$stamp"
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(system python engine base)
for step in "${steps[@]}"; do
  case "$step" in
    system) deploy/bootstrap-host.sh ;;
    python) python_environment ;;
    engine) deploy/engine.sh status || deploy/engine.sh up ;;
    base) deploy/base-image.sh ;;
    *)
      sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//' >&2
      exit 2
      ;;
  esac
done
