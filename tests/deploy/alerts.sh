#!/usr/bin/env bash
# Prometheus' configuration, recording rules and alerts: valid, and each alert seen firing and
# silent. See alerts.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"

need promtool "apt-get install prometheus"
need_python yaml
cd "$root/deploy/prometheus"
promtool test rules tests.yaml
exec "$python" "$root/tests/deploy/alerts.py"
