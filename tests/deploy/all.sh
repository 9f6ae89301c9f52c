#!/usr/bin/env bash
# Everything here, in the order in which one needs the other. DEPLOY_TESTS=all makes a skipped test a failed one.
set -uo pipefail
cd "$(dirname "$0")"

failed=()
for test in alerts manifests dashboard image compose; do
  started=$SECONDS
  echo "== tests/deploy/$test.sh"
  ./"$test.sh" || failed+=("$test")
  echo "-- $((SECONDS - started))s"
done
[ ${#failed[@]} -eq 0 ] || { echo "FAILED in tests/deploy: ${failed[*]}" >&2; exit 1; }
