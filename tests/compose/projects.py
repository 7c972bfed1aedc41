"""The two compose projects under names of the tests' own, in a clone of this tree, and what the tests do with them."""

import base64
import concurrent.futures
import json
import os
import pathlib
import pty
import select
import shutil
import subprocess
import tempfile
import threading
import time
import uuid

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
FRONTEND = "http://127.0.0.1:80"
KEYCLOAK = "http://localhost:8082"
NAMES = {"docker-compose": "trabajos-test", "docker-compose-keycloak": "trabajos-test-keycloak"}
SETTINGS = {
    "KEYCLOAK_NETWORK": "trabajos-test-shared", "TRABAJOS_TAG": "test", "BUILDKIT_PROGRESS": "plain",
    # so that a test need not wait for minutes
    "DRAIN_S": "12", "WORKER_STOP_GRACE": "30s",
}
SERVICES = ("frontend", "worker", "observer", "kafka", "db", "git")
FINAL = ("Finished", "Failed", "Cancelled")


def wait_for(what, condition, timeout_s=120, every_s=0.2):
    """The first true value of condition(); fails with `what` if none comes in time."""
    end = time.monotonic() + timeout_s
    last = None
    while time.monotonic() < end:
        try:
            last = condition()
            if last:
                return last
        except (requests.RequestException, subprocess.CalledProcessError) as error:
            last = error
        time.sleep(every_s)
    raise AssertionError(f"in {timeout_s} s not seen: {what} (last: {last!r})")


def run(*command, timeout=600, check=True, **more):
    """What a command prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False,
                          **more)
    if check and done.returncode != 0:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr + done.stdout)
    return done


def docker(*arguments, **more):
    return run("docker", *arguments, **more).stdout.strip()


class Shell:
    """One shell to which a user's commands go, one after the other; on a terminal, as users have one."""

    def __init__(self, folder, environ):
        self.end = f"end-{uuid.uuid4().hex}"
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(["bash", "--norc", "--noprofile"], cwd=folder, env=environ, stdin=subprocess.PIPE, stdout=slave,
                                        stderr=slave, start_new_session=True)
        os.close(slave)

    def say(self, command, timeout_s=1800):
        """(exit code, what was shown)"""
        # the command itself gets the terminal, the shell reads from us
        line = f"{{ {command}\n}} </dev/null; echo {self.end} $?\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        shown, limit = b"", time.monotonic() + timeout_s
        while self.end.encode() not in shown or not shown.endswith(b"\n"):
            assert time.monotonic() < limit, f"{command}: not done after {timeout_s} s: {shown[-2000:]!r}"
            if select.select([self.master], [], [], 1)[0]:
                shown += os.read(self.master, 1 << 16)
        text, _, code = shown.decode(errors="replace").replace("\r", "").rpartition(self.end)
        return int(code), text

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        os.close(self.master)


class Projects:
    def __init__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="trabajos-compose-"))
        self.tree = self.scratch / "trabajos"
        self.up = False
        self.volumes = set()  # nameless ones outlive containers that scaling took away, and bear no project's label
        kept = {name: value for name, value in os.environ.items()
                if name in ("PATH", "HOME", "LANG", "TERM", "DOCKER_HOST", "DOCKER_CONFIG", "XDG_CACHE_HOME") or "proxy" in name.lower()}
        self.environ = {**kept, **SETTINGS}
        self.more = {}  # settings of a test
        self.tokens = {}

    # ---- the tree
    def source(self):
        """A repository with what this tree holds now, committed or not."""
        source = self.scratch / "served" / "trabajos.git"
        run("git", "clone", "-q", ROOT, source)
        changed = run("git", "diff", "--no-renames", "--name-only", "HEAD", cwd=ROOT).stdout
        for name in (changed + run("git", "ls-files", "-o", "--exclude-standard", cwd=ROOT).stdout).splitlines():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, source / name)
            else:
                (source / name).unlink(missing_ok=True)
        run("git", "add", "-A", cwd=source)
        run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "--allow-empty", "-m", "As it is", cwd=source)
        return source

    def name_projects(self):
        for folder, name in NAMES.items():
            (self.tree / folder / ".env").write_text(f"COMPOSE_PROJECT_NAME={name}\n")

    def before_the_newest_migration(self):
        """A tree as it was before its newest migration was added, with the settings of this one; None where its history is not here."""
        newest = sorted(ROOT.glob("sql/[0-9]*.sql"))[-1].relative_to(ROOT)
        added = run("git", "log", "--diff-filter=A", "--format=%H", "-1", "--", newest, cwd=ROOT).stdout.strip()
        if not added or run("git", "rev-parse", "-q", "--verify", f"{added}^", cwd=ROOT, check=False).returncode != 0:
            return None
        older = self.scratch / "older"
        older.mkdir()
        packed = subprocess.run(["git", "archive", f"{added}^"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", older], input=packed, check=True)
        shutil.copy2(self.tree / "docker-compose/.env", older / "docker-compose/.env")
        shutil.copytree(self.tree / "docker-compose/.secrets", older / "docker-compose/.secrets")
        return older

    # ---- compose
    def compose(self, *arguments, folder="docker-compose", tree=None, client=("docker", "compose"), check=True, timeout=600, **settings):
        environ = {**self.environ, "COMPOSE_PROFILES": "example", "GIT_ALLOW": "http://git/", **self.more, **settings}
        return run(*client, *arguments, cwd=(tree or self.tree) / folder, env=environ, check=check, timeout=timeout)

    def containers(self, service, folder="docker-compose"):
        return docker("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.compose.project={NAMES[folder]}",
                      "--filter", f"label=com.docker.compose.service={service}", "--filter", "label=com.docker.compose.oneoff=False").split()

    def inspect(self, service, folder=None):
        folder = folder or ("docker-compose-keycloak" if service == "keycloak" else "docker-compose")
        found = [json.loads(docker("inspect", container))[0] for container in self.containers(service, folder)]
        self.volumes |= {mount["Name"] for one in found for mount in one["Mounts"] if mount["Type"] == "volume"}
        return found

    def await_healthy(self, *services, timeout_s=600):
        def healthy():
            found = {service: [one["State"].get("Health", {}).get("Status") for one in self.inspect(service)] for service in services}
            return all(states and set(states) == {"healthy"} for states in found.values())
        wait_for(f"{services} healthy", healthy, timeout_s)

    def address(self, service, network):
        folder = "docker-compose-keycloak" if service == "keycloak" else "docker-compose"
        networks = self.inspect(service)[0]["NetworkSettings"]["Networks"]
        return networks[network if network in networks else f"{NAMES[folder]}_{network}"]["IPAddress"]

    def kill(self, service):
        """SIGKILL from outside, as a fault would do it: what `docker kill` ends is not started again by its restart policy."""
        one = self.inspect(service)[0]
        docker("run", "--rm", "--network", "none", "--pid", "host", "--cap-drop", "ALL", "--cap-add", "KILL", "debian:trixie-slim",
               "bash", "-c", f"kill -9 {one['State']['Pid']}")
        return one

    # ---- the services
    def sql(self, query):
        """Rows of texts."""
        shown = self.compose("exec", "-T", "db", "psql", "-U", "postgres", "-XAt", "-F", "\x1f", "results_db", "-c", query).stdout
        return [line.split("\x1f") for line in shown.splitlines()]

    def token(self, user="user"):
        got, token = self.tokens.get(user, (0, None))
        if not token or time.monotonic() - got > 240:  # it lives for 300
            token = run(self.tree / "docker-compose/token", user, env=self.environ).stdout.strip()
            self.tokens[user] = (time.monotonic(), token)
        return token

    def ask(self, path, user="user", method="GET", headers=None, **params):
        return requests.request(method, FRONTEND + path, params=params, timeout=60,
                                headers={"Authorization": f"Bearer {self.token(user)}", **(headers or {})})

    def add(self, name, **params):
        answer = self.ask("/add", url=f"http://git/{name}.git", **params)
        assert answer.status_code == 200, answer.text
        return answer.text.removeprefix("Trabajo añadido: ").strip()

    def insist(self, name):
        """As a client does that wants its job in: repeats with the same Idempotency-Key until it is accepted."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}

        def once():
            answer = self.ask("/add", headers=headers, url=f"http://git/{name}.git")
            return answer.status_code == 200 and answer.text.removeprefix("Trabajo añadido: ").strip()
        return wait_for("a job accepted", once, 600)

    def await_end(self, *keys, timeout_s=180):
        texts = ",".join(f"'{key}'" for key in keys)
        wait_for(f"{len(keys)} jobs ended", lambda: self.sql(
            f"SELECT count(*) FROM trabajos WHERE key IN ({texts}) AND status IN {FINAL}") == [[str(len(keys))]], timeout_s)

    def await_running(self, *keys):
        texts = ",".join(f"'{key}'" for key in keys)
        wait_for(f"{len(keys)} jobs running", lambda: self.sql(
            f"SELECT count(*) FROM trabajos WHERE key IN ({texts}) AND status = 'Running'") == [[str(len(keys))]])

    def job(self, key):
        return self.ask(f"/api/v1/trabajos/{key}").json()

    def log(self, key):
        rows = self.sql(f"SELECT encode(data, 'hex') FROM logs WHERE key = '{key}' ORDER BY attempt, seq")
        return b"".join(bytes.fromhex(row[0]) for row in rows).decode(errors="replace")

    def repository(self, name, **files):
        """On the example's git server; what is called main_sh is main.sh."""
        work = pathlib.Path(tempfile.mkdtemp(prefix="repo-", dir=self.scratch))
        for file, content in files.items():
            target = work / "tree" / file.replace("_", ".")
            target.parent.mkdir(exist_ok=True)
            target.write_text(content)
            target.chmod(0o755)
        git = ("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-C", work / "tree")
        run(*git, "init", "-q", "-b", "main")
        run(*git, "add", "-A")
        run(*git, "commit", "-q", "-m", "files of a test")
        run("git", "clone", "-q", "--bare", work / "tree", work / f"{name}.git")
        packed = subprocess.run(["tar", "-C", work, "--owner=0", "--group=0", "--mode=a+rX", "-c", f"{name}.git"], check=True, capture_output=True).stdout
        subprocess.run(["docker", "exec", "-i", self.containers("git")[0], "tar", "-C", "/srv/git", "--no-same-owner", "-x"], input=packed,
                       check=True, capture_output=True, timeout=60)
        return name

    def run_job(self, name, timeout_s=120, **params):
        key = self.add(name, **params)
        self.await_end(key, timeout_s=timeout_s)
        return key, self.job(key)

    def records(self):
        """Of the topic resultados: (key, attempt) of each."""
        shown = self.compose("exec", "-T", "kafka", "kafka-console-consumer.sh", "--bootstrap-server", "localhost:9092", "--topic",
                             "resultados", "--from-beginning", "--timeout-ms", "10000", "--property", "print.key=true", check=False).stdout
        lines = [line.split("\t", 1) for line in shown.splitlines() if "\t" in line]
        return [(key, json.loads(value)["attempt"]) for key, value in lines]

    # ---- the end
    @staticmethod
    def sweep():
        """Everything of projects by the tests' names, also of a run that was killed."""
        for name in NAMES.values():
            of_it = ("--filter", f"label=com.docker.compose.project={name}")
            for kind, remove in ((("ps", "-aq"), ("rm", "-fv")), (("volume", "ls", "-q"), ("volume", "rm", "-f")),
                                 (("network", "ls", "-q"), ("network", "rm"))):
                found = docker(*kind, *of_it).split()
                if found:
                    docker(*remove, *found, check=False)
        docker("network", "rm", SETTINGS["KEYCLOAK_NETWORK"], check=False)
        images = [image for image in docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
                  if image.startswith("trabajos-") and image.endswith(":" + SETTINGS["TRABAJOS_TAG"])]
        if images:
            docker("rmi", *images, check=False)

    def close(self):
        self.sweep()
        for volume in self.volumes:
            docker("volume", "rm", "-f", volume, check=False)
        shutil.rmtree(self.scratch, ignore_errors=True)


class Load:
    """Jobs that are asked for all the while, until it is told to stop; knows what was accepted."""

    def __init__(self, projects, name, every_s=0.3):
        self.projects, self.name, self.every_s = projects, name, every_s
        self.keys, self.stopped = [], threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.future = None

    def submit(self):
        while not self.stopped.is_set():
            self.keys.append(self.projects.insist(self.name))
            self.stopped.wait(self.every_s)

    def __enter__(self):
        self.future = self.pool.submit(self.submit)
        return self

    def __exit__(self, *exception):
        self.stopped.set()
        self.future.result(600)
        self.pool.shutdown()


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
