import re

import pytest

import axe
import trabajos
import webdriver
from cable import Cable

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
def observer(stack):
    daemon = trabajos.observer(stack, "page-observer").start()
    yield daemon
    daemon.end()


@pytest.fixture(scope="session")
def cable(stack, driver):
    """The way to a frontend of the page's own, which can be cut; at the address that the realm knows the page by."""
    daemon = trabajos.frontend(stack, "page").start()
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


def log_in(browser, url, name, button="Log in"):
    browser.open(url)
    browser.click(".door button.primary", button)
    browser.type("#username", name)
    browser.type("#password", name)
    browser.click("#kc-login")
    browser.see(".who", name)


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
