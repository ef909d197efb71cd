#!/bin/sh
# Start Redis on REDIS_PORT, without snapshots; with REDIS_PASSWORD, clients must give it.
set -eu
umask 077

[ "${1:-redis-server}" = redis-server ] || case $1 in -*) set -- redis-server "$@" ;; *) exec "$@" ;; esac
[ $# -eq 0 ] || shift

# A file: an argument with the password could be read by every process of the host.
{
    echo "port $REDIS_PORT"
    echo "bind * -::*"
    echo 'save ""'
    if [ -n "${REDIS_PASSWORD:-}" ]; then
        printf 'requirepass "%s"\n' "$(printf %s "$REDIS_PASSWORD" | sed 's/[\\"]/\\&/g')"
    else
        echo "protected-mode no"
    fi
} > /tmp/redis.conf
exec redis-server /tmp/redis.conf "$@"
