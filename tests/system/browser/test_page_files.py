"""How the page is served, and what its files agree on."""

import gzip
import re

import requests

from trabajos import ROOT

WEB = ROOT / "web"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def page(frontend, **headers):
    return requests.get(frontend.url + "/", headers={**HTML, **headers}, timeout=10)


def policy_of(answer):
    return {part.split()[0]: part.split()[1:] for part in answer.headers["Content-Security-Policy"].split(";")}


def test_a_browser_is_given_the_page_and_everybody_else_the_help(frontend):
    answer = page(frontend)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in answer.headers["Vary"]
    for accept in ("*/*", "text/plain", None):
        help_text = requests.get(frontend.url + "/", headers={"Accept": accept}, timeout=10)
        assert help_text.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "GET or POST /add" in help_text.text
        assert "Accept" in help_text.headers["Vary"]


def test_the_page_may_run_its_own_files_alone_and_talk_to_its_server_and_the_issuer(frontend, stack):
    policy = policy_of(page(frontend))
    issuer = re.match("https?://[^/]*", stack.env["KEYCLOAK_ISSUER"])[0]
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == ["'self'"]
    assert policy["connect-src"] == ["'self'", issuer]
    assert policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert policy["require-trusted-types-for"] == ["'script'"]


def test_the_pages_files_are_kept_for_good_and_the_page_is_asked_for_anew(frontend):
    first = page(frontend)
    assert first.headers["Cache-Control"] == "no-cache"
    again = page(frontend, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    paths = re.findall(r'(?:href|src)="([^"]*)"', first.text)
    assert len(paths) > 5
    for path in paths:
        assert path.startswith("web/"), "an address that does not work below a proxy's path"
        answer = requests.get(f"{frontend.url}/{path}", timeout=10)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.content == (WEB / path.split("/", 2)[2]).read_bytes()


def test_who_takes_no_gzip_is_given_the_file_as_it_is(frontend):
    path = re.search(r'"(web/\w+/style.css)"', page(frontend).text)[1]
    url = f"{frontend.url}/{path}"
    for accepted in ("identity", "br", "gzip;q=0", "gzip; q=0.0"):
        answer = requests.get(url, headers={"Accept-Encoding": accepted}, timeout=10)
        assert "Content-Encoding" not in answer.headers, accepted
        assert answer.content == (WEB / "style.css").read_bytes()
    packed = requests.get(url, headers={"Accept-Encoding": "br, gzip;q=0.5"}, stream=True, timeout=10)
    assert gzip.decompress(packed.raw.read()) == (WEB / "style.css").read_bytes()
    assert requests.head(url, timeout=10).headers["ETag"] == packed.headers["ETag"]


def test_another_versions_files_are_not_there(frontend):
    for path in ("/web/", "/web/0123456789abcdef/style.css", "/web/../Makefile", "/web/0/../../etc/passwd"):
        answer = requests.get(frontend.url + path, timeout=10)
        assert answer.status_code == 404, path
        assert answer.headers["Cache-Control"] == "no-store"
    assert requests.post(frontend.url + "/", headers=HTML, timeout=10).status_code == 405


def texts(language):
    """Each key with the names of its values; a text with several forms has them all."""
    found = {}
    for key, text in re.findall(r"^\t'([^']+)': (.*),$", (WEB / f"lang/{language}.js").read_text(), re.M):
        assert key not in found, f"{language}: {key} stands twice"
        found[key] = (set(re.findall(r"\{(\w+)\}", text)), text.startswith("{"))
    return found


def test_every_language_has_every_text_with_the_same_values():
    english, spanish = texts("en"), texts("es")
    assert english.keys() == spanish.keys()
    assert [key for key in english if english[key] != spanish[key]] == []


def test_every_text_that_the_page_asks_for_is_there_and_none_is_left_over():
    code = "".join(path.read_text() for path in WEB.glob("*.js"))
    asked = set(re.findall(r"\bt\('([^']+)'", code))
    beginnings = tuple(re.findall(r"\bt\(`([^`$]+)\$", code)) + tuple(re.findall(r"has\(`([^`$]+)\$", code))
    there = set(texts("en"))
    assert asked - there == set()
    chosen = set(re.findall(r"[?:] '([^']+)'", code))  # t(condition ? 'one' : 'another')
    assert {key for key in there - asked - chosen if not key.startswith(beginnings)} == set()


def test_no_file_of_the_page_makes_markup_of_text_or_names_a_host():
    for path in WEB.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage", text), path
            assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org", "https://github.com"}, path
