"""Real jobs that are given a way out, over the whole stack: who gets it, and where it leads. The worker's machine and the world are
namespaces of the test's own."""
import contextlib
import json
import subprocess
import urllib.parse

import pytest

import networks

PORT = 8080
PUBLIC, PUBLIC_V6 = "93.184.216.34", "2a01:4f8:7::34"
OWN, DENIED = "93.184.216.40", "93.184.217.1"
REFUSED = [OWN, DENIED, "172.20.0.2", "172.20.0.1", "192.168.7.7", "169.254.169.254", "127.0.0.1", "10.0.2.2", PUBLIC_V6, "fd00:7::2",
           "fd00:7::1", "::1", "::ffff:169.254.169.254"]
# By TCP and UDP; what neither answers nor refuses within a few seconds has not been reached.
MAIN = """
import json, socket, sys
def reached(address, kind):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, kind) as way:
            way.settimeout(2)
            way.connect((address, %d))
            if kind == socket.SOCK_DGRAM:
                way.send(b"k")
            return way.recv(1) == b"k"
    except OSError:
        return False
kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
print(json.dumps([f"{name} {address}" for address in %r for name, kind in kinds.items() if reached(address, kind)]))
""" % (PORT, [PUBLIC, *REFUSED])


@pytest.fixture
def machine(stack, no_worker):
    if networks.lacking():
        pytest.skip("not offered here: egress: " + networks.lacking())
    with contextlib.ExitStack() as made:
        behind = [PUBLIC, DENIED, "192.168.7.7", "169.254.169.254"]
        machine, world = networks.joined(made, [f"{OWN}/32"], [*(f"{address}/32" for address in behind), f"{PUBLIC_V6}/128"])
        networks.server(made, world, PORT, [*behind, PUBLIC_V6, "172.20.0.2", "fd00:7::2"])
        networks.server(made, machine, PORT, [OWN, "172.20.0.1", "127.0.0.1"])
        yield machine


def ports(stack):
    return [int(stack.env["KAFKA_BOOTSTRAP"].rsplit(":", 1)[1]), int(stack.env["POSTGRES_PORT"]),
            urllib.parse.urlsplit(stack.env["GIT_URL"]).port]


def outside_of_a_box(machine):
    """What a process on that machine reaches."""
    return json.loads(subprocess.run([*machine.enter, "/usr/bin/python3", "-c", MAIN], check=True, capture_output=True, text=True).stdout)


def test_a_way_out_is_for_those_who_are_named_and_leads_to_public_addresses_only(stack, users, repositories, machine):
    reached = outside_of_a_box(machine)
    for address in (PUBLIC, PUBLIC_V6, OWN, DENIED, "172.20.0.2", "192.168.7.7", "169.254.169.254", "127.0.0.1"):
        assert f"tcp {address}" in reached and f"udp {address}" in reached, reached
    url = repositories({"main.py": MAIN}).url
    rules = {"JOB_NETWORK": "egress", "JOB_EGRESS_FOR": "user,user2+label:net=yes", "JOB_EGRESS_DENY": f"{DENIED}/32", "WORKER_SLOTS": 3}
    with networks.worker_in(machine, stack, "egress", ports(stack), **rules):
        by_user, not_named = users["user"].add(url), users["user2"].add(url)
        answer = users["user2"].get("/api/v1/trabajos", method="POST", headers={"Content-Type": "application/json"},
                                    data=json.dumps({"url": url, "labels": {"net": "yes"}}))
        assert answer.status_code == 202, answer.text
        by_label = answer.json()["key"]
        for user, key, expected, network in (("user", by_user, [f"tcp {PUBLIC}", f"udp {PUBLIC}"], "egress"), ("user2", not_named, [], "none"),
                                             ("user2", by_label, [f"tcp {PUBLIC}", f"udp {PUBLIC}"], "egress")):
            assert users[user].await_end(key, 180) == "Finished", (users[user].outcome(key), users[user].log(key))
            assert json.loads(users[user].log(key)) == expected
            assert stack.sql("SELECT detail->'isolation'->>'network' FROM attempts WHERE key = %s", key) == [(network,)]
