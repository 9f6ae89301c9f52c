#!/usr/bin/env bash
# The dashboard's queries and the alerts' metrics against a real Prometheus that scrapes a running
# gateway. See dashboard.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"

need prometheus "apt-get install prometheus"
need_python yaml
gateway=$(find_gateway)
[ -n "$gateway" ] || skip "needs the gateway's binary (cargo build)"
GATEWAY=$gateway exec "$python" "$root/tests/deploy/dashboard.py"
