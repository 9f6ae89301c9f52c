#!/usr/bin/env bash
# The dashboard's queries and the alerts' metrics against a real Prometheus that scrapes a running
# gateway, which forwards to a real Alertmanager. See dashboard.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"

need prometheus "apt-get install prometheus"
need prometheus-alertmanager "apt-get install prometheus-alertmanager"
need_python yaml
gateway=$(find_gateway)
[ -n "$gateway" ] || skip "needs the gateway's binary (cargo build)"
GATEWAY=$gateway exec "$python" "$root/tests/deploy/dashboard.py"
