"""What the Kubernetes manifests must hold of access control: TLS and sign-in on both listeners, files that kubelet
updates, a scrape with certificate and token, and no way around a proxy that signs people in."""

import pathlib
import re
import urllib.parse

import jsonschema
import yaml

SCHEMAS = yaml.safe_load((pathlib.Path(__file__).parent / "custom_resources.yaml").read_text())


def of_kind(docs, *kinds):
    return [doc for doc in docs if doc["kind"] in kinds]


def named(docs, kind, name):
    return next((doc for doc in of_kind(docs, kind) if doc["metadata"]["name"] == name), None)


def custom_resource_faults(doc):
    schema = SCHEMAS[doc["kind"]]
    whole = {"type": "object", "required": ["spec"], "additionalProperties": False,
             "properties": {"kind": {}, "metadata": {}, **schema}}
    for error in jsonschema.Draft202012Validator(whole).iter_errors(doc):
        yield f"{doc['kind']}/{doc['metadata']['name']}: {error.message}"


def gateway_settings(docs):
    """The variables that the gateway's pods get from ConfigMaps."""
    return {key: value for config in of_kind(docs, "ConfigMap") for key, value in config["data"].items()
            if key.startswith("INCIDENT_GATEWAY__")}


def probe_faults(docs, container):
    """kubelet must speak what the admin listener does."""
    scheme = "HTTPS" if gateway_settings(docs).get("INCIDENT_GATEWAY__ADMIN__TLS") == "true" else "HTTP"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"].get("scheme", "HTTP")
        if asked != scheme:
            yield f"{probe} asks by {asked}, but the admin listener speaks {scheme}"


def mount_faults(pod_spec):
    """A subPath stays as it was at the pod's start: neither certificates nor users would ever be renewed."""
    for container in pod_spec["containers"]:
        for mount in container.get("volumeMounts", []):
            if "subPath" in mount or "subPathExpr" in mount:
                yield f"volume {mount['name']} is mounted by a subPath, which is never updated"


def closed_faults(docs):
    """Nobody reads without signing in, and no credential crosses the network in clear."""
    settings = gateway_settings(docs)
    for key in ("TLS__CERT_FILE", "TLS__KEY_FILE", "AUTH__TOKENS_FILE"):
        if not settings.get(f"INCIDENT_GATEWAY__{key}"):
            yield f"INCIDENT_GATEWAY__{key} is not set: the gateway is open"
    for key in ("ADMIN__TLS", "ADMIN__AUTH"):
        if settings.get(f"INCIDENT_GATEWAY__{key}") != "true":
            yield f"INCIDENT_GATEWAY__{key} is not true: the admin listener is open"


def certificate_names(docs, secret):
    """The names in the certificate that cert-manager puts into a Secret; None if it makes none."""
    for certificate in of_kind(docs, "Certificate"):
        if certificate["spec"]["secretName"] == secret and not certificate["spec"].get("isCA"):
            return certificate["spec"]["dnsNames"]
    return None


def certificate_faults(docs):
    issuers = {issuer["metadata"]["name"] for issuer in of_kind(docs, "Issuer")}
    made = {certificate["spec"]["secretName"] for certificate in of_kind(docs, "Certificate")}
    for certificate in of_kind(docs, "Certificate"):
        user = f"Certificate/{certificate['metadata']['name']}"
        reference = certificate["spec"]["issuerRef"]
        if reference.get("kind", "Issuer") == "Issuer" and reference["name"] not in issuers:
            yield f"{user}: no Issuer named {reference['name']}"
        if not certificate["spec"].get("isCA") and "client auth" in certificate["spec"].get("usages", ["client auth"]):
            yield f"{user}: a server's certificate that would do as a client's"
    for issuer in of_kind(docs, "Issuer"):
        secret = issuer["spec"].get("ca", {}).get("secretName")
        if secret and secret not in made:
            yield f"Issuer/{issuer['metadata']['name']}: no Certificate makes {secret}"


def scrape_faults(docs, secrets, pods):
    for monitor in of_kind(docs, "PodMonitor"):
        user = f"PodMonitor/{monitor['metadata']['name']}"
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        chosen = [pod for pod in pods if wanted <= pod.labels.items()]
        if len(chosen) != 1:
            yield f"{user}: selects {len(chosen)} Deployments, not one"
            continue
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if endpoint["port"] not in chosen[0].ports:
                yield f"{user}: no container port named {endpoint['port']}"
            if endpoint.get("scheme") != "https":
                yield f"{user}: its token crosses the network in clear"
            references = [endpoint.get("authorization", {}).get("credentials"),
                          endpoint.get("tlsConfig", {}).get("ca", {}).get("secret")]
            for reference in references:
                if reference is None:
                    yield f"{user}: without token or authority"
                elif reference["key"] not in secrets.get(reference["name"], {}):
                    yield f"{user}: Secret {reference['name']} has no key {reference['key']}"
            names = certificate_names(docs, "incident-gateway-tls")
            if names is not None and endpoint["tlsConfig"]["serverName"] not in names:
                yield f"{user}: the certificate does not name {endpoint['tlsConfig']['serverName']}"


def proxy_faults(docs, pods):
    """oauth2-proxy: the only way in, with the access token in place of what the caller sent."""
    proxy = next((pod for pod in pods if pod.name == "oauth2-proxy"), None)
    gateway = next(pod for pod in pods if pod.name == "incident-gateway")
    if proxy is None:
        return
    for rule in named(docs, "NetworkPolicy", "incident-gateway")["spec"]["ingress"]:
        if any(port["port"] == "http" for port in rule["ports"]):
            for peer in rule["from"]:
                labels = peer.get("podSelector", {}).get("matchLabels", {})
                if "namespaceSelector" in peer or not labels or not labels.items() <= proxy.labels.items():
                    yield f"NetworkPolicy/incident-gateway: others than oauth2-proxy reach port http: {peer}"
    settings = gateway_settings(docs)
    for key in ("ISSUER", "AUDIENCE"):
        if not settings.get(f"INCIDENT_GATEWAY__AUTH__JWT__{key}"):
            yield f"INCIDENT_GATEWAY__AUTH__JWT__{key} is not set behind oauth2-proxy"
    if settings.get("INCIDENT_GATEWAY__AUTH__USERS_FILE"):
        yield "passwords behind a proxy: all callers share its address, and ten wrong ones lock out everybody"

    text = next(config["data"]["oauth2-proxy.yaml"] for config in of_kind(docs, "ConfigMap")
                if "oauth2-proxy.yaml" in config["data"])
    config = yaml.safe_load(text)
    header = next((h for h in config["injectRequestHeaders"] if h["name"] == "Authorization"), {})
    if header.get("preserveRequestValue") or not any(
            value.get("claimSource") == {"claim": "access_token", "prefix": "Bearer "} for value in header.get("values", [])):
        yield "oauth2-proxy: does not replace Authorization by the access token"
    if config["providers"][0]["oidcConfig"]["issuerURL"] != settings.get("INCIDENT_GATEWAY__AUTH__JWT__ISSUER"):
        yield "oauth2-proxy and the gateway have different issuers"
    if not config["server"].get("secureBindAddress", "").endswith(f":{proxy.ports.get('https')}"):
        yield f"oauth2-proxy: secureBindAddress is not its port https, {proxy.ports.get('https')}"
    if config["server"].get("bindAddress", "-") != "-":
        yield "oauth2-proxy: sessions over plain HTTP"
    mounts = [mount["mountPath"] for container in proxy.containers for mount in container["volumeMounts"]]
    for path in re.findall(r"/etc/[\w./-]+", text + " ".join(proxy.containers[0]["args"])):
        if not any(path.startswith(f"{mount}/") for mount in mounts):
            yield f"oauth2-proxy: {path} is mounted nowhere"
    for upstream in config["upstreamConfig"]["upstreams"]:
        uri = urllib.parse.urlsplit(upstream["uri"])
        service = named(docs, "Service", uri.hostname)
        if upstream.get("insecureSkipTLSVerify") or uri.scheme != "https":
            yield "oauth2-proxy: does not verify the gateway"
        if service is None or uri.port not in [port["port"] for port in service["spec"]["ports"]]:
            yield f"oauth2-proxy: {upstream['uri']} is no Service here"
        names = certificate_names(docs, "incident-gateway-tls")
        if names is not None and uri.hostname not in names:
            yield f"oauth2-proxy: the gateway's certificate does not name {uri.hostname}"
    host = urllib.parse.urlsplit(next(a for a in proxy.containers[0]["args"] if a.startswith("--redirect-url="))
                                 .partition("=")[2]).hostname
    if host not in yaml.safe_load(settings.get("INCIDENT_GATEWAY__ALLOWED_HOSTS") or "[]"):
        yield f"allowed_hosts does not have {host}, the host of oauth2-proxy's --redirect-url"
    if gateway.labels.items() <= proxy.labels.items():
        yield "oauth2-proxy has the gateway's labels"
