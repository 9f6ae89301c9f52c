#!/usr/bin/env bash
# Runs every test, from formatting to the image in a container. A part that needs something this
# machine lacks is skipped, by name; with INCIDENT_GATEWAY_NO_SKIP=1 (as .ci/run sets it) that
# counts as failed. `.ci/run` installs what is needed.
#
# The last line counts the parts: N passed, N failed, N skipped
set -euo pipefail
cd "$(dirname "$0")"

binary=${CARGO_TARGET_DIR:-target}/debug/incident-gateway
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=() failed=() skipped=() reasons=()

# Runs a command as a part. A part that says SKIPPED at the start of a line and succeeds counts as
# skipped.
part() { # NAME COMMAND…
  local name=$1 started=$SECONDS verdict
  shift
  printf '\n==== %s\n' "$name"
  if ! "$@" </dev/null 2>&1 | tee "$log"; then
    verdict=FAILED
    failed+=("$name")
  elif grep -q '^SKIPPED' "$log"; then
    verdict=skipped
    skipped+=("$name")
  else
    verdict=passed
    passed+=("$name")
  fi
  while read -r reason; do reasons+=("$reason"); done < <(grep '^SKIPPED' "$log" || true)
  printf -- '---- %s: %s, %ss\n' "$name" "$verdict" "$((SECONDS - started))"
}

skip() { # NAME WHY
  echo "SKIPPED $1: $2"
  [ -z "${INCIDENT_GATEWAY_NO_SKIP:-}" ]
}

# A tool of the Rust toolchain that some installations leave out.
component() { # NAME COMMAND…
  local name=$1
  shift
  cargo "$name" --version >/dev/null 2>&1 || { skip "$name" "cargo $name is not installed (rustup component add)"; return; }
  "$@"
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked; }

fuzzing() {
  command -v c++ >/dev/null || { skip fuzzing "needs a C++ compiler (apt-get install g++)"; return; }
  fuzz/run 8
}

command -v cargo >/dev/null || { echo "test.sh: needs Rust 1.95 or later: https://rustup.rs" >&2; exit 1; }

part formatting component fmt cargo fmt --check
part clippy component clippy cargo clippy --all-targets --locked -- -D warnings
part documentation documentation
part tests cargo test --locked
part interface tests/openapi/schemathesis.sh "$binary"
part browser tests/browser/run.sh "$binary"
part deployment tests/deploy/all.sh
[ ! -x fuzz/run ] || part fuzzing fuzzing

printf '\n====\n'
[ ${#reasons[@]} -eq 0 ] || printf '%s\n' "${reasons[@]}"
[ ${#failed[@]} -eq 0 ] || echo "FAILED: ${failed[*]}"
echo "${#passed[@]} passed, ${#failed[@]} failed, ${#skipped[@]} skipped"
[ ${#failed[@]} -eq 0 ]
