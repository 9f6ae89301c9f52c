#!/usr/bin/env bash
# Runs the browser tests. They need what .ci/install-web installs. Without it they are skipped with
# a message, or fail if INCIDENT_GATEWAY_NO_SKIP is set. Screenshots are in
# target/web-tools/screenshots.
#
# usage: tests/browser/run.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=${1:-target/debug/incident-gateway}
tools=${INCIDENT_GATEWAY_WEB_TOOLS:-target/web-tools}
for needed in "$tools/node_modules/playwright-core" "$tools/node_modules/axe-core" /usr/bin/chromium; do
    if [ ! -e "$needed" ]; then
        echo "SKIPPED browser tests: no $needed; run .ci/install-web" >&2
        [ -z "${INCIDENT_GATEWAY_NO_SKIP:-}" ]
        exit
    fi
done
timeout 60 node tests/browser/sign_in.mjs "$binary" "$tools"
exec timeout 180 node tests/browser/page.mjs "$binary" "$tools"
