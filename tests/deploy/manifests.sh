#!/usr/bin/env bash
# The Kubernetes manifests: rendered, held to the API's schemas, to the restricted Pod Security
# Standard, to each other's names and keys, and their config.yaml to the gateway itself. See
# manifests.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"

need kubectl "apt-get install kubernetes-client, 1.22 or later"
kubectl kustomize --help 2>&1 | grep -q -- '--load-restrictor' || skip "needs kubectl 1.22 or later: this one's kustomize is too old"
need openssl "apt-get install openssl"
need_python yaml kubernetes_validate jsonschema
gateway=$(find_gateway)
[ -n "$gateway" ] || skip "needs the gateway's binary (cargo build)"
GATEWAY=$gateway exec "$python" "$root/tests/deploy/manifests.py"
