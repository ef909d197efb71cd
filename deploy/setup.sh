#!/usr/bin/env bash
# Set up this checkout on one machine: system packages, .venv from the lock, a Docker engine, the base
# image. Steps that are already done are skipped.
#
#   deploy/setup.sh [python|development|system|engine|base]...     all but development by default
#
# python: .venv with what users need; development: with the tools of the tests and checks, too.
set -euo pipefail
cd "$(dirname "$0")/.."
# An activated .venv is first in PATH, and is about to be replaced.
PATH=${PATH//"$PWD/.venv/bin:"/}

# python_environment LOCK: an environment for development serves users as well.
python_environment() {
  local lock=$1 stamp=.venv/.volley-lock
  local want
  want=$(cat deploy/*.lock pyproject.toml | sha256sum | cut -d ' ' -f 1)
  if [ -f "$stamp" ] && .venv/bin/volley --version >/dev/null 2>&1; then
    case "$(cat "$stamp")" in "$want $lock" | "$want deploy/development.lock") return 0 ;; esac
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
  echo "python: creating .venv with $("$python" --version) from $lock (about a minute)"
  rm -rf .venv
  "$python" -m venv .venv
  # The lock for development has what builds this project, too.
  local build=()
  [ "$lock" = deploy/development.lock ] || build=(-r deploy/build.lock)
  .venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r "$lock" "${build[@]}"
  .venv/bin/pip install -qq --disable-pip-version-check --no-build-isolation --no-deps -e .
  echo "$want $lock" >"$stamp"
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(system python engine base)
for step in "${steps[@]}"; do
  case "$step" in
    system) deploy/bootstrap-host.sh ;;
    python) python_environment deploy/requirements.lock ;;
    development) python_environment deploy/development.lock ;;
    engine) deploy/engine.sh status || deploy/engine.sh up ;;
    base) deploy/base-image.sh ;;
    *)
      sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//' >&2
      exit 2
      ;;
  esac
done
