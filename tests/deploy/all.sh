#!/usr/bin/env bash
# Everything here, in the order in which one needs the other: the image first, whose binary the
# others then run, unless GATEWAY names another. INCIDENT_GATEWAY_NO_SKIP=1 makes a skipped test a
# failed one.
set -uo pipefail
cd "$(dirname "$0")" || exit

failed=()
try() {
  local started=$SECONDS
  echo "== tests/deploy/$1.sh"
  "./$1.sh" || failed+=("$1")
  echo "-- $((SECONDS - started))s"
}

try image
if [ -z "${GATEWAY:-}" ] && container=$(docker create "${GATEWAY_IMAGE:-incident-gateway}" 2>/dev/null); then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  docker cp -q "$container:/incident-gateway" "$folder/incident-gateway"
  docker rm "$container" >/dev/null
  export GATEWAY=$folder/incident-gateway
fi
for test in compose dashboard manifests store alerts; do try "$test"; done
[ ${#failed[@]} -eq 0 ] || { echo "FAILED in tests/deploy: ${failed[*]}" >&2; exit 1; }
