"""Tokens, against the real Keycloak. (Hand-made bad tokens of every kind: tests/unit/test_token.c.)"""

import base64
import json
import socket
import time
import urllib.parse

import pytest
import requests
import test_http
import trabajos


def call(frontend, authorization=None, path="/all"):
    headers = {} if authorization is None else {"Authorization": authorization}
    return requests.get(frontend.url + path, headers=headers, timeout=20)


def encode(data):
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def decode(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_without_a_token_the_answer_says_how_to_get_one(frontend):
    answer = call(frontend)
    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "error=" not in answer.headers["WWW-Authenticate"]
    assert "token" in answer.json()["detail"]


def test_a_token_in_the_url_does_not_count(frontend, user):
    assert call(frontend, path="/all?access_token=" + user.token()).status_code == 401


@pytest.mark.parametrize("spoil", [
    lambda head, body, signature: f"{encode({'alg': 'none', 'typ': 'JWT'})}.{body}.",
    lambda head, body, signature: f"{encode({**decode(head), 'alg': 'HS256'})}.{body}.{signature}",
    lambda head, body, signature: f"{head}.{encode({**decode(body), 'preferred_username': 'admin'})}.{signature}",
    lambda head, body, signature: f"{head}.{body}.{signature[:-4]}AAAA",
    lambda head, body, signature: f"{head}.{body}.{signature}=",
    lambda head, body, signature: f"{head}.{body}",
    lambda head, body, signature: f"{head}.{body}.{signature}.{signature}",
    lambda head, body, signature: f"{encode({**decode(head), 'kid': 'unknown'})}.{body}.{signature}",
    lambda head, body, signature: f"{encode({**decode(head), 'crit': ['x'], 'x': 1})}.{body}.{signature}",
    lambda head, body, signature: "x" * 9000,
    lambda head, body, signature: "a b",
], ids=["none", "hs256", "tampered", "signature", "padding", "two parts", "four parts", "unknown key", "crit", "oversized", "space"])
def test_a_spoilt_token_is_refused(frontend, user, spoil):
    answer = call(frontend, "Bearer " + spoil(*user.token().split(".")))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"] and "error_description=" in answer.headers["WWW-Authenticate"]


def test_other_schemes_are_refused(frontend):
    assert call(frontend, "Basic dXNlcjp1c2Vy").status_code == 401


@pytest.mark.parametrize("second", ["Authorization: Bearer {}", "authorization: Bearer x", "Authorization:", "AUTHORIZATION: Basic dXNlcjp1c2Vy"])
def test_two_authorization_headers_are_one_too_many(frontend, user, second):
    token = user.token()
    lines = ["GET /all HTTP/1.1", "Host: x", "Connection: close", f"Authorization: Bearer {token}", second.format(token), "", ""]
    host, port = urllib.parse.urlsplit(frontend.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = test_http.read_to_the_end(connection)
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 400 "), answer
    assert json.loads(body)["detail"] == "More than one Authorization header was sent."


def test_a_token_of_another_realm_is_refused(stack, frontend):
    answer = requests.post(stack.env["KEYCLOAK_ADMIN_URL"] + "/realms/master/protocol/openid-connect/token", timeout=20, data={
        "grant_type": "password", "client_id": "admin-cli", "username": stack.env["KEYCLOAK_ADMIN_USER"],
        "password": stack.env["KEYCLOAK_ADMIN_PASSWORD"]})
    assert call(frontend, "Bearer " + answer.json()["access_token"]).status_code == 401


def test_refresh_and_id_tokens_are_no_access_tokens(stack, frontend):
    tokens = requests.post(stack.env["KEYCLOAK_ISSUER"] + "/protocol/openid-connect/token", timeout=20, data={
        "grant_type": "password", "client_id": "nodejs-microservice", "username": "user", "password": "user", "scope": "openid"}).json()
    assert call(frontend, "Bearer " + tokens["access_token"]).status_code == 200
    assert call(frontend, "Bearer " + tokens["refresh_token"]).status_code == 401
    assert call(frontend, "Bearer " + tokens["id_token"]).status_code == 401


def test_a_token_for_another_audience_is_refused(stack, user):
    other = trabajos.frontend(stack, "other-audience", KEYCLOAK_AUDIENCE="somebody-else")
    with trabajos.running(other):
        assert call(other, "Bearer " + user.token()).status_code == 401


def test_an_expired_token_is_refused(stack, frontend):
    admin = stack.keycloak_admin()
    base = stack.env["KEYCLOAK_ADMIN_URL"] + "/admin/realms/cloudcomputing"
    client = admin.get(base + "/clients?clientId=nodejs-microservice", timeout=20).json()[0]
    attributes = dict(client["attributes"], **{"access.token.lifespan": "1"})
    try:
        admin.put(f"{base}/clients/{client['id']}", json={**client, "attributes": attributes}, timeout=20).raise_for_status()
        token = stack.token("user")
    finally:
        admin.put(f"{base}/clients/{client['id']}", json={**client, "attributes": {**client["attributes"], "access.token.lifespan": ""}},
                  timeout=20).raise_for_status()
    # 30 s of skew are allowed, so the answer turns from 200 to 401 once they are over
    expires = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["exp"]
    trabajos.wait_for("the token expires", lambda: call(frontend, "Bearer " + token).status_code == 401, 60, 1)
    assert time.time() >= expires


def test_a_user_without_the_role_is_refused(stack, frontend):
    admin = stack.keycloak_admin()
    base = stack.env["KEYCLOAK_ADMIN_URL"] + "/admin/realms/cloudcomputing"
    admin.post(base + "/users", timeout=20, json={
        "username": "noroles", "enabled": True, "email": "noroles@localhost.invalid", "firstName": "No", "lastName": "Roles",
        "credentials": [{"type": "password", "value": "noroles", "temporary": False}]})
    answer = call(frontend, "Bearer " + stack.token("noroles"))
    assert answer.status_code == 403 and "role" in answer.json()["detail"]


def test_keys_are_rotated_while_the_frontend_runs(stack, frontend, user):
    before = stack.token("user")
    assert call(frontend, "Bearer " + before).status_code == 200
    admin = stack.keycloak_admin()
    base = stack.env["KEYCLOAK_ADMIN_URL"] + "/admin/realms/cloudcomputing"
    realm = admin.get(base, timeout=20).json()["id"]
    admin.post(base + "/components", timeout=20, json={
        "name": "rotated", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm,
        "config": {"priority": ["1000"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"], "keySize": ["2048"]},
    }).raise_for_status()
    after = stack.token("user")
    assert decode(after.split(".")[0])["kid"] != decode(before.split(".")[0])["kid"]
    trabajos.wait_for("the new key is known", lambda: call(frontend, "Bearer " + after).status_code == 200, 60, 1)
    assert call(frontend, "Bearer " + before).status_code == 200, "the old key is still in the set"
