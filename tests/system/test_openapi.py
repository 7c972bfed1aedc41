"""docs/openapi.yaml is the contract: it names exactly the calls that there are, and the daemon serves it."""

import re

import requests
import yaml

import trabajos

CONTRACT = yaml.safe_load((trabajos.ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"))
METHODS = {"get", "put", "post", "delete", "patch"}
NO_CALLS = ("/web/",)  # files of the page


def routes():
    """(method, path) of frontend/routes.c; parameters without their names."""
    folder = trabajos.ROOT / "frontend"
    defined = dict(re.findall(r'#define (\w+)\s+("[^"]*")', "".join(file.read_text() for file in folder.glob("*.h"))))
    rows = re.findall(r"^\t\{([^,]+), \"([A-Z ]+)\", \w+\},", (folder / "routes.c").read_text(), re.M)
    assert len(rows) > 20
    for place, methods in rows:
        place = re.sub(r"\b[A-Z][A-Z_]+\b", lambda name: defined.get(name[0], name[0]), place)
        path = "".join(re.findall(r'"([^"]*)"', place))
        if not path.startswith(NO_CALLS):
            for method in methods.split():
                yield method.lower(), re.sub(r"\{\w+\*?\}|\*$", "{}", path)


def calls():
    for path, item in CONTRACT["paths"].items():
        for method in METHODS & item.keys():
            yield method, re.sub(r"\{\w+\}", "{}", path)


def test_every_route_is_in_the_contract_and_every_call_of_the_contract_has_a_route():
    assert sorted(set(routes())) == sorted(set(calls()))


def test_no_name_stands_twice_in_a_mapping():
    class Strict(yaml.SafeLoader):
        pass

    def construct(loader, node, deep=False):
        names = [loader.construct_object(name) for name, _ in node.value if name.tag != "tag:yaml.org,2002:merge"]
        assert len(names) == len(set(names)), (node.start_mark.line, sorted(names))
        loader.flatten_mapping(node)
        return yaml.SafeLoader.construct_mapping(loader, node, deep)
    Strict.add_constructor("tag:yaml.org,2002:map", construct)
    yaml.load((trabajos.ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"), Strict)


def test_every_call_names_its_errors_and_an_example_or_a_schema():
    for path, item in CONTRACT["paths"].items():
        for method in METHODS & item.keys():
            answers = item[method]["responses"]
            closed = item[method].get("security") != []
            assert {"400", "413", "414", "431"} <= answers.keys(), (method, path)
            assert not closed or {"401", "403", "503"} <= answers.keys(), (method, path)
            assert "{" not in path or "404" in answers, (method, path)
            assert item[method]["summary"] and item[method]["tags"], (method, path)


def test_the_daemon_serves_its_contract(frontend):
    answer = requests.get(frontend.url + "/api/v1/openapi.json", timeout=10)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {name: value for name, value in CONTRACT.items() if not name.startswith("x-")}
    packed = requests.get(frontend.url + "/api/v1/openapi.json", headers={"Accept-Encoding": "identity"}, timeout=10)
    assert answer.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in packed.headers and packed.content == answer.content
    tag = answer.headers["ETag"]
    again = requests.get(frontend.url + "/api/v1/openapi.json", headers={"If-None-Match": tag}, timeout=10)
    assert again.status_code == 304 and not again.content and again.headers["ETag"] == tag


def test_the_page_needs_nothing_from_elsewhere(frontend):
    page = requests.get(frontend.url + "/api/v1/docs", timeout=10)
    policy = page.headers["Content-Security-Policy"]
    assert page.status_code == 200 and "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe-eval" not in policy
    assert "//" not in page.text.removeprefix("<!doctype html>")
    for script in re.findall(r'src="([^"]+)"', page.text):
        answer = requests.get(f"{frontend.url}/api/v1/{script}", timeout=10)
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/javascript")
