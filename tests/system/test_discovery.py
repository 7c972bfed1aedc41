"""Where tokens come from, found out by a client that knows nothing but the server."""

import re

import requests

import trabajos

PATH = "/.well-known/oauth-protected-resource"


def test_a_client_without_a_token_finds_the_issuer(stack, frontend):
    refused = requests.get(frontend.url + "/all", timeout=10)
    assert refused.status_code == 401
    found = re.search(r'resource_metadata="([^"]+)"', refused.headers["WWW-Authenticate"]).group(1)
    assert found == frontend.url + PATH
    told = requests.get(found, timeout=10)
    assert told.status_code == 200 and told.headers["Content-Type"] == "application/json"
    document = told.json()
    assert document["resource"] == frontend.url and document["bearer_methods_supported"] == ["header"]
    [issuer] = document["authorization_servers"]
    assert issuer == stack.env["KEYCLOAK_ISSUER"]
    openid = requests.get(issuer + "/.well-known/openid-configuration", timeout=20).json()
    assert openid["issuer"] == issuer and openid["device_authorization_endpoint"] and openid["token_endpoint"]


def test_a_refused_token_is_told_the_same(frontend):
    refused = requests.get(frontend.url + "/all", headers={"Authorization": "Bearer x.y.z"}, timeout=10)
    challenge = refused.headers["WWW-Authenticate"]
    assert refused.status_code == 401 and 'error="invalid_token"' in challenge and PATH in challenge


def test_a_host_that_is_none_gets_into_no_header(frontend):
    for host in ('a"b', "a/b", "a@b", "x" * 300):
        refused = requests.get(frontend.url + "/all", headers={"Host": host}, timeout=10)
        assert refused.status_code == 401 and "resource_metadata" not in refused.headers["WWW-Authenticate"]
        assert requests.get(frontend.url + PATH, headers={"Host": host}, timeout=10).status_code == 400


def test_an_operator_names_the_url(stack):
    daemon = trabajos.frontend(stack, "named", PUBLIC_URL="https://jobs.example.org/trabajos")
    with trabajos.running(daemon):
        assert requests.get(daemon.url + PATH, timeout=10).json()["resource"] == "https://jobs.example.org/trabajos"
        refused = requests.get(daemon.url + "/all", timeout=10)
        assert f'resource_metadata="https://jobs.example.org{PATH}/trabajos"' in refused.headers["WWW-Authenticate"]
        assert requests.get(daemon.url + PATH + "/trabajos", timeout=10).json()["resource"] == "https://jobs.example.org/trabajos"
        for other in ("/trabajo", "/trabajos/x", "/"):
            assert requests.get(daemon.url + PATH + other, timeout=10).status_code == 404
    for url in ("jobs.example.org", "https://x/", 'https://a"b', "https://a b", "https://a?b"):
        daemon = trabajos.frontend(stack, "misnamed", PUBLIC_URL=url).start(ready=False)
        assert daemon.process.wait(20) == 78 and "PUBLIC_URL" in daemon.tail()
