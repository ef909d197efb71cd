#!/bin/sh
# Start PostgreSQL. The first start on empty data makes role and database from the environment:
#   POSTGRES_PASSWORD (or POSTGRES_HOST_AUTH_METHOD=trust), POSTGRES_USER, POSTGRES_DB, PGPORT, PGDATA
set -eu

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

[ "${1:-postgres}" = postgres ] || case $1 in -*) set -- postgres "$@" ;; *) exec "$@" ;; esac
[ $# -eq 0 ] || shift

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "POSTGRES_PASSWORD is not set: set it in 'environment', or POSTGRES_HOST_AUTH_METHOD: trust" >&2
        exit 1
    fi
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    cp -R /var/lib/postgresql/template/. "$PGDATA"
    if [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ]; then
        echo "host all all all trust" > "$PGDATA/pg_hba.conf.first"
        cat "$PGDATA/pg_hba.conf" >> "$PGDATA/pg_hba.conf.first"
        mv "$PGDATA/pg_hba.conf.first" "$PGDATA/pg_hba.conf"
    fi
    # On a socket of its own: nobody can connect, and no health check succeeds, before everything is there.
    sockets=$(mktemp -d)
    pg_ctl --silent --wait --log="$sockets/log" \
        --options="-c listen_addresses='' -c unix_socket_directories='$sockets' -c fsync=off" start \
        || { cat "$sockets/log" >&2; exit 1; }
    run() { psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$sockets" "$@"; }
    if [ "$user" != postgres ]; then
        echo 'CREATE ROLE :"name" SUPERUSER LOGIN' | run --username=postgres --dbname=postgres --set=name="$user"
    fi
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
        # From the environment: an argument could be read by every process of the host.
        printf '%s\n' '\getenv secret POSTGRES_PASSWORD' 'ALTER ROLE :"name" PASSWORD :'"'secret'" \
            | run --username=postgres --dbname=postgres --set=name="$user"
    fi
    if [ "$database" != postgres ]; then
        echo 'CREATE DATABASE :"name" OWNER :"owner"' \
            | run --username=postgres --dbname=postgres --set=name="$database" --set=owner="$user"
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) PGHOST=$sockets PGUSER=$user PGDATABASE=$database sh "$file" ;;
            *.sql) run --username="$user" --dbname="$database" --file="$file" ;;
        esac
    done
    pg_ctl --silent --wait --mode=fast stop
    rm -rf "$sockets"
fi

exec postgres -c listen_addresses='*' "$@"
