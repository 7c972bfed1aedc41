import re

import pytest

import axe
import trabajos
import webdriver
from cable import Cable
from receiver import Receiver

# An answer that says no is told in the console too; whether it is right is the tests' business. And what axe-core itself does.
EXPECTED = re.compile(r"Canvas2D: Multiple readback|Failed to load resource: (the server responded with a status of (4|503)|net::ERR_)")


@pytest.fixture(scope="session")
def driver():
    lack = webdriver.missing()
    if lack:
        pytest.skip(f"the page cannot be tried here: {lack}")
    driver = webdriver.Driver()
    yield driver
    driver.end()


@pytest.fixture(scope="session")
def receiver():
    """Whom webhooks of jobs that the page submits may call."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def observer(stack, receiver):
    """No longer than it is needed: it would take other tests' webhooks, and may not deliver them."""
    daemon = trabajos.observer(stack, "page-observer", WEBHOOK_ALLOW=receiver.url + "/").start()
    yield daemon
    daemon.end()


@pytest.fixture(scope="session")
def cable(stack, driver, receiver):
    """The way to a frontend of the page's own, which can be cut; at the address that the realm knows the page by."""
    daemon = trabajos.frontend(stack, "page", WEBHOOK_ALLOW=receiver.url + "/").start()
    cable = Cable(trabajos.port_of(stack.env["FRONTEND_URL"]), trabajos.port_of(daemon.url))
    yield cable
    cable.end()
    daemon.end()


@pytest.fixture(scope="session")
def url(stack, cable):
    return stack.env["FRONTEND_URL"]


@pytest.fixture(scope="session")
def open_browser(driver):
    """A new browser; all are closed in the end."""
    browsers = []

    def make(language="en-US", width=1280, height=900):
        browser = webdriver.Browser(driver, language)
        browsers.append(browser)
        browser.look(width, height)
        return browser
    yield make
    for browser in browsers:
        browser.end()


def fill_in(browser, name):
    """Keycloak's form, which is there or comes."""
    browser.type("#username", name)
    browser.type("#password", name)
    browser.click("#kc-login")


def log_in(browser, url, name, button="Log in"):
    browser.open(url)
    browser.click(".door button.primary", button)
    fill_in(browser, name)
    browser.see(".who", name)


def write_afresh(browser):
    """The form of a new job with all its options, empty whatever was written before."""
    browser.see("form")
    if browser.all("main .notice button"):
        browser.click("main .notice button", "Start afresh")
        browser.gone("main .notice")
    browser.run("document.querySelector('details').open = true")


@pytest.fixture(scope="session")
def people(open_browser, url):
    """One browser for each, logged in when first asked for."""
    class People(dict):
        def __missing__(self, name):
            browser = self[name] = open_browser()
            log_in(browser, url, name)
            return browser
    return People()


@pytest.fixture
def go(people, url):
    """Somebody's browser at a place of the page. Whatever it complains of by the end of the test fails it."""
    used = {}

    def to(name, place):
        browser = used[name] = people[name]
        if not browser.address().startswith(url):
            browser.open(url)
        # told at once, so that nothing of the page before is taken for this one's
        browser.run("history.pushState(null, '', arguments[0]); dispatchEvent(new Event('hashchange'))", "#/" + place)
        return browser
    yield to
    for browser in used.values():
        complaints = [one for one in browser.console() if not EXPECTED.search(one)]
        browser.complaints = []
        assert complaints == []


@pytest.fixture(scope="session")
def axe_source():
    return axe.source()
