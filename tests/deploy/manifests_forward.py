"""What the Kubernetes manifests must hold of forwards: a store, receivers that can be reached, credentials that are mounted,
and links to the pages."""

import re
import urllib.parse

import yaml

from manifests_access import gateway_settings, of_kind
from manifests_store import URL

FORWARD = "INCIDENT_GATEWAY__FORWARD"
PORTS = {"http": 80, "https": 443}


def files_of(settings):
    """The files that the forwards name."""
    return re.findall(r"_file: *([^\s,}]+)", settings.get(FORWARD, ""))


def open_ports(docs):
    """The ports that the gateway may reach, by its network policies."""
    for policy in of_kind(docs, "NetworkPolicy"):
        selected = policy["spec"]["podSelector"].get("matchLabels", {})
        if selected.get("app.kubernetes.io/component") == "gateway":
            for rule in policy["spec"].get("egress", []):
                yield from (port["port"] for port in rule["ports"])


def faults(docs):
    settings = gateway_settings(docs)
    forwards = yaml.safe_load(settings.get(FORWARD) or "[]")
    if forwards and settings.get(URL, "none") == "none":
        yield "forwards without a store"
    for forward in forwards:
        url = urllib.parse.urlsplit(forward["url"])
        port = url.port or PORTS[url.scheme]
        if port not in open_ports(docs):
            yield f"no NetworkPolicy lets the gateway reach port {port} of the forward {forward['name']}"
        if "auth" in forward and url.scheme != "https":
            yield f"the credentials of the forward {forward['name']} cross the network in clear"
    if any(forward["format"] == "alertmanager" for forward in forwards):
        if not settings.get("INCIDENT_GATEWAY__PUBLIC_URL"):
            yield "alerts link to nothing: INCIDENT_GATEWAY__PUBLIC_URL is not set"
