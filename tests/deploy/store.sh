#!/usr/bin/env bash
# The runbook's commands on a store: backup and restore of SQLite and PostgreSQL, the dump that DuckDB
# reads, one person's records deleted. See store.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"

need sqlite3 "apt-get install sqlite3"
need curl "apt-get install curl"
need_python duckdb
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || skip "needs PostgreSQL (apt-get install postgresql)"
gateway=$(find_gateway)
[ -n "$gateway" ] || skip "needs the gateway's binary (cargo build)"
GATEWAY=$gateway exec "$python" "$root/tests/deploy/store.py"
