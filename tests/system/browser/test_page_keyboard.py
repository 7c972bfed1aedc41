"""Every page by the keyboard alone, as people do who have no mouse or do not see it: nothing here clicks."""

import re

import pytest

import trabajos
from webdriver import DOWN, ENTER, SPACE

FIRST_VIEW_MOST = 100 * 1024


@pytest.fixture(scope="module")
def newcomer(open_browser, url):
    """Who was never here before, and has logged in by the keyboard."""
    browser = open_browser()
    browser.open(url)
    browser.see(".door button")
    browser.tab_to(".door button", "Log in")
    browser.press(ENTER)
    browser.see("#username")
    browser.run("document.querySelector('#username').focus()")
    browser.press("user")
    browser.tab_to("#password")
    browser.press("user" + ENTER)
    browser.see("h1", "Jobs")
    return browser


def test_the_first_view_is_small_and_asks_nobody_but_its_server_and_the_issuer(newcomer, url, stack):
    size, names = newcomer.run("""
        const own = performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).filter((one) => one.name.startsWith(location.origin));
        return [own.reduce((sum, one) => sum + (one.transferSize || one.encodedBodySize), 0), performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)];""")
    assert 0 < size < FIRST_VIEW_MOST
    assert set(names) <= {url, re.match("https?://[^/]*", stack.env["KEYCLOAK_ISSUER"])[0]}


def test_all_that_a_user_does_can_be_done_without_a_mouse(newcomer, users, script, worker):
    browser = newcomer
    # submit
    repository = script("i=0; while :; do i=$((i+1)); echo \"tick $i\"; sleep 0.2; done")
    browser.press("n")
    browser.see("form")
    assert browser.focused().startswith("input url")
    browser.press(repository.url)
    browser.tab_to("summary")
    browser.press(ENTER)
    browser.tab_to("#f-retries")
    browser.press("1")
    browser.tab_to("form button.primary")
    browser.press(ENTER)
    browser.see(".job-head .pill", "Running")
    assert "h1" in browser.focused()
    key = browser.address().rsplit("/", 1)[1]

    # search the log while it grows: the focus stays in it
    browser.see(".line", "tick 3")
    browser.press("/")
    browser.press("tick 2" + ENTER)
    browser.see(".line mark", "tick 2")
    assert browser.focused().startswith("input Search the log")

    # cancel: the question gives the focus back, and it is not lost when the button is another one
    browser.run("document.querySelector('#job').focus()")
    browser.tab_to("button.danger", "Cancel")
    browser.press(ENTER)
    browser.see("dialog", "Cancel this job?")
    browser.tab_to("dialog button", "Cancel the job")
    browser.press(ENTER)
    browser.see(".job-head .pill", "Cancelled")
    assert browser.run("return document.activeElement !== document.body"), "the focus is lost"

    # the list: arrows and Enter, and back to the row
    browser.press("g")
    browser.see(f".job[data-key='{key}']")
    browser.press(DOWN)
    assert browser.run("return document.activeElement.closest('.job')?.dataset.key") == key
    browser.press(ENTER)
    browser.see("#job")
    browser.run("history.back()")
    trabajos.wait_for("the row again", lambda: browser.run("return document.activeElement.closest('.job')?.dataset.key") == key)

    # dead letters
    dead = users["user"].add(script("exit 7").url, retries=1)
    users["user"].await_end(dead)
    browser.run("scrollTo(0, 0); document.querySelector('.brand').focus()")
    browser.tab_to(".bar a", "Dead letters")
    browser.press(ENTER)
    browser.see(f".dead li[data-key='{dead}']")
    browser.tab_to(f".dead li[data-key='{dead}'] input")
    browser.press(SPACE)
    browser.run("document.querySelector('h1').focus()")
    browser.tab_to(".tools button", "Run selected again (1)")
    browser.press(ENTER)
    browser.see(".notice.good", "1 job is back")
    trabajos.wait_for("the focus on what came of it", lambda: "1 job is back" in browser.focused())
    users["user"].await_end(dead)


def test_a_worker_is_drained_without_a_mouse_and_the_focus_stays_on_its_button_while_the_page_lives(go, users, script, worker):
    key = users["user"].add(script("sleep 60").url)
    browser = go("admin", "workers")
    its = f".worker:has(a[href='#/job/{key}'])"
    browser.see(its)
    browser.tab_to(f"{its} button", "Drain")
    before = browser.see(f"{its} [data-relative]:last-of-type").attribute("datetime")
    browser.press(ENTER)
    browser.see("dialog", "no more jobs")
    browser.tab_to("dialog button", "Drain")
    browser.press(ENTER)
    browser.see(f"{its} .badge", "taking no more")
    assert browser.run("return document.activeElement.matches(arguments[0])", f"{its} button"), browser.focused()
    browser.press(ENTER)
    browser.gone(f"{its} .badge", "taking no more")
    trabajos.wait_for("the worker heard of again", lambda: browser.see(f"{its} dl div:last-of-type time").attribute("datetime") != before)
    assert browser.run("return document.activeElement.matches(arguments[0])", f"{its} button"), browser.focused()
    users["user"].get(f"/api/v1/trabajos/{key}/cancel", "POST")
    users["user"].await_end(key)
