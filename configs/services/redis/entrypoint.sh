#!/bin/sh
# Start Redis on REDIS_PORT, without snapshots; with REDIS_PASSWORD, clients must give it.
set -eu

[ "${1:-redis-server}" = redis-server ] || case $1 in -*) set -- redis-server "$@" ;; *) exec "$@" ;; esac
[ $# -eq 0 ] || shift

# A file: an argument with the password could be read by every process of the host.
{
    echo "port $REDIS_PORT"
    echo "bind * -::*"
    echo 'save ""'
    if [ -n "${REDIS_PASSWORD:-}" ]; then
        echo "requirepass \"$REDIS_PASSWORD\""
    else
        echo "protected-mode no"
    fi
} > /tmp/redis.conf
exec redis-server /tmp/redis.conf "$@"
