"""For everybody: each page as axe-core judges it and as a screen reader is told it, in light and dark, on a telephone, in both languages."""

import pytest

import trabajos
from conftest import write_afresh

NAMED = {"button", "link", "textbox", "searchbox", "checkbox", "combobox", "spinbutton", "listbox", "DisclosureTriangle", "image", "img", "dialog",
         "log", "region", "navigation", "search"}
LANDMARKS = {"banner", "navigation", "main", "contentinfo"}
PLAIN = {"generic", "none", "GenericContainer"}
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}

RUN = r"""printf '\033[31mattempt %s\033[0m\n' $TRABAJO_ATTEMPT; echo left >out.txt; exit 1"""


@pytest.fixture(scope="module")
def failed(users, repositories, session_worker):
    """A job of admin's that shows most of what a job can show."""
    repository = repositories({"trabajo.yaml": "run: sh run.sh\nartifacts: [out.txt]\n", "run.sh": RUN})
    admin = users["admin"]
    key = admin.get("/api/v1/trabajos", "POST", json={"url": repository.url, "retries": 1, "labels": {"team": "red"}}).json()["key"]
    assert admin.await_end(key) == "Failed"
    return key


@pytest.fixture(scope="module")
def waiting(users, repositories):
    admin = users["admin"]
    key = admin.get("/api/v1/trabajos", "POST", json={"url": repositories({"main.sh": "#!/bin/sh\n"}).url, "run_after": 3600}).json()["key"]
    yield key
    admin.get(f"/api/v1/trabajos/{key}/cancel", "POST")


@pytest.fixture
def speaking(people, go):
    """admin's browser, preferring a language."""
    def speak(language):
        browser = go("admin", "")
        browser.cdp("Emulation.setUserAgentOverride", userAgent=browser.run("return navigator.userAgent"), acceptLanguage=language)
        browser.ask("POST", "/refresh")
        browser.see(".who button", {"es-ES": "Salir", "en-US": "Log out"}[language])
        assert browser.run("return document.documentElement.lang") == language[:2]
    yield speak
    speak("en-US")


def faults(browser):
    """What a screen reader would be at a loss with."""
    tree = browser.accessibility()
    found = [f"a {role} without a name" for role, name, _ in tree if role in NAMED and not name.strip()]
    found += [f"a control without a role: {name or properties}" for role, name, properties in tree if role in PLAIN and properties.get("focusable")]
    for landmark in LANDMARKS:
        if sum(role == landmark for role, _, _ in tree) != 1:
            found.append(f"not one {landmark}")
    levels = [properties["level"] for role, _, properties in tree if role == "heading"]
    if levels[:1] != [1] or levels.count(1) != 1 or any(after > before + 1 for before, after in zip(levels, levels[1:])):
        found.append(f"headings out of order: {levels}")
    if any(properties.get("live", "off") != "off" for role, _, properties in tree if role == "log"):
        found.append("each line of a log would be read out")
    return found


def too_wide(browser):
    """What a telephone does not show without being pushed sideways."""
    return browser.run("""
        const out = [...document.querySelectorAll('.bar nav a, .bar button, main button, main input, main a.button')].filter((one) => {
            const {left, right, width} = one.getBoundingClientRect();
            return width && !one.closest('.chips') && (left < 0 || right > innerWidth);
        }).map((one) => one.outerHTML.slice(0, 100));
        return document.documentElement.scrollWidth > innerWidth ? [...out, `${document.documentElement.scrollWidth} wide`] : out;""")


@pytest.mark.parametrize("language", ["es-ES", "en-US"])
def test_every_page_can_be_read_and_used_by_everybody(go, speaking, failed, waiting, observer, axe_source, language):
    speaking(language)
    places = [("", ".job"), ("new", "form"), (f"job/{failed}", ".artifacts li"), (f"job/{waiting}", ".eta"), ("dead", ".dead li"), ("workers", ".worker"),
              ("scale", ".now"), ("?label=none", ".empty")]
    wrong = {}
    try:
        for place, css in places:
            browser = go("admin", place)
            browser.see(css)
            found = faults(browser) + browser.axe(axe_source)
            browser.look(1280, 900, "dark")
            found += browser.axe(axe_source, **CONTRAST)
            browser.look(360, 740)
            found += too_wide(browser)
            browser.look(1280, 900)
            if found:
                wrong[place] = found
    finally:
        browser.look(1280, 900)
    assert not wrong, wrong


def test_the_log_of_each_attempt_can_be_chosen(go, failed):
    browser = go("admin", f"job/{failed}")
    browser.see(".state", "complete")
    browser.see(".line", "attempt 2")
    assert [one.text() for one in browser.all(".log select option")] == ["Attempt 2", "Attempt 1"]
    assert len(browser.all(".attempt")) == 2
    browser.choose(".log select", "Attempt 1")
    browser.see(".line", "attempt 1")
    browser.gone(".line", "attempt 2")
    browser.choose(".log select", "Attempt 2")
    browser.see(".line", "attempt 2")
    browser.gone(".line", "attempt 1")


def test_the_calls_about_a_jobs_end_are_shown_as_they_are_made(go, stack, users, script, receiver, no_worker):
    receiver.answers["/hook"] = [503]
    with trabajos.running(trabajos.worker(stack, "page-webhooks", WEBHOOK_ALLOW=receiver.url + "/")):
        browser = go("user", "new")
        write_afresh(browser)
        browser.type("#f-url", script("true").url)
        browser.type("#f-on_done", receiver.url + "/hook")
        browser.click("form button.primary")
        browser.see(".part-deliveries li", "try 1: 503")
        browser.see(".part-deliveries li", "next")
        key = browser.address().rsplit("/", 1)[1]
        stack.sql("UPDATE webhooks SET next_at = now() WHERE key = %s AND state = 'waiting'", key)
        browser.see(".part-deliveries li", "try 2: 200")
        assert "next" not in browser.see(".part-deliveries").text()
        assert len(receiver.at("/hook")) == 2
