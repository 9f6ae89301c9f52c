"""Holds deploy/kubernetes to what it must be, and this test to finding what it should: see MUTATIONS.

Reads GATEWAY, the path of the gateway's binary.
"""

import atexit
import functools
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

import manifests_access as access
import manifests_forward as forward
import manifests_store as store

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ROOT / "deploy" / "kubernetes"
OVERLAYS = ["development", "staging", "production", "sqlite", "oauth2-proxy"]
# What needs neither TLS nor sign-in: the demo upstream's data is made up.
OPEN_OVERLAYS = ["development"]
# The oldest API with everything that the manifests use (matchLabelKeys), and the newest that the
# validator knows.
API_VERSIONS = ["1.27", kubernetes_validate.latest_version()]
HASH = re.compile(r"-[a-z0-9]{10}$")


def render(tree, overlay):
    command = ["kubectl", "kustomize", str(tree / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None, [f"{overlay}: does not render: {done.stderr.strip()}"]
    return [doc for doc in yaml.safe_load_all(done.stdout) if doc], []


def schema_faults(docs):
    for doc in docs:
        if doc["kind"] in access.SCHEMAS:
            yield from access.custom_resource_faults(doc)
            continue
        for version in API_VERSIONS:
            try:
                kubernetes_validate.validate(doc, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{doc['kind']}/{doc['metadata']['name']} ({version}): {error.message}"


def of_kind(docs, *kinds):
    return [doc for doc in docs if doc["kind"] in kinds]


def matches(selector, labels):
    return (selector.get("matchLabels") or {}).items() <= labels.items()


class Pods:
    """The pod template of one Deployment, and what its parts are called."""

    def __init__(self, deployment):
        self.name = deployment["metadata"]["name"]
        self.deployment = deployment
        template = deployment["spec"]["template"]
        self.labels = template["metadata"]["labels"]
        self.annotations = template["metadata"].get("annotations", {})
        self.spec = template["spec"]
        self.containers = self.spec["containers"]
        self.ports = {p["name"]: p["containerPort"] for c in self.containers for p in c.get("ports", [])}


def reference_faults(docs, secret_templates):
    """Every name and key that one object uses of another must exist there."""
    have = {(doc["kind"], doc["metadata"]["name"]): doc for doc in docs}
    for template in secret_templates:
        have.setdefault(("Secret", template["metadata"]["name"]), template)
    pods = [Pods(deployment) for deployment in of_kind(docs, "Deployment")]

    def keys_of(kind, name):
        doc = have.get((kind, name))
        return None if doc is None else {**doc.get("data", {}), **doc.get("stringData", {})}

    def missing(user, kind, name, keys):
        present = keys_of(kind, name)
        if present is None:
            yield f"{user}: no {kind} named {name}"
        else:
            yield from (f"{user}: {kind} {name} has no key {key}" for key in keys if key not in present)

    for pod in pods:
        user = f"Deployment/{pod.name}"
        if not matches(pod.deployment["spec"]["selector"], pod.labels):
            yield f"{user}: its selector does not match its pods"
        account = pod.spec.get("serviceAccountName")
        if account and ("ServiceAccount", account) not in have:
            yield f"{user}: no ServiceAccount named {account}"
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            if not matches(constraint["labelSelector"], pod.labels):
                yield f"{user}: a topologySpreadConstraint does not match its pods"
        scraped = pod.annotations.get("prometheus.io/port")
        if scraped and int(scraped) not in pod.ports.values():
            yield f"{user}: prometheus.io/port {scraped} is no port of its containers"

        files = {}  # where a mounted key can be read -> its text
        content = {}  # volume -> path in it -> text
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        for name, volume in volumes.items():
            if "persistentVolumeClaim" in volume:
                yield from missing(user, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], [])
            for kind, source, field in [("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")]:
                if source in volume:
                    ref = volume[source]
                    yield from missing(user, kind, ref[field], [item["key"] for item in ref.get("items", [])])
                    texts = keys_of(kind, ref[field]) or {}
                    items = ref.get("items") or [{"key": key, "path": key} for key in texts]
                    content[name] = {item["path"]: texts.get(item["key"]) for item in items}
        mounted = set()
        for container in pod.containers:
            for mount in container.get("volumeMounts", []):
                mounted.add(mount["name"])
                if mount["name"] not in volumes:
                    yield f"{user}: no volume named {mount['name']}"
                for path, text in content.get(mount["name"], {}).items():
                    files[f"{mount['mountPath']}/{path}"] = text
            for source in container.get("envFrom", []):
                for kind, field in [("ConfigMap", "configMapRef"), ("Secret", "secretRef")]:
                    if field in source:
                        yield from missing(user, kind, source[field]["name"], [])
                        for variable, value in (keys_of(kind, source[field]["name"]) or {}).items():
                            if variable.endswith("_FILE") and value and value not in files:
                                yield f"{user}: {variable} names {value}, where nothing is mounted"
            for variable in container.get("env", []):
                for kind, field in [("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")]:
                    if ref := variable.get("valueFrom", {}).get(field):
                        yield from missing(user, kind, ref["name"], [ref["key"]])
                if variable["name"].endswith(("_FILE", "CONFIG_PATH")) and variable["value"] not in files:
                    yield f"{user}: {variable['name']} names {variable['value']}, where nothing is mounted"
            if pod.name == "incident-gateway":
                for what, of in (("the store's URL names", store), ("a forward names", forward)):
                    for path in of.files_of(access.gateway_settings(docs)):
                        if path not in files:
                            yield f"{user}: {what} {path}, where nothing is mounted"
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for action in ("httpGet", "tcpSocket"):
                    port = container.get(probe, {}).get(action, {}).get("port")
                    if port is not None and port not in pod.ports:
                        yield f"{user}: {probe} asks port {port}, which no container names"
        yield from (f"{user}: volume {name} is mounted nowhere" for name in volumes.keys() - mounted)

        for path, text in files.items():
            if path.endswith("/config.yaml") and text is not None:
                yield from (f"{user}: {path}: {fault}" for fault in listen_faults(yaml.safe_load(text), pod.ports))

    for service in of_kind(docs, "Service"):
        user = f"Service/{service['metadata']['name']}"
        chosen = [pod for pod in pods if service["spec"]["selector"].items() <= pod.labels.items()]
        if len(chosen) != 1:
            yield f"{user}: selects {len(chosen)} Deployments, not one"
        for port in service["spec"]["ports"]:
            if chosen and port["targetPort"] not in chosen[0].ports:
                yield f"{user}: no container port named {port['targetPort']}"
    for scaler in of_kind(docs, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) not in have:
            yield f"HorizontalPodAutoscaler: no {target['kind']} named {target['name']}"
    for budget in of_kind(docs, "PodDisruptionBudget"):
        if not any(matches(budget["spec"]["selector"], pod.labels) for pod in pods):
            yield "PodDisruptionBudget: selects nothing"
    for policy in of_kind(docs, "NetworkPolicy"):
        user = f"NetworkPolicy/{policy['metadata']['name']}"
        chosen = [pod for pod in pods if matches(policy["spec"]["podSelector"], pod.labels)]
        if not chosen:
            yield f"{user}: selects nothing"
        for rule in policy["spec"].get("ingress", []):
            for port in rule.get("ports", []):
                if chosen and port["port"] not in chosen[0].ports:
                    yield f"{user}: no container port named {port['port']}"

    for pod in pods:
        yield from (f"Deployment/{pod.name}: {fault}" for fault in access.mount_faults(pod.spec))
    secrets = {name: keys_of("Secret", name) for kind, name in have if kind == "Secret"}
    yield from access.certificate_faults(docs)
    yield from access.scrape_faults(docs, secrets, pods)
    yield from access.proxy_faults(docs, pods)

    services = {s["metadata"]["name"]: [p["port"] for p in s["spec"]["ports"]] for s in of_kind(docs, "Service")}
    for config in of_kind(docs, "ConfigMap"):
        url = config["data"].get("ELEVATE_BASE_URL", "")
        # a host without a dot is a Service of this namespace
        if local := re.fullmatch(r"http://([^./:]+):(\d+)/?", url):
            if int(local[2]) not in services.get(local[1], []):
                yield f"ConfigMap: ELEVATE_BASE_URL {url} is no Service here"


def listen_faults(config, ports):
    for key, port in [("listen", "http"), ("admin_listen", "admin")]:
        number = int(config[key].rpartition(":")[2])
        if ports.get(port) != number:
            yield f"{key} is {number}, but the container's port {port} is {ports.get(port)}"


def pod_security_faults(docs):
    """The restricted Pod Security Standard, and a read-only root on top of it."""
    for namespace in of_kind(docs, "Namespace"):
        if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "Namespace: does not enforce the restricted Pod Security Standard"
    for pod in map(Pods, of_kind(docs, "Deployment")):
        context = pod.spec.get("securityContext", {})
        rules = {
            "runAsNonRoot": context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0,
            "seccompProfile": context.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
            "no host namespaces": not any(pod.spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
            "volume types": all(
                volume.keys() & {"configMap", "secret", "emptyDir", "projected", "downwardAPI", "persistentVolumeClaim"}
                for volume in pod.spec.get("volumes", [])),
            "no token": pod.spec.get("automountServiceAccountToken") is False,
        }
        for container in pod.containers:
            own = container.get("securityContext", {})
            rules |= {
                "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
                "capabilities": own.get("capabilities", {}) == {"drop": ["ALL"]},
                "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
                "memory limit": "memory" in container.get("resources", {}).get("limits", {}),
                "no host ports": not any("hostPort" in port for port in container.get("ports", [])),
            }
        yield from (f"Deployment/{pod.name}: {rule}" for rule, held in rules.items() if not held)


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def timing_faults(docs):
    """A rollout loses no answer only if these sums hold."""
    config = next((yaml.safe_load(doc["data"]["config.yaml"]) for doc in of_kind(docs, "ConfigMap")
                   if "config.yaml" in doc["data"]), None)
    gateway = next((pod for pod in map(Pods, of_kind(docs, "Deployment")) if pod.name == "incident-gateway"), None)
    if config is None or gateway is None:
        yield "no config.yaml or no Deployment incident-gateway to take times from"
        return
    drain, timeout = (seconds(config["shutdown"][key]) for key in ("drain_delay", "timeout"))
    grace = gateway.spec.get("terminationGracePeriodSeconds", 30)
    if grace <= drain + timeout:
        yield f"terminationGracePeriodSeconds {grace} is not above drain_delay {drain} + shutdown.timeout {timeout}"
    for container in gateway.containers:
        readiness = container["readinessProbe"]
        notice = readiness["periodSeconds"] * readiness["failureThreshold"]
        if not 0 < notice <= drain:
            yield f"readiness takes {notice}s to notice, longer than drain_delay {drain}s"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if container[probe]["httpGet"]["port"] != "admin":
                yield f"{probe} does not ask the admin listener"
        yield from access.probe_faults(docs, container)


# What overlays may set: everything else is the same everywhere, but for what their components add.
PARAMETERS = re.compile(
    r"^(Namespace/[^/]+/metadata/name|[^/]+/[^/]+/metadata/namespace"
    r"|Deployment/incident-gateway/.*/(image|resources/.*)"
    r"|Deployment/incident-gateway/.*/(name|secretName)"  # a generated name's hash
    r"|ConfigMap/incident-gateway-(config|environment)/metadata/name"
    r"|ConfigMap/incident-gateway-environment/data/.*"
    r"|HorizontalPodAutoscaler/incident-gateway/spec/(min|max)Replicas)$")


# What an open overlay lacks of the components `tls` and `sign-in`.
CLOSED_ALONE = re.compile(
    r"^(Deployment/incident-gateway/.*/(volumes|volumeMounts)/(tls|access)/.*"
    r"|Deployment/incident-gateway/.*Probe/httpGet/scheme"
    r"|Deployment/incident-gateway/.*/annotations/prometheus.io/scheme"
    r"|Service/incident-gateway/spec/ports/.*)$")
# What the component `without-postgres` takes away.
WITHOUT_POSTGRES_ALONE = re.compile(
    r"^(Deployment/incident-gateway/.*/(volumes|volumeMounts)/store/.*"
    r"|Deployment/incident-gateway/.*/env/INCIDENT_GATEWAY__STORE__PASSWORD_FILE/.*"
    r"|NetworkPolicy/incident-gateway/spec/egress/2/.*)$")
# What the component `sqlite` changes beyond that.
SQLITE_ALONE = re.compile(
    r"^(Deployment/incident-gateway/spec/(replicas|strategy/.*)"
    r"|Deployment/incident-gateway/.*/fsGroupChangePolicy"
    r"|Deployment/incident-gateway/.*/(volumes|volumeMounts)/history/.*"
    r"|(HorizontalPodAutoscaler/incident-gateway|PersistentVolumeClaim/incident-gateway-history)/.*)$")
# What the component `forward` adds.
FORWARD_ALONE = re.compile(
    r"^(Deployment/incident-gateway/.*/(volumes|volumeMounts)/forward/.*"
    r"|NetworkPolicy/incident-gateway-to-receivers/.*)$")
# What the component `oauth2-proxy` changes of the gateway.
BEHIND_PROXY_ALONE = re.compile(r"^NetworkPolicy/incident-gateway/spec/ingress/0/from/.*$")


def flatten(value, path):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            name = inner.get("name", index) if isinstance(inner, dict) else index
            yield from flatten(inner, f"{path}/{name}")
    else:
        yield path, value


def shape(docs):
    """Object path -> value, without generated hashes and without the objects that components add."""
    found = {}
    for doc in docs:
        component = doc["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        if component in ("demo-upstream", "oauth2-proxy") or doc["kind"] in ("Secret", *access.SCHEMAS):
            continue
        if doc["metadata"]["name"].startswith(("incident-gateway-to-demo-upstream", "oauth2-proxy-config")):
            continue
        name = "-" if doc["kind"] == "Namespace" else HASH.sub("", doc["metadata"]["name"])
        found.update(flatten(doc, f"{doc['kind']}/{name}"))
    return found


def difference_faults(rendered):
    base = shape(rendered["staging"])
    for overlay, docs in rendered.items():
        other = shape(docs)
        own = {"development": [CLOSED_ALONE, WITHOUT_POSTGRES_ALONE],
               "sqlite": [WITHOUT_POSTGRES_ALONE, SQLITE_ALONE],
               "oauth2-proxy": [BEHIND_PROXY_ALONE, FORWARD_ALONE]}.get(overlay, [])
        for path in sorted(base.keys() | other.keys()):
            if base.get(path) != other.get(path) and not PARAMETERS.match(path) and not any(known.match(path) for known in own):
                yield f"{overlay}: differs from staging in {path}: {base.get(path)!r}, {other.get(path)!r}"


@functools.cache
def mounted_files():
    """A folder like the pod's /etc, with what the Secrets hold: a certificate, users and tokens."""
    folder = pathlib.Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    names = ("tls", "access", "store", "forward")
    tls, files, store_files, forward_files = (folder / f"incident-gateway-{name}" for name in names)
    for directory in (tls, files, store_files, forward_files):
        directory.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "1", "-subj", "/CN=incident-gateway", "-addext", "subjectAltName=DNS:incident-gateway",
                    "-keyout", tls / "tls.key", "-out", tls / "tls.crt"], check=True, capture_output=True)
    shutil.copy(tls / "tls.crt", tls / "ca.crt")
    shutil.copy(tls / "tls.crt", store_files / "ca.crt")
    (store_files / "password").write_text("example\n")
    (forward_files / "siem-token").write_text("example\n")
    # the password is `example`; the token's digest is that of `example`
    (files / "users").write_text("alice:$2y$10$m/7pPv9Yw7eVCHRTiheEoOQyuKt1wn9e0Z7s3hqFcYAnk4nZ9Cgca\n")
    (files / "tokens").write_text(f"prometheus:{hashlib.sha256(b'example').hexdigest()}:metrics\n")
    return folder


def gateway_faults(docs):
    """The gateway itself reads the ConfigMap, under the environment that the pod gets."""
    data = {}
    for config in of_kind(docs, "ConfigMap"):
        data |= config["data"]
    text = data.pop("config.yaml", None)
    data.pop("oauth2-proxy.yaml", None)
    if text is None:
        yield "no ConfigMap has a config.yaml"
        return
    for pod in map(Pods, of_kind(docs, "Deployment")):
        if pod.name == "incident-gateway":
            data |= {variable["name"]: variable["value"] for variable in pod.containers[0]["env"]
                     if variable["name"].startswith("INCIDENT_GATEWAY__")}
    settings = {key: re.sub("(^|=|_file: )/etc/", rf"\1{mounted_files()}/", value) for key, value in data.items()}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([os.environ["GATEWAY"], "check"], check=False, capture_output=True, text=True,
                              env={**settings, "CONFIG_PATH": file.name, "ELEVATE_USERNAME": "u", "ELEVATE_PASSWORD": "p"})
    if done.returncode != 0:
        yield f"the gateway refuses the configuration (exit {done.returncode}): {done.stderr.strip()}"


def faults(tree):
    found = []
    rendered = {}
    templates = list(yaml.safe_load_all((tree / "secret.template.yaml").read_text()))
    found += schema_faults(templates)
    for overlay in OVERLAYS:
        docs, errors = render(tree, overlay)
        found += errors
        if docs is None:
            continue
        rendered[overlay] = docs
        for check in (schema_faults, lambda docs: reference_faults(docs, templates), pod_security_faults,
                      timing_faults, store.faults, forward.faults, gateway_faults):
            found += [f"{overlay}: {fault}" for fault in check(docs)]
        if overlay not in OPEN_OVERLAYS:
            found += [f"{overlay}: {fault}" for fault in access.closed_faults(docs)]
    if "staging" in rendered:
        found += difference_faults(rendered)
    return found


# file, text in it, what it becomes, what must be said about it. Each is a mistake that someone will
# make.
MUTATIONS = [
    ("base/kustomization.yaml", "name: incident-gateway-config\n", "name: gateway-config\n",
     "no ConfigMap named incident-gateway-config"),
    ("base/kustomization.yaml", "files: [config.yaml]", "files: [settings.yaml=config.yaml]", "has no key config.yaml"),
    ("base/deployment.yaml", "configMapRef: {name: incident-gateway-environment}", "configMapRef: {name: environment}",
     "no ConfigMap named environment"),
    ("base/deployment.yaml", "secretName: incident-gateway-credentials", "secretName: credentials",
     "no Secret named credentials"),
    ("secret.template.yaml", "  password: REPLACE-ME", "  pasword: REPLACE-ME", "has no key password"),
    ("base/deployment.yaml", "value: /etc/incident-gateway/config.yaml", "value: /etc/gateway/config.yaml",
     "CONFIG_PATH names /etc/gateway/config.yaml, where nothing is mounted"),
    ("base/deployment.yaml", "serviceAccountName: incident-gateway", "serviceAccountName: gateway",
     "no ServiceAccount named gateway"),
    ("base/deployment.yaml", "httpGet: {path: /readyz, port: admin}", "httpGet: {path: /readyz, port: metrics}",
     "readinessProbe asks port metrics"),
    ("base/deployment.yaml", 'prometheus.io/port: "9001"', 'prometheus.io/port: "9090"', "is no port of its containers"),
    ("base/service.yaml", "targetPort: http,", "targetPort: web,", "no container port named web"),
    ("base/service.yaml", "app.kubernetes.io/component: gateway\n  #", "app.kubernetes.io/component: web\n  #",
     "selects 0 Deployments"),
    ("base/hpa.yaml", "kind: Deployment\n    name: incident-gateway", "kind: Deployment\n    name: gateway",
     "no Deployment named gateway"),
    ("base/config.yaml", "listen: 0.0.0.0:9000\n", "listen: 0.0.0.0:8080\n", "listen is 8080"),
    ("base/config.yaml", "max_body:", "max_boddy:", "max_boddy"),
    ("base/config.yaml", "timeout: 30s", "timeout: 60s", "terminationGracePeriodSeconds 45 is not above"),
    ("base/config.yaml", "drain_delay: 5s", "drain_delay: 1s", "readiness takes 4s to notice"),
    ("base/deployment.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem"),
    ("base/deployment.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"),
    ("base/deployment.yaml", "minReadySeconds: 5", "minReadySeconds: five", "five"),
    ("base/deployment.yaml", "failureThreshold: 30", "failureTreshold: 30", "failureTreshold"),
    ("components/demo-upstream/service.yaml", "name: demo-upstream\n", "name: demo\n", "is no Service here"),
    ("overlays/production/kustomization.yaml", "path: /spec/maxReplicas, value: 6",
     "path: /spec/behavior/scaleDown/stabilizationWindowSeconds, value: 4", "differs from staging in"),
    ("overlays/staging/kustomization.yaml", ", ../../components/sign-in", "", "the gateway is open"),
    ("components/tls/kustomization.yaml", "      - INCIDENT_GATEWAY__ADMIN__TLS=true\n", "",
     "asks by HTTPS, but the admin listener speaks HTTP"),
    ("components/tls/deployment.yaml", "livenessProbe: {httpGet: {scheme: HTTPS}}", "livenessProbe: {periodSeconds: 10}",
     "livenessProbe asks by HTTP, but the admin listener speaks HTTPS"),
    ("components/tls/deployment.yaml", "mountPath: /etc/incident-gateway-tls,",
     "mountPath: /etc/incident-gateway-tls/tls.crt, subPath: tls.crt,", "mounted by a subPath"),
    ("components/sign-in/kustomization.yaml", "TOKENS_FILE=/etc/incident-gateway-access/tokens",
     "TOKENS_FILE=/etc/incident-gateway-access/token", "/etc/incident-gateway-access/token, where nothing is mounted"),
    ("components/sign-in/kustomization.yaml", "AUTH__TOKENS_FILE=", "AUTH__TOKEN_FILE=", "refuses the configuration"),
    ("secret.template.yaml", "  tls.key: REPLACE-ME\n  ca.crt: REPLACE-ME\n", "  tls.key: REPLACE-ME\n", "Secret incident-gateway-tls has no key ca.crt"),
    ("components/cert-manager/certificates.yaml", "usages: [digital signature, server auth]",
     "usages: [digital signature, server auth, client auth]", "would do as a client's"),
    ("components/cert-manager/certificates.yaml", "renewBefore: 720h", "renewBefor: 720h", "renewBefor"),
    ("components/cert-manager/certificates.yaml", "issuerRef: {kind: Issuer, name: incident-gateway-ca}",
     "issuerRef: {kind: Issuer, name: gateway-ca}", "no Issuer named gateway-ca"),
    ("components/prometheus-operator/podmonitor.yaml", "scheme: https", "scheme: http", "token crosses the network in clear"),
    ("components/prometheus-operator/podmonitor.yaml", "serverName: incident-gateway", "serverName: gateway",
     "the certificate does not name gateway"),
    ("components/oauth2-proxy/kustomization.yaml", "path: /spec/ingress/0/from", "path: /spec/ingress/1/from",
     "others than oauth2-proxy reach port http"),
    ("components/oauth2-proxy/kustomization.yaml", "      - INCIDENT_GATEWAY__AUTH__USERS_FILE=\n", "", "lock out everybody"),
    ("components/oauth2-proxy/oauth2-proxy.yaml", "claim: access_token", "claim: id_token",
     "does not replace Authorization by the access token"),
    ("components/oauth2-proxy/oauth2-proxy.yaml", "https://incident-gateway:443", "https://incident-gateway:9000",
     "https://incident-gateway:9000 is no Service here"),
    ("components/oauth2-proxy/oauth2-proxy.yaml", "issuerURL: https://idp.example.com", "issuerURL: https://idp.example",
     "different issuers"),
    ("secret.template.yaml", "  password: REPLACE-ME\n  ca.crt", "  ca.crt", "Secret incident-gateway-store has no key password"),
    ("overlays/production/kustomization.yaml", "sslmode=verify-full", "sslmode=disable", "PostgreSQL is not verified"),
    ("overlays/production/kustomization.yaml", "sslrootcert=/etc/incident-gateway-store/ca.crt",
     "sslrootcert=/etc/incident-gateway-store/ca.pem", "the store's URL names /etc/incident-gateway-store/ca.pem"),
    ("overlays/production/kustomization.yaml", "STORE__URL=postgres://incident_gateway@",
     "STORE__URL=postgres://incident_gateway:secret@", "refuses the configuration"),
    ("overlays/production/kustomization.yaml", "STORE__URL=postgres:", "STORE__URL=sqlite:",
     "two pods at once would open SQLite's file"),
    ("overlays/production/kustomization.yaml", "path: /spec/minReplicas, value: 3", "path: /spec/minReplicas, value: 1",
     "fewer than three replicas"),
    ("base/networkpolicy.yaml", "port: 5432", "port: 5433", "nothing lets the gateway reach port 5432"),
    ("base/deployment.yaml", "value: /etc/incident-gateway-store/password", "value: /etc/incident-gateway-store/pasword",
     "/etc/incident-gateway-store/pasword, where nothing is mounted"),
    ("components/sqlite/kustomization.yaml", "sqlite:/var/lib/incident-gateway/", "sqlite:/var/lib/gateway/",
     "SQLite's file is on no volume that stays"),
    ("components/sqlite/deployment.yaml", "mountPath: /var/lib/incident-gateway}",
     "mountPath: /var/lib/incident-gateway, readOnly: true}", "SQLite's file is on no volume that stays"),
    ("components/sqlite/deployment.yaml", "type: Recreate\n    rollingUpdate: null", "type: RollingUpdate",
     "two pods at once would open SQLite's file"),
    ("components/sqlite/deployment.yaml", "replicas: 1", "replicas: 2", "two pods at once would open SQLite's file"),
    ("components/sqlite/volume.yaml", "[ReadWriteOncePod]", "[ReadWriteMany]", "shared by pods"),
    ("components/sqlite/deployment.yaml", "fsGroupChangePolicy: OnRootMismatch", "fsGroupChangePolicy: Always",
     "kubelet changes the mode of SQLite's file"),
    ("base/deployment.yaml", "fsGroup: 65532", "fsGroup: 1000", "the gateway cannot write to its volume"),
    ("components/sqlite/volume.yaml", "name: incident-gateway-history", "name: history",
     "no PersistentVolumeClaim named incident-gateway-history"),
    ("components/forward/deployment.yaml", "mountPath: /etc/incident-gateway-forward", "mountPath: /etc/forward",
     "a forward names /etc/incident-gateway-forward/siem-token, where nothing is mounted"),
    ("secret.template.yaml", "  siem-token: REPLACE-ME", "  token: REPLACE-ME",
     "a forward names /etc/incident-gateway-forward/siem-token, where nothing is mounted"),
    ("components/forward/networkpolicy.yaml", "port: 9093", "port: 9094", "reach port 9093 of the forward alertmanager"),
    ("components/forward/kustomization.yaml", "https://splunk.example.com", "http://splunk.example.com:443",
     "cross the network in clear"),
    ("components/forward/kustomization.yaml", "format: splunk_hec", "format: splunk", "refuses the configuration"),
    ("components/forward/kustomization.yaml", "      - INCIDENT_GATEWAY__PUBLIC_URL=https://incidents.example.com\n", "",
     "alerts link to nothing"),
    ("overlays/production/kustomization.yaml",
     "STORE__URL=postgres://incident_gateway@postgres.example.com/incident_gateway?sslmode=verify-full"
     "&sslrootcert=/etc/incident-gateway-store/ca.crt", "STORE__URL=none", "forwards without a store"),
]


def main():
    found = faults(TREE)
    for fault in found:
        print(f"FAIL {fault}")
    if found:
        return 1
    print(f"ok   {len(OVERLAYS)} overlays against Kubernetes {', '.join(API_VERSIONS)}")

    failed = False
    for file, before, after, expected in MUTATIONS:
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder) / "kubernetes"
            shutil.copytree(TREE, tree)
            text = (tree / file).read_text()
            if before not in text:
                print(f"FAIL {file} has no {before!r} to change: mend MUTATIONS")
                failed = True
                continue
            (tree / file).write_text(text.replace(before, after, 1))
            found = faults(tree)
        if any(expected in fault for fault in found):
            print(f"ok   found: {expected}")
        else:
            failed = True
            print(f"FAIL {file}: {before.strip()!r} -> {after.strip()!r} went unnoticed; found {found}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
