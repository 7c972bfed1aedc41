"""What an answer makes of the client's wishes: known already, packed, in a language, for a page of another origin."""

import urllib.parse
import uuid

import pytest
import requests

import trabajos

JOBS = "/api/v1/trabajos"
PAGE = "https://jobs.example.org"


@pytest.fixture(scope="module")
def open_frontend(stack):
    daemon = trabajos.frontend(stack, "open", CORS_ORIGINS=f"{PAGE},http://localhost:8080")
    with trabajos.running(daemon):
        yield daemon


def submit(user, url, **members):
    answer = user.session.post(user.url + JOBS, json={"url": url, **members}, headers={"Authorization": "Bearer " + user.token()}, timeout=30)
    assert answer.status_code == 202, answer.text
    return answer.json()["key"]


def test_what_a_client_has_already_is_not_sent_again(users, worker, script):
    user = users["user"]
    key, _, _ = user.run(script("true").url)
    for path, params in ((f"{JOBS}/{key}", {}), (JOBS, {"limit": 1}), ("/status", {"key": key}), ("/all", {"limit": 1})):
        first = user.get(path, **params)
        tag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "private, no-cache"
        for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = user.get(path, headers={"If-None-Match": known}, **params)
            assert again.status_code == 304 and not again.content and again.headers["ETag"] == tag, (path, known)
        assert user.get(path, headers={"If-None-Match": '"other"'}, **params).status_code == 200
    tag = user.get(f"{JOBS}/{key}").headers["ETag"]
    user.get(f"{JOBS}/{key}/replay", method="POST")
    assert user.get(f"{JOBS}/{key}", headers={"If-None-Match": tag}).status_code == 200
    user.await_end(key)
    assert users["user2"].get(f"{JOBS}/{key}", headers={"If-None-Match": "*"}).status_code == 404


def test_large_answers_are_packed_for_who_takes_them_so(users, script):
    user, url = users["user"], script("true").url
    keys = [submit(user, url, run_after=3600) for _ in range(20)]
    try:
        for path in ("/all", JOBS, "/all?limit=100"):
            plain = user.get(path, headers={"Accept-Encoding": "identity"})
            packed = user.get(path, headers={"Accept-Encoding": "gzip"})
            assert "Content-Encoding" not in plain.headers and packed.headers["Content-Encoding"] == "gzip", path
            assert "Accept-Encoding" in plain.headers["Vary"] and packed.json() == plain.json() and len(plain.json()) >= 20
        refused = user.get(JOBS, headers={"Accept-Encoding": "gzip"}, status="x" * 3000)
        assert refused.status_code == 400 and "Content-Encoding" not in refused.headers
    finally:
        for key in keys:
            user.get(f"{JOBS}/{key}/cancel", method="POST")


def test_people_are_answered_in_their_language(users, worker, script):
    user, spanish = users["user"], {"Accept-Language": "es-ES,es;q=0.9,en;q=0.8"}
    refused = user.get(JOBS, headers=spanish, limit="many")
    assert refused.status_code == 400 and refused.headers["Content-Language"] == "es" and "Accept-Language" in refused.headers["Vary"]
    assert refused.json()["title"] == "Petición incorrecta" and "número entero" in refused.json()["detail"]
    refused = user.get("/add", headers=spanish, url="https://localhost/x")
    assert refused.json()["detail"].startswith("No se ha aceptado el parámetro url: el nombre del servidor es local")
    assert user.get(JOBS, limit="many").headers["Content-Language"] == "en"
    key, _, _ = user.run(script("exit 3").url)
    whole, listed = user.get(f"{JOBS}/{key}", headers=spanish), user.get(JOBS, headers=spanish, order="desc", limit=1)
    english = user.get(f"{JOBS}/{key}").json()
    assert whole.headers["Content-Language"] == "es" and whole.json()["outcome"]["message"].endswith("terminó con 3")
    assert listed.json()[0]["outcome"] == whole.json()["outcome"] == whole.json()["attempts"][0]["outcome"]
    assert english["outcome"]["message"].endswith("exited with 3")
    assert {**whole.json(), "outcome": None, "attempts": None} == {**english, "outcome": None, "attempts": None}
    unknown = user.get(f"{JOBS}/{uuid.uuid4()}", headers=spanish)
    assert unknown.json()["detail"] == "No tiene ningún trabajo con esta clave."


def test_why_a_job_waits_is_a_sentence(user, script):
    key = submit(user, script("true").url, run_after=3600)
    waiting = user.get(f"{JOBS}/{key}").json()["waiting"]
    assert waiting["reason"] == "delayed" and waiting["message"] == f"It was asked not to run before {waiting['until']}."
    waiting = user.get(f"{JOBS}/{key}", headers={"Accept-Language": "es"}).json()["waiting"]
    assert waiting["message"] == f"Se pidió que no se ejecutara antes de {waiting['until']}."
    user.get(f"{JOBS}/{key}/cancel", method="POST")


def test_pages_of_other_origins_are_those_that_the_operator_names(stack, frontend, open_frontend):
    def preflight(daemon, origin):
        return requests.options(daemon.url + JOBS, timeout=10, headers={
            "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"})
    allowed = preflight(open_frontend, PAGE)
    assert allowed.status_code == 204 and allowed.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in allowed.headers["Access-Control-Allow-Methods"] and "Idempotency-Key" in allowed.headers["Access-Control-Allow-Headers"]
    for daemon, origin in ((open_frontend, "https://evil.example"), (frontend, PAGE), (open_frontend, "null")):
        refused = preflight(daemon, origin)
        assert not [name for name in refused.headers if name.lower().startswith("access-control-allow")], refused.headers
    somebody = trabajos.User(stack, open_frontend.url, "user")
    for path in ("/all", JOBS, f"{JOBS}/{uuid.uuid4()}", "/nowhere"):
        answer = somebody.get(path, headers={"Origin": PAGE})
        shown = answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE and "Origin" in answer.headers["Vary"], path
        assert {"ETag", "Link", "Location", "Retry-After"} <= set(shown.split(", ")) and "Access-Control-Allow-Credentials" not in answer.headers
    unknown = requests.get(open_frontend.url + "/all", headers={"Origin": PAGE}, timeout=10)
    assert unknown.status_code == 401 and unknown.headers["Access-Control-Allow-Origin"] == PAGE


def test_an_origin_that_is_none_ends_the_start(stack):
    daemon = trabajos.frontend(stack, "misread", CORS_ORIGINS="https://jobs.example.org/").start(ready=False)
    assert daemon.process.wait(20) == 78
    assert 'CORS_ORIGINS: "https://jobs.example.org/" is no origin, like https://host:port' in daemon.tail().replace('\\"', '"')


def test_a_packed_list_goes_on_behind_its_link(user):
    answer = user.get("/all", limit=1, headers={"Accept-Encoding": "gzip"})
    if following := answer.links.get("next"):
        assert urllib.parse.urlsplit(following["url"]).path == "/all"
        assert user.get(following["url"]).json() != answer.json()
