"""The whole path: a URL goes in, its result comes out."""

import json
import os
import re
import subprocess
import uuid

import trabajos
from confluent_kafka import Consumer, Producer, TopicPartition


def read_resultados(stack, keys, timeout_s=30):
    """The records of the given keys, as the original's observer would see them: (value, timestamp)."""
    consumer = Consumer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "group.id": f"test-{uuid.uuid4()}", "auto.offset.reset": "earliest",
                         "enable.auto.commit": False})
    partitions = consumer.list_topics("resultados", timeout=10).topics["resultados"].partitions
    consumer.assign([TopicPartition("resultados", partition, 0) for partition in partitions])
    found = {}
    try:
        def look():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None and message.key():
                key = message.key().decode()
                if key in keys:
                    found.setdefault(key, []).append((json.loads(message.value()), message.timestamp()[1]))
            return set(keys) <= set(found)
        trabajos.wait_for(f"records of {keys}", look, timeout_s, 0)
    finally:
        consumer.close()
    return found


def test_a_repository_goes_in_and_its_result_comes_out(stack, user, worker, script):
    repository = script("echo hola; echo mundo >&2; pwd; ls; echo $TRABAJO_KEY $TRABAJO_ATTEMPT $TRABAJO_COMMIT $CI", datos="x")
    key, status, outcome = user.run(repository.url)
    assert status == "Finished"
    assert outcome["code"] == "ok" and outcome["blame"] is None and outcome["exit_code"] == 0
    assert user.log(key, 1).startswith("hola\n") and user.log(key, 2) == "mundo\n"
    assert f"{key} 1 {repository.commit} true" in user.log(key)
    assert user.get("/status", key=key).text == f'[{{"usuario":"user","key":"{key}","status":"Finished"}}]'
    assert stack.sql("SELECT usuario, status FROM resultados WHERE key = %s", key) == [("user", "Finished")]


def test_the_result_is_visible_with_psql(stack, user, worker, script):
    key, _, _ = user.run(script("true").url)
    printed = subprocess.run(
        ["psql", "-h", stack.env["POSTGRES_HOST"], "-p", stack.env["POSTGRES_PORT"], "-U", stack.env["POSTGRES_USER"], "results_db",
         "-c", "select * from resultados"], env={"PGPASSWORD": stack.env["POSTGRES_PASSWORD"], "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True).stdout
    assert re.search(rf"user +\| {key} \| Finished", printed)


def test_the_original_observers_arithmetic_gets_a_number_from_each_record(stack, user, worker, script):
    keys = [user.run(script("true").url)[0], user.run(script("exit 3").url)[0], user.run(stack.env["GIT_URL"] + "/missing.git")[0]]
    for key, records in read_resultados(stack, keys).items():
        value, timestamp = records[-1]
        wait = timestamp - value["timeJobPosted"] - value["timeExecution"]
        assert isinstance(wait, int) and 0 <= wait + value["timeExecution"] < 60_000, (key, value)
        assert value["code"] in trabajos.FINAL and value["usuario"] == "user" and value["attempt"] == 1


def test_a_record_as_the_original_frontend_writes_it_is_run(stack, users, worker, script):
    key = str(uuid.uuid4())
    producer = Producer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"]})
    producer.produce("trabajos", key=key, value=script("echo from afar").url)
    assert producer.flush(10) == 0
    assert users["admin"].await_end(key) == "Finished"
    assert users["user"].status(key) is None, "a record without owner belongs to admins only"
    assert users["admin"].get("/status", key=key).json()[0]["usuario"] == "kafka"


def test_a_job_can_be_put_in_with_kcat(stack, users, worker, script):
    key = str(uuid.uuid4())
    subprocess.run(["kcat", "-P", "-b", stack.env["KAFKA_BOOTSTRAP"], "-t", "trabajos", "-K", "|"],
                   input=f"{key}|{script('echo kcat').url}\n", text=True, check=True, timeout=30)
    assert users["admin"].await_end(key) == "Finished"


def test_bad_records_do_not_stop_the_partition(stack, users, worker, script):
    producer = Producer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"]})
    bad = {str(uuid.uuid4()): value for value in
           (b"", b"not a url", b"file:///etc/passwd", b"https://user:secret@example.com/x", b"\xff\xfe\x00", b"http://169.254.169.254/latest")}
    fine = str(uuid.uuid4())
    skipped = worker.metric("trabajos_ingest_useless_total")
    for key, value in bad.items():
        producer.produce("trabajos", key=key, value=value, partition=0)
    for key in (None, b"", b"no uuid", b"\xff" * 16):
        producer.produce("trabajos", key=key, value=b"https://example.com/x.git", partition=0)
    producer.produce("trabajos", key=str(uuid.uuid4()), value=None, partition=0)
    producer.produce("trabajos", key=fine, value=script("true").url, partition=0)
    assert producer.flush(10) == 0
    assert users["admin"].await_end(fine) == "Finished"
    for key, value in bad.items():
        assert users["admin"].await_end(key) == "Failed", value
        outcome = users["admin"].outcome(key)
        assert outcome["code"] in ("not_found", "denied") and outcome["blame"] == "user"
        assert "secret" not in json.dumps(outcome)
    assert worker.metric("trabajos_ingest_useless_total") >= skipped + 4


def test_two_users_cannot_see_each_other(users, worker, script):
    mine, theirs = users["user"].run(script("true").url)[0], users["user2"].run(script("true").url)[0]
    assert users["user"].status(theirs) is None and users["user2"].status(mine) is None
    mine_all = users["user"].get("/all").json()
    assert {row["usuario"] for row in mine_all} == {"user"} and mine in {row["key"] for row in mine_all}
    assert theirs not in {row["key"] for row in mine_all}
    assert users["admin"].status(mine) == "Finished"
    everything = {row["key"] for row in users["admin"].get("/all", usuario="*").json()}
    assert {mine, theirs} <= everything
    assert users["user"].get("/all", usuario="user2").status_code == 403


def test_all_is_oldest_first_and_can_be_paged(users, worker, script):
    url = script("true").url
    keys = [users["user2"].add(url) for _ in range(5)]
    whole = [row["key"] for row in users["user2"].get("/all").json()]
    assert whole[-5:] == keys
    paged, path = [], "/all?limit=2"
    while path:
        answer = users["user2"].get(path)
        paged += [row["key"] for row in answer.json()]
        path = answer.links.get("next", {}).get("url")
    assert paged == whole


def test_three_workers_of_one_slot_share_thirty_jobs_and_each_job_runs_once(stack, user, no_worker, script):
    url = script("sleep 0.2; cat /proc/sys/kernel/random/uuid").url
    workers = [trabajos.worker(stack, f"of-three-{n}", WORKER_SLOTS=1) for n in range(3)]
    with trabajos.running(*workers):
        keys = [user.add(url) for _ in range(30)]
        for key in keys:
            assert user.await_end(key, 120) == "Finished"
        runs = stack.sql("SELECT worker, count(*) FROM attempts WHERE key = ANY (%s::uuid[]) GROUP BY worker", keys)
    assert len(runs) == 3 and sum(count for _, count in runs) == 30
    traces = [user.log(key) for key in keys]
    assert all(len(trace.split()) == 1 for trace in traces) and len(set(traces)) == 30


def test_the_observer_prints_the_originals_line_and_recommends(stack, user, worker, script):
    observer = trabajos.observer(stack)
    with trabajos.running(observer):
        key, _, _ = user.run(script("true").url)
        line = trabajos.wait_for("the observer's line", lambda: next(
            (line for line in observer.out.read_text().splitlines() if key in line or '"timeJobPosted"' in line), None))
        assert re.fullmatch(r"received message: \{.*\} timeResultArrived: \d+ wait was: -?\d+", line)
        answer = trabajos.requests.get(observer.url + "/escala", timeout=10)
        assert answer.status_code == 200
        scale = answer.json()
        assert isinstance(scale["deseados"], int) and isinstance(scale["actuales"], int) and scale["motivo"]
        assert observer.stop() == 0


def test_an_observer_whose_reader_has_gone_ends_and_the_next_one_prints_the_line(stack, user, worker, script):
    observer = trabajos.observer(stack, "unread")
    reading, writing = os.pipe()
    observer.process = subprocess.Popen([trabajos.BIN / observer.program], env=observer.environment(), stdin=subprocess.DEVNULL,
                                        stdout=writing, stderr=subprocess.PIPE, text=True, start_new_session=True)
    os.close(writing)
    try:
        observer.await_ready()
        os.close(reading)
        user.run(script("true").url)
        said = observer.process.communicate(timeout=60)[1]
        assert observer.process.returncode == 69 and "standard output: Broken pipe" in said
    finally:
        observer.kill()
    with trabajos.running(observer):
        trabajos.wait_for("the line", lambda: "received message: " in observer.out.read_text())
