"""The page as people use it: real browser, real log-in, real jobs."""

import base64
import json
import re

import pytest

import trabajos
from conftest import EXPECTED, log_in, write_afresh

TICKS = "i=0; while :; do i=$((i+1)); echo \"tick $i\"; sleep 0.2; done"


def lines(browser):
    """The lines of the log that are elements now."""
    return browser.run("return [...document.querySelectorAll('.line .text')].map((line) => line.textContent)")


def await_lines(browser, what, enough):
    return trabajos.wait_for(what, lambda: (lambda found: enough(found) and found)(lines(browser)))


def said(browser):
    """What whoever cannot see the page was told last."""
    return browser.run("return document.querySelector('body > .unseen[role=status]').textContent")


@pytest.fixture
def job(go, users, script):
    """A job of that shell text, with its page open: (browser, key)."""
    def make(text, name="user", **spec):
        answer = users[name].get("/api/v1/trabajos", "POST", {"Content-Type": "application/json"}, json.dumps({"url": script(text).url, **spec}))
        assert answer.status_code == 202, answer.text
        key = answer.json()["key"]
        browser = go(name, f"job/{key}")
        browser.see("#job")
        return browser, key
    return make


# ---- coming and going

@pytest.fixture(scope="module")
def visitor(open_browser, url):
    """Before the door, on the way to a page."""
    browser = open_browser()
    browser.open(url + "/#/new")
    browser.see(".door", "runs a git repository")
    return browser


def test_the_door_is_open_to_everybody(visitor, axe_source):
    assert visitor.axe(axe_source) == []
    visitor.look(1280, 900, "dark")
    assert visitor.axe(axe_source) == []
    visitor.look(1280, 900)


def test_a_visitor_logs_in_stays_where_they_are_and_logs_out_on_both_sides(visitor, url):
    browser, place = visitor, url + "/#/new"
    browser.click(".door button", "Log in")
    browser.type("#username", "user")
    browser.type("#password", "user")
    browser.click("#kc-login")
    browser.see("h1", "New job")
    assert browser.address() == place
    assert browser.run("return Object.keys(localStorage).length + document.cookie.length") == 0
    assert "ey" not in browser.run("return JSON.stringify(sessionStorage)"), "a token is kept outside of memory"

    browser.ask("POST", "/refresh")  # to Keycloak and back without a question
    browser.see("h1", "New job")
    assert browser.address() == place

    browser.click(".who button", "Log out")
    browser.see(".door")
    browser.click(".door button", "Log in")
    browser.see("#username")
    assert [one for one in browser.console() if not EXPECTED.search(one)] == []


def test_the_token_is_renewed_before_it_ends_and_a_session_that_was_ended_is_told(visitor, stack, url):
    browser = visitor
    log_in(browser, url, "user2")
    admin, realm = stack.keycloak_admin(), stack.env["KEYCLOAK_ADMIN_URL"] + "/admin/realms/cloudcomputing"
    who = admin.get(realm + "/users", params={"username": "user2", "exact": "true"}).json()[0]["id"]
    old = browser.run_async("""
        const done = arguments[0];
        import(document.querySelector('script[type=module]').src.replace('app.js', 'auth.js')).then(async (auth) => {
            const before = await auth.token();
            await auth.renew();
            done([before, await auth.token()]);
        });""")
    assert old[0] != old[1]
    admin.post(f"{realm}/users/{who}/logout").raise_for_status()
    assert not browser.run_async("""
        const done = arguments[0];
        import(document.querySelector('script[type=module]').src.replace('app.js', 'auth.js')).then((auth) => auth.renew()).then(done);""")
    browser.see(".notices", "Your session has ended")
    browser.click(".notices button", "Log in")
    browser.see("#username")


# ---- submit, watch, act

def test_a_job_is_submitted_watched_live_cancelled_and_run_again(go, script, worker):
    repository = script(TICKS)
    browser = go("user", "new")
    write_afresh(browser)
    browser.type("#f-url", repository.url)
    browser.type("#f-labels", "team=red")
    browser.click("form button.primary")
    browser.see(".job-head .pill", "Running")
    await_lines(browser, "two ticks", lambda found: found[:2] == ["tick 1", "tick 2"])
    browser.see(".runs", "./main.sh")  # what it runs, and of which commit, is known before it has ended
    browser.see(".from code", repository.commit[:10])
    browser.see(".job-head .pill", "Running")
    browser.see(".state", "live")
    assert "running.svg" in browser.run("return document.querySelector('link[rel=icon]').href")

    browser.click("button.danger", "Cancel")
    browser.see("dialog", "Cancel this job?")
    browser.click("dialog button", "Cancel the job")
    browser.see(".job-head .pill", "Cancelled")
    assert said(browser) == "Cancelled"
    browser.see(".outcome", "It was cancelled")

    browser.click(".part-actions button", "Run again")
    browser.see(".job-head .pill", re.compile("Running|Waiting"))
    browser.see(".attempt", "Attempt 2")
    await_lines(browser, "a tick of the second attempt", lambda found: "tick 1" in found)
    browser.click("button.danger", "Cancel")
    browser.click("dialog button", "Cancel the job")
    browser.see(".part-actions", re.compile("Being cancelled|Run again"))

    browser.click(".part-actions a", "Change and run again")
    browser.see("h1", "Run again with changes")
    assert browser.run("return document.querySelector('#f-url').value") == repository.url
    assert browser.run("return document.querySelector('#f-labels').value") == "team=red"


def test_what_is_wrong_with_a_submission_stands_beside_its_field(go):
    browser = go("user", "new")
    write_afresh(browser)
    browser.click("form button.primary")
    browser.see("#f-url-wrong", "Give the address")
    browser.type("#f-url", "ftp://example.org/x")
    browser.click("form button.primary")
    browser.see("#f-url-wrong", "ftp")
    browser.type("#f-url", "https://example.org/x.git")
    browser.run("document.querySelector('details').open = false")  # it is unfolded for what is wrong in it
    browser.run("document.querySelector('#f-priority').value = '1000'")
    browser.click("form button.primary")
    browser.see("#f-priority-wrong", "-100")
    assert browser.run("return document.activeElement.name") == "priority"


def test_an_outcome_is_told_in_words_with_whose_fault_it_was(job, worker):
    browser, _ = job("echo 'three tests failed' >&2; exit 3")
    browser.see(".outcome", "exit code 3")
    browser.see(".outcome", "Cause: the repository")
    await_lines(browser, "standard error", lambda found: found == ["stderr: three tests failed"])
    browser.see(".attempt", re.compile("waited.*fetch.*run", re.S))
    assert "failed.svg" in browser.run("return document.querySelector('link[rel=icon]').href")


def test_who_waits_is_told_why_and_until_when(job, worker, observer):
    browser, _ = job("true", run_after=3600)
    browser.see(".waiting", "not to run before")
    first = browser.see(".eta", re.compile(r"(Not for another|Starts in) 59 min")).text()
    trabajos.wait_for("a shorter time", lambda: browser.see(".eta").text() != first)


# ---- the log

def test_a_stream_that_drops_is_said_to_and_goes_on_where_it_was(job, cable, worker):
    browser, _ = job("i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo \"tick $i\"; sleep 0.2; done")
    await_lines(browser, "the first ticks", lambda found: len(found) >= 2)
    cable.cut()
    try:
        browser.see(".state", "connection lost")
        browser.see(".notices", "does not answer")
    finally:
        cable.mend()
    found = await_lines(browser, "the last tick", lambda found: found[-1:] == ["tick 40"])
    assert found == [f"tick {n}" for n in range(1, 41)]
    browser.see(".state", "complete")
    browser.gone(".notices .notice")


def test_a_log_of_a_hundred_thousand_lines_is_a_few_elements_and_can_be_searched_and_linked_to(job, go, worker):
    browser, key = job("seq 1 100000")
    browser.see(".state", "complete", timeout_s=60)
    await_lines(browser, "the end, followed", lambda found: found[-1:] == ["100000"])
    assert browser.run("return document.querySelectorAll('.line').length") < 200
    browser.run("document.querySelector('.view').scrollTop = 0")
    await_lines(browser, "the beginning", lambda found: found[:1] == ["1"])
    browser.type(".find input", "77777")
    browser.see(".count", "1 of 1")
    await_lines(browser, "what was searched", lambda found: "77777" in found)
    assert browser.see(".line mark").text() == "77777"
    go("user", f"job/{key}?L=50000")
    trabajos.wait_for("the line of the link", lambda: browser.run(
        "return [...document.querySelectorAll('.line.chosen .text')].map((line) => line.textContent)") == ["50000"])
    assert browser.run("return document.querySelectorAll('.line').length") < 200


def test_colours_of_a_terminal_are_shown_and_nothing_else_of_its_sequences(job, worker):
    browser, _ = job(r"printf '\033[1;31mred\033[0m \033[38;5;46mgreen\033[0m \033[2J\033]0;title\007plain\n'; printf 'one\rtwo\n'")
    assert await_lines(browser, "both lines", lambda found: len(found) == 2) == ["red green plain", "two"]
    assert browser.see(".line .fg-1.bold").text() == "red"
    assert browser.run("return getComputedStyle([...document.querySelectorAll('.line span')].find((one) => one.textContent === 'green')).color") == "rgb(0, 255, 0)"


def test_a_log_can_be_paused_and_downloaded(job, worker):
    browser, key = job("i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo \"tick $i\"; sleep 0.1; done")
    await_lines(browser, "a tick", lambda found: found)
    browser.click(".log button", "Pause")
    browser.see(".job-head .pill", "Done")
    browser.see(".state", "complete")
    browser.click(".log button", "Go on")
    await_lines(browser, "all ticks", lambda found: len(found) == 20)
    browser.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=browser.profile)
    browser.click(".log button", "Download")
    path = f"{browser.profile}/{key}.log"
    text = trabajos.wait_for("the downloaded log", lambda: open(path).read())
    assert text == "".join(f"tick {n}\n" for n in range(1, 21))


# ---- each their own

def test_two_users_at_once_never_see_each_others_jobs(job, go, users, script, worker):
    mine, key = job("echo mine")
    mine.see(".job-head .pill", "Done")
    other = users["user2"].add(script("echo other").url)
    users["user2"].await_end(other)
    theirs = go("user2", "")
    theirs.see(f".job[data-key='{other}']")
    assert key not in theirs.run("return document.body.innerHTML")
    go("user2", f"job/{key}")
    theirs.see(".notice.bad", re.compile("no job", re.I))
    assert "mine" not in theirs.text()
    go("user", "")
    mine.see(f".job[data-key='{key}']")
    assert other not in mine.run("return document.body.innerHTML")


# ---- dead letters, administrators

def test_dead_letters_tell_why_and_how_often_and_are_replayed_alone_or_together(go, users, script, worker):
    repository = script("exit 7")
    keys = [users["user"].add(repository.url, retries=1) for _ in range(3)]
    for key in keys:
        users["user"].await_end(key)
    browser = go("user", "dead")
    for key in keys:
        browser.see(f".dead li[data-key='{key}']", "exit code 7")
        browser.see(f".dead li[data-key='{key}']", "2 attempts")
    browser.click(f".dead li[data-key='{keys[0]}'] button", "Run again")
    browser.see(".notice.good", "1 job is back")
    browser.gone(f".dead li[data-key='{keys[0]}']")
    for key in keys[1:]:
        browser.click(f".dead li[data-key='{key}'] input")
    browser.click(".tools button", "Run selected again (2)")
    browser.see(".notice.good", "2 jobs are back")
    assert all(users["user"].get(f"/api/v1/trabajos/{key}").json()["attempt"] >= 2 for key in keys)


def test_administrators_see_workers_with_what_they_run_and_why_there_are_so_many(go, users, script, worker, observer):
    key = users["user"].add(script(TICKS).url)
    browser = go("admin", "workers")
    its = f".worker:has(a[href='#/job/{key}'])"  # not of one that another test has killed
    browser.see(its, re.compile("full|reduced|none"))
    browser.see(f"{its} .badge", "busy")
    browser.click(f"{its} .worker-head button", "Drain")
    browser.click("dialog button", "Drain")
    browser.see(f"{its} .badge", "taking no more")
    browser.click(f"{its} .worker-head button", "Take jobs again")
    browser.see(f"{its} .badge", "busy")
    go("admin", "scale")
    browser.see(".now", "wanted")
    browser.see(".decisions li", re.compile("worker"))
    assert browser.run("return document.querySelectorAll('.chart .curve').length") == 4
    go("admin", f"job/{key}")
    browser.click("button.danger", "Cancel")
    browser.click("dialog button", "Cancel the job")
    browser.see(".part-actions", re.compile("Being cancelled|Run again"))
    other = go("user", "")
    other.see("nav", "Dead letters")
    assert "Workers" not in other.see(".bar nav").text()
    go("user", "workers")
    other.see(".notice.bad", "admin")


# ---- strangers' text

def test_whatever_a_user_writes_is_shown_as_text(go, job, users, repositories, worker):
    evil = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>"
    repository = repositories({"main.sh": f"#!/bin/sh\necho '{evil}'\n", f"{evil.replace('/', '')}.txt": "x"}, name="evil-<img src=x onerror=hacked()>")
    answer = users["user"].get("/api/v1/trabajos", "POST", {"Content-Type": "application/json"}, json.dumps(
        {"url": repository.url.replace("<", "%3C").replace(">", "%3E").replace(" ", "%20"), "labels": {evil[:60]: evil[:60]}, "env": {"X": evil}}))
    assert answer.status_code == 202, answer.text
    key = answer.json()["key"]
    browser = go("user", f"job/{key}")
    browser.see(".job-head .pill", "Done")
    assert await_lines(browser, "the line", lambda found: found) == [evil]
    browser.see("#job", "<img src=x onerror=hacked()>")
    browser.see(".label", "<img src=x")
    go("user", "")
    browser.see(f".job[data-key='{key}'] .label", "<img src=x")
    go("user", "new?from=" + key)
    browser.see("form")
    go("user", "job/%3Cscript%3Ewindow.hacked=1%3C%2Fscript%3E")
    browser.see(".notice.bad", "no such job")
    bad = repositories({"trabajo.yaml": "run: [\"<script>window.hacked=1</script>\"]\n"})
    other = users["user"].add(bad.url)
    users["user"].await_end(other)
    go("user", f"job/{other}")
    browser.see(".outcome")
    assert browser.run("return window.hacked === undefined && !document.querySelector('main img')")


def test_artifacts_are_listed_and_looked_at_where_that_is_harmless(go, users, repositories, worker):
    picture = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
    evil = "<script>window.hacked=1</script>"
    repository = repositories({"trabajo.yaml": "run: \"true\"\nartifacts: [out/**]\n", "out/a.txt": evil, "out/b.html": evil, "out/c.svg": "<svg/>",
                               "out/d.png": picture, "out/<img src=x>.txt": "x"})
    key, status, _ = users["user"].run(repository.url)
    assert status == "Finished"
    browser = go("user", f"job/{key}")
    browser.see(".artifacts", "out/<img src=x>.txt")
    looks = browser.run("return [...document.querySelectorAll('.artifacts li')].map((row) => [row.querySelector('.path').textContent, row.querySelectorAll('button').length])")
    assert dict(looks) == {"out/a.txt": 2, "out/b.html": 1, "out/c.svg": 1, "out/d.png": 2, "out/<img src=x>.txt": 2}
    for css in (".artifacts li:nth-of-type(2) button", ".artifacts li:nth-of-type(5) button"):
        browser.click(css, "Preview")
    browser.see(".preview pre", evil)
    trabajos.wait_for("the picture", lambda: browser.run("const one = document.querySelector('.preview img'); return one && one.naturalWidth === 1"))
    browser.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=browser.profile)
    browser.click(".artifacts li:nth-of-type(3) button", "Download")
    trabajos.wait_for("the download", lambda: open(f"{browser.profile}/b.html").read() == evil)
    assert browser.run("return window.hacked === undefined")
