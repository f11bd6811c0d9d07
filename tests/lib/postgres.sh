#!/usr/bin/env bash
# A private PostgreSQL cluster on a socket in a temporary directory, run as an unprivileged user, removed at the end.
#   postgres.sh run      prints a database URL and runs until interrupted
set -euo pipefail
[ "${1:-}" = run ] || { echo "usage: postgres.sh run" >&2; exit 2; }
programs=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
dir=$(mktemp -d)
as=()
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$dir"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups --inh-caps=-all --no-new-privs)
fi
trap 'rm -rf "$dir"' EXIT
"${as[@]}" "$programs/initdb" -D "$dir/data" -U causeway --auth=trust --encoding=UTF8 --no-instructions >/dev/null
echo "database-url: postgres://causeway@localhost/postgres?host=$dir"
"${as[@]}" "$programs/postgres" -D "$dir/data" -c listen_addresses= -c unix_socket_directories="$dir"
