# shellcheck shell=bash
# Sourced by the tests here: finds the tools, and skips by name where one is lacking.
# With INCIDENT_GATEWAY_NO_SKIP=1 (as CI sets it) a skip is a failure.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
test_name=$(basename "$0" .sh)

skip() {
  echo "SKIPPED tests/deploy/$test_name: $*" >&2
  [ "${INCIDENT_GATEWAY_NO_SKIP:-}" != 1 ] || { echo "FAILED tests/deploy/$test_name: INCIDENT_GATEWAY_NO_SKIP=1 allows no skip" >&2; exit 1; }
  exit 0
}

need() { # COMMAND HOW-TO-GET-IT
  command -v "$1" >/dev/null || skip "needs $1 ($2)"
}

# The virtual environment that .ci/install-deploy makes, else whatever Python is there.
python=$root/target/deploy-venv/bin/python
[ -x "$python" ] || python=python3

need_python() { # MODULE…
  need "$python" "apt-get install python3"
  for module in "$@"; do
    "$python" -c "import $module" 2>/dev/null || skip "needs the Python module $module (run .ci/install-deploy)"
  done
}

# The gateway's binary: $GATEWAY, else the newest that cargo has built here. Empty when there is
# none.
find_gateway() {
  if [ -n "${GATEWAY:-}" ]; then echo "$GATEWAY"; return; fi
  ls -t "$root"/target/{release,debug}/incident-gateway 2>/dev/null | head -n 1 || true
}
