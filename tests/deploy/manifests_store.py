"""What the Kubernetes manifests must hold of the store: PostgreSQL for several replicas, verified and reachable, or SQLite
for one, on a volume that stays."""

import pathlib
import urllib.parse

from manifests_access import gateway_settings, named, of_kind

URL = "INCIDENT_GATEWAY__STORE__URL"


def files_of(settings):
    """The files that the store's URL names."""
    return urllib.parse.parse_qs(urllib.parse.urlsplit(settings.get(URL, "")).query).get("sslrootcert", [])


def postgres_faults(docs, url):
    if urllib.parse.parse_qs(url.query).get("sslmode") != ["verify-full"]:
        yield "PostgreSQL is not verified: sslmode is not verify-full"
    port = url.port or 5432
    policy = named(docs, "NetworkPolicy", "incident-gateway")
    open_ports = {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]}
    if port not in open_ports:
        yield f"NetworkPolicy/incident-gateway: nothing lets the gateway reach port {port} of PostgreSQL"
    scaler = named(docs, "HorizontalPodAutoscaler", "incident-gateway")
    if scaler is None or scaler["spec"]["minReplicas"] < 3:
        yield "PostgreSQL with fewer than three replicas"


def sqlite_faults(docs, url):
    deployment = named(docs, "Deployment", "incident-gateway")
    strategy = deployment["spec"].get("strategy", {}).get("type")
    scaled = named(docs, "HorizontalPodAutoscaler", "incident-gateway") is not None
    if strategy != "Recreate" or scaled or deployment["spec"].get("replicas") != 1:
        yield "two pods at once would open SQLite's file"
    spec = deployment["spec"]["template"]["spec"]
    claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]
              if "persistentVolumeClaim" in volume}
    mounts = [mount for mount in spec["containers"][0]["volumeMounts"]
              if mount["name"] in claims and not mount.get("readOnly")
              and pathlib.PurePath(mount["mountPath"]) in pathlib.PurePath(url.path).parents]
    if not mounts:
        yield "SQLite's file is on no volume that stays"
    for mount in mounts:
        claim = named(docs, "PersistentVolumeClaim", claims[mount["name"]])
        if claim and claim["spec"]["accessModes"] not in (["ReadWriteOnce"], ["ReadWriteOncePod"]):
            yield f"PersistentVolumeClaim/{claim['metadata']['name']}: shared by pods"
    context = spec["securityContext"]
    if context.get("fsGroup") != context["runAsGroup"]:
        yield "the gateway cannot write to its volume: fsGroup is not its group"
    if context.get("fsGroupChangePolicy") != "OnRootMismatch":
        yield "kubelet changes the mode of SQLite's file at each start: fsGroupChangePolicy is not OnRootMismatch"


def faults(docs):
    url = urllib.parse.urlsplit(gateway_settings(docs).get(URL, "none"))
    if url.scheme in ("postgres", "postgresql"):
        yield from postgres_faults(docs, url)
    elif url.scheme == "sqlite":
        yield from sqlite_faults(docs, url)
    if url.scheme != "sqlite" and of_kind(docs, "PersistentVolumeClaim"):
        yield "a volume that no store is on"
