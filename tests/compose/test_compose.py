"""The compose projects as users run them. Each test goes on where the one before stopped."""

import collections
import json
import re
import subprocess
import time

import pytest
import requests
from projects import (FRONTEND, KEYCLOAK, NAMES, ROOT, SERVICES, SETTINGS, Load, Shell, claims, docker, run, wait_for)

KEY = re.compile(r"Trabajo añadido: ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
WORKER_OPTIONS = ["--cap-drop", "ALL", "--read-only", "--pids-limit", "4096", "--security-opt", "no-new-privileges:true", "--security-opt",
                  "apparmor=unconfined", "--init"]
SECCOMP = ["--security-opt", f"seccomp={ROOT}/docker-compose/seccomp.json"]


@pytest.fixture(autouse=True)
def need_projects(request, projects):
    if not projects.up and "first_minutes" not in request.node.name:
        pytest.skip("the projects are not up")


def first_minutes():
    """The commands of the README's section about containers, without their comments."""
    section = (ROOT / "README.md").read_text().split("\n## With containers\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("    $ "):
            yield re.sub(r"\s{2,}# .*$", "", line[6:])


def await_job(projects, key):
    wait_for("the job of the README ended", lambda: projects.ask(f"/status?key={key}").json()[0]["status"] in ("Finished", "Failed"))


def test_the_readmes_first_minutes_lead_to_a_result(projects, figures, tell):
    commands = list(first_minutes())
    assert "docker-compose up -d" in commands and any("/add?url=" in command for command in commands)
    source = projects.source()
    shell = Shell(projects.scratch, projects.environ)
    shown = {}
    try:
        for command in commands:
            if command.startswith("git clone "):
                command = command.replace("https://git.example.org/trabajos.git", str(source))
                assert str(source) in command
            tell(f"$ {command}")
            begun = time.monotonic()
            code, text = shell.say(command)
            shown[command] = text
            took = time.monotonic() - begun
            print(f"$ {command}\n{text}")
            assert code == 0, f"{command}: exit code {code}\n{text[-3000:]}"
            if command.startswith("git clone "):
                projects.name_projects()
            if re.search("up -d|build", command):
                figures[f"{command.strip('()').removeprefix('cd ')[:60]} (s)"] = round(took)
            if command == "docker-compose ps":  # a user looks again
                projects.await_healthy(*SERVICES, "keycloak", timeout_s=600)
            if KEY.search(text):
                await_job(projects, KEY.search(text)[1])
    finally:
        shell.close()
    everything = "".join(shown.values())
    assert KEY.search(everything)
    assert '"status":"Finished"' in everything
    assert re.search(r"user +\| [0-9a-f-]{36} \| Finished", everything)
    assert {"resultados", "trabajos"} <= set(everything.split())
    assert "received message: " in everything
    projects.up = True


def test_everything_is_healthy_and_nothing_restarts(projects, figures):
    projects.await_healthy(*SERVICES, "keycloak")
    for service in (*SERVICES, "keycloak"):
        for one in projects.inspect(service):
            assert one["RestartCount"] == 0, service
    assert len(projects.containers("worker")) == 3
    lines = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines()
    for line in sorted(lines):
        name, used = line.split(" ", 1)
        if name.startswith("trabajos-test"):
            figures[f"memory at rest: {name.removeprefix('trabajos-test-')}"] = used.split(" / ")[0]
    for image in ("frontend", "worker", "observer", "keycloak", "git"):
        figures[f"image: trabajos-{image} (MB)"] = int(docker("image", "inspect", "-f", "{{.Size}}", f"trabajos-{image}:test")) // 1000000


def test_containers_have_no_rights_that_they_do_not_need(projects):
    for service in (*SERVICES, "keycloak"):
        for one in projects.inspect(service):
            host, image = one["HostConfig"], json.loads(docker("image", "inspect", one["Image"]))[0]
            user = one["Config"]["User"] or image["Config"]["User"]
            assert user and user.split(":")[0] not in ("0", "root"), (service, user)
            assert host["ReadonlyRootfs"] and not host["Privileged"] and host["CapDrop"] == ["ALL"] and not host["CapAdd"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
            assert not any("docker.sock" in mount["Source"] for mount in one["Mounts"]), service
            if service != "worker":
                assert host["MaskedPaths"], service
            assert not [name for name in one["Config"]["Env"] if re.match(r"[A-Z_]*PASSWORD=.+", name)], service
    for one in projects.inspect("worker"):
        assert one["HostConfig"]["Memory"] > 0 and one["Config"]["StopTimeout"] > int(SETTINGS["DRAIN_S"])


def test_images_say_what_they_are(projects):
    for name in ("frontend", "worker", "observer"):
        image = json.loads(docker("image", "inspect", f"trabajos-{name}:test"))[0]["Config"]
        assert image["User"] == "1000:1000" and image["StopSignal"] == "SIGTERM" and image["Healthcheck"]
        assert image["Labels"]["org.opencontainers.image.title"] == f"trabajos-{name}"
        assert image["Labels"]["org.opencontainers.image.version"]
    assert projects.containers("worker")


def test_only_ports_80_and_8082_are_published_and_on_loopback(projects):
    published = {}
    for service in (*SERVICES, "keycloak"):
        for one in projects.inspect(service):
            for bindings in (one["NetworkSettings"]["Ports"] or {}).values():
                for binding in bindings or []:
                    published[service] = (binding["HostIp"], binding["HostPort"])
    assert published == {"frontend": ("127.0.0.1", "80"), "keycloak": ("127.0.0.1", "8082")}


def test_keycloaks_console_works_on_8082_with_the_realm(projects):
    page = requests.get(f"{KEYCLOAK}/admin/master/console/", timeout=60)
    assert page.status_code == 200 and "Keycloak" in page.text
    password = (projects.tree / "docker-compose/.secrets/keycloak_admin_password").read_text()
    answer = requests.post(f"{KEYCLOAK}/realms/master/protocol/openid-connect/token", timeout=60, data={
        "grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": password})
    assert answer.status_code == 200, answer.text
    realms = requests.get(f"{KEYCLOAK}/admin/realms", timeout=60, headers={"Authorization": "Bearer " + answer.json()["access_token"]})
    assert "cloudcomputing" in [realm["realm"] for realm in realms.json()]


def test_a_token_of_the_outer_name_is_good_and_others_are_not(projects):
    assert claims(projects.token())["iss"] == f"{KEYCLOAK}/realms/cloudcomputing"
    assert projects.ask("/all").status_code == 200
    assert requests.get(f"{FRONTEND}/all", timeout=30).status_code == 401
    assert requests.get(f"{FRONTEND}/all", timeout=30, headers={"Authorization": "Bearer " + projects.token()[:-8]}).status_code == 401
    bad = run(projects.tree / "docker-compose/token", "nobody", check=False, env=projects.environ)
    assert bad.returncode == 1 and "nobody" in bad.stderr and len(bad.stderr.splitlines()) == 1


def test_each_daemon_has_a_role_of_its_own_and_none_is_a_superuser(projects):
    roles = dict(projects.sql("SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls FROM pg_roles"
                              " WHERE rolname LIKE 'trabajos%'"))
    assert roles == {f"trabajos_{name}": "f" for name in ("owner", "frontend", "worker", "observer")}
    used = {tuple(row) for row in projects.sql("SELECT DISTINCT usename, split_part(application_name, ' ', 1) FROM pg_stat_activity"
                                               " WHERE datname = 'results_db' AND usename <> 'postgres'")}
    assert {name for name, _ in used} == {"trabajos_frontend", "trabajos_worker", "trabajos_observer"}, used
    assert projects.sql("SELECT tableowner FROM pg_tables WHERE schemaname = 'public' GROUP BY 1") == [["trabajos_owner"]]
    assert projects.sql("SELECT DISTINCT count(*) OVER (PARTITION BY version) FROM migraciones") == [["1"]]


def connects(container_options, address, port):
    script = f"exec 3<>/dev/tcp/{address}/{port}"
    return subprocess.run(["docker", *container_options, "timeout", "3", "bash", "-c", script], capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL, check=False).returncode == 0


def test_services_can_be_reached_only_by_those_who_need_them(projects):
    places = {"kafka": (projects.address("kafka", "kafka"), 9092), "db": (projects.address("db", "database"), 5432),
              "keycloak": (projects.address("keycloak", SETTINGS["KEYCLOAK_NETWORK"]), 8080)}
    may = {"frontend": {"kafka", "db", "keycloak"}, "worker": {"kafka", "db"}, "observer": {"kafka", "db"}, "kafka": {"kafka"},
           "db": {"db"}, "git": set()}
    for service, allowed in may.items():
        container = projects.containers(service)[0]
        reached = {name for name, (address, port) in places.items() if connects(["exec", container], address, port)}
        assert reached == allowed, service
    # a container of somebody else's
    assert not [name for name, (address, port) in places.items() if connects(["run", "--rm", "debian:trixie-slim"], address, port)]


def test_a_job_reaches_no_service_and_no_network(projects):
    addresses = [(projects.address("kafka", "kafka"), 9092), (projects.address("db", "database"), 5432),
                 (projects.address("keycloak", SETTINGS["KEYCLOAK_NETWORK"]), 8080), (projects.address("frontend", "edge"), 3000),
                 (projects.address("git", "outside"), 80), ("127.0.0.1", 9100)]
    script = "import socket\n" + "".join(
        f"s = socket.socket()\ns.settimeout(3)\nprint('REACHED' if s.connect_ex(({address!r}, {port})) == 0 else 'refused')\n"
        for address, port in addresses) + (
        "for name in ('kafka', 'db', 'git', 'keycloak'):\n"
        "    try:\n        print('RESOLVED', socket.getaddrinfo(name, 80))\n    except OSError:\n        print('refused')\n"
        "print(sorted(name for _, name in socket.if_nameindex()))\n")
    key, job = projects.run_job(projects.repository("reach", main_py=script))
    assert job["status"] == "Finished", job["outcome"]
    assert projects.log(key).splitlines() == ["refused"] * 10 + ["['lo']"]


def test_a_job_is_isolated_fully_and_finds_its_tools(projects):
    key, job = projects.run_job(projects.repository("tools", main_sh=(
        "#!/bin/sh\nset -eu\nsh -c 'echo sh'\nmake --version | head -n 1\ngcc --version | head -n 1\npython3 --version\nnode --version\n"
        "npm --version\ngit --version\necho 'int main(void) { return 0; }' >a.c && gcc -o a a.c && ./a && echo compiled\nid -u\n"
        "ls /run/secrets /var/lib/trabajos 2>/dev/null || echo nothing there\n")))
    log = projects.log(key)
    assert job["status"] == "Finished", (job["outcome"], log)
    assert job["isolation"]["level"] == "full", job["isolation"]
    assert "compiled" in log and "nothing there" in log


def test_a_job_that_takes_too_much_is_ended_or_refused(projects):
    hog = projects.repository("hog", main_py="x = []\nwhile True:\n    x.append(bytearray(1 << 20))\n")
    disk = projects.repository("disk", main_sh="#!/bin/sh\nset -e\ndd if=/dev/zero of=full bs=1M count=4000\n")
    # small ones: as many of a larger program need too much memory first
    forks = projects.repository("forks", main_sh="#!/bin/sh\nfor i in $(seq 1000); do sleep 60 & echo $i; done\n")
    keys = [projects.add(name) for name in (hog, disk, forks)]
    projects.await_end(*keys, timeout_s=300)
    jobs = [projects.job(key) for key in keys]
    assert [job["outcome"]["code"] for job in jobs[:2]] == ["memory", "disk"], [job["outcome"] for job in jobs]
    assert jobs[0]["peak_memory_bytes"] > 256 << 20
    counts = [int(line) for line in projects.log(keys[2]).splitlines() if line.isdigit()]
    assert jobs[2]["status"] == "Failed" and 100 < max(counts) < 256, (jobs[2]["outcome"], counts[-3:])
    assert all(one["RestartCount"] == 0 for one in projects.inspect("worker"))


@pytest.mark.parametrize("program", ["test_sandbox_escape", "test_sandbox_calls", "test_sandbox_bombs", "test_sandbox_wall"])
def test_the_sandboxs_escape_tests_pass_in_the_workers_container(projects, program, figures):
    docker("buildx", "build", "-q", "--load", "-f", projects.tree / "deploy/docker/Dockerfile", "--target", "check", "-t",
           "trabajos-check:test", projects.tree, timeout=1800)
    done = run("docker", "run", "--rm", *WORKER_OPTIONS, *SECCOMP, "--security-opt", "systempaths=unconfined", "--network", "none",
               "--tmpfs", "/tmp:exec,mode=1777,size=4g", "trabajos-check:test", f"/usr/local/lib/check/{program}", check=False,
               timeout=900)
    print(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    figures[f"{program} in the container"] = (done.stdout + done.stderr).strip().splitlines()[-1]


def check_worker(projects, *options):
    return run("docker", "run", "--rm", *WORKER_OPTIONS, *options, "--tmpfs", "/var/lib/trabajos:exec,uid=1000,gid=1000,mode=700", "--tmpfs", "/tmp",
               "--network", "none", "trabajos-worker:test", "--check", check=False)


def test_a_worker_without_its_options_refuses_and_names_them(projects):
    for options, name in (([], "seccomp"), (SECCOMP, "systempaths=unconfined")):
        done = check_worker(projects, *options)
        lines = done.stderr + done.stdout
        assert done.returncode == 78, lines
        assert name in lines, lines
    assert projects.containers("worker")


def test_sixty_jobs_on_three_workers_are_each_run_once(projects, figures):
    projects.compose("up", "-d", "--no-recreate", "--scale", "worker=3")
    projects.await_healthy("worker")
    name = projects.repository("second", main_sh='#!/bin/sh\necho "trace $TRABAJO_KEY $TRABAJO_ATTEMPT"\nsleep 1\n')
    begun = time.monotonic()
    keys = [projects.add(name) for _ in range(60)]
    projects.await_end(*keys, timeout_s=300)
    figures["60 jobs of a second, 3 workers of 4 slots (s)"] = round(time.monotonic() - begun, 1)
    assert_recorded_once(projects, keys, "Finished")
    for key in keys:
        assert projects.log(key) == f"trace {key} 1\n"
    texts = ",".join(f"'{key}'" for key in keys)
    shares = collections.Counter(row[0] for row in projects.sql(f"SELECT worker FROM attempts WHERE key IN ({texts})"))
    assert len(shares) == 3 and sum(shares.values()) == 60, shares
    figures["  of them each worker ran"] = " ".join(str(count) for count in shares.values())


def assert_recorded_once(projects, keys, status=None):
    texts = ",".join(f"'{key}'" for key in keys)
    rows = projects.sql(f"SELECT key, count(*), min(status) FROM resultados WHERE key IN ({texts}) GROUP BY key")
    assert len(rows) == len(set(keys)) == len(keys)
    assert {row[1] for row in rows} == {"1"}
    if status:
        assert {row[2] for row in rows} == {status}, collections.Counter(row[2] for row in rows)


def assert_in_topic(projects, keys):
    wait_for("no result waits for Kafka", lambda: projects.sql("SELECT count(*) FROM outbox") == [["0"]])
    texts = ",".join(f"'{key}'" for key in keys)
    wanted = {key: int(attempt) for key, attempt in projects.sql(f"SELECT key, attempt FROM trabajos WHERE key IN ({texts})")}

    def all_there():
        newest = {}
        for key, attempt in projects.records():
            newest[key] = max(attempt, newest.get(key, 0))
        return {key: newest.get(key) for key in keys} == wanted
    wait_for("the newest attempt of each in the topic resultados", all_there)


def slow(projects, seconds):
    return projects.repository(f"slow{seconds}", main_sh=f'#!/bin/sh\necho "begun $TRABAJO_ATTEMPT"\nsleep {seconds}\necho ended\n')


def scale(projects, count, check=True):
    return projects.compose("up", "-d", "--no-recreate", "--no-deps", "--scale", f"worker={count}", "worker", check=check)


def test_scaling_down_interrupts_nothing_within_drain_s(projects):
    name = slow(projects, 6)
    keys = [projects.add(name) for _ in range(9)]
    projects.await_running(*keys)
    scale(projects, 1)
    assert len(projects.containers("worker")) == 1
    projects.await_end(*keys)
    assert_recorded_once(projects, keys, "Finished")
    for key in keys:
        assert projects.log(key) == "begun 1\nended\n"


def test_scaling_down_gives_back_what_lasts_longer_and_loses_nothing(projects):
    scale(projects, 3)
    projects.await_healthy("worker")
    name = slow(projects, 30)
    keys = [projects.add(name) for _ in range(9)]
    projects.await_running(*keys)
    scale(projects, 1)
    projects.await_end(*keys, timeout_s=400)
    assert_recorded_once(projects, keys, "Finished")
    attempts = [projects.job(key)["attempt"] for key in keys]
    assert 1 in attempts and 2 in attempts and max(attempts) <= 2, attempts
    jobs = [projects.job(key) for key in keys]
    assert not any(job["failures"]["platform"] for job in jobs), "a worker that leaves costs a job nothing"
    scale(projects, 3)
    projects.await_healthy("worker")


@pytest.mark.parametrize("service", ["frontend", "worker", "observer", "kafka", "db", "keycloak"])
def test_a_container_that_is_killed_comes_back_and_nothing_accepted_is_lost(projects, service):
    name = projects.repository("quick", main_sh="#!/bin/sh\necho ran\nsleep 0.5\n")
    projects.token()
    with Load(projects, name) as load:
        wait_for("a few jobs accepted", lambda: len(load.keys) > 3)
        killed = projects.kill(service)
        container = killed["Id"]

        def restarted():
            one = json.loads(docker("inspect", container))[0]
            return one["RestartCount"] > killed["RestartCount"] and one["State"]["Health"]["Status"] == "healthy"
        wait_for(f"{service} healthy again", restarted, 600)
        count = len(load.keys)
        wait_for("more jobs accepted", lambda: len(load.keys) > count + 3, 600)
    projects.await_end(*load.keys, timeout_s=300)
    assert_recorded_once(projects, load.keys, "Finished")
    assert_in_topic(projects, load.keys)


@pytest.mark.parametrize("service", ["kafka", "db"])
def test_a_restart_of_a_service_loses_nothing(projects, service):
    name = projects.repository("quick", main_sh="#!/bin/sh\necho ran\nsleep 0.5\n")
    with Load(projects, name) as load:
        wait_for("a few jobs accepted", lambda: len(load.keys) > 3)
        projects.compose("restart", service)
        projects.await_healthy(service)
        count = len(load.keys)
        wait_for("more jobs accepted", lambda: len(load.keys) > count + 3, 600)
    projects.await_end(*load.keys, timeout_s=300)
    assert_recorded_once(projects, load.keys, "Finished")
    assert_in_topic(projects, load.keys)


def test_a_known_password_stops_a_start_that_others_could_reach(projects):
    secret = projects.tree / "docker-compose/.secrets/frontend_password"
    good = secret.read_text()
    try:
        secret.write_text("trabajos")
        done = projects.compose("run", "--rm", "--no-deps", "-T", "-e", "BIND=192.0.2.1", "migrate", check=False)
        assert done.returncode == 78 and "frontend_password" in done.stderr, done.stderr
        done = run(projects.tree / "docker-compose/secrets", check=False, env={**projects.environ, "BIND": "192.0.2.1"})
        assert done.returncode == 78 and "frontend_password" in done.stderr, done.stderr
    finally:
        secret.write_text(good)
    assert projects.compose("run", "--rm", "--no-deps", "-T", "-e", "BIND=192.0.2.1", "migrate").stdout.strip() == "nothing to do"


def test_the_demo_users_stop_a_start_that_others_could_reach(projects):
    def start(*options):
        return projects.compose("run", "--rm", "--no-deps", "-T", *options, "keycloak", folder="docker-compose-keycloak", check=False)
    done = start("-e", "BIND=192.0.2.1")
    assert done.returncode == 78 and "DEMO=no" in done.stderr, done.stderr
    done = start("-e", "BIND=192.0.2.1", "-e", "DEMO=no")
    assert done.returncode == 78 and "this volume has the demo users" in done.stderr, done.stderr


def operations(title):
    """The commands of a section of docs/CONTAINERS.md."""
    section = (ROOT / "docs/CONTAINERS.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


def follow(projects, title):
    shell = Shell(projects.tree / "docker-compose", {**projects.environ, "COMPOSE_PROFILES": "example", "GIT_ALLOW": "http://git/"})
    try:
        for command in operations(title):
            code, text = shell.say(command)
            assert code == 0, f"{command}: exit code {code}\n{text[-3000:]}"
    finally:
        shell.close()


def test_what_was_saved_can_be_restored(projects):
    before = projects.sql("SELECT key, status FROM resultados ORDER BY key")
    follow(projects, "Saving and restoring")
    projects.await_healthy("frontend", "worker", "observer")
    assert projects.sql("SELECT key, status FROM resultados ORDER BY key") == before
    assert projects.run_job("ejemplo")[1]["status"] == "Finished"


def test_a_role_gets_another_password(projects):
    old = (projects.tree / "docker-compose/.secrets/worker_password").read_text()
    follow(projects, "Another password")
    assert (projects.tree / "docker-compose/.secrets/worker_password").read_text() != old
    projects.await_healthy("worker")
    assert projects.run_job("ejemplo")[1]["status"] == "Finished"


def test_docker_compose_1_runs_jobs_at_level_reduced(projects):
    client = ["/usr/bin/docker-compose"]
    version = subprocess.run([*client, "version", "--short"], capture_output=True, text=True, check=False) if projects else None
    if version is None or not version.stdout.startswith("1."):
        pytest.skip("there is no docker-compose 1 here")
    scale(projects, 0)
    files = {"COMPOSE_FILE": "docker-compose.yml:docker-compose.reduced.yml"}
    projects.compose("up", "-d", "--no-deps", "worker", client=client, **files)
    projects.await_healthy("worker")
    _, job = projects.run_job("ejemplo")
    assert job["status"] == "Finished" and job["isolation"]["level"] == "reduced", job
    projects.compose("rm", "-sfv", "worker", client=client, **files)


def test_volumes_survive_down_and_other_images(projects):
    before = projects.sql("SELECT key, status FROM resultados ORDER BY key"), projects.sql("SELECT version, applied_at FROM migraciones ORDER BY 1")
    known = len(projects.records())
    projects.compose("down")
    for name in ("frontend", "worker", "observer", "git"):
        text = f"FROM trabajos-{name}:test\nLABEL newer=yes\n"
        subprocess.run(["docker", "build", "-q", "-t", f"trabajos-{name}:test", "-"], input=text, text=True, check=True, capture_output=True,
                       timeout=300)
    projects.compose("up", "-d", "--scale", "worker=3")
    projects.await_healthy(*SERVICES)
    assert projects.inspect("worker")[0]["Config"]["Labels"]["newer"] == "yes"
    assert (projects.sql("SELECT key, status FROM resultados ORDER BY key"),
            projects.sql("SELECT version, applied_at FROM migraciones ORDER BY 1")) == before
    assert len(projects.records()) >= known
    assert projects.run_job("ejemplo")[1]["status"] == "Finished"


def test_an_upgrade_that_carries_a_migration_keeps_what_was_there(projects):
    older = projects.before_the_newest_migration()
    if not older:
        pytest.skip("the commit before the newest migration is not in this clone")
    projects.compose("down", "-v")
    projects.compose("up", "-d", "--build", tree=older, timeout=1800)
    projects.await_healthy(*SERVICES)
    versions = projects.sql("SELECT version FROM migraciones ORDER BY 1")
    finished, _ = projects.run_job("ejemplo")
    projects.repository("patient", main_sh="#!/bin/sh\nsleep 5\n")
    caught = projects.add("patient")  # begun by the older worker, or by the newer one
    projects.await_running(caught)
    projects.compose("up", "-d", "--build", "--scale", "worker=3", timeout=1800)
    projects.await_healthy(*SERVICES)
    assert versions < projects.sql("SELECT version FROM migraciones ORDER BY 1")
    projects.await_end(caught)
    assert projects.job(finished)["status"] == projects.job(caught)["status"] == "Finished"
    assert projects.run_job("ejemplo")[1]["status"] == "Finished"
    assert projects.sql("SELECT count(*) FROM resultados") == [["3"]]


def test_nothing_is_left_after_down_v(projects):
    for folder, name in NAMES.items():
        projects.compose("down", "-v", folder=folder)
        for kind in (["ps", "-a"], ["volume", "ls"], ["network", "ls"]):
            assert not docker(*kind, "-q", "--filter", f"label=com.docker.compose.project={name}"), (name, kind)
