"""Runs the image as its users do: shown off, with credentials, with TLS and sign-in, with wrong settings,
locked down, stopped under load.

Reads GATEWAY_IMAGE; VERSION and REVISION, where set, are what the image must say of itself. Standard library only.
"""

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid

IMAGE = os.environ["GATEWAY_IMAGE"]
MAX_BYTES = 20_000_000
LOCKED_DOWN = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "128m"]
PATIENCE = 60
PASSWORD = "demo"


def docker(*arguments, check=True, timeout=120):
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done


def inspect(thing, template):
    return docker("inspect", "--format", template, thing).stdout.strip()


@contextlib.contextmanager
def container(*command, options=(), image_arguments=()):
    """A detached container of the image; removed at the end. Its addresses are those of the bridge: no port is taken."""
    name = f"gateway-test-{uuid.uuid4().hex[:8]}"
    docker("run", "-d", "--name", name, *options, IMAGE, *command, *image_arguments)
    try:
        yield name
    except AssertionError as error:
        raise AssertionError(f"{error}\n  its log:\n{logs(name)}") from error
    finally:
        docker("rm", "-f", name, check=False)


def address(name):
    return inspect(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")


def logs(name):
    done = docker("logs", "--tail", "20", name, check=False)
    return done.stdout + done.stderr


def get(host, path, port=9000, timeout=10, trust=None, authorization=None):
    """`trust` is the file of the certificate that an HTTPS server must present, whatever name it is called by."""
    if trust:
        context = ssl.create_default_context(cafile=trust)
        context.check_hostname = False
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Authorization": authorization} if authorization else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def wait_for(what, name, probe):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if probe():
                return
        if inspect(name, "{{.State.Running}}") != "true":
            raise AssertionError(f"it ended, exit {inspect(name, '{{.State.ExitCode}}')}, before {what}")
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE}s for {what}")


def ready(host):
    return get(host, "/readyz", port=9001)[0] == 200


def complete(host):
    return get(host, "/incidents")[1].get("Incident-Completeness") == "complete"


def stop(name, within):
    """`docker stop`, which kills after `within` seconds; the exit code tells which of the two it was."""
    started = time.monotonic()
    docker("stop", "-t", str(within), name)
    return int(inspect(name, "{{.State.ExitCode}}")), time.monotonic() - started


def what_the_image_says_of_itself():
    about = json.loads(docker("image", "inspect", IMAGE).stdout)[0]
    config = about["Config"]
    labels = config["Labels"]
    assert about["Size"] <= MAX_BYTES, f"{about['Size']} bytes"
    user = config["User"].split(":")[0]
    assert user.isdigit() and int(user) > 0, f"user {config['User']}: Kubernetes needs a number to tell it from root"
    assert config["StopSignal"] == "SIGTERM", config["StopSignal"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/incident-gateway", "healthcheck"], config["Healthcheck"]
    for key in ("VERSION", "REVISION"):
        if expected := os.environ.get(key):
            found = labels[f"org.opencontainers.image.{key.lower()}"]
            assert found == expected, f"label {key.lower()}: {found}, not {expected}"
    return f"{about['Size'] / 1e6:.1f} MB, user {config['User']}, version {labels['org.opencontainers.image.version']}"


def nothing_but_the_binary_and_its_trust():
    name = docker("create", IMAGE).stdout.strip()
    try:
        listing = subprocess.run(f"docker export {name} | tar -t", shell=True, capture_output=True, text=True, check=True)
    finally:
        docker("rm", name)
    files = {path for path in listing.stdout.split() if not path.endswith("/")}
    # what the engine itself puts into any container
    files -= {".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"}
    expected = {"incident-gateway", "etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt"}
    assert files == expected, f"holds {sorted(files)}"


def demo_locked_down_becomes_healthy():
    with container("serve", "--demo", options=LOCKED_DOWN) as name:
        host = address(name)
        wait_for("health status healthy", name, lambda: inspect(name, "{{.State.Health.Status}}") == "healthy")
        status, headers, body = get(host, "/incidents")
        assert status == 200 and json.loads(body), (status, body[:200])
        wait_for("a complete answer", name, lambda: complete(host))
        # `docker top` insists on the pid
        uids = [line.split()[0] for line in docker("top", name, "-eo", "uid,pid").stdout.splitlines()[1:]]
        assert uids and set(uids) == {"65532"}, uids
        metrics = get(host, "/metrics", port=9001)[2].decode()
        build = re.search(r"incident_gateway_build_info\{.*\} 1", metrics)
        assert build and os.environ.get("REVISION", "") in build[0], build and build[0]
        return build[0]


@contextlib.contextmanager
def network():
    """A network of its own: unlike on the default one, containers find each other by name."""
    name = f"gateway-test-{uuid.uuid4().hex[:8]}"
    docker("network", "create", name)
    try:
        yield name
    finally:
        docker("network", "rm", name, check=False)


@contextlib.contextmanager
def upstream(*arguments):
    """The demo upstream in a container; gives the options with which another container reaches it by name."""
    with network() as net, container("demo-upstream", "--listen", "0.0.0.0:9002", image_arguments=arguments,
                                     options=["--network", net, "--network-alias", "upstream", *LOCKED_DOWN]):
        yield ["--network", net, "-e", "ELEVATE_BASE_URL=http://upstream:9002", *LOCKED_DOWN]


def credentials_by_variable():
    with upstream() as reach, container(
            options=[*reach, "-e", "ELEVATE_USERNAME=demo", "-e", f"ELEVATE_PASSWORD={PASSWORD}"]) as name:
        host = address(name)
        wait_for("a complete answer", name, lambda: complete(host))


def credentials_by_file_and_config_by_mount():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for file, text in [("username", "demo\n"), ("password", f"{PASSWORD}\n"), ("config.yaml", "cache: {ttl: 7s}\n")]:
            with open(f"{folder}/{file}", "w") as handle:
                handle.write(text)
        with upstream() as reach, container(options=[
                *reach, "-v", f"{folder}:/settings:ro", "-e", "CONFIG_PATH=/settings/config.yaml",
                "-e", "ELEVATE_USERNAME_FILE=/settings/username", "-e", "ELEVATE_PASSWORD_FILE=/settings/password"]) as name:
            host = address(name)
            wait_for("a complete answer", name, lambda: complete(host))
            left = int(re.search(r"max-age=(\d+)", get(host, "/incidents")[1]["Cache-Control"])[1])
            assert left <= 7, f"max-age={left} although the mounted file says cache.ttl: 7s"


def self_signed(name, certificate, key):
    """A certificate that is its own authority; yet none that could sign others, which rustls refuses at a server."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "1", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                    "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)


class Empty(http.server.BaseHTTPRequestHandler):
    """An upstream without incidents."""

    def do_GET(self):
        body = b"{}" if self.path.startswith("/identities") else b'{"results": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def https_is_verified_and_etc_hosts_is_read():
    """An upstream with a certificate of an authority of its own: refused, until SSL_CERT_FILE names that authority."""
    with tempfile.TemporaryDirectory() as folder, network() as net:
        os.chmod(folder, 0o755)
        self_signed("upstream.test", f"{folder}/authority.pem", f"{folder}/key.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/authority.pem", f"{folder}/key.pem")
        # this machine, as that network sees it
        machine = inspect(net, "{{(index .IPAM.Config 0).Gateway}}")
        server = http.server.ThreadingHTTPServer((machine, 0), Empty)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            options = ["--network", net, "--add-host", f"upstream.test:{machine}",
                       "-v", f"{folder}/authority.pem:/authority.pem:ro", "-e", "ELEVATE_USERNAME=u", "-e", "ELEVATE_PASSWORD=p",
                       "-e", f"ELEVATE_BASE_URL=https://upstream.test:{server.server_port}"]
            refused = docker("run", "--rm", *LOCKED_DOWN, *options, IMAGE, "check", "--connect", check=False)
            trusted = docker("run", "--rm", *LOCKED_DOWN, *options, "-e", "SSL_CERT_FILE=/authority.pem", IMAGE,
                             "check", "--connect", check=False)
        finally:
            server.shutdown()
    with_verdict = lambda verdict, report: len(set(re.findall(rf"(?m)^(\S+) +{verdict}", report.stdout)))
    assert refused.returncode == 1 and with_verdict(r"FAILED \(connect\)", refused) == 8, refused.stdout + refused.stderr
    assert "resolve" not in refused.stdout, f"/etc/hosts is not read: {refused.stdout}"
    assert trusted.returncode == 0 and with_verdict("ok", trusted) == 8, trusted.stdout + trusted.stderr
    return re.search(r"failed +(.*)", refused.stdout).group(1)


def refused_credentials_are_told_and_not_shown():
    secret = "open-sesame-3141"
    with upstream() as reach, container(
            options=[*reach, "-e", "ELEVATE_USERNAME=demo", "-e", f"ELEVATE_PASSWORD={secret}"]) as name:
        host = address(name)
        wait_for("a refused call", name, lambda: "401" in get(host, "/sources")[2].decode())
        assert get(host, "/readyz", port=9001)[0] == 503, "ready without any data"
        assert get(host, "/healthz", port=9001)[0] == 200, "unhealthy because of the upstream"
        shown = logs(name) + get(host, "/sources")[2].decode() + get(host, "/metrics", port=9001)[2].decode()
        assert secret not in shown, "the password is shown"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class AccessFiles:
    """Certificate, key, users and tokens in one folder, as another user than the gateway's owns them."""

    def __init__(self, folder):
        self.folder = folder
        os.chmod(folder, 0o755)

    def path(self, name):
        return f"{self.folder}/{name}"

    def write(self, name, text):
        """As a whole, by rename."""
        with open(self.path(f".{name}"), "w") as handle:
            handle.write(text)
        self.publish(name)

    def publish(self, name):
        os.chmod(self.path(f".{name}"), 0o644)
        os.rename(self.path(f".{name}"), self.path(name))

    def renew(self):
        self_signed("gateway.test", self.path(".tls.crt"), self.path(".tls.key"))
        self.publish("tls.crt")
        self.publish("tls.key")

    def user(self, name, password):
        hashed = subprocess.run(["htpasswd", "-niB", "-C", "4", name], input=password, text=True, capture_output=True, check=True)
        self.write("users", hashed.stdout)
        return hashed.stdout.strip()


def tls_and_sign_in_by_mounted_files_and_reload_by_sighup():
    with tempfile.TemporaryDirectory() as folder:
        files = AccessFiles(folder)
        files.renew()
        files.user("alice", "first-password")
        digest = hashlib.sha256(b"metrics-token").hexdigest()
        files.write("tokens", f"prometheus:{digest}:metrics\n")
        settings = {"TLS__CERT_FILE": "/access/tls.crt", "TLS__KEY_FILE": "/access/tls.key", "ADMIN__TLS": "true",
                    "AUTH__USERS_FILE": "/access/users", "AUTH__TOKENS_FILE": "/access/tokens", "ADMIN__AUTH": "true"}
        options = [part for key, value in settings.items() for part in ("-e", f"INCIDENT_GATEWAY__{key}={value}")]
        with container("serve", "--demo", options=[*LOCKED_DOWN, *options, "-v", f"{folder}:/access:ro"]) as name:
            host = address(name)

            def status(path, authorization=None, port=9000):
                return get(host, path, port=port, trust=files.path("tls.crt"), authorization=authorization)[0]

            def metrics():
                return get(host, "/metrics", port=9001, trust=files.path("tls.crt"),
                           authorization="Bearer metrics-token")[2].decode()

            # the image's own HEALTHCHECK speaks TLS to the admin listener
            wait_for("health status healthy", name, lambda: inspect(name, "{{.State.Health.Status}}") == "healthy")
            assert [status("/incidents"), status("/metrics", port=9001)] == [401, 401], "open without credentials"
            assert status("/incidents", basic("alice", "first-password")) == 200
            assert status("/incidents", "Bearer metrics-token") == 403
            assert "incident_gateway_config_last_reload_successful 1" in metrics()

            def reload(what, probe):
                docker("kill", "-s", "HUP", name)
                started = time.monotonic()
                wait_for(what, name, probe)
                return time.monotonic() - started

            files.user("bob", "second-password")
            took = reload("the new user", lambda: status("/incidents", basic("bob", "second-password")) == 200)
            assert took < 5, f"SIGHUP took {took:.1f}s"
            assert status("/incidents", basic("alice", "first-password")) == 401, "a removed user still signs in"
            # only the new certificate is trusted from here on
            files.renew()
            took = max(took, reload("the new certificate", lambda: status("/healthz") == 200))

            secret = "carol:$2y$04$not-a-hash-but-a-secret"
            files.write("users", f"{secret}\n")
            reload("the refusal", lambda: "incident_gateway_config_last_reload_successful 0" in metrics())
            assert status("/incidents", basic("bob", "second-password")) == 200, "a refused file locked out a user"
            shown = logs(name)
            assert "/access/users:1" in shown, "the refusal does not name file and line"
            for hidden in (secret, "not-a-hash", digest, "metrics-token", "second-password"):
                assert hidden not in shown, f"the log shows {hidden}"
            wait_for("health status healthy", name, lambda: inspect(name, "{{.State.Health.Status}}") == "healthy")
            return f"reloads within {took:.1f}s"


def history_in_a_volume_survives_the_container():
    """A new named volume is writable; the next container serves what the one before has stored, though its upstream is not there."""
    volume = f"gateway-test-{uuid.uuid4().hex[:8]}"
    options = [*LOCKED_DOWN, "-v", f"{volume}:/var/lib/incident-gateway",
               "-e", "INCIDENT_GATEWAY__STORE__URL=sqlite:/var/lib/incident-gateway/history.db"]
    try:
        with network() as net:
            reach = [*options, "--network", net, "-e", "ELEVATE_BASE_URL=http://upstream:9002",
                     "-e", "ELEVATE_USERNAME=demo", "-e", f"ELEVATE_PASSWORD={PASSWORD}"]
            with container("demo-upstream", "--listen", "0.0.0.0:9002", image_arguments=["--incidents", "700"],
                           options=["--network", net, "--network-alias", "upstream", *LOCKED_DOWN]), \
                    container(options=reach) as name:
                host = address(name)
                wait_for("a complete answer", name, lambda: complete(host))
                for source in json.loads(get(host, "/sources")[2])["sources"]:
                    target = f"/history?limit=1&type={source['name']}"
                    wait_for(f"{source['name']} in the store", name,
                             lambda: source["name"] == "identities" or json.loads(get(host, target)[2])["count"] == 1)
                document = get(host, "/incidents")[2]
                code, _ = stop(name, 30)
                assert code == 0, f"exit code {code}"
                listing = subprocess.run(f"docker cp {name}:/var/lib/incident-gateway - | tar -tv --numeric-owner",
                                         shell=True, capture_output=True, text=True, check=True).stdout
                database = next(line for line in listing.splitlines() if line.endswith("/history.db"))
                assert database.startswith("-rw------- 65532/65532"), listing
            # the upstream has gone
            with container(options=reach) as name:
                host = address(name)
                wait_for("readiness", name, lambda: ready(host))
                status, headers, body = get(host, "/incidents")
                assert status == 200 and body == document, (status, len(body), len(document))
                return f"{len(body)} bytes, {headers['Incident-Completeness']}, {headers['Age']}s old"
    finally:
        docker("volume", "rm", "-f", volume, check=False)


def wrong_settings_exit_2_and_say_why():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with open(f"{folder}/config.yaml", "w") as handle:
            handle.write("cache:\n  tll: 30s\n")
        given = ["-e", "ELEVATE_USERNAME=demo", "-e", "ELEVATE_PASSWORD=demo"]
        mounted = ["-v", f"{folder}:/settings:ro"]
        cases = [
            ([], ["ELEVATE_USERNAME", "ELEVATE_PASSWORD"]),
            ([*given, *mounted, "-e", "CONFIG_PATH=/settings/config.yaml"], ["/settings/config.yaml", "tll"]),
            ([*given, "-e", "CONFIG_PATH=/settings/missing.yaml"], ["/settings/missing.yaml"]),
            ([*given, "-e", "INCIDENT_GATEWAY__CACHE__TTL=soon"], ["INCIDENT_GATEWAY__CACHE__TTL"]),
            ([*given, "-e", "INCIDENT_GATEWAY__CASH__TTL=30s"], ["INCIDENT_GATEWAY__CASH__TTL"]),
            (["-e", "ELEVATE_USERNAME=demo", "-e", "ELEVATE_PASSWORD_FILE=/run/secrets/none"], ["/run/secrets/none"]),
        ]
        for options, named in cases:
            done = docker("run", "--rm", *LOCKED_DOWN, *options, IMAGE, check=False)
            said = done.stderr.strip()
            assert done.returncode == 2, f"{options}: exit {done.returncode}: {said}"
            assert all(name in said for name in named), f"{options}: does not name {named}: {said}"
            assert "panicked" not in said, said
    return said.splitlines()[0]


def stopping_under_load_loses_nothing():
    """Clients as behind a balancer: they keep asking until readiness has been gone for a while. Not one may be let down."""
    with container("serve", "--demo",
                   options=[*LOCKED_DOWN, "-e", "INCIDENT_GATEWAY__SHUTDOWN__DRAIN_DELAY=3s"]) as name:
        host = address(name)
        # ready comes with the first source; until the last one, requests wait for it
        wait_for("a complete answer", name, lambda: complete(host))
        answered, lost = [0] * 8, []
        done = threading.Event()

        def client(number, keep_alive):
            connection = http.client.HTTPConnection(host, 9000, timeout=10)
            while not done.is_set():
                try:
                    connection.request("GET", "/incidents")
                    answer = connection.getresponse()
                    body = answer.read()
                    if answer.status != 200 or not body.endswith(b"}") and not body.endswith(b"}\n"):
                        lost.append(f"status {answer.status}, {len(body)} bytes")
                    answered[number] += 1
                    if not keep_alive:
                        connection.close()
                except (OSError, http.client.HTTPException) as error:
                    lost.append(repr(error))
                    connection.close()
            connection.close()

        clients = [threading.Thread(target=client, args=(n, n % 2 == 0)) for n in range(len(answered))]
        for thread in clients:
            thread.start()
        time.sleep(1)
        before = sum(answered)
        result = []
        stopping = threading.Thread(target=lambda: result.extend(stop(name, 30)))
        stopping.start()
        wait_for("readiness to go", name, lambda: not ready(host))
        time.sleep(1)
        done.set()
        for thread in clients:
            thread.join()
        after = sum(answered) - before
        stopping.join()
        code, took = result
        assert not lost, f"{len(lost)} of {sum(answered)} lost, such as {lost[0]}"
        assert min(answered) > 0 and after > 0, f"too little load to tell: {answered}, {after} while stopping"
        assert code == 0, f"exit code {code} after {took:.1f}s"
        assert took < 15, f"took {took:.1f}s to stop"
        return f"{sum(answered)} answers, {after} of them while stopping, none lost; stopped in {took:.1f}s"


def requests_in_flight_are_answered():
    """No data yet and an upstream that takes its time: the requests that wait when SIGTERM comes still get an answer."""
    with upstream("--latency", "30s") as reach, container(
            options=[*reach, "-e", "ELEVATE_USERNAME=demo", "-e", f"ELEVATE_PASSWORD={PASSWORD}"]) as name:
        host = address(name)
        wait_for("life", name, lambda: get(host, "/healthz", port=9001)[0] == 200)
        found = []

        def ask():
            try:
                found.append(get(host, "/incidents")[0])
            except (OSError, http.client.HTTPException) as error:
                found.append(repr(error))

        askers = [threading.Thread(target=ask) for _ in range(5)]
        for thread in askers:
            thread.start()
        time.sleep(0.5)
        assert not found, f"answered before the budget without any data: {found}"
        code, took = stop(name, 30)
        for thread in askers:
            thread.join()
        assert found == [503] * 5, found
        assert code == 0, f"exit code {code}"
        return f"stopped in {took:.1f}s"


CASES = [
    what_the_image_says_of_itself,
    nothing_but_the_binary_and_its_trust,
    demo_locked_down_becomes_healthy,
    credentials_by_variable,
    credentials_by_file_and_config_by_mount,
    https_is_verified_and_etc_hosts_is_read,
    refused_credentials_are_told_and_not_shown,
    tls_and_sign_in_by_mounted_files_and_reload_by_sighup,
    history_in_a_volume_survives_the_container,
    wrong_settings_exit_2_and_say_why,
    stopping_under_load_loses_nothing,
    requests_in_flight_are_answered,
]


def main():
    failed = False
    for case in CASES:
        title = case.__name__.replace("_", " ")
        try:
            detail = case()
            print(f"ok   {title}{f': {detail}' if detail else ''}", flush=True)
        except (AssertionError, OSError, KeyError, ValueError, http.client.HTTPException,
                subprocess.SubprocessError) as error:
            failed = True
            print(f"FAIL {title}: {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
