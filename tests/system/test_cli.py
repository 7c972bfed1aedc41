"""`trabajos`, the command: what people and scripts see of it, against the real daemons and Keycloak's real pages."""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import time

import pytest
import requests
import trabajos
from cli import Browser, Cli, Cutter, Fake, Terminal, interrupt
from trabajos import wait_for

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ESCAPES = re.compile(rb"\x1b(?!\[[0-9;:]*m)")  # one that begins anything but a colour


@pytest.fixture(scope="module")
def clis(stack, frontend, tmp_path_factory):
    return {name: Cli(frontend.url, tmp_path_factory.mktemp(f"cli-{name}")).log_in(name) for name in ("user", "admin")}


@pytest.fixture
def cli(clis):
    return clis["user"]


@pytest.fixture
def stranger(frontend, tmp_path):
    """Nobody is logged in yet."""
    return Cli(frontend.url, tmp_path)


@pytest.fixture
def fake():
    fake = Fake()
    yield fake
    fake.close()


def readme_commands():
    text = (trabajos.ROOT / "README.md").read_text()
    return re.findall(r"^    \$ (trabajos .*?)(?:  +#.*)?$", text, re.M)


# ---- the newcomer's path

def test_the_readmes_first_steps_do_what_they_say(stranger, stack, worker):
    stranger.environment["GIT_URL"] = stack.env["GIT_URL"]
    commands = readme_commands()
    assert [command.split()[1] for command in commands[:4]] == ["login", "add", "log", "top"]
    for command in commands[:4]:
        verb, terminal = command.split()[1], Terminal(stranger, shell=command)
        if verb == "login":
            Browser().let_in(terminal.await_text(rb"(http\S+user_code=\S+)").group(1).decode(), "user")
        if verb == "top":
            terminal.await_text(rb"ejemplo\.git")
            terminal.type(b"q")
        drawn = terminal.end()
        assert terminal.code == 0, drawn
        if verb == "login":
            assert b"Logged in to " in drawn and b" as user." in drawn
        if verb in ("add", "log"):
            assert b"hola desde Linux" in drawn
        if verb == "add":
            assert b"Finished" in drawn


# ---- logging in

def test_a_log_in_that_is_refused_in_the_browser_says_so(stranger):
    process = stranger.start("login", text=True)
    address = next(line.strip() for line in process.stderr if "user_code=" in line)
    Browser().let_in(address, "user2", button="cancel")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 77 and "refused in the browser" in said
    assert not list(stranger.folder.rglob("*.json"))


def test_the_device_flow_asks_less_often_when_told_and_ends_when_the_code_does(fake, tmp_path):
    answers = ["slow_down", "expired_token"]
    fake.answers["POST", "/device"] = (200, {}, {"device_code": "d", "user_code": "ABCD\u001b[2J", "verification_uri": "http://localhost/x",
                                                 "expires_in": 600, "interval": 1})
    fake.answers["POST", "/token"] = lambda body: (400, {}, {"error": answers.pop(0)})
    _, said = Cli(fake.url, tmp_path).run("login", code=77)
    assert "expired: run trabajos login again" in said and "ABCD^[[2J" in said and "\x1b" not in said
    asked = [at for at, _, path, *_ in fake.asked if path == "/token"]
    assert len(asked) == 2 and asked[1] - asked[0] >= 5.9  # 1 s, and 5 more (RFC 8628, section 3.5)


def test_a_password_comes_from_standard_input_or_a_file_and_what_is_kept_is_for_its_owner_alone(stranger):
    file = stranger.folder / "password"
    file.write_text("user2\n")
    os.umask(0o022)
    assert "as user2." in stranger.run("login", "--user=user2", f"--password-file={file}")[1]
    session = stranger.session_file()
    assert stat.S_IMODE(session.stat().st_mode) == 0o600 and stat.S_IMODE(session.parent.stat().st_mode) == 0o700
    stranger.run("login", "--user=user2", f"--password-file={file}", "--stay")
    payload = json.loads(session.read_text())["refresh_token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["typ"] == "Offline"
    assert "no token for user2: " in stranger.run("login", "--user=user2", "--password", text="wrong\n", code=77)[1]
    assert "takes no value" in stranger.run("login", "--user=user2", "--password=user2", code=64)[1]
    session.chmod(0o644)
    assert "not for you alone" in stranger.run("list", code=1)[1]


def test_who_is_not_logged_in_is_told_what_to_do(stranger, cli, frontend):
    assert stranger.run("list", code=77)[1] == f"trabajos: not logged in to {frontend.url}: run trabajos login\n"
    _, said = cli.run("list", "--server=http://localhost:1", code=77)
    assert "run trabajos login; or, for " + frontend.url in said
    assert "tokens are not sent over http" in cli.run("list", "--server=http://trabajos.example.org", code=64)[1]
    assert "is no URL" in cli.run("list", "--server=ftp://x", code=64)[1]
    token = cli.run("token")[0].strip()
    assert stranger.run("list", TRABAJOS_TOKEN=token) is not None
    assert "TRABAJOS_TOKEN was refused" in stranger.run("list", TRABAJOS_TOKEN="a.b.c", code=77)[1]


def test_a_token_is_renewed_before_it_expires_and_after_the_server_refused_it(stranger):
    stranger.log_in("user")
    before = stranger.run("token")[0]
    stranger.change_session(expires_ms=0)
    renewed = stranger.run("token")[0]
    assert renewed != before and stranger.run("token")[0] == renewed
    stranger.change_session(access_token="e30.e30.e30")
    stranger.run("list")
    assert stranger.run("token")[0] not in (renewed, "e30.e30.e30\n")
    stranger.change_session(expires_ms=0, refresh_token="e30.e30.e30")
    assert "has ended (" in stranger.run("list", code=77)[1]


def test_of_many_commands_one_renews_the_token(fake, tmp_path):
    fake.answers["GET", "/api/v1/trabajos"] = (200, {}, [])
    cli = Cli(fake.url, tmp_path)
    cli.run("login", "--user=x", "--password", text="y\n")
    cli.change_session(expires_ms=0)
    fake.asked.clear()

    def renew(body):
        assert "grant_type=refresh_token" in body
        return 200, {}, {"access_token": "d.e.f", "refresh_token": "s", "expires_in": 300}
    fake.answers["POST", "/token"] = renew
    commands = [cli.start("list") for _ in range(8)]
    assert [command.wait(60) for command in commands] == [0] * 8
    for command in commands:
        command.communicate()
    assert fake.count("/token") == 1 and json.loads(cli.session_file().read_text())["refresh_token"] == "s"


def test_a_server_that_says_it_is_another_gets_no_password(fake, tmp_path):
    fake.answers["GET", "/.well-known/oauth-protected-resource"] = (
        200, {}, {"resource": "https://elsewhere.example", "authorization_servers": [fake.url + "/realm"]})
    assert "use --server=https://elsewhere.example" in Cli(fake.url, tmp_path).run("login", "--user=x", "--password", text="y\n", code=1)[1]
    assert fake.count("/token") == 0


def test_after_logout_the_session_is_gone_here_and_at_keycloak(stranger):
    stranger.log_in("user2")
    kept = json.loads(stranger.session_file().read_text())
    assert "Logged out" in stranger.run("logout")[1] and not list(stranger.folder.rglob("*.json"))
    answer = requests.post(kept["token_endpoint"], timeout=20, data={
        "grant_type": "refresh_token", "client_id": "trabajos-cli", "refresh_token": kept["refresh_token"]})
    assert answer.status_code == 400
    assert "Nobody was logged in" in stranger.run("logout")[1]


# ---- jobs

@pytest.mark.parametrize("script_text, options, code", (
    ("exit 0", (), 0), ("exit 3", (), 3), ("kill -9 $$", (), 137), ("exec sleep 60", ("--timeout=1",), 124), (None, (), 125)))
def test_waiting_ends_as_the_job_does(cli, script, repositories, worker, script_text, options, code):
    url = script(script_text).url if script_text else repositories({"nothing": "to run"}).url
    out, said = cli.run("add", url, "--wait", *options, code=code)
    assert out == "" and re.match(r"Job " + UUID.pattern + "\n", said) and ", after a wait of " in said


def test_failures_of_its_own_are_not_the_jobs(cli, stranger):
    for line in (("add", "--wait"), ("add", "x", "--wait", "--nonsense"), ("add", "not a url", "--wait"),
                 ("add", "https://example.org/x.git", "--follow", "--server=http://localhost:1")):
        assert cli.run(*line, code=125)[1].count("\n") == 1
    assert cli.run("add", "not a url", code=1)[1].startswith("trabajos: ")
    assert "no such option; --help" in cli.run("add", "x", "--nonsense", code=64)[1]
    assert "connect" in stranger.run("list", "--server=http://127.0.0.1:1", code=69, TRABAJOS_TOKEN="a.b.c")[1]


def test_output_and_error_come_apart_and_as_they_were_printed(cli, script, worker):
    url = script(r"printf 'a\000b\377\033]0;t\007\r\n'; printf 'e\033[2Jf\n' >&2; echo end").url
    for how in (("add", url, "--follow"), ("log",)):
        done = subprocess.run([trabajos.BIN / "trabajos", *how], env=cli.environment, capture_output=True, timeout=60, check=True)
        assert done.stdout == b"a\0b\xff\x1b]0;t\x07\r\nend\n" and b"e\x1b[2Jf\n" in done.stderr
    key = cli.json("list", "--limit=1")[0]["key"]
    assert cli.run("log", key, "--stream=stderr") == ("", "e\x1b[2Jf\n")
    events = [json.loads(line) for line in cli.run("log", key, "--json")[0].splitlines()]
    assert {event["event"] for event in events} == {"status", "output", "end"} and events[-1]["outcome"]["code"] == "ok"


def test_nothing_but_text_and_colours_reaches_a_terminal(cli, script, worker):
    url = script(r"""printf '\033[31mred\033[0m \033]0;title\007 \033[2J\033[H\033P1$r\033\\ \302\233 \342\200\256 \010\177 \033[99'
printf '%s' 'x' ; printf '\033[1' ; sleep 0.3; printf 'm bold \rover\n' ; printf '\033[2Kwarn\n' >&2""").url
    label = "a\u202ec"
    terminal = Terminal(cli, "add", url, "--follow", f"--label=l={label}")
    drawn = terminal.end()
    assert terminal.code == 0, drawn
    progress = drawn.replace(b"\r\x1b[K", b"")  # our own line about the queue
    assert not ESCAPES.search(progress), progress
    assert b"\x1b[31mred\x1b[0m" in drawn and b"^[]0;title^G" in drawn and b"^[[2J" in drawn and b"<U+009B>" in drawn
    assert b"<U+202E>" in drawn and b"^H^?" in drawn and b"^[[99x\x1b[1m bold \r\nover" in drawn
    assert re.search(rb"\x1b\[31m\^\[\[2Kwarn\x1b\[0m", drawn)
    key = cli.json("list", "--limit=1")[0]["key"]
    for arguments in (("status", key), ("list",), ("log", key)):
        terminal = Terminal(cli, *arguments)
        assert not ESCAPES.search(terminal.end()) and terminal.code == 0
    assert "a<U+202E>c" in cli.run("status", key)[0]


def test_a_log_is_whole_however_often_its_connection_breaks(cli, script, worker, frontend):
    lines = "".join(f"line {n:04d} of the log\n" for n in range(8000))
    url = script("for n in $(seq 0 7999); do printf 'line %04d of the log\\n' $n; [ $((n % 800)) != 0 ] || sleep 0.1; done").url
    cutter = Cutter(frontend.url, 40000)  # more than any event has, or that one would never come through
    try:
        key = cli.run("add", url)[0].strip()
        got, said = cli.run("log", key, "-f", TRABAJOS_URL=cutter.url, TRABAJOS_TOKEN=cli.run("token")[0].strip())
        assert got == lines and cutter.cuts >= 2 and "connecting again" in said
    finally:
        cutter.close()


def test_a_stream_whose_token_expires_goes_on_with_another_and_says_nothing_twice(fake, tmp_path):
    key = "01980f2e-7b1c-7c7e-9d43-0d6f0c1b2a55"

    def event(name, identity="", **data):
        return f"{identity and 'id: ' + identity + chr(10)}event: {name}\ndata: {json.dumps(data)}\n\n"

    def output(seq, **text):
        return event("output", f"1.{seq}", attempt=1, seq=seq, stream="stdout", **text)
    running = event("status", status="Running", attempt=1)
    streams = ["retry: 1000\n\n" + running + output(1, text="one\u0000\n") + event("expired"),
               running + output(1, text="one\u0000\n") + output(2, base64="dHf/Cg==") + ": heartbeat\n\n",
               running + event("truncated", attempt=1, bytes=7) + event("end", status="Failed", attempt=1, outcome={"code": "exit", "exit_code": 9})]
    fake.answers["GET", f"/api/v1/trabajos/{key}"] = (200, {}, {"key": key, "status": "Running", "attempt": 1})
    fake.answers["GET", f"/api/v1/trabajos/{key}/log"] = lambda body: (200, {"Content-Type": "text/event-stream"}, streams.pop(0).encode())
    cli = Cli(fake.url, tmp_path)
    cli.run("login", "--user=x", "--password", text="y\n")
    cli.change_session(expires_ms=0)
    done = subprocess.run([trabajos.BIN / "trabajos", "log", key, "--wait"], env=cli.environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (9, b"one\0\ntw\xff\n") and b"7 bytes more were printed" in done.stderr
    asked = [headers.get("Last-Event-ID") for _, _, path, _, headers in fake.asked if path.endswith("/log")]
    assert asked == [None, "1.1", "1.2"]


def test_ctrl_c_leaves_the_job_running_and_says_how_to_end_it(cli, script, worker):
    process = cli.start("add", script("echo begun; exec sleep 300").url, "--follow")
    assert process.stdout.readline() == b"begun\n"
    interrupt(process)
    _, said = process.communicate(timeout=30)
    key = UUID.search(said.decode()).group(0)
    assert process.returncode == 130 and f"the job goes on; trabajos log -f {key} follows it, trabajos cancel {key} ends it" in said.decode()
    assert cli.json("status", key)["status"] == "Running"
    assert "begun\n" == cli.run("log", key)[0]  # what there is now
    follower = cli.start("log", key, "--wait")
    assert cli.run("cancel", key)[0].startswith(key)
    assert follower.wait(60) == 143
    follower.communicate()
    assert cli.run("cancel", key)[0] == f"{key}: cancelled\n"  # as before


def test_whoever_waits_is_told_why(cli, script, stack, no_worker):
    process = cli.start("add", script("echo at last").url, "--follow", text=True)
    assert process.stderr.readline().startswith("Job ")
    assert process.stderr.readline().startswith("Queued: ")
    with trabajos.running(trabajos.worker(stack, "cli-late")):
        out, _ = process.communicate(timeout=60)
    assert out == "at last\n" and process.returncode == 0


def test_lists_are_filtered_and_paged_and_the_same_for_programs(cli, script, worker):
    url, label = script("exit 1").url, f"l-{time.monotonic_ns()}"
    keys = [cli.run("add", url, f"--label=test={label}")[0].strip() for _ in range(5)]
    for key in keys:
        wait_for("its end", lambda key=key: cli.json("status", key)["status"] == "Failed")
    asked = ("list", f"--label=test={label}")
    assert [job["key"] for job in cli.json(*asked)] == keys[::-1]
    assert [job["key"] for job in cli.json(*asked, "--oldest", "--all")] == keys
    assert len(cli.json(*asked, "--limit=2")) == 2
    found = cli.json("list", f"--text={label.upper()}", "--all")
    assert [job["key"] for job in found] == keys[::-1] and cli.json("list", f"--text={keys[0]}") == found[-1:]
    assert cli.json(*asked, "--status=Finished") == [] and cli.json(*asked, "--since=1h", "--status=Failed,Queued") != []
    table = cli.run(*asked)[0].splitlines()
    assert table[0].split() == ["KEY", "STATUS", "OUTCOME", "POSTED", "RAN", "URL"] and len(table) == 6
    assert "exit 1" in table[1] and url in table[1]
    assert cli.run("list", "--label=never-there") == ("", "No jobs. trabajos add URL runs one.\n")


def test_the_same_idempotency_key_gives_the_same_job_and_everything_may_be_asked_for(cli, script, worker):
    url = script("echo $WHO $HERE").url
    asked = ("add", url, "--idempotency-key=once", "--env=WHO=me", "-eHERE", "--label=a=b", "--retries=1", "--priority=5", "--timeout=60",
             "--concurrency-key=k", "--concurrency-limit=2")
    key, again = (cli.run(*asked, HERE="there")[0].strip() for _ in range(2))
    assert key == again
    job = cli.json("status", key)
    assert (job["labels"], job["retries"], job["priority"], job["timeout_s"], job["env"]) == ({"a": "b"}, 1, 5, 60, {"WHO": None, "HERE": None})
    assert cli.run("log", key, "-f")[0] == "me there\n"
    assert "there is no such variable here" in cli.run("add", url, "-eMISSING", code=64)[1]


def test_jobs_are_replayed_alone_or_as_dead_letters(cli, script, worker):
    key = cli.run("add", script("exit 4").url, "--retries=1")[0].strip()
    wait_for("a dead letter", lambda: cli.json("status", key)["dead"])
    listed = cli.run("dead", "--limit=1000")[0]
    assert key in listed and "exit 4" in listed
    assert "--all" in cli.run("dead", "replay", code=64)[1]
    assert cli.run("dead", "replay", key)[0] == "1 queued again\n"
    wait_for("dead again", lambda: cli.json("status", key)["dead"])
    cli.run("replay", key, "--wait", code=4)


def test_artifacts_are_fetched_as_they_were_made_and_replace_nothing_unasked(cli, repositories, worker, tmp_path):
    url = repositories({"trabajo.yaml": "run: mkdir -p out/deep && printf one >out/a.txt && printf 'two\\0' >out/deep/b.bin\n"
                                        "artifacts: ['out/**', 'out/*']\n"}).url
    cli.run("add", url, "--wait")
    key = cli.json("list", "--limit=1")[0]["key"]
    listed = {artifact["path"]: artifact["size"] for artifact in cli.json("artifacts", key)}
    assert listed == {"out/a.txt": 3, "out/deep/b.bin": 4} and "out/a.txt" in cli.run("artifacts")[0]
    assert sorted(cli.run("artifacts", "get", key, f"--dir={tmp_path}/new")[0].splitlines()) == sorted(listed)
    assert (tmp_path / "new/out/a.txt").read_bytes() == b"one" and (tmp_path / "new/out/deep/b.bin").read_bytes() == b"two\0"
    (tmp_path / "new/out/a.txt").write_text("mine")
    assert "is there already; --force" in cli.run("artifacts", "get", key, "out/a*", f"--dir={tmp_path}/new", code=1)[1]
    assert (tmp_path / "new/out/a.txt").read_text() == "mine"
    cli.run("artifacts", "get", key, "out/a.txt", "--force", f"--dir={tmp_path}/new")
    assert (tmp_path / "new/out/a.txt").read_text() == "one"
    assert cli.run("artifacts", "get", key, "out/a.txt", "--stdout")[0] == "one"
    assert "no artifact has such a path" in cli.run("artifacts", "get", key, "nope", code=1)[1]


def test_whom_a_job_tells_of_its_end_is_asked_for_with_a_secret_from_a_file_and_shown(fake, tmp_path):
    key = "01980f2e-7b1c-7c7e-9d43-0d6f0c1b2a55"
    cli = Cli(fake.url, tmp_path, TRABAJOS_TOKEN="a.b.c")
    fake.answers["POST", "/api/v1/trabajos"] = (202, {}, {"key": key})
    (tmp_path / "secret").write_text("whsec_c2VjcmV0\n")
    cli.run("add", "https://example.org/x.git", "--on-done=https://example.org/hook", f"--on-done-secret-file={tmp_path}/secret")
    assert json.loads(fake.asked[-1][3])["on_done"] == {"url": "https://example.org/hook", "secret": "whsec_c2VjcmV0"}
    tries = [{"id": "1", "at": "2026-11-21T12:00:00Z", "try": 1, "status_code": 500, "error": "answered\u001b[2J", "next_at": None}]
    fake.answers["GET", f"/api/v1/trabajos/{key}/deliveries"] = (200, {}, tries)
    assert cli.json("deliveries", key) == tries and "answered^[[2J" in cli.run("deliveries", key)[0]


@pytest.mark.parametrize("path", ("../out", "/tmp/out", "a/../../out", "a//b", ".", "a/..", "", "link/out", "file/out"))
def test_artifact_paths_never_leave_the_folder(fake, tmp_path, path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "file").write_text("")
    key = "01980f2e-7b1c-7c7e-9d43-0d6f0c1b2a55"
    fake.answers["GET", f"/api/v1/trabajos/{key}/artifacts"] = (200, {}, [
        {"path": path, "size": 3, "type": "x", "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}])
    cli = Cli(fake.url, tmp_path / "config", TRABAJOS_TOKEN="a.b.c")
    cli.run("artifacts", "get", key, f"--dir={inside}", code=1)
    assert sorted(entry.name for entry in inside.iterdir()) == ["file", "link"] and not list(outside.iterdir())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["inside", "outside"]


def test_artifacts_that_are_not_what_the_list_says_are_not_kept(fake, tmp_path):
    key = "01980f2e-7b1c-7c7e-9d43-0d6f0c1b2a55"
    cli = Cli(fake.url, tmp_path / "config", TRABAJOS_TOKEN="a.b.c")
    for content, said in ((b"thr", "another SHA-256"), (b"th", "another size"), (b"three", "another size")):
        fake.answers["GET", f"/api/v1/trabajos/{key}/artifacts"] = (200, {}, [{"path": "x", "size": 3, "sha256": "0" * 64}])
        fake.answers["GET", f"/api/v1/trabajos/{key}/artifacts/x"] = (200, {}, content)
        assert said in cli.run("artifacts", "get", key, f"--dir={tmp_path}/to", code=1)[1]
        assert not list((tmp_path / "to").iterdir())


def test_a_lost_answer_makes_no_second_job(fake, tmp_path):
    answers = [(503, {"Retry-After": "0"}, {"detail": "not now"}), (429, {"Retry-After": "1"}, {"detail": "too much"}),
               (202, {}, {"key": "01980f2e-7b1c-7c7e-9d43-0d6f0c1b2a55"})]
    fake.answers["POST", "/api/v1/trabajos"] = lambda body: answers.pop(0)
    out, _ = Cli(fake.url, tmp_path, TRABAJOS_TOKEN="a.b.c").run("add", "https://example.org/x.git")
    sent = {asked[4]["Idempotency-Key"] for asked in fake.asked}
    assert out == "01980f2e-7b1c-7c7e-9d43-0d6f0c1b2a55\n" and len(fake.asked) == 3 and len(sent) == 1


# ---- what is not about one job

def test_schedules_are_made_paused_resumed_and_removed_by_name(cli, script, stack):
    stack.sql("DELETE FROM schedules")
    made = cli.json("schedules", "add", "nightly", "30 2 * * *", script("true").url, "--zone=Europe/Madrid", "--label=a=b")
    assert made["labels"] == {"a": "b"} and "nightly" in cli.run("schedules")[0]
    assert cli.run("schedules", "pause", "nightly")[0] == f"{made['id']}: paused\n" and "paused" in cli.run("schedules")[0]
    assert cli.json("schedules", "resume", made["id"])["paused"] is False
    assert "you have no schedule" in cli.run("schedules", "remove", "other", code=1)[1]
    cli.run("schedules", "remove", "nightly")
    assert cli.json("schedules") == []


def test_workers_and_decisions_are_for_administrators(clis, worker):
    workers = clis["admin"].run("workers")[0]
    assert "WORKER" in workers and "works" in workers and clis["admin"].json("workers")
    assert set(clis["admin"].json("scale")) >= {"decisions", "actions", "forecast", "score"}
    for verb in ("workers", "scale"):
        assert "the realm role admin" in clis["user"].run(verb, code=77)[1]


def test_top_lives_in_a_terminal_and_prints_once_elsewhere(clis, script, worker):
    key = clis["user"].run("add", script("exec sleep 300").url)[0].strip()
    try:
        wait_for("it runs", lambda: clis["user"].json("status", key)["status"] == "Running")
        terminal = Terminal(clis["admin"], "top", "--interval=1", rows=30)
        terminal.await_text(key.encode())
        looks = len(terminal.drawn)
        terminal.await_text(b"\x1b\\[H", looks)  # it looks again by itself
        terminal.type(b"q")
        drawn = terminal.end()
        assert terminal.code == 0 and drawn.startswith(b"\x1b[?1049h\x1b[?25l") and drawn.endswith(b"\x1b[?25h\x1b[?1049l")
        assert re.search(rb"[1-9][0-9]* running", drawn) and b"slots taken" in drawn
        assert key in clis["user"].run("top")[0] and "slots taken" not in clis["user"].run("top")[0]
        assert key in [job["key"] for job in clis["user"].json("top")["running"]]
    finally:
        clis["user"].run("cancel", key)


def test_tables_have_colours_on_a_terminal_alone_and_not_where_they_are_unwanted(cli, script, worker):
    cli.run("add", script("true").url, "--wait")
    assert b"\x1b[32mFinished" in Terminal(cli, "list").end() and "\x1b" not in cli.run("list")[0]
    plain = Cli(cli.url, cli.folder, NO_COLOR="1")
    assert b"\x1b" not in Terminal(plain, "list").end()


def test_every_verb_tells_about_itself(cli):
    overview = cli.run("--help")[0]
    verbs = re.findall(r"^  ((?:[a-z]+ )?[a-z]+)  ", overview, re.M)
    assert {"login", "add", "artifacts get", "observer replay", "migrate", "completion"} <= set(verbs)
    for verb in verbs:
        told = cli.run(*verb.split(), "--help")[0]
        assert told.startswith(f"Usage: trabajos {verb}"), verb
        assert f".SS {verb}\n" in cli.run("manual")[0]
    assert cli.run("artifcats", code=64)[1] == "trabajos: artifcats: no such verb; trabajos --help lists them\n"
    assert cli.run("version") == cli.run("--version")


def test_the_manual_is_one_that_man_can_show(cli):
    if not shutil.which("groff"):
        pytest.skip("no groff")
    done = subprocess.run(["groff", "-man", "-Tutf8", "-Kutf8", "-ww"], input=cli.run("manual")[0].encode(), capture_output=True, timeout=60,
                          check=True)
    assert done.stderr == b"" and re.search(rb"130\s+interrupted", done.stdout)


def test_people_are_told_in_spanish_who_ask_for_it_and_programs_are_not(cli, stranger):
    spanish = {"LANG": "es_ES.UTF-8"}
    assert cli.run("--help", **spanish)[0].startswith("Uso: trabajos VERBO")
    assert "ejecuta trabajos login" in stranger.run("list", code=77, **spanish)[1]
    assert "run trabajos login" in stranger.run("list", code=77, LC_ALL="C", **spanish)[1]
    assert cli.run("list", "--json", **spanish) == cli.run("list", "--json")
    known = (trabajos.ROOT / "cli/words_spanish.c").read_text()
    for file in (trabajos.ROOT / "cli").glob("*.c"):
        for english in re.findall(r'_\(("(?:[^"\\]|\\.|" PRId64 ")*")[,)]', file.read_text()):
            assert "{" + english + "," in known or english in ('"%s  %s  %s"', '"%s"'), (file.name, english)


def offers(cli, *words):
    return [line.split("\t")[0] for line in cli.run("__complete", *words)[0].splitlines()]


def test_shells_complete_verbs_options_values_keys_and_schedules(cli, script, worker):
    key = cli.run("add", script("true").url)[0].strip()
    assert offers(cli, "lo") == ["login", "logout", "log"] and "replay" in offers(cli, "dead", "")
    assert "--follow" in offers(cli, "add", "--f") and offers(cli, "log", "--stream=std") == ["--stream=stdout", "--stream=stderr"]
    assert offers(cli, "log", "--stream", "stdo") == ["stdout"] and offers(cli, "login", "--password-file", "") == [":files"]
    assert key in offers(cli, "status", "") and offers(cli, "completion", "z") == ["zsh"]
    assert "--postgres-host=" in offers(cli, "migrate", "--postgres-h") and offers(cli, "observer", "re") == ["replay"]
    script_text = """source <(trabajos completion bash); COMP_WORDS=(trabajos log --stream = std) COMP_CWORD=4; _trabajos 2>/dev/null
echo "${COMPREPLY[@]}"; COMP_WORDS=(trabajos art) COMP_CWORD=1; _trabajos 2>/dev/null; echo "${COMPREPLY[@]}" """
    done = subprocess.run(["bash", "-c", script_text], env=cli.environment, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split("\n")[:2] == ["stdout stderr", "artifacts"], done


@pytest.mark.parametrize("shell", ("bash", "zsh", "fish"))
def test_what_makes_a_shell_complete_is_in_its_language(cli, shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    subprocess.run([shell, "-n"], input=cli.run("completion", shell)[0], text=True, timeout=30, check=True)


def test_what_is_installed_tells_man_and_the_shells(tmp_path):
    subprocess.run(["make", "-s", "install-cli", f"DESTDIR={tmp_path}", "PREFIX=/usr"], cwd=trabajos.ROOT, check=True, timeout=300,
                   capture_output=True, env={**os.environ, "MAKEFLAGS": ""})
    installed = {str(path.relative_to(tmp_path)) for path in pathlib.Path(tmp_path).rglob("*") if path.is_file()}
    assert installed == {"usr/share/man/man1/trabajos.1", "usr/share/bash-completion/completions/trabajos",
                         "usr/share/zsh/site-functions/_trabajos", "usr/share/fish/vendor_completions.d/trabajos.fish"}


def test_without_its_standard_descriptors_it_neither_dies_nor_writes_into_its_own_connections(cli):
    done = subprocess.run(["sh", "-c", f"'{trabajos.BIN}/trabajos' list >&- 2>&- <&-"], env=cli.environment, timeout=60, check=False)
    assert done.returncode in (0, 1) and done.returncode != -signal.SIGABRT
