#!/usr/bin/env bash
# Start a Docker engine on a machine without one, or stop it again; see the script in the package.
# The real script is part of the package, so that `volley doctor --fix` can use it.
VOLLEY_ENGINE_COMMAND=$0 exec "$(dirname "$(readlink -f "$0")")/../orchestrator/fleet/engine.sh" "$@"
