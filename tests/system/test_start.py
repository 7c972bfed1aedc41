"""--check, --help and --version of each daemon, and configurations that no daemon starts with."""

import json
import subprocess

import pytest
import requests
import trabajos

PROGRAMS = ("trabajos-frontend", "trabajos-worker", "trabajos-observer")


def run(stack, program, *arguments, prefix=(), **options):
    """(exit code, what it printed)."""
    folder = stack.dir / "test-check"
    folder.mkdir(exist_ok=True)
    daemon = trabajos.Daemon(stack, program, "check", **{"WORKER_DIR": folder, **options})
    done = subprocess.run([*prefix, trabajos.BIN / program, *arguments], env=daemon.environment(), capture_output=True, text=True, timeout=60,
                          check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_check_says_of_each_service_that_it_is_fine(stack, program):
    code, said = run(stack, program, "--check")
    assert code == 0, said
    services = ["Kafka: fine", "PostgreSQL: fine"] + (["Keycloak: fine"] if program == "trabajos-frontend" else [])
    assert [line for line in said.splitlines() if line.endswith(": fine")] == services
    if program == "trabajos-worker":
        assert "sandbox: {" in said


@pytest.mark.parametrize("program", PROGRAMS)
def test_check_says_what_cannot_be_reached(stack, program):
    nowhere = f"127.0.0.1:{trabajos.free_port()}"
    code, said = run(stack, program, "--check", KAFKA_BOOTSTRAP=nowhere)
    assert code == 69 and "PostgreSQL: fine" in said and "Kafka: fine" not in said and nowhere in said
    code, said = run(stack, program, "--check", POSTGRES_PORT=trabajos.free_port())
    assert code == 69 and "Kafka: fine" in said and "PostgreSQL: fine" not in said
    code, said = run(stack, program, "--check", POSTGRES_OPTIONS="no_such_keyword=1")
    assert code == 78 and "no_such_keyword" in said
    code, said = run(stack, program, "--check", KAFKA_CONFIG="no.such.setting=1")
    assert code == 78 and "no.such.setting" in said


@pytest.mark.parametrize(("program", "options"), [
    *((program, {"POSTGRES_PORT": "abc"}) for program in PROGRAMS), ("trabajos-frontend", {"TRUSTED_PROXIES": "host"})])
def test_check_names_the_option_with_a_bad_value(stack, program, options):
    code, said = run(stack, program, "--check", **options)
    (name, value), = options.items()
    assert code == 78 and name in said and value in said and len(said.splitlines()) == 1, said


def test_a_free_port_for_the_metrics_is_named_in_the_log(stack):
    daemon = trabajos.Daemon(stack, "trabajos-observer", "any-port", METRICS_LISTEN="127.0.0.1:0", OBSERVER_LISTEN="127.0.0.1:0")
    daemon.start(ready=False)
    try:
        said = '"msg":"serving metrics"'
        trabajos.wait_for("the metrics' port", lambda: said in daemon.log.read_text())
        line = next(line for line in daemon.log.read_text().splitlines() if said in line)
        assert requests.get(f"http://127.0.0.1:{json.loads(line)['port']}/livez", timeout=5).text == "OK\n"
    finally:
        daemon.end()


def test_a_worker_promises_no_more_open_files_than_it_may_have_itself(stack):
    code, said = run(stack, "trabajos-worker", "--check", prefix=("prlimit", "--nofile=1000:2000"), JOB_FILES=4000)
    assert code == 78 and "JOB_FILES=4000" in said and "2000" in said and "ulimit -Hn" in said


def test_check_says_that_keycloak_cannot_be_reached(stack):
    code, said = run(stack, "trabajos-frontend", "--check", KEYCLOAK_ISSUER=f"http://127.0.0.1:{trabajos.free_port()}/realms/none")
    assert code == 69 and "Keycloak: fine" not in said and "PostgreSQL: fine" in said


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_lists_the_options_and_version_says_which(stack, program):
    code, said = run(stack, program, "--help")
    assert code == 0 and "KAFKA_BOOTSTRAP" in said and "--kafka-bootstrap" in said
    code, said = run(stack, program, "--version")
    assert code == 0 and said.startswith(program + " ")


@pytest.mark.parametrize(("program", "options", "words"), [
    ("trabajos-observer", {"SCALE_ACTUATOR": "magic"}, ("SCALE_ACTUATOR", "advise")),
    ("trabajos-observer", {"SCALE_MIN": 5, "SCALE_MAX": 4}, ("SCALE_MIN", "SCALE_MAX")),
    ("trabajos-observer", {"RETENTION_DAYS": 7, "KAFKA_RETENTION_H": 168}, ("RETENTION_DAYS", "KAFKA_RETENTION_H")),
    ("trabajos-worker", {"USER_WEIGHTS": "user"}, ("USER_WEIGHTS",)),
    ("trabajos-worker", {"GIT_ALLOW": "not a url"}, ("GIT_ALLOW",)),
    ("trabajos-worker", {"GIT_DENY": "192.0.2.0/33"}, ("GIT_DENY", "192.0.2.0/33")),
    ("trabajos-frontend", {"GIT_ALLOW": "not a url"}, ("GIT_ALLOW",)),
    ("trabajos-frontend", {"KAFKA_CONFIG": "no.such.setting=1"}, ("no.such.setting",)),
    ("trabajos-observer", {"KAFKA_CONFIG": "no.such.setting=1"}, ("no.such.setting",)),
    ("trabajos-frontend", {"POSTGRES_OPTIONS": "no_such_keyword=1"}, ("POSTGRES_OPTIONS", "no_such_keyword")),
    ("trabajos-worker", {"POSTGRES_OPTIONS": "no_such_keyword=1"}, ("POSTGRES_OPTIONS", "no_such_keyword")),
    ("trabajos-observer", {"POSTGRES_OPTIONS": "no_such_keyword=1"}, ("POSTGRES_OPTIONS", "no_such_keyword")),
    ("trabajos-frontend", {"POSTGRES_PORT": "abc"}, ("POSTGRES_PORT", "abc")),
    ("trabajos-worker", {"POSTGRES_PORT": "99999"}, ("POSTGRES_PORT", "99999")),
    ("trabajos-observer", {"POSTGRES_PORT": "5432,0"}, ("POSTGRES_PORT", "5432,0")),
    ("trabajos-frontend", {"TRUSTED_PROXIES": "host"}, ("TRUSTED_PROXIES", "host")),
])
def test_a_configuration_that_cannot_be_meant_ends_the_start(stack, program, options, words):
    code, said = run(stack, program, **options)
    assert code == 78, said
    assert all(word in said for word in words)
