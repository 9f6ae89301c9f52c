"""Holds tests.yaml to alerts.yaml and recording.yaml: every alert has a firing and a silent case that promtool checks,
every recorded series an expected value, every alert a runbook section that exists; and proves that the cases can fail.
Prometheus' own configurations must be valid, scrape with a token, and send alerts to Alertmanager; Alertmanager's must be
valid with its examples, and route each kind of alert to its receiver."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ROOT / "deploy" / "prometheus"


def rules(file, kind):
    return [rule for group in yaml.safe_load((TREE / file).read_text())["groups"] for rule in group["rules"] if kind in rule]


def anchors(page):
    """The anchors that a Markdown page's headings get."""
    for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def coverage_faults():
    firing, silent, recorded = set(), set(), ""
    for test in yaml.safe_load((TREE / "tests.yaml").read_text())["tests"]:
        for case in test.get("alert_rule_test", []):
            (firing if case["exp_alerts"] else silent).add(case["alertname"])
        recorded += "".join(case["expr"] + "\n" for case in test.get("promql_expr_test", []))
    for rule in rules("alerts.yaml", "alert"):
        if rule["alert"] not in firing:
            yield f"{rule['alert']}: no test in which it fires"
        if rule["alert"] not in silent:
            yield f"{rule['alert']}: no test in which it stays silent"
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        if not (ROOT / page).is_file() or anchor not in anchors((ROOT / page).read_text()):
            yield f"{rule['alert']}: {page} has no section #{anchor}"
        if rule["labels"]["severity"] not in ("page", "ticket"):
            yield f"{rule['alert']}: unknown severity {rule['labels']['severity']}"
    for rule in rules("recording.yaml", "record"):
        if rule["record"] not in recorded:
            yield f"{rule['record']}: no test of its value"


def blind_spots():
    """Turns every alert off, then always on: promtool has to name each one both times."""
    for change in ("vector(1) > 2", "vector(1)"):
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder) / "prometheus"
            shutil.copytree(TREE, tree)
            changed = yaml.safe_load((tree / "alerts.yaml").read_text())
            for rule in changed["groups"][0]["rules"]:
                rule |= {"expr": change, "for": "0s"}
            (tree / "alerts.yaml").write_text(yaml.safe_dump(changed))
            done = subprocess.run(["promtool", "test", "rules", "tests.yaml"], cwd=tree, capture_output=True,
                                  text=True, check=False)
        noticed = set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr))
        for rule in rules("alerts.yaml", "alert"):
            if rule["alert"] not in noticed:
                yield f"{rule['alert']}: as `{change}`, every test still passes"


def configuration_faults():
    """Prometheus reads both of its configurations, with the token and the authority that they name in place."""
    for file in ("prometheus.yml", "kubernetes.yml"):
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder) / "prometheus"
            shutil.copytree(TREE, tree)
            config = yaml.safe_load((tree / file).read_text())
            scrape = config["scrape_configs"][0]
            # Debian's promtool knows no discovery by Kubernetes
            scrape.pop("kubernetes_sd_configs", None)
            for section, key in (("authorization", "credentials_file"), ("tls_config", "ca_file")):
                if key in scrape.get(section, {}):
                    (tree / key).write_text("")
                    scrape[section][key] = str(tree / key)
            if not config["alerting"]["alertmanagers"]:
                yield f"{file}: no Alertmanager gets the alerts"
            if "authorization" not in scrape:
                yield f"{file}: scrapes without a token"
            (tree / file).write_text(yaml.safe_dump(config))
            done = subprocess.run(["promtool", "check", "config", file], cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            yield f"{file}: {done.stderr.strip()}"


def routing_faults():
    """Alertmanager reads its configuration, the examples in it too, and tells the right people."""
    text = (ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text()
    examples = re.sub(r"^    # ((?:webhook|email|pagerduty)_configs:|  .*)$", r"    \1", text, flags=re.MULTILINE)
    read = {key for receiver in yaml.safe_load(examples)["receivers"] for key in receiver}
    if read != {"name", "webhook_configs", "email_configs", "pagerduty_configs"}:
        yield f"alertmanager.yml: the examples are {read}"
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("plain.yml", text), ("examples.yml", examples)):
            file = pathlib.Path(folder) / name
            file.write_text(content)
            done = subprocess.run(["amtool", "check-config", file], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                yield f"alertmanager.yml ({name}): {done.stdout}{done.stderr}"
    for labels, receiver in ((("alertname=incident", "priority=critical", "employee_id=1"), "security"),
                             (("alertname=IncidentGatewayDown", "severity=page"), "operators"),
                             (("alertname=IncidentGatewayStoreDown", "severity=ticket"), "nobody")):
        done = subprocess.run(["amtool", "config", "routes", "test", f"--config.file={ROOT}/deploy/alertmanager/alertmanager.yml",
                               *labels], capture_output=True, text=True, check=False)
        if done.stdout.strip() != receiver:
            yield f"alertmanager.yml: {labels} goes to {done.stdout.strip()}{done.stderr.strip()}, not to {receiver}"


def main():
    found = [*configuration_faults(), *routing_faults(), *coverage_faults(), *blind_spots()]
    for fault in found:
        print(f"FAIL {fault}")
    if not found:
        print(f"ok   {len(rules('alerts.yaml', 'alert'))} alerts, {len(rules('recording.yaml', 'record'))} recorded series")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
