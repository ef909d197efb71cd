#!/usr/bin/env bash
# Check the documentation and build it into build/docs, with mkdocs in an environment of its own, .venv-docs.
# Links, anchors, warnings and readability all fail the build. Needs .venv (make python).
set -euo pipefail
cd "$(dirname "$0")/../.."

stamp=.venv-docs/.volley-lock
want=$(sha256sum <deploy/docs/requirements.lock)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
  echo "docs: creating .venv-docs from deploy/docs/requirements.lock"
  rm -rf .venv-docs
  "$(readlink -f .venv/bin/python)" -m venv .venv-docs
  .venv-docs/bin/pip install -qq --disable-pip-version-check --require-hashes -r deploy/docs/requirements.lock
  echo "$want" >"$stamp"
fi
.venv/bin/python -m deploy.docs
# Material's advertisement for another program is not a warning about these pages.
NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --quiet
echo "docs: build/docs/index.html"
