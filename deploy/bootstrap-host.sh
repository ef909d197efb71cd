#!/usr/bin/env bash
# Install the system packages that this machine needs; see the script in the package for the roles.
# The real script is part of the package, so that an installed Volley can send it to hosts.
exec "$(dirname "$(readlink -f "$0")")/../orchestrator/fleet/bootstrap-host.sh" "$@"
