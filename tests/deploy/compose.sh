#!/usr/bin/env bash
# deploy/compose.yaml: every service configured; gateway, PostgreSQL, Alertmanager and demo upstream
# running, a scaled-down copy beside them. Where the image of PostgreSQL or Alertmanager cannot be
# had, Debian's program in an image with the same interface (postgres/, alertmanager/) stands in for
# it. Prometheus and Grafana run too where their images can be had. Takes the image that image.sh has
# built.
set -euo pipefail
. "$(dirname "$0")/need.sh"

need docker "apt-get install docker.io"
docker info >/dev/null 2>&1 || skip "needs a running Docker engine (docker info fails)"
if docker compose version >/dev/null 2>&1; then compose="docker compose"
elif command -v docker-compose >/dev/null; then compose=docker-compose
else skip "needs Docker Compose (apt-get install docker-compose)"; fi
need curl "apt-get install curl"
need htpasswd "apt-get install apache2-utils"
need openssl "apt-get install openssl"
export GATEWAY_IMAGE=${GATEWAY_IMAGE:-incident-gateway}
docker image inspect "$GATEWAY_IMAGE" >/dev/null 2>&1 || skip "needs the image $GATEWAY_IMAGE (tests/deploy/image.sh builds it)"

# ports that nobody else on this machine is likely to hold; below those that the kernel gives to
# clients
settings=$(mktemp -d)
cat > "$settings/first.env" <<'ENV'
GATEWAY_PORT=28100
ADMIN_PORT=28101
PROMETHEUS_PORT=28102
GRAFANA_PORT=28103
ALERTMANAGER_PORT=28104
PUBLIC_URL=http://localhost:28100
CACHE_TTL=5s
ENV
sed -e 's/19000/28110/; s/19001/28111/; s/19090/28112/; s/13000/28113/; s/19093/28114/' "$root/deploy/small.env.example" > "$settings/small.env"
# of every priority: the demo upstream has a critical one every few minutes
mkdir "$settings/gateway"
sed 's/priority: critical/priority: [low, medium, high, critical]/' "$root/deploy/gateway/config.yaml" > "$settings/gateway/config.yaml"
export GATEWAY_CONFIG_FOLDER=$settings/gateway
export SECRETS=$settings/secrets
password=$("$root/deploy/create-secrets" "$SECRETS" | sed -n 's/^user admin, password \([0-9a-f]*\) .*/\1/p')

project=gateway-test-$$
run() { # ENV-FILE PROJECT ARGUMENT…
  local env=$1 name=$2
  shift 2
  $compose -f "$root/deploy/compose.yaml" --env-file "$env" -p "$name" "$@"
}
finish() {
  run "$settings/first.env" "$project" down -v >/dev/null 2>&1 || true
  run "$settings/small.env" "$project-small" down -v >/dev/null 2>&1 || true
  rm -rf "$settings"
}
trap finish EXIT

fail() { echo "FAIL $*"; run "$settings/first.env" "$project" logs --tail 20 >&2; exit 1; }

# every variable that compose.yaml takes is listed in .env.example with the same default, and none
# besides
diff <(grep -Eo '\$\{[A-Z_]*:?-[^}]*\}' "$root/deploy/compose.yaml" | sed 's/^\${//; s/}$//; s/:\?-/=/' | sort -u) \
     <(grep -v '^#' "$root/deploy/.env.example" | grep . | sort -u) || fail ".env.example and compose.yaml disagree"
run "$root/deploy/.env.example" "$project" config -q || fail "compose.yaml is not valid"

services=(gateway upstream)
for service in postgres alertmanager prometheus grafana; do
  image=$(sed -n "s/^${service^^}_IMAGE=//p" "$root/deploy/.env.example")
  if docker image inspect "$image" >/dev/null 2>&1 || timeout 120 docker pull -q "$image" >/dev/null 2>&1; then
    services+=("$service")
  elif [ -d "$root/tests/deploy/$service" ]; then
    echo "note: Debian's program stands in for the image $image, which cannot be had here"
    export "${service^^}_IMAGE=incident-gateway-test-$service"
    docker build -q -t "incident-gateway-test-$service" "$root/tests/deploy/$service" >/dev/null 2>&1 \
      || fail "docker build tests/deploy/$service"
    services+=("$service")
  else
    echo "note: $service is not run: its image $image cannot be had here"
  fi
done

run "$settings/first.env" "$project" up -d --no-build "${services[@]}" 2>/dev/null || fail "up"
run "$settings/small.env" "$project-small" up -d --no-build "${services[@]}" 2>/dev/null || fail "up, the second copy"

await() { # WHAT COMMAND…
  local what=$1 end=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || fail "waited 60s for $what"; sleep 0.3; done
}
complete() { curl -fsS -u "admin:$password" -D - -o /dev/null "http://127.0.0.1:$1/incidents" | grep -qi '^incident-completeness: complete'; }
healthy() { # PROJECT SERVICE
  [ "$(docker inspect -f '{{.State.Health.Status}}' "$(docker ps -q -f label=com.docker.compose.project="$1" -f label=com.docker.compose.service="$2")")" = healthy ]
}
for service in "${services[@]}"; do
  [ "$service" = upstream ] || { await "$service to be healthy" healthy "$project" "$service"; await "the second $service" healthy "$project-small" "$service"; }
done
await "complete answers on 28100" complete 28100
await "complete answers on 28110" complete 28110

# nobody reads without signing in, on either listener; Prometheus' token opens /metrics and nothing else
status() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
as_prometheus="Authorization: Bearer $(cat "$SECRETS/prometheus/token")"
for expected in "401 :28100/incidents" "401 :28101/metrics" "200 :28101/healthz" "200 :28101/readyz"; do
  read -r code address <<< "$expected"
  [ "$(status "http://127.0.0.1$address")" = "$code" ] || fail "$address without credentials: not $code"
done
[ "$(status -H "$as_prometheus" http://127.0.0.1:28101/metrics)" = 200 ] || fail "Prometheus' token does not open /metrics"
[ "$(status -H "$as_prometheus" http://127.0.0.1:28100/incidents)" = 403 ] || fail "Prometheus' token opens /incidents"

# a new user, by rename as an editor would, is let in without a restart
second=$(openssl rand -hex 8)
{ cat "$SECRETS/gateway/users"; printf '%s' "$second" | htpasswd -niB -C 4 second; } > "$SECRETS/gateway/users.new"
mv "$SECRETS/gateway/users.new" "$SECRETS/gateway/users"
run "$settings/first.env" "$project" kill -s HUP gateway >/dev/null 2>&1
await "the second user" curl -fsS -o /dev/null -u "second:$second" http://127.0.0.1:28100/incidents

# the store: the history fills, the gateway goes on without PostgreSQL and takes it back
metric() { curl -fsS -H "$as_prometheus" http://127.0.0.1:28101/metrics | sed -n "s/^incident_gateway_$1 //p"; }
is() { [ "$(metric "$1")" = "$2" ]; } # METRIC VALUE
remembered() { curl -fsS -u "admin:$password" 'http://127.0.0.1:28100/history?limit=1' | grep -q '"count":1,'; }
await "a record in the history" remembered
is store_leader 1 || fail "the only gateway does not hold the lease"
run "$settings/first.env" "$project" stop postgres >/dev/null 2>&1
await "the store to be down" is store_up 0
complete 28100 || fail "no complete answers without PostgreSQL"
# a gateway that starts meanwhile serves, too
run "$settings/first.env" "$project" restart gateway >/dev/null 2>&1
await "complete answers of a gateway that started without PostgreSQL" complete 28100
run "$settings/first.env" "$project" start postgres >/dev/null 2>&1
await "the store to be back" is store_up 1
await "the lease to be held again" is store_leader 1
remembered || fail "the history is gone after a restart of PostgreSQL"

# forwarding: a new incident is an alert that links to the page of its employee
alerts() { curl -fsS 'http://127.0.0.1:28104/api/v2/alerts?filter=alertname=incident'; }
is_alert() { alerts | grep -q '"generatorURL":"http://localhost:28100/employees/'; }
await "an incident in Alertmanager" is_alert
forward() { curl -fsS -u "admin:$password" http://127.0.0.1:28100/sources | grep -Eq '"forwards":\[\{"name":"alertmanager","state":"'"$1"'"'; }
run "$settings/first.env" "$project" stop alertmanager >/dev/null 2>&1
await "the forward to be tried again" forward retrying
complete 28100 || fail "no complete answers without Alertmanager"
run "$settings/first.env" "$project" start alertmanager >/dev/null 2>&1
await "the forward to go on" forward '(idle|sending)'

# without a store, and so without forwards
if ! STORE_URL=none STORE_PASSWORD_FILE='' GATEWAY_CONFIG='' run "$settings/first.env" "$project" \
    run --rm --no-deps -T gateway check >/dev/null 2>"$settings/none"; then
  fail "the gateway refuses to have no store: $(cat "$settings/none")"
fi

id=$(docker ps -q -f label=com.docker.compose.project="$project" -f label=com.docker.compose.service=gateway)
[ "$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Memory}}' "$id")" = "true [ALL] 268435456" ] \
  || fail "the gateway is not locked down: $(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Memory}}' "$id")"
run "$settings/first.env" "$project" stop gateway >/dev/null 2>&1
[ "$(docker inspect -f '{{.State.ExitCode}}' "$id")" = 0 ] || fail "compose stop: exit $(docker inspect -f '{{.State.ExitCode}}' "$id")"
complete 28110 || fail "the second copy did not survive the first one's stop"
echo "ok   ${services[*]} healthy, two copies side by side"
