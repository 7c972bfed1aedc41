"""Nobody loses their place: what was typed, searched and looked at is there again after a log-in, and is nobody else's."""

import pytest

import trabajos
from conftest import fill_in, log_in


@pytest.fixture
def leave(stack):
    """Ends somebody's session at Keycloak, and has their page notice."""
    def end(browser, name):
        admin, realm = stack.keycloak_admin(), stack.env["KEYCLOAK_ADMIN_URL"] + "/admin/realms/cloudcomputing"
        who = admin.get(realm + "/users", params={"username": name, "exact": "true"}).json()[0]["id"]
        admin.post(f"{realm}/users/{who}/logout").raise_for_status()
        assert not browser.run_async("""
            const done = arguments[0];
            import(document.querySelector('script[type=module]').src.replace('app.js', 'auth.js')).then((auth) => auth.renew()).then(done);""")
        browser.see(".notices", "Your session has ended")
    return end


@pytest.fixture(scope="module")
def tab(open_browser, url):
    browser = open_browser()
    log_in(browser, url, "user2")
    return browser


def at(browser, place):
    browser.run("location.hash = arguments[0]", "#/" + place)


def storage(browser):
    return browser.run("return JSON.stringify({...sessionStorage}) + JSON.stringify({...localStorage}) + document.cookie + JSON.stringify(history.state)")


def write_a_form(browser, url, hook="https://example.org/done"):
    at(browser, "new")
    browser.type("#f-url", url)
    browser.click("summary")
    browser.type("#f-labels", "team=red")
    browser.type("#f-env", "API_KEY=hunter2")
    browser.type("#f-on_done", hook)
    browser.type("#f-on_done_secret", "whsec_c2VjcmV0")
    browser.type("#f-retries", "3")


def test_a_half_filled_form_outlives_the_session_but_no_secret_does_and_what_was_sent_is_forgotten(tab, leave, script, receiver, no_worker):
    repository = script("true")
    hook = receiver.url + "/place"
    write_a_form(tab, repository.url, hook)
    assert "hunter2" not in storage(tab)
    assert "whsec" not in storage(tab)
    leave(tab, "user2")
    assert tab.see("#f-url").property("value") == repository.url, "the form that is seen stays while nobody logs in"
    tab.click(".notices button", "Log in")
    fill_in(tab, "user2")
    tab.see("h1", "New job")
    values = tab.run("return Object.fromEntries([...document.querySelectorAll('form [name]')].map((one) => [one.name, one.value]))")
    assert (values["url"], values["labels"], values["on_done"], values["retries"]) == (repository.url, "team=red", hook, "3")
    assert (values["env"], values["on_done_secret"]) == ("", "")
    tab.see("#f-env-again", "write it again")
    tab.see("#f-on_done_secret-again", "write it again")
    assert tab.run("return document.activeElement.name") == "retries"

    tab.ask("POST", "/refresh")
    assert tab.see("#f-labels").property("value") == "team=red"
    tab.click("form button.primary")
    tab.see("#job")
    at(tab, "new")
    tab.see("form")
    assert tab.see("#f-url").property("value") == ""
    assert repository.url not in storage(tab)


def test_the_list_and_the_log_are_where_they_were(tab, leave, users, script, worker):
    key, _, _ = users["user2"].run(script("seq 1 2000").url)
    at(tab, f"job/{key}")
    tab.see(".state", "complete")
    tab.type(".find input", "1234")
    tab.see(".count", "1 of 1")
    tab.see(".line mark", "1234")
    leave(tab, "user2")
    tab.click(".notices button", "Log in")
    fill_in(tab, "user2")
    tab.see("#job")
    assert tab.see(".find input").property("value") == "1234"
    tab.see(".line mark", "1234")

    place = "?status=Finished%2CFailed&label=none"
    at(tab, place)
    tab.see(".empty", "No jobs match")
    tab.ask("POST", "/refresh")
    tab.see(".empty", "No jobs match")
    assert tab.address().endswith("#/" + place)
    assert tab.run("return [...document.querySelectorAll('.chip[aria-pressed=true]')].map((chip) => chip.value)") == ["Finished", "Failed"]


def test_who_logs_in_next_finds_nothing_of_who_was_there_before(tab, leave, url):
    write_a_form(tab, "https://example.org/of-user2.git")
    leave(tab, "user2")
    tab.click(".notices button", "Log in")
    fill_in(tab, "user")
    tab.see(".who", "user")
    tab.see("h1", "Jobs")
    assert tab.address().rstrip("#/") == url
    assert "of-user2" not in storage(tab)
    at(tab, "new")
    assert tab.see("#f-url").property("value") == ""

    write_a_form(tab, "https://example.org/of-user.git")
    assert "of-user.git" in storage(tab)
    tab.click(".who button", "Log out")
    tab.see(".door")
    assert "of-user" not in storage(tab)
    trabajos.wait_for("an empty place", lambda: tab.address().rstrip("#/") == url)
