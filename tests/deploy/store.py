"""Runs what docs/RUNBOOK.md says of the store against gateways with SQLite and PostgreSQL, and the demo upstream: the
backups are whole and serve another gateway, DuckDB reads the dump and counts what the gateway counts, `forget` deletes,
dead letters are listed and sent again, and forwards begin anew.

Reads GATEWAY, the path of the gateway's binary. Runs PostgreSQL as the user `postgres` where it is root itself.
"""

import contextlib
import glob
import http.server
import json
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import duckdb

ROOT = pathlib.Path(__file__).resolve().parents[2]
GATEWAY = os.environ["GATEWAY"]
RUNBOOK = (ROOT / "docs" / "RUNBOOK.md").read_text()
DUMP = ROOT / "deploy" / "dump-history"
PATIENCE = 30  # seconds for each thing waited for


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def wait_for(what, probe):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if probe():
                return
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE}s for {what}")


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()}"
    return done.stdout


RECORDS = 3500


@contextlib.contextmanager
def running(*command, **options):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        code = process.wait(30)
    assert code in (0, -15), f"{command[0]} ended with exit code {code}"


@contextlib.contextmanager
def demo_upstream(port):
    """The same records whenever it is asked."""
    with running(GATEWAY, "demo-upstream", "--listen", f"127.0.0.1:{port}", "--incidents", str(RECORDS), "--latency", "20ms"):
        yield


class Gateway:
    """A running gateway."""

    def __init__(self, process, url, environment):
        self.process = process
        self.url = url
        self.environment = environment

    def get(self, target):
        return get(f"{self.url}{target}")

    def history(self):
        """The rows of the whole history by their ids."""
        rows = [json.loads(line) for line in run(DUMP, self.url).splitlines()]
        found = {row["id"]: (row["incident"], row["first_seen"]) for row in rows}
        assert len(found) == len(rows), "a record is there twice"
        return found

    def wait_until_stored(self):
        """The history, once it has every source; each is written as a whole."""
        wait_for("complete data", lambda: self.get("/sources")["completeness"] == "complete")
        for source in self.get("/sources")["sources"]:
            if source["name"] != "identities":
                target = f"/history?limit=1&type={source['name']}"
                wait_for(f"{source['name']} in the history", lambda: self.get(target)["count"] == 1)
        history = self.history()
        # equal records are one in the history
        assert 0.9 * RECORDS < len(history) <= RECORDS, len(history)
        return history


@contextlib.contextmanager
def gateway(store, upstream_port, **settings):
    port, admin = free_port(), free_port()
    environment = {"INCIDENT_GATEWAY__STORE__URL": store, "RUST_LOG": "warn", **settings,
                   "ELEVATE_BASE_URL": f"http://127.0.0.1:{upstream_port}", "ELEVATE_USERNAME": "demo", "ELEVATE_PASSWORD": "demo"}
    with running(GATEWAY, "serve", "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}",
                 env=environment) as process:
        yield Gateway(process, f"http://127.0.0.1:{port}", environment)


def as_postgres():
    """How to run PostgreSQL's programs, which refuse to be root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


@contextlib.contextmanager
def postgres():
    """A server on a socket; gives a function that makes a database and tells its URL."""
    binaries = pathlib.Path(max(glob.glob("/usr/lib/postgresql/*/bin/initdb"))).parent
    who = as_postgres()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gateway-test-"))
    try:
        if who:
            shutil.chown(folder, who["user"], who["group"])
        run(binaries / "initdb", "-D", folder / "data", "-A", "trust", "-U", "incident_gateway", "-N", "-E", "UTF8", **who)
        server = subprocess.Popen([binaries / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=",
                                   "-c", "fsync=off"], stderr=subprocess.DEVNULL, **who)
        try:
            def database(name):
                run("createdb", "-h", folder, "-U", "incident_gateway", name)
                return f"postgres://incident_gateway@/{name}?host={folder}"

            wait_for("PostgreSQL", lambda: subprocess.run(["pg_isready", "-q", "-h", folder], check=False).returncode == 0)
            yield database
        finally:
            server.send_signal(2)
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def same_history(store, upstream_port, expected, whose):
    """A gateway whose upstream is not there serves what another one has stored."""
    with gateway(store, upstream_port) as server:
        wait_for("the history", lambda: server.get("/history?limit=1")["count"] == 1)
        found = server.history()
        assert found == expected, f"{whose}: {len(found)} records, {len(expected)} before, or others"
        summary = server.get("/summary")
        assert summary["total"]["count"] + summary["unattributed"] == RECORDS, f"{whose}: last good data: {summary}"


def sqlite_backups(folder):
    database, port = folder / "history.db", free_port()
    with demo_upstream(port), gateway(f"sqlite:{database}", port) as server:
        expected = server.wait_until_stored()
        run("sqlite3", database, f".backup '{folder}/backup.db'")
        run("sqlite3", database, f"VACUUM INTO '{folder}/small.db'")
        mode = database.stat().st_mode & 0o777
        assert mode == 0o600, f"the file has mode {mode:o}"
    for backup in ("backup.db", "small.db"):
        checked = run("sqlite3", folder / backup, "PRAGMA integrity_check; SELECT count(*) FROM records").split()
        assert checked == ["ok", str(len(expected))], f"{backup}: {checked}"
        same_history(f"sqlite:{folder}/{backup}", port, expected, backup)
    return f"{len(expected)} records in two backups, {damaged_file(folder, port, expected)} in what was left of a damaged one"


def damaged_file(folder, port, expected):
    """It is refused, untouched; most of it can be read, and then serves."""
    broken, database = folder / "broken", folder / "mended.db"
    broken.mkdir()
    content = bytearray((folder / "small.db").read_bytes())
    # the last of the pages with records; the indexes come behind them
    middle = content.rfind(b'"priority"') // 4096 * 4096
    content[middle:middle + 4096] = b"\xff" * 4096
    (broken / "history.db").write_bytes(content)
    with contextlib.suppress(AssertionError), gateway(f"sqlite:{broken}/history.db", port) as server:
        server.process.wait(10)
    assert server.process.returncode == 2, f"exit code {server.process.returncode}"
    assert (broken / "history.db").read_bytes() == content, "the damaged file was changed"
    commands = re.findall(r"^\$ (sqlite3 broken/.*|sqlite3 \"\$DB\" \"UPDATE.*)$", RUNBOOK, re.MULTILINE)
    assert len(commands) == 2, commands
    for command in commands:
        done = run("bash", "-c", command, cwd=folder, env={**os.environ, "DB": str(database)})
    assert done.strip().endswith("ok"), done
    with gateway(f"sqlite:{database}", port) as server:
        wait_for("the history", lambda: server.get("/history?limit=1")["count"] == 1)
        found = server.history()
        assert found.items() <= expected.items() and len(found) > len(expected) * 0.9, len(found)
        return len(found)


def postgres_backup(folder):
    port = free_port()
    with postgres() as database:
        before, after = database("before"), database("after")
        with demo_upstream(port), gateway(before, port) as server:
            expected = server.wait_until_stored()
            run("pg_dump", "-Fc", "-f", folder / "incident-gateway.dump", before)
        run("pg_restore", "--no-owner", "-d", after, folder / "incident-gateway.dump")
        same_history(after, port, expected, "the restored database")
        return f"{len(expected)} records"


def runbook_query():
    """The query of the runbook, so that this is what is tested."""
    query = re.search(r'^\$ duckdb -c "(SELECT .*)"$', RUNBOOK, re.MULTILINE)
    assert query, "docs/RUNBOOK.md has no `duckdb -c`"
    return query[1]


def duckdb_reads_the_dump(folder):
    port = free_port()
    with demo_upstream(port), gateway(f"sqlite:{folder}/history.db", port) as server:
        expected = server.wait_until_stored()
        # the runbook's command, and pages of 100, so that there are links to follow
        for url in (server.url, f"{server.url}/history?limit=100"):
            (folder / "history.ndjson").write_text(run(DUMP, url))
            connection = duckdb.connect()
            os.chdir(folder)
            counted = connection.execute(runbook_query()).fetchall()
            assert sum(row[2] for row in counted) == len(expected), counted
            ids = {row[0] for row in connection.execute("SELECT id FROM 'history.ndjson'").fetchall()}
            assert ids == expected.keys()
        cells = {(row[0], row[1]): row[2] for row in counted if row[1]}
        for kind, priorities in server.get("/history/summary")["by_type_and_priority"].items():
            for priority, cell in priorities.items():
                assert cells.get((kind, priority), 0) >= cell["count"], (kind, priority, cell)
        return f"{len(counted)} rows by type and priority of {len(expected)} records"


def forget_deletes(folder):
    store, port = f"sqlite:{folder}/history.db", free_port()
    with demo_upstream(port), gateway(store, port) as server:
        server.wait_until_stored()
        rows = server.get("/history?limit=100")["incidents"]
        employee = next(row["employee_id"] for row in rows if row["employee_id"])
    with gateway(store, port) as server:
        target = f"/history?employee_id={employee}"
        wait_for("the history", lambda: server.get(target)["count"] > 0)
        before = server.get(target)["count"]
        said = run(GATEWAY, "forget", employee, env=server.environment)
        assert str(before) in said, said
        assert server.get(target)["count"] == 0
        return said.strip()


class Receiver(http.server.ThreadingHTTPServer):
    """Takes rows by POST, but no batch that has one of every 64 records as long as it is particular."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ReceiverRequest)
        self.is_particular = True
        self.received = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self):
        """The ids that were received since the last call."""
        taken, self.received = self.received, []
        return taken


class ReceiverRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # pylint: disable=invalid-name
        rows = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
        ids = [json.loads(row)["id"] for row in rows]
        refuses = self.server.is_particular and any(int(each[:2], 16) % 64 == 0 for each in ids)
        if not refuses:
            self.server.received += ids
        answer = b"a field has no mapping" if refuses else b""
        self.send_response(400 if refuses else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def commands_with(text):
    """The commands of the runbook in which this stands."""
    return [line for line in re.findall(r"^\$ (.*)$", RUNBOOK, re.MULTILINE) if text in line]


def position_statements():
    """The runbook's statements on positions of forwards, by what they are for."""
    table = RUNBOOK.partition("| to | SQL |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| ([^|]+) \| `(.*)` \|$", table, re.MULTILINE))


def forwarding(folder, store, is_command, query):
    """What the runbook says of dead letters and positions, on one kind of store."""
    port, receiver, statements = free_port(), Receiver(), position_statements()
    assert len(statements) == 6, statements
    forward = f"[{{ name: siem, url: 'http://127.0.0.1:{receiver.server_port}/in', format: ndjson, from: beginning }}]"

    def until_done(server):
        def is_done():
            state = server.get("/sources")["forwards"][0]
            return state["state"] == "idle" and state["lag"] == 0
        wait_for("nothing to be due", is_done)
        return server.get("/sources")["forwards"][0]

    def after(*names):
        """What is sent after these statements, and a start of the gateway."""
        for name in names:
            query(statements[name])
        receiver.take()
        with gateway(store, port, INCIDENT_GATEWAY__FORWARD=forward) as server:
            server.wait_until_stored()
            until_done(server)
        return receiver.take()

    with demo_upstream(port):
        with gateway(store, port, INCIDENT_GATEWAY__FORWARD=forward) as server:
            history = server.wait_until_stored()
            wait_for("records at the receiver", lambda: receiver.received)
            state = until_done(server)
            sent = receiver.take()
            refused = state["dead_letters"]
            assert state["sent"] == len(sent) == len(set(sent)) and refused > 10, state
            (folder / "history.ndjson").write_text(run(DUMP, server.url))
            environment = {**os.environ, "DB": store.removeprefix("sqlite:"), "PGURL": store}
            listing = next(filter(is_command, commands_with("status, answer FROM dead_letters ORDER BY")))
            listed = run("bash", "-c", listing, env=environment)
            assert listed.count("a field has no mapping") == refused, listed
            run("bash", "-c", next(filter(is_command, commands_with("> dead.csv"))), env=environment, cwd=folder)
            os.chdir(folder)
            joined = re.search(r'^duckdb -c "(.*)"$', commands_with("read_csv('dead.csv'")[0])[1]
            rows = duckdb.sql(joined).fetchall()
            assert len(rows) == refused, rows
        # without a change, nothing is sent again
        assert after() == []
        receiver.is_particular = False
        everyone = set(after("begin anew, as `from` says"))
        assert len(everyone) == len(sent) + refused and everyone <= history.keys()
        # the dead letters are still there: from the first one on
        again = after("send again from the first dead letter on", "and forget the dead letters")
        assert everyone - set(sent) <= set(again) and len(again) < len(everyone)
        assert after("send again from the first dead letter on") == []
        assert set(after("send again what was first seen in the last day")) == everyone
        assert len(after("send again what was first seen in the last day", "pass over the next record")) == len(everyone) - 1
        assert after("send again what was first seen in the last day", "skip everything that waits") == []
    receiver.shutdown()
    return f"{refused} dead letters of {len(everyone)} records"


def forwards_in_sqlite(folder):
    database = folder / "history.db"
    return forwarding(folder, f"sqlite:{database}", lambda command: command.startswith("sqlite3"),
                      lambda sql: run("sqlite3", database, sql))


def forwards_in_postgres(folder):
    with postgres() as database:
        url = database("forwards")
        return forwarding(folder, url, lambda command: command.startswith("psql"), lambda sql: run("psql", url, "-c", sql))


CASES = [sqlite_backups, postgres_backup, duckdb_reads_the_dump, forget_deletes, forwards_in_sqlite, forwards_in_postgres]


def main():
    failed = False
    for case in CASES:
        title = case.__name__.replace("_", " ")
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"ok   {title}: {case(pathlib.Path(folder))}", flush=True)
            except (AssertionError, OSError, KeyError, ValueError, subprocess.SubprocessError, duckdb.Error) as error:
                failed = True
                print(f"FAIL {title}: {type(error).__name__}: {error}", flush=True)
            finally:
                os.chdir(ROOT)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
