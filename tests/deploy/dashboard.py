"""Runs the gateway (`serve --demo`), Prometheus with deploy/prometheus and Alertmanager with deploy/alertmanager, then
evaluates every query of the dashboard: none may fail, be empty or be NaN. The metrics that rules and alerts name must be
among those scraped. Alertmanager must have the gateway's incidents. A second gateway, whose upstream and PostgreSQL are not
there, must raise the alerts that this deserves, and the first one, which has SQLite, none.

Reads GATEWAY, the path of the gateway's binary.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "incident-gateway.json"
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
PATIENCE = 60  # seconds for each thing waited for; each is done within a few
METRICS_TOKEN, READER_TOKEN = "token-for-metrics", "token-for-incidents"
DESERVED = {"IncidentGatewaySourceMissing", "IncidentGatewayCircuitOpen", "IncidentGatewayStoreDown"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url, token=None):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def api(base, path, **query):
    try:
        answer = json.loads(get(f"{base}/api/v1/{path}?{urllib.parse.urlencode(query)}"))
    except urllib.error.HTTPError as error:
        raise ValueError(error.read().decode()) from error
    return answer["data"]


def wait_for(what, probe):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            if probe():
                return
        time.sleep(0.25)
    raise SystemExit(f"FAIL waited {PATIENCE}s for {what}")


@contextlib.contextmanager
def running(command, log, **options):
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def dashboard_queries():
    """(title, query) of every panel, with the dashboard's variables filled in as Grafana does."""
    dashboard = json.loads(DASHBOARD.read_text())
    variables = {"$__rate_interval": "1m", "$instance": ".*"}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in variables.items():
                query = query.replace(name, value)
            if "$" in query:
                raise SystemExit(f"FAIL {panel['title']}: a variable that this test does not know: {query}")
            yield panel["title"], query
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", re.fullmatch(r"label_values\((.+), \w+\)", variable["definition"])[1]


def queried_metrics():
    """(where, metric) for each gateway metric that a rule, alert or panel names; recorded series have a colon."""
    expressions = list(dashboard_queries())
    for file in ("recording.yaml", "alerts.yaml"):
        for group in yaml.safe_load((PROMETHEUS / file).read_text())["groups"]:
            expressions += [(rule.get("alert") or rule["record"], rule["expr"]) for rule in group["rules"]]
    for where, expression in expressions:
        for metric in re.findall(r"(?<![\w:])(?:\w+:)?incident_gateway_\w+(?::\w+)?", expression):
            yield where, metric


def raised(prometheus):
    """(alert, instance) of all that is pending or firing; an alert about the whole job has no instance."""
    for alert in api(prometheus, "alerts")["alerts"]:
        yield alert["labels"]["alertname"], alert["labels"].get("instance")


def faults(prometheus, sick):
    for title, query in dashboard_queries():
        try:
            result = api(prometheus, "query", query=query)["result"]
        except ValueError as error:
            yield f"{title}: {query}: {error}"
            continue
        if not result:
            yield f"{title}: empty: {query}"
        elif any(sample["value"][1] == "NaN" for sample in result):
            yield f"{title}: NaN: {query}: {result}"
    scraped = set(api(prometheus, "label/__name__/values"))
    for where, metric in sorted(set(queried_metrics())):
        if metric not in scraped:
            yield f"{where}: no such metric was scraped: {metric}"
    for group in api(prometheus, "rules")["groups"]:
        for rule in group["rules"]:
            if rule["health"] != "ok":
                yield f"{rule['name']}: {rule['health']}: {rule.get('lastError')}"
    for alert, instance in sorted(set(raised(prometheus)), key=str):
        if (alert, instance) not in {(deserved, sick) for deserved in DESERVED}:
            yield f"{alert} is raised for {instance or 'the job'}, without a reason"


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        public, admin, web, alerts, sick_public, sick_admin, nobody = (free_port() for _ in range(7))
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(PROMETHEUS / file) for file in config["rule_files"]]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{admin}", f"127.0.0.1:{sick_admin}"]
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alerts}"]
        # the first gateway asks for sign-in on both listeners; the second is open, and ignores the token
        (folder / "token").write_text(METRICS_TOKEN)
        config["scrape_configs"][0]["authorization"]["credentials_file"] = str(folder / "token")
        (folder / "tokens").write_text("".join(
            f"{name}:{hashlib.sha256(token.encode()).hexdigest()}:{scope}\n"
            for name, token, scope in [("prometheus", METRICS_TOKEN, "metrics"), ("reader", READER_TOKEN, "all")]))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

        gateway = [os.environ["GATEWAY"], "serve", "--demo", "--listen", f"127.0.0.1:{public}",
                   "--admin-listen", f"127.0.0.1:{admin}"]
        # a short ttl, so that there are several refreshes to take rates of; longer than one of them
        # takes (about 5s)
        environment = {"INCIDENT_GATEWAY__CACHE__TTL": "6s", "RUST_LOG": "warn",
                       "INCIDENT_GATEWAY__AUTH__TOKENS_FILE": str(folder / "tokens"),
                       "INCIDENT_GATEWAY__ADMIN__AUTH": "true",
                       "INCIDENT_GATEWAY__STORE__URL": f"sqlite:{folder}/history.db",
                       "INCIDENT_GATEWAY__FORWARD": f"[{{ name: pager, url: 'http://127.0.0.1:{alerts}/api/v2/alerts', "
                                                    "format: alertmanager, select: { priority: critical }, from: beginning }]"}
        sick = [os.environ["GATEWAY"], "serve", "--listen", f"127.0.0.1:{sick_public}",
                "--admin-listen", f"127.0.0.1:{sick_admin}"]
        sick_environment = {"ELEVATE_BASE_URL": f"http://127.0.0.1:{nobody}", "ELEVATE_USERNAME": "u",
                            "ELEVATE_PASSWORD": "p", "RUST_LOG": "error",
                            "INCIDENT_GATEWAY__STORE__URL": f"postgres://gateway@127.0.0.1:{nobody}/gateway"}
        server = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                  f"--web.listen-address=127.0.0.1:{web}", "--log.level=warn"]
        pager = ["prometheus-alertmanager", f"--config.file={ALERTMANAGER}", f"--storage.path={folder}/alerts",
                 f"--web.listen-address=127.0.0.1:{alerts}", "--cluster.listen-address="]
        prometheus = f"http://127.0.0.1:{web}"
        with running(pager, folder / "alertmanager.log"), running(gateway, folder / "gateway.log", env=environment) as process, \
                running(sick, folder / "sick.log", env=sick_environment), \
                running(server, folder / "prometheus.log"):
            try:
                wait_for("Prometheus", lambda: "Ready" in get(f"{prometheus}/-/ready"))
                wait_for("the first scrape", lambda: api(prometheus, "query", query="count(up == 1) == 2")["result"])
                wait_for("data", lambda: get(f"http://127.0.0.1:{admin}/readyz"))
                # An answer to a caller who asks before that takes as long as the budget, and would raise an alert.
                wait_for("every source", lambda: '"completeness":"complete"' in get(f"http://127.0.0.1:{public}/sources", READER_TOKEN))

                def asked_and_counted():
                    # two kinds of answer, so that rates and shares have something to count
                    for path in ("/incidents", "/incidents", "/summary", "/unattributed"):
                        with contextlib.suppress(urllib.error.HTTPError):
                            get(f"http://127.0.0.1:{public}{path}", READER_TOKEN)
                    enough = "count(incident_gateway_source_age_seconds) == 11" \
                        " and min(count_over_time(incident_gateway_source_age_seconds[1m])) > 5" \
                        " and count(job:incident_gateway_cache_answers:ratio_rate5m > 0)" \
                        " and min(increase(incident_gateway_refresh_duration_seconds_count[1m])) > 0" \
                        " and count(job_source:incident_gateway_upstream_failures:ratio_rate5m >= 0) == 11" \
                        " and count(job:incident_gateway_store_write_duration_seconds:p90_10m > 0)" \
                        " and count(incident_gateway_forward_sent_total > 0 and incident_gateway_forward_lag_records == 0)"
                    return api(prometheus, "query", query=enough)["result"]

                wait_for("all sources, scraped several times", asked_and_counted)
                sick_instance = f"127.0.0.1:{sick_admin}"
                wait_for(f"{DESERVED} of the gateway without an upstream",
                         lambda: {(alert, sick_instance) for alert in DESERVED} <= set(raised(prometheus)))
                found = list(faults(prometheus, sick_instance))
                incidents = json.loads(get(f"http://127.0.0.1:{alerts}/api/v2/alerts?filter=alertname=incident"))
                if {alert["receivers"][0]["name"] for alert in incidents} != {"security"}:
                    found.append(f"{len(incidents)} incidents in Alertmanager, not all for the receiver `security`")
            finally:
                if process.poll() is not None:
                    print((folder / "gateway.log").read_text(), (folder / "prometheus.log").read_text(), file=sys.stderr)
    for fault in found:
        print(f"FAIL {fault}")
    if not found:
        print(f"ok   {len(list(dashboard_queries()))} queries, {len(set(queried_metrics()))} uses of metrics")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
