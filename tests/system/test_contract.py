"""The daemon against its contract: schemathesis makes requests of docs/openapi.yaml, valid and invalid, single and along the links, and
checks every answer with all that it has."""

import copy
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

import trabajos

CONTRACT = trabajos.ROOT / "docs/openapi.yaml"
EXAMPLES = 4  # of each call, beside those that cover its schema systematically


@pytest.fixture(scope="module")
def python():
    done = subprocess.run([trabajos.ROOT / "dev/deps", "--python"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.splitlines()[-1])


@pytest.fixture
def nothing_left(stack):
    yield
    stack.sql("DELETE FROM webhooks WHERE origin LIKE '%%.invalid'")
    mine = "url LIKE '%%/schemathesis-%%'"
    stack.sql(f"DELETE FROM schedules WHERE {mine}")
    stack.sql(f"SELECT trabajos_cancel(key, NULL, 'left by a test') FROM trabajos WHERE {mine} AND status IN ('Queued', 'Running')")


def replace_urls(node, url):
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        if name == "url" and isinstance(value, str) and value.startswith("https://git.example.org"):
            node[name] = url
        elif isinstance(value, (dict, list)):
            replace_urls(value, url)


def narrowed(contract, stack):
    """The contract with what no schema can say, so that each valid request is one that this installation takes."""
    contract = copy.deepcopy(contract)
    git = stack.env["GIT_URL"]
    replace_urls(contract, f"{git}/schemathesis-x.git")
    schemas = contract["components"]["schemas"]
    # repositories that are not there, on the stack's own server: a job of any other would be looked for in the network
    schemas["Url"] = {"type": "string", "pattern": f"^{re.escape(git)}/schemathesis-[a-z]{{1,8}}[.]git$".replace("\\-", "-"),
                      "examples": [f"{git}/schemathesis-x.git"]}
    # names that nobody has (RFC 6761): none of these is ever dialled
    schemas["HookUrl"] = {"type": "string", "pattern": "^https://[a-z]{1,8}[.]invalid/[a-z]{0,8}$", "examples": ["https://x.invalid/y"]}
    # a key alone must be one of the list, a position need not
    schemas["Cursor"]["pattern"] = schemas["Cursor"]["pattern"].replace("^(", "^").replace(")?", "", 1)
    # what they are is crontab(5)'s to say, and which zones there are PostgreSQL's
    schemas["NewSchedule"]["properties"]["cron"] = {"type": "string", "pattern": "^(@(hourly|daily|weekly)|[0-5]?[0-9] ([01]?[0-9]|2[0-3]|[*]) [*] [*] [*])$"}
    schemas["NewSchedule"]["properties"]["zone"] = {"enum": ["UTC", "Europe/Madrid", "America/Lima"]}
    # a stream ends with its job, which may be due in a year (test_follow.py)
    log = contract["paths"]["/api/v1/trabajos/{key}/log"]["get"]
    for parameter in log["parameters"]:
        if parameter.get("name") == "follow":
            parameter["schema"] = {"enum": ["0", "false"]}
    for answer in log["responses"].values():
        answer.get("content", {}).pop("text/event-stream", None)
    return contract


def run(python, folder, frontend, user, *options):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    for file in ("schemathesis.toml", "schemathesis_hooks.py"):
        shutil.copy(trabajos.ROOT / "tests/system" / file, folder)
    return subprocess.run(
        [python.parent / "schemathesis", "run", folder / "contract.json", "--url", frontend.url, "-H", f"Authorization: Bearer {user.token()}",
         "--checks", "all", "--generation-deterministic", "--continue-on-failure", "--max-failures", "20", "--request-timeout", "30",
         # abreast, Python 3.11's compiler of code now and then fails in one of the threads ("recursion depth mismatch")
         "--workers", "1", "--no-color", *options],
        cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900, check=False)


def test_no_request_finds_the_daemon_break_its_contract(stack, frontend, users, worker, python, nothing_left, tmp_path):
    contract = narrowed(yaml.safe_load(CONTRACT.read_text(encoding="utf-8")), stack)
    (tmp_path / "contract.json").write_text(json.dumps(contract))
    done = run(python, tmp_path, frontend, users["user2"], "--max-examples", str(EXAMPLES))
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    assert re.search(r"Tested: (\d+)", done.stdout)[1] == re.search(r"Selected: \d+/(\d+)", done.stdout)[1], done.stdout
    # what the others are refused
    done = run(python, tmp_path, frontend, users["admin"], "--phases", "examples,coverage", "--include-path", "/api/v1/scale",
               "--include-path", "/api/v1/workers")
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]


def test_every_example_fits_its_schema(python):
    """By the validator that schemathesis brings along."""
    script = """
import json, sys, jsonschema_rs
contract = json.load(sys.stdin)
root = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": contract["components"]}
count = 0
def check(schema, value, where):
    global count
    count += 1
    validator = jsonschema_rs.validator_for({**root, "allOf": [schema]})
    errors = [str(error) for error in validator.iter_errors(value)]
    assert not errors, (where, errors[:3])
def walk(node, where):
    if isinstance(node, dict):
        if "schema" in node and "example" in node:
            check(node["schema"], node["example"], where)
        if "schema" in node and isinstance(node.get("examples"), dict):
            for name, example in node["examples"].items():
                check(node["schema"], example["value"], where + "/" + name)
        for name, value in node.items():
            walk(value, where + "/" + name)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            walk(value, f"{where}/{i}")
walk(contract["paths"], "")
for name, schema in contract["components"]["schemas"].items():
    for example in schema.get("examples", []):
        check(schema, example, name)
print(count)
"""
    contract = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    done = subprocess.run([python, "-c", script], input=json.dumps(contract), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
