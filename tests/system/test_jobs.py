"""What jobs do, and what is said of it."""

import shutil

import pytest
import trabajos


def test_a_job_that_fails_is_its_users_fault(user, worker, script):
    key, status, outcome = user.run(script("echo before; exit 3").url)
    assert status == "Failed" and user.log(key) == "before\n"
    assert (outcome["code"], outcome["blame"], outcome["exit_code"]) == ("exit", "user", 3)


def test_a_job_that_is_killed_says_by_which_signal(user, worker, script):
    _, status, outcome = user.run(script("kill -9 $$").url)
    assert status == "Failed" and (outcome["code"], outcome["blame"], outcome["signal"]) == ("signal", "user", 9)


def test_a_job_that_runs_too_long_is_ended(user, worker, script):
    key, status, outcome = user.run(script("echo started; sleep 600").url, timeout="1")
    assert status == "Failed" and (outcome["code"], outcome["blame"]) == ("timeout", "limit")
    assert user.log(key) == "started\n"


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(user, worker, script):
    _, status, outcome = user.run(script("trap '' TERM; while :; do sleep 0.1; done").url, timeout="1")
    assert status == "Failed" and outcome["code"] == "timeout"


def test_a_job_may_clean_up_on_sigterm(user, worker, script):
    key, _, outcome = user.run(script("trap 'echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.1; done").url, timeout="1")
    assert outcome["code"] == "timeout" and "cleaned" in user.log(key)


def test_daemons_that_a_job_leaves_behind_die_with_it(user, worker, script):
    url = script("for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' &) ; done; exit 0").url
    _, status, _ = user.run(url)
    assert status == "Finished"


def test_a_job_that_prints_too_much_is_kept_up_to_the_cap_and_not_blocked(stack, user, worker, script):
    key, status, _ = user.run(script("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2").url)
    assert status == "Finished"
    assert len(user.log(key)) == 1024 * 1024
    output = stack.sql("SELECT detail->'output' FROM attempts WHERE key = %s", key)[0][0]
    assert output == {"bytes": 3000004, "kept": 1048576, "truncated": True}


def test_a_job_that_never_stops_printing_is_ended(user, worker, script):
    _, status, outcome = user.run(script("yes").url)
    assert status == "Failed" and (outcome["code"], outcome["blame"]) == ("output", "limit")


def test_a_job_that_forks_without_end_hurts_nobody_and_is_told(stack, user, worker, script):
    # the first process needs no fork to go on, so that the bomb has its time
    bomb = user.add(script("bomb() { bomb | bomb & }; bomb; exec python3 -c 'import time; time.sleep(3); exit(1)'").url, timeout="20")
    other, status, _ = user.run(script("echo fine").url)
    assert status == "Finished" and user.log(other) == "fine\n"
    assert user.await_end(bomb) == "Failed"
    outcome = user.outcome(bomb)
    bounded = stack.sql("SELECT detail->'isolation'->>'processes' FROM attempts WHERE key = %s", bomb)[0][0]
    if bounded == "cgroup" or outcome["code"] != "exit":  # by an rlimit it may be refused between two looks at how many there are
        assert (outcome["code"], outcome["blame"]) == ("processes", "limit") and "256 processes" in outcome["message"], outcome
    else:
        assert (outcome["blame"], outcome["exit_code"]) == ("user", 1), outcome


def test_a_job_that_wants_too_much_memory_is_ended(user, worker, repositories):
    url = repositories({"main.py": "x = []\nwhile True: x.append(bytearray(16 << 20))\n"}).url
    _, status, outcome = user.run(url)
    assert status == "Failed" and (outcome["code"], outcome["blame"]) == ("memory", "limit"), outcome


def test_a_job_fills_only_its_own_disk(user, worker, script):
    _, status, outcome = user.run(script("dd if=/dev/zero of=big bs=1M count=4000 2>&1 || exit 1").url)
    assert status == "Failed" and (outcome["code"], outcome["blame"]) == ("disk", "limit"), outcome


def test_a_job_that_opens_too_many_files_is_told_though_it_closed_them_and_ended_at_once(user, worker, repositories):
    _, status, outcome = user.run(repositories({"main.py": "files = [open('/dev/null') for _ in range(2000)]\n"}).url)
    assert status == "Failed" and (outcome["code"], outcome["blame"], outcome["exit_code"]) == ("files", "limit", 1), outcome
    assert "1024 files" in outcome["message"]


def test_a_job_sees_no_network_no_other_processes_and_no_root(user, worker, script):
    key, status, _ = user.run(script("""
        id -u; ls /proc | grep -c '^[0-9]'; cat /proc/net/dev | tail -n +3 | grep -v lo: | wc -l
        touch /usr/x /etc/x /x 2>/dev/null && echo WRITABLE
        grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
        env | sort | sed 's/=.*//' | tr '\\n' ' '""").url)
    assert status == "Finished"
    lines = user.log(key).splitlines()
    assert lines[0] != "0" and int(lines[1]) < 10 and lines[2] == "0" and "WRITABLE" not in lines
    assert "CapEff:\t0000000000000000" in lines and "CapBnd:\t0000000000000000" in lines
    assert "NoNewPrivs:\t1" in lines and "Seccomp:\t2" in lines
    names = set(lines[-1].split()) - {"PWD", "_", "SHLVL", "OLDPWD"}
    assert names == {"CI", "HOME", "LANG", "PATH", "TRABAJO_KEY", "TRABAJO_ATTEMPT", "TRABAJO_COMMIT"}


PRINTS_BY_NPM = """
const cache = process.env.npm_config_cache;
console.log("by npm:", cache.startsWith(process.env.HOME + "/") && require("fs").existsSync(cache) ? "its cache is in HOME" : cache);
"""


@pytest.mark.parametrize("kind, files, printed", [
    ("trabajo.yaml", {"trabajo.yaml": "run: echo by yaml $WHO\nenv:\n  WHO: me\n", "main.py": "print('no')"}, "by yaml me"),
    pytest.param("package.json", {"package.json": '{"scripts": {"main": "node main.js"}}', "main.js": PRINTS_BY_NPM, "main.py": "print('no')"},
                 "by npm: its cache is in HOME", marks=pytest.mark.skipif(not shutil.which("npm"), reason="npm is not here")),
    ("Makefile", {"Makefile": "main:\n\t@echo by make\n", "main.py": "print('no')"}, "by make"),
    ("main.py", {"main.py": "print('by python')", "main.sh": "echo no"}, "by python"),
    ("main.sh", {"main.sh": "#!/bin/sh\necho by shell\n"}, "by shell"),
    ("main", {"main": "#!/bin/sh\necho by main\n"}, "by main"),
])
def test_the_first_plan_that_applies_is_run(stack, user, worker, repositories, kind, files, printed):
    key, status, _ = user.run(repositories(files).url)
    assert status == "Finished" and user.log(key).splitlines()[-1] == printed, user.log(key)
    assert stack.sql("SELECT detail->'plan'->>'kind' FROM attempts WHERE key = %s", key) == [(kind,)]


def test_a_repository_without_a_plan_says_what_was_looked_for(user, worker, repositories):
    _, status, outcome = user.run(repositories({"README": "nothing here"}).url)
    assert status == "Failed" and (outcome["code"], outcome["blame"]) == ("no_plan", "user")
    for name in ("trabajo.yaml", "package.json", "Makefile", "main.py", "main.sh"):
        assert name in outcome["message"]


def test_a_missing_repository_or_ref_is_the_users_fault(stack, user, worker, script):
    for url, ref in ((stack.env["GIT_URL"] + "/missing.git", {}), (script("true").url, {"ref": "no-such-branch"}),
                     (script("true").url, {"ref": "0123456789012345678901234567890123456789"})):
        _, status, outcome = user.run(url, **ref)
        assert status == "Failed" and (outcome["code"], outcome["blame"]) == ("not_found", "user"), outcome


def test_a_branch_a_tag_and_a_commit_can_be_asked_for(user, worker, script):
    repository = script("echo first")
    git = repository.git
    git("-C", repository.path, "tag", "v1")
    git("-C", repository.path, "branch", "other")
    for ref in ("main", "other", "v1", "refs/heads/main", repository.commit):
        key, status, _ = user.run(repository.url, ref=ref)
        assert status == "Finished" and user.log(key) == "first\n", ref


def test_jobs_of_a_commit_share_its_tree_and_see_their_own_changes_only(stack, user, worker, script):
    repository = script("cat data; echo changed >data; rm -r folder; cat data; ls", data="committed\n", **{"folder/file": "x\n"})
    for _ in range(3):
        key, status, _ = user.run(repository.url, ref=repository.commit)
        assert status == "Finished" and user.log(key) == "committed\nchanged\ndata\nmain.sh\n"
    [(isolation, times)] = stack.sql("SELECT detail -> 'isolation', detail -> 'times_us' FROM attempts WHERE key = %s", key)
    assert isolation["workspace"] in ("overlay", "copy") and isolation["network"] == "none" and 0 < times["workspace"] <= times["start"]
    assert (isolation["workspace"] == "overlay") == (isolation["missing_workspace"] is None)


def test_one_job_leaves_nothing_for_the_next(user, worker, script):
    repository = script("ls -A . ~ /tmp /dev/shm; touch left ~/left /tmp/left /dev/shm/left; echo changed > main.sh")
    first, second = user.run(repository.url, ref=repository.commit)[0], user.run(repository.url, ref=repository.commit)[0]
    assert user.log(first) == user.log(second) and "left" not in user.log(second)


def test_retries_are_for_the_users_own_failures(stack, user, worker, script):
    key, status, outcome = user.run(script("echo attempt $TRABAJO_ATTEMPT; [ $TRABAJO_ATTEMPT = 2 ]").url, retries="2")
    assert status == "Finished" and outcome["code"] == "ok"
    assert user.log(key) == "attempt 2\n"
    history = stack.sql("SELECT attempt, outcome->>'code' FROM attempts WHERE key = %s ORDER BY attempt", key)
    assert history == [(1, "exit"), (2, "ok")]


def test_output_is_readable_while_the_job_runs(user, worker, script):
    key = user.add(script("echo early; while [ ! -e /never ]; do sleep 0.1; done").url, timeout="20")
    trabajos.wait_for("early output", lambda: user.status(key) == "Running" and user.log(key) == "early\n", 15)
    user.stack.sql("UPDATE trabajos SET cancel_requested_at = now() WHERE key = %s", key)
    assert user.await_end(key, 40) == "Cancelled"
