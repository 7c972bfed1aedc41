"""Artifacts in an S3-compatible store. The store here is a small one of the test's own, which believes no request whose signature it
cannot make itself, from the description of AWS Signature Version 4."""

import hashlib
import hmac
import http.client
import http.server
import re
import threading
import urllib.parse

import pytest

import trabajos
from trabajos import Repository, running, wait_for

KEY, SECRET, BUCKET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "artifacts", "eu-test-1"


def signature(method, path, headers, signed, moment, payload):
    def mac(key, text):
        return hmac.digest(key, text.encode(), hashlib.sha256)
    day = moment[:8]
    canonical = "\n".join([method, urllib.parse.quote(path, safe="/-_.~"), "",
                           *(f"{name}:{' '.join(headers[name].split())}" for name in signed), "", ";".join(signed), payload])
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = mac(mac(mac(mac(f"AWS4{SECRET}".encode(), day), REGION), "s3"), "aws4_request")
    return scope, mac(key, text).hex()


class Store:
    def __init__(self):
        self.objects, self.refused, self.failing = {}, [], 0
        self.answers = 10**9  # then it is away
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=b""):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def believed(self, body):
                headers = {name.lower(): value for name, value in self.headers.items()}
                said = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(\w+)/(\S+), ?SignedHeaders=(\S+), ?Signature=(\w+)",
                                    headers.get("authorization", ""))
                payload = headers.get("x-amz-content-sha256", "")
                if not said or said[1] != KEY or payload != hashlib.sha256(body).hexdigest():
                    return False
                signed = said[3].split(";")
                if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(signed) or signed != sorted(signed):
                    return False
                return signature(self.command, self.path, headers, signed, headers["x-amz-date"], payload) == (said[2], said[4])

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not self.believed(body):
                    store.refused.append((self.command, self.path, dict(self.headers)))
                    return self.answer(403)
                store.answers -= 1
                if store.failing or store.answers < 0:
                    store.failing = max(0, store.failing - 1)
                    return self.answer(503)
                if self.command == "PUT":
                    store.objects[self.path] = body
                    return self.answer(200)
                if self.path not in store.objects:
                    return self.answer(404)
                if self.command == "DELETE":
                    del store.objects[self.path]
                    return self.answer(204)
                first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
                return self.answer(206, store.objects[self.path][first:last + 1])

            do_GET = do_PUT = do_DELETE = handle_any

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def store():
    store = Store()
    yield store
    store.server.shutdown()
    store.server.server_close()


def test_content_goes_to_the_store_comes_back_in_parts_and_is_removed(stack, no_worker, store):
    key_file = stack.dir / "s3-key"
    key_file.write_text(f"{KEY}:{SECRET}\n")
    key_file.chmod(0o600)
    options = {"ARTIFACTS_S3_URL": store.url, "ARTIFACTS_S3_BUCKET": BUCKET, "ARTIFACTS_S3_REGION": REGION,
               "ARTIFACTS_S3_KEY_FILE": key_file}
    content = b"".join(b"%07d\n" % n for n in range(400000))  # more than two parts
    repository = Repository(stack, "artifacts-s3", {
        "trabajo.yaml": "run: seq -f %07.0f 0 399999 >large.txt; printf small >'small ñ.txt'; touch empty\n"
                        "artifacts: [large.txt, 'small*', empty]\n"})
    store.failing = 2  # and tried again
    with running(trabajos.worker(stack, "s3-worker", **options), trabajos.frontend(stack, "s3-front", **options)) as daemons:
        user = trabajos.User(stack, daemons[1].url, "user")
        key, status, _ = user.run(repository.url)
        assert status == "Finished" and not store.refused
        rows = {row["path"]: row for row in user.get(f"/api/v1/trabajos/{key}/artifacts").json()}
        assert sorted(rows) == ["empty", "large.txt", "small ñ.txt"]
        assert sorted(map(len, store.objects.values())) == [0, 5, len(content)]
        for path, body in store.objects.items():
            assert re.fullmatch(rf"/{BUCKET}/objects/../{hashlib.sha256(body).hexdigest()}-[0-9a-f-]{{36}}", path)
        where = f"/api/v1/trabajos/{key}/artifacts/"
        assert user.get(where + "large.txt").content == content
        assert user.get(where + "empty").content == b""
        part = user.get(where + "large.txt", headers={"Range": "bytes=1048570-1048585"})
        assert part.status_code == 206 and part.content == content[1048570:1048586]
        # the store is away: that is said, and where it goes away between two parts the client notices
        store.answers = 0
        for headers in ({}, {"Range": "bytes=5-9"}):
            away = user.get(where + "large.txt", headers=headers)
            assert away.status_code == 503 and away.headers["Content-Type"] == "application/problem+json" and away.headers["Retry-After"]
            assert "store" in away.json()["detail"] and not {"ETag", "Content-Range", "Content-Disposition"} & set(away.headers)
        store.answers = 1
        connection = http.client.HTTPConnection(user.url.removeprefix("http://"), timeout=30)
        connection.request("GET", where + "large.txt", headers={"Authorization": f"Bearer {user.token()}"})
        answer = connection.getresponse()
        assert answer.status == 200 and int(answer.headers["Content-Length"]) == len(content)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        connection.close()
        store.answers = 10**9
        assert user.get(where + "large.txt").content == content
        trabajos.forget(stack, key)
        stack.sql("UPDATE blobs SET loose_at = now() - interval '2 hours' WHERE place = 's3'")
        stack.sql("SELECT artifacts_collect(1000, interval '1 hour')")
        assert stack.sql("SELECT count(*) FROM blobs_doomed WHERE place = 's3'") == [(3,)]
        assert not store.refused
    # whoever keeps the house removes the objects
    with running(trabajos.worker(stack, "s3-keeper", **options)):
        wait_for("the objects are gone", lambda: not store.objects)
        wait_for("so is the note of them", lambda: stack.sql("SELECT count(*) FROM blobs_doomed WHERE place = 's3'") == [(0,)])
    assert not store.refused


def test_a_store_that_stays_away_costs_the_artifacts_and_not_the_result(stack, no_worker, store):
    key_file = stack.dir / "s3-key-wrong"
    key_file.write_text(f"{KEY}:wrong\n")
    key_file.chmod(0o600)
    repository = Repository(stack, "artifacts-s3-away", {"trabajo.yaml": "run: echo x >x.txt\nartifacts: [x.txt]\n"})
    daemon = trabajos.worker(stack, "s3-away", DRAIN_S=1, ARTIFACTS_S3_URL=store.url, ARTIFACTS_S3_BUCKET=BUCKET, ARTIFACTS_S3_REGION=REGION,
                             ARTIFACTS_S3_KEY_FILE=key_file)
    with running(daemon):
        frontend = trabajos.frontend(stack, "s3-away-front")
        with running(frontend):
            user = trabajos.User(stack, frontend.url, "user")
            key = user.add(repository.url)
            wait_for("it is tried again", lambda: len(store.refused) > 1)
            assert user.status(key) == "Running"
            assert daemon.stop(60) == 0  # goes back to the queue
    assert stack.sql("SELECT status FROM trabajos WHERE key = %s", key) == [("Queued",)]
    stack.sql("SELECT trabajos_cancel(%s, NULL, 'left by a test')", key)


@pytest.mark.parametrize("wrong", [{"ARTIFACTS_S3_URL": "s3://x"}, {"ARTIFACTS_S3_BUCKET": "a/b"}, {"ARTIFACTS_S3_KEY_FILE": "/nonexistent"},
                                   {"ARTIFACTS_S3_KEY_FILE": ""}, {"ARTIFACTS_DIR": "/tmp"}, {"ARTIFACTS_S3_REGION": "x y"}])
def test_wrong_options_end_the_start_and_are_named(stack, wrong):
    key_file = stack.dir / "s3-key-any"
    key_file.write_text("a:b\n")
    key_file.chmod(0o600)
    options = {"ARTIFACTS_S3_URL": "http://127.0.0.1:1", "ARTIFACTS_S3_BUCKET": "b", "ARTIFACTS_S3_KEY_FILE": key_file, **wrong}
    daemon = trabajos.frontend(stack, "s3-wrong", **options)
    daemon.log.unlink(missing_ok=True)
    daemon.start(ready=False)
    assert daemon.process.wait(30) == 78
    assert next(iter(wrong)) in daemon.tail()
