#!/usr/bin/env bash
# Fuzzes a running gateway by its own OpenAPI document: at least 2,000 requests, at most 180 s of
# them, and none of them finds anything. Needs what .ci/install-web installs; without it the run is
# skipped, said loudly, or fails when INCIDENT_GATEWAY_NO_SKIP is set.
#
# usage: tests/openapi/schemathesis.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=${1:-target/debug/incident-gateway}
tool=${INCIDENT_GATEWAY_WEB_TOOLS:-target/web-tools}/venv/bin/schemathesis
if [ ! -x "$tool" ]; then
    echo "SKIPPED schemathesis.sh: no $tool; run .ci/install-web" >&2
    [ -z "${INCIDENT_GATEWAY_NO_SKIP:-}" ]
    exit
fi

work=$(mktemp -d)
# Two ports that were free a moment ago.
read -r public admin < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for each in sockets: each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))')
# With a store, so that there is a history.
INCIDENT_GATEWAY__STORE__URL="sqlite:$work/history.db" \
    "$binary" serve --demo --listen "127.0.0.1:$public" --admin-listen "127.0.0.1:$admin" 2>"$work/log" &
gateway=$!
trap 'kill "$gateway" 2>/dev/null || true; rm -rf "$work"' EXIT

# Every source of the demo has answered after a few seconds.
for _ in $(seq 150); do
    if curl -fsS "http://127.0.0.1:$public/summary?complete=true" >/dev/null 2>&1; then ready=1; break; fi
    sleep 0.2
done
[ -n "${ready:-}" ] || { echo "schemathesis.sh: the gateway did not become complete" >&2; tail -5 "$work/log" >&2; exit 1; }

# /events is left out: a stream has no end to wait for. It has tests of its own.
# Valid conditions give 304 or 412, as they compare with the present answer.
cat >"$work/schemathesis.toml" <<'END'
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "412", "5xx"]

# Cursors that no answer has given are refused, though they look like others.
[[operations]]
include-path = "/history"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "401", "403", "404", "412", "5xx"]
END
(cd "$work" && timeout 180 "$OLDPWD/$tool" run "$OLDPWD/src/http/openapi.json" --url "http://127.0.0.1:$public" \
    --exclude-path /events --max-examples 300 --seed 1 --workers 2 --request-timeout 5 --no-color) | tee "$work/report"

made=$(sed -n 's/^ *\([0-9]*\) generated.*/\1/p' "$work/report" | tail -1)
if [ "${made:-0}" -lt 2000 ]; then
    echo "schemathesis.sh: only ${made:-0} requests were made" >&2
    exit 1
fi
