"""The list of jobs: live at any length, filtered, searched, walked by the keyboard."""

import json
import uuid

import pytest

import trabajos
from webdriver import ENTER


def shown(browser):
    """The keys of the rows that are elements, in order."""
    return browser.run("return [...document.querySelectorAll('.job')].map((row) => row.dataset.key)")


@pytest.fixture
def crowd(stack):
    """That many jobs of a user of their own, a second apart, without a worker: (name, keys, the newest first)."""
    names = []

    def make(count, url="https://example.org/crowd/job"):
        name = f"crowd-{uuid.uuid4()}"
        names.append(name)
        stack.sql("INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, finished_at, status, attempt, outcome)"
                  " SELECT gen_random_uuid(), %s, %s, %s || n || '.git', '', at, at, at, 'Finished', 1, '{\"code\":\"ok\"}'"
                  " FROM (SELECT n, now() - n * interval '1 s' - interval '1 min' AS at FROM generate_series(1, %s) n) x", name, name, url, count)
        return name, [key for key, in stack.sql("SELECT key::text FROM trabajos WHERE usuario = %s ORDER BY posted_at DESC, key DESC", name)]
    yield make
    for name in names:
        stack.sql("DELETE FROM trabajos WHERE usuario = %s", name)


def test_the_list_is_live_filtered_and_walked_by_the_keyboard(go, users, script, worker):
    label = str(uuid.uuid4())
    browser = go("user2", f"?label={label}")
    repository = script("true")
    keys = []
    for n in range(3):
        answer = users["user2"].get("/api/v1/trabajos", "POST", {"Content-Type": "application/json"},
                                    json.dumps({"url": repository.url, "labels": {label: str(n)}}))
        keys.insert(0, answer.json()["key"])
        browser.see(f".job[data-key='{keys[0]}']")  # by itself
    for key in keys:
        browser.see(f".job[data-key='{key}'] .pill", "Done")
    assert shown(browser) == keys

    browser.run("document.activeElement.blur()")
    browser.press("jj")
    assert browser.run("return document.activeElement.closest('.job').dataset.key") == keys[1]
    browser.press(ENTER)
    browser.see(".facts", keys[1])

    go("user2", f"?label={label}")
    browser.click(".chip", "Failed")
    browser.see(".empty", "No jobs match")
    browser.click(".chip", "Failed")
    browser.see(f".job[data-key='{keys[0]}']")
    browser.type("input[name=text]", keys[1][-12:].upper() + ENTER)
    trabajos.wait_for("the one that fits", lambda: shown(browser) == [keys[1]])


def test_a_long_list_is_a_few_elements_and_what_is_looked_at_of_it_is_true(go, stack, crowd):
    name, keys = crowd(450)
    browser = go("admin", f"?usuario={name}")

    # the list's end is in sight all the time, whatever comes
    browser.run("window.down = setInterval(() => scrollTo(0, document.documentElement.scrollHeight), 0)")
    browser.see(".more", "all 450 jobs")
    trabajos.wait_for("the last row", lambda: keys[-1] in shown(browser))
    browser.run("clearInterval(window.down)")
    assert len(shown(browser)) < 120
    asked = browser.run("performance.setResourceTimingBufferSize(5000); return performance.getEntriesByType('resource').length")

    def top(key):
        return browser.run("return Math.round(document.querySelector(`[data-key='${arguments[0]}']`).getBoundingClientRect().top)", key)
    browser.run("scrollBy(0, -1500)")
    browser.see(f".job[data-key='{keys[405]}']")
    browser.run("document.querySelector(`[data-key='${arguments[0]}'] a`).focus({preventScroll: true})", keys[405])
    before = top(keys[405])
    stack.sql("UPDATE trabajos SET status = 'Failed', outcome = '{\"code\":\"exit\",\"exit_code\":9}' WHERE key = %s", keys[405])
    stack.sql("DELETE FROM trabajos WHERE key = %s", keys[410])
    newest = str(uuid.uuid4())
    stack.sql("INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, status, finished_at)"
              " VALUES (%s, %s, %s, 'https://example.org/new.git', '', now(), now(), 'Cancelled', now())", newest, name, name)
    browser.see(f".job[data-key='{keys[405]}']", "exit code 9")
    browser.gone(f".job[data-key='{keys[410]}']")
    browser.see(".fresh", "1 new job")
    browser.see(".more", "all 450 jobs")  # one more, one less
    assert browser.run("return document.activeElement.closest('.job')?.dataset.key") == keys[405], "the focus went"
    assert abs(top(keys[405]) - before) < 3, "what is looked at moved away"
    limits = browser.run("""return performance.getEntriesByType('resource').slice(arguments[0]).map((one) => new URL(one.name))
        .filter((url) => url.pathname === '/api/v1/trabajos').map((url) => Number(url.searchParams.get('limit')))""", asked)
    assert limits and max(limits) < 200, "more was asked for than what is looked at"

    browser.run("document.querySelector(`[data-key='${arguments[0]}'] a`).click()", keys[402])
    browser.see(".facts", keys[402])
    browser.run("history.back()")
    trabajos.wait_for("the row that was left", lambda: keys[402] in shown(browser))
    browser.run("scrollTo(0, 0)")
    browser.see(f".job[data-key='{newest}']")
    assert shown(browser)[:2] == [newest, keys[0]]


def test_a_search_that_goes_far_back_says_how_far_and_can_be_stopped_and_gone_on_with(go, stack, crowd):
    name, keys = crowd(21000)
    stack.sql("UPDATE trabajos SET url = 'https://example.org/needle_100%%.git' WHERE key = ANY (%s::uuid[])", [keys[0], keys[-1]])
    browser = go("admin", f"?usuario={name}")
    browser.see(".job")
    browser.cdp("Network.enable")
    browser.cdp("Network.emulateNetworkConditions", offline=False, latency=5000, downloadThroughput=-1, uploadThroughput=-1)
    try:
        browser.type("input[name=text]", "NEEDLE_100%")
        browser.see(".more", "Looked through back to")
        browser.click(".more button", "Stop")
        browser.see(".more button", "Look further back")
        assert shown(browser) == [keys[0]]
    finally:
        browser.cdp("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    browser.click(".more button", "Look further back")
    browser.see(".more", "all 2 jobs")
    assert shown(browser) == [keys[0], keys[-1]]
    browser.type("input[name=text]", "needleX100" + ENTER)
    browser.see(".empty", "No jobs match")
