#!/usr/bin/env bash
# The configurations of Prometheus and Alertmanager, recording rules and alerts: valid, and each alert
# seen firing and silent. See alerts.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"

need promtool "apt-get install prometheus"
need amtool "apt-get install prometheus-alertmanager"
need_python yaml
cd "$root/deploy/prometheus"
promtool test rules tests.yaml
exec "$python" "$root/tests/deploy/alerts.py"
