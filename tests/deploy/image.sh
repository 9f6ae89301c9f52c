#!/usr/bin/env bash
# Builds the image as a newcomer would, from what git would give him and nothing else, and runs it
# as its users do. See image.py. GATEWAY_IMAGE names an image to test instead of building one.
set -euo pipefail
. "$(dirname "$0")/need.sh"

need docker "apt-get install docker.io"
docker info >/dev/null 2>&1 || skip "needs a running Docker engine (docker info fails)"
need openssl "apt-get install openssl"
need htpasswd "apt-get install apache2-utils"
need_python json

if [ -z "${GATEWAY_IMAGE:-}" ]; then
  GATEWAY_IMAGE=incident-gateway
  context=$(mktemp -d)
  trap 'rm -rf "$context"' EXIT
  cd "$root"
  # tracked files and new ones, as they are now; nothing that git ignores
  git ls-files -z --cached --others --exclude-standard | tar --null --files-from - --ignore-failed-read -c | tar -C "$context" -x
  revision=$(git rev-parse HEAD)
  started=$SECONDS
  docker build -q -t "$GATEWAY_IMAGE" --build-arg REVISION="$revision" "$context" >/dev/null
  echo "ok   built in $((SECONDS - started))s"
  export REVISION=$revision
fi
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
export GATEWAY_IMAGE VERSION
"$python" "$root/tests/deploy/image.py"
