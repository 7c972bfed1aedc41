"""What the system tests start and talk to: the local stack, our daemons as child processes, repositories, users."""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import confluent_kafka
import psycopg2
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TRABAJOS_BIN", ROOT / "bin"))
ROLES = {f"trabajos-{daemon}": f"trabajos_{daemon}" for daemon in ("frontend", "worker", "observer")}
FINAL = ("Finished", "Failed", "Cancelled")


def wait_for(what, condition, timeout_s=60, every_s=0.02):
    """The first true value of condition(); fails with `what` if none comes in time. Exceptions of clients count as false."""
    end = time.monotonic() + timeout_s
    last = None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (requests.RequestException, psycopg2.Error, OSError) as error:
            last = error
        time.sleep(every_s)
    raise AssertionError(f"in {timeout_s} s not seen: {what} (last: {last!r})")


def candidate_ports():
    """Below what the kernel gives to whoever asks for any, and below dev/stack's own choice: none is taken between choice and use."""
    first, last = 10000, 19999
    yield from itertools.islice(itertools.cycle(range(first, last + 1)), random.randrange(last - first), None)


CANDIDATES = candidate_ports()


def free_port():
    """One that nobody listens on, and that no other call of this run answers."""
    for port in CANDIDATES:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return port


def port_of(url):
    return int(url.rsplit(":", 1)[1])


class Stack:
    """PostgreSQL, Kafka, Keycloak and the git server, started by dev/stack in a folder of its own."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="trabajos-test-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.environ = dict(os.environ, STACK_DIR=str(self.dir), STACK_PORTS="0")
        self.env = {}

    def run(self, *arguments, check=True, timeout=300):
        done = subprocess.run([ROOT / "dev/stack", *arguments], env=self.environ, capture_output=True, text=True, timeout=timeout,
                              check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"dev/stack {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def up(self):
        subprocess.run([ROOT / "dev/stack", "up", "--with-pid", str(os.getpid())], env=self.environ, check=True, timeout=600)
        self.read_env()
        self.make_roles()

    def make_roles(self):
        """Each daemon works by a role of its own, which may do no more than sql/grants.sql says, as it does in docker-compose/."""
        there = {name for name, in self.sql("SELECT rolname FROM pg_roles")}
        # the last for an observer whose workers are its children, and connect as it does
        for role, more in (*((role, "") for role in ROLES.values()), ("trabajos_local", " IN ROLE trabajos_observer, trabajos_worker")):
            if role not in there:
                self.sql(f"CREATE ROLE {role} LOGIN PASSWORD %s{more}", self.env["POSTGRES_PASSWORD"])
        self.migrate()

    def migrate(self):
        subprocess.run([BIN / "trabajos", "migrate"], env={**os.environ, **self.env}, check=True, capture_output=True, timeout=60)

    def read_env(self):
        for line in (self.dir / "env").read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            if name:
                self.env[name] = value.strip("'\"")

    def down(self):
        self.run("down", "--purge", check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def token(self, user):
        answer = requests.post(self.env["KEYCLOAK_ISSUER"] + "/protocol/openid-connect/token", timeout=20, data={
            "grant_type": "password", "client_id": "nodejs-microservice", "username": user, "password": user})
        assert answer.ok, f"no token for {user}: {answer.status_code} {answer.text}; {self.run('logs', 'keycloak').stdout[-2000:]}"
        return answer.json()["access_token"]

    def keycloak_admin(self):
        answer = requests.post(self.env["KEYCLOAK_ADMIN_URL"] + "/realms/master/protocol/openid-connect/token", timeout=20, data={
            "grant_type": "password", "client_id": "admin-cli", "username": self.env["KEYCLOAK_ADMIN_USER"],
            "password": self.env["KEYCLOAK_ADMIN_PASSWORD"]})
        answer.raise_for_status()
        session = requests.Session()
        session.headers["Authorization"] = "Bearer " + answer.json()["access_token"]
        return session

    def sql(self, query, *values):
        """Rows of a query; none for a statement that returns none."""
        with self.connected() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def connected(self):
        """The cursor of a transaction, which is committed in the end."""
        connection = psycopg2.connect(host=self.env["POSTGRES_HOST"], port=self.env["POSTGRES_PORT"], dbname=self.env["POSTGRES_DB"],
                                      user=self.env["POSTGRES_USER"], password=self.env["POSTGRES_PASSWORD"], connect_timeout=5)
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


def lag(stack):
    """Records of trabajos that the workers have not put into the ledger, as far as they have said so."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "group.id": "worker", "log_level": 2})
    try:
        numbers = consumer.list_topics("trabajos", timeout=10).topics["trabajos"].partitions
        committed = consumer.committed([confluent_kafka.TopicPartition("trabajos", number) for number in numbers], timeout=10)
        return sum(consumer.get_watermark_offsets(each, timeout=10)[1] - max(each.offset, 0) for each in committed)
    finally:
        consumer.close()


def forget(stack, key):
    """Removes a job for good. While its record was not read, a worker that does so makes it anew."""
    wait_for("its record was read", lambda: lag(stack) == 0)
    stack.sql("DELETE FROM trabajos WHERE key = %s", key)


class Repository:
    """A bare repository on the stack's git server, with one commit of the given files."""

    def __init__(self, stack, name, files, executable=("main.sh", "main")):
        self.path = stack.dir / "git" / f"{name}.git"
        self.url = f"{stack.env['GIT_URL']}/{name}.git"
        work = pathlib.Path(tempfile.mkdtemp(prefix="trabajos-repo-"))
        try:
            for file, content in files.items():
                target = work / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content if isinstance(content, bytes) else content.encode())
                if file in executable:
                    target.chmod(0o755)
            self.git("init", "-q", "-b", "main", work)
            self.git("-C", work, "add", "-A")
            self.git("-C", work, "commit", "-q", "--allow-empty", "-m", "files of a test")
            self.commit = self.git("-C", work, "rev-parse", "HEAD").strip()
            self.git("clone", "-q", "--bare", work, self.path)
            subprocess.run(["chmod", "-R", "a+rX", self.path], check=True)
        finally:
            shutil.rmtree(work)

    @staticmethod
    def git(*arguments):
        environment = dict(os.environ, GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@localhost", GIT_COMMITTER_NAME="t",
                           GIT_COMMITTER_EMAIL="t@localhost", GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
        return subprocess.run(["git", "-c", "safe.directory=*", *map(str, arguments)], env=environment, check=True, capture_output=True,
                              text=True).stdout


class Daemon:
    """One of our daemons as a child process, its log in the stack's folder."""

    def __init__(self, stack, program, name, **options):
        self.stack, self.program, self.name = stack, program, name
        self.metrics_port = free_port()
        self.options = {"METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}", "LOG_FORMAT": "json", "LOG_LEVEL": "debug", **options}
        self.log = stack.dir / "logs" / f"test-{name}.log"
        self.out = stack.dir / "logs" / f"test-{name}.out"
        self.process = None
        self.prefix = ()  # what executes it

    def environment(self):
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "ASAN_OPTIONS", "TSAN_OPTIONS")}
        services = {name: value for name, value in self.stack.env.items() if name.startswith(("KAFKA_", "POSTGRES_", "GIT_ALLOW"))}
        if self.program in ROLES:
            services["POSTGRES_USER"] = "trabajos_local" if self.options.get("SCALE_ACTUATOR") == "local" else ROLES[self.program]
        services["KEYCLOAK_ISSUER"] = self.stack.env["KEYCLOAK_ISSUER"]
        return {**inherited, **services, **{name: str(value) for name, value in self.options.items()}}

    def start(self, ready=True):
        assert not self.alive(), f"{self.name} runs already"
        with open(self.log, "ab") as log, open(self.out, "ab") as out:
            self.process = subprocess.Popen([*self.prefix, BIN / self.program], env=self.environment(), stdout=out, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            if ready:
                self.await_ready()
        except BaseException:
            self.end()  # nobody has it yet who would
            raise
        return self

    def await_ready(self, timeout_s=60):
        def probe():
            assert self.alive(), f"{self.name} ended with {self.process.poll()}: {self.tail()}"
            return self.readyz().status_code == 200
        wait_for(f"{self.name} ready", probe, timeout_s)

    def readyz(self):
        return requests.get(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=5)

    def metric(self, name):
        page = requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.split("{")[0].split(" ")[0] == name)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.alive():
            self.process.kill()
        return self.process.wait(30)

    def end(self):
        """In the quickest orderly way, so that it still writes what it counted (make coverage); killed if it has none."""
        for _ in range(2):
            if self.alive():
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(5)
        if self.process is not None:
            self.kill()

    def stop(self, timeout_s=30):
        """SIGTERM, and the exit code."""
        if not self.alive():
            return self.process.poll() if self.process else None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError(f"{self.name} did not end within {timeout_s} s of SIGTERM: {self.tail()}") from None

    def tail(self, lines=40):
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-lines:]) if self.log.exists() else ""

    def rss_bytes(self):
        return self.memory_bytes("status", "VmRSS:")

    def private_dirty_bytes(self):
        return self.memory_bytes("smaps_rollup", "Private_Dirty:")

    def memory_bytes(self, file, field):
        for line in pathlib.Path(f"/proc/{self.process.pid}/{file}").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
        return 0


def frontend(stack, name="frontend", **options):
    port = free_port()
    daemon = Daemon(stack, "trabajos-frontend", name, FRONTEND_LISTEN=f"127.0.0.1:{port}", **{"RATE_PER_S": 0, **options})
    daemon.url = f"http://127.0.0.1:{port}"
    return daemon


def observer(stack, name="observer", **options):
    port = free_port()
    daemon = Daemon(stack, "trabajos-observer", name, OBSERVER_LISTEN=f"127.0.0.1:{port}", **options)
    daemon.url = f"http://127.0.0.1:{port}"
    return daemon


def worker(stack, name="worker", **options):
    folder = stack.dir / f"test-{name}"
    folder.mkdir(exist_ok=True)
    return Daemon(stack, "trabajos-worker", name, **{"WORKER_DIR": folder, "WORKER_SLOTS": 2, "JOB_GRACE_S": 1, **options})


class User:
    """Somebody with a token, at a frontend."""

    def __init__(self, stack, url, name):
        self.stack, self.url, self.name = stack, url, name
        self.session = requests.Session()
        self.renewed = 0.0

    def token(self):
        if time.monotonic() - self.renewed > 120:
            self.session.headers["Authorization"] = "Bearer " + self.stack.token(self.name)
            self.renewed = time.monotonic()
        return self.session.headers["Authorization"].split()[1]

    def claims(self):
        part = self.token().split(".")[1]
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))

    def get(self, path, method="GET", headers=None, data=None, wait_s=30, json=None, files=None, **params):
        self.token()
        return self.session.request(method, self.url + path, params=params, headers=headers, data=data, json=json, files=files, timeout=wait_s)

    def add(self, url, **params):
        """The key of an accepted job."""
        answer = self.get("/add", url=url, **params)
        assert answer.status_code == 200, answer.text
        assert answer.text.startswith("Trabajo añadido: "), answer.text
        return answer.text.removeprefix("Trabajo añadido: ").strip()

    def status(self, key):
        answer = self.get("/status", key=key)
        assert answer.status_code == 200, answer.text
        rows = answer.json()
        return rows[0]["status"] if rows else None

    def await_end(self, key, timeout_s=60):
        return wait_for(f"job {key} ended", lambda: self.status(key) in FINAL and self.status(key), timeout_s)

    def run(self, url, timeout_s=60, **params):
        """Submits and waits: (key, status, outcome)."""
        key = self.add(url, **params)
        status = self.await_end(key, timeout_s)
        return key, status, self.outcome(key)

    def outcome(self, key):
        return self.stack.sql("SELECT outcome FROM trabajos WHERE key = %s", key)[0][0]

    def log(self, key, stream=None):
        rows = self.stack.sql("SELECT data FROM logs WHERE key = %s AND (%s::int IS NULL OR stream = %s)"
                              " AND attempt = (SELECT attempt FROM trabajos WHERE key = %s) ORDER BY seq", key, stream, stream, key)
        return b"".join(bytes(row[0]) for row in rows).decode(errors="replace")


@contextlib.contextmanager
def running(*daemons):
    """The daemons, ready, for as long as the block lasts."""
    try:
        for daemon in daemons:
            daemon.start(ready=False)
        for daemon in daemons:
            daemon.await_ready()
        yield daemons
    finally:
        for daemon in daemons:
            daemon.end()
