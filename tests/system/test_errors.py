"""What PostgreSQL refuses, what Kafka holds that is none of ours, and settings that somebody changed: said, counted, and over when
its cause is over."""

import concurrent.futures
import contextlib
import os
import signal
import uuid

import confluent_kafka
import confluent_kafka.admin
import trabajos

# A function for triggers that refuses a row; the SQLSTATE says whose fault that is.
REFUSE = "CREATE OR REPLACE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS" \
         " $$ BEGIN RAISE EXCEPTION 'refused by a test' USING ERRCODE = TG_ARGV[0]; END $$"


@contextlib.contextmanager
def refused(stack, event, table, when, sqlstate):
    """While the block lasts, the ledger refuses rows; yields a function that ends it before."""
    name = f"test_{uuid.uuid4().hex}"
    stack.sql(REFUSE)
    stack.sql(f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION test_refuse('{sqlstate}')")

    def allow():
        stack.sql(f"DROP TRIGGER IF EXISTS {name} ON {table}")
    try:
        yield allow
    finally:
        allow()


@contextlib.contextmanager
def without_table(stack, name):
    """An operator's mistake, for a while: every statement that names the table fails."""
    stack.sql(f"ALTER TABLE {name} RENAME TO test_away")
    try:
        yield
    finally:
        stack.sql(f"ALTER TABLE test_away RENAME TO {name}")


def put(stack, topic, records):
    """Records (key, value) by anybody who may write to the topic, all in one partition."""
    producer = confluent_kafka.Producer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"]})
    for key, value in records:
        producer.produce(topic, key=key, value=value, partition=0)
    assert producer.flush(30) == 0


def log_says(daemon, text):
    return lambda: text in daemon.log.read_text(errors="replace")


def test_a_record_that_the_ledger_refuses_stops_no_other(stack, user, worker, script):
    url = script("true").url
    keys = [str(uuid.uuid4()) for _ in range(9)]
    before = worker.metric("trabajos_ingest_useless_total")
    with refused(stack, "INSERT", "trabajos", f"NEW.key = '{keys[4]}'", "23514"):
        put(stack, "trabajos", [(key, url) for key in keys])
        trabajos.wait_for("it is counted", lambda: worker.metric("trabajos_ingest_useless_total") > before)
    for key in keys[:4] + keys[5:]:
        trabajos.wait_for("the others end", lambda key=key: stack.sql("SELECT status FROM trabajos WHERE key = %s", key) == [("Finished",)])
    assert stack.sql("SELECT count(*) FROM trabajos WHERE key = %s", keys[4]) == [(0,)]


def test_ingest_waits_for_a_ledger_that_cannot_take_a_record(stack, user, worker, script):
    key, url = str(uuid.uuid4()), script("true").url
    with refused(stack, "INSERT", "trabajos", f"NEW.key = '{key}'", "53100"):
        put(stack, "trabajos", [(key, url)])
        trabajos.wait_for("the worker says so", lambda: worker.readyz().status_code == 503)
    worker.await_ready()
    trabajos.wait_for("it ended", lambda: stack.sql("SELECT status FROM trabajos WHERE key = %s", key) == [("Finished",)])


def test_a_result_whose_details_are_refused_is_written_without_them(stack, user, worker, script):
    with refused(stack, "UPDATE", "attempts", "NEW.detail <> '{}'", "22023"):
        key, status, outcome = user.run(script("echo words").url)
    assert status == "Finished" and outcome["code"] == "ok"
    assert user.log(key) == "" and log_says(worker, "the ledger refuses a result, trying again")()


def test_a_result_is_tried_until_the_ledger_takes_it(stack, user, worker, script):
    with refused(stack, "UPDATE", "attempts", "NEW.finished_at IS NOT NULL", "P0001"):
        key = user.add(script("echo words").url)
        trabajos.wait_for("the worker says so", log_says(worker, f'"key":"{key}","error":'))
        assert user.status(key) == "Running"
    assert user.await_end(key) == "Finished" and user.log(key) == "words\n"


def test_an_end_that_comes_after_a_takeover_writes_and_produces_nothing(stack, user, worker, script):
    before = worker.metric("trabajos_attempts_fenced_total")
    key = user.add(script("sleep 2").url)
    trabajos.wait_for("it runs", lambda: user.status(key) == "Running")
    stack.sql("UPDATE trabajos SET attempt = attempt + 1 WHERE key = %s", key)  # as whoever takes over does
    try:
        trabajos.wait_for("the worker finds out", log_says(worker, f'"attempt was not ours any more, nothing written","key":"{key}"'))
        assert stack.sql("SELECT status, attempt FROM trabajos WHERE key = %s", key) == [("Running", 2)]
        assert stack.sql("SELECT finished_at, outcome FROM attempts WHERE key = %s", key) == [(None, None)]
        assert stack.sql("SELECT FROM resultados WHERE key = %s", key) == stack.sql("SELECT FROM outbox WHERE key = %s", key) == []
        assert worker.metric("trabajos_attempts_fenced_total") == before + 1
    finally:
        stack.sql("DELETE FROM trabajos WHERE key = %s", key)


def test_output_is_kept_by_the_worker_until_the_ledger_takes_it(stack, user, worker, script):
    url = script("echo first; while [ ! -e /tmp/over ] && sleep 0.1; do :; done").url
    with refused(stack, "INSERT", "logs", "true", "P0001"):
        key = user.add(url)
        trabajos.wait_for("the worker says so", log_says(worker, "cannot keep output yet"))
    trabajos.wait_for("it is in the log while the job runs", lambda: user.log(key) == "first\n")
    assert user.get(f"/api/v1/trabajos/{key}/cancel", method="POST").status_code in (200, 202)
    assert user.await_end(key) == "Cancelled" and user.log(key) == "first\n"


def test_a_worker_that_cannot_claim_or_renew_says_so_and_goes_on(stack, user, no_worker, script):
    short = trabajos.worker(stack, "refused", LEASE_S=3)
    url = script("true").url
    with trabajos.running(short):
        with without_table(stack, "attempts"):
            key = user.add(url)
            trabajos.wait_for("both are said", lambda: log_says(short, "cannot claim")() and log_says(short, "heartbeat failed")())
        assert user.await_end(key) == "Finished"


def test_reads_that_fail_are_answered_503_said_in_the_log_and_go_on(stack, frontend, user, worker, script):
    observer = trabajos.observer(stack, "blind-observer")
    with trabajos.running(observer):
        key, _, _ = user.run(script("true").url)
        with without_table(stack, "trabajos"):
            for path, params in (("/all", {}), ("/all", {"limit": 1}), ("/all", {"after": key}), ("/status", {"key": key}),
                                 ("/api/v1/trabajos", {}), (f"/api/v1/trabajos/{key}", {})):
                answer = user.get(path, **params)
                assert answer.status_code == 503 and "Retry-After" in answer.headers, (path, answer.text)
                line = trabajos.wait_for("the log says why", lambda answer=answer: [
                    line for line in frontend.log.read_text().splitlines() if answer.json()["request_id"] in line and "ledger" in line])[0]
                assert "does not exist" in line, line
            trabajos.wait_for("the observer says so", lambda: "ledger: " in observer.readyz().text)
            trabajos.wait_for("housekeeping says so", log_says(observer, "cannot "))
        observer.await_ready()
        assert user.status(key) == "Finished"
        assert log_says(observer, "the ledger gives no figures")()


def test_a_job_that_kafka_may_have_is_said_to_be_uncertain_and_can_be_repeated(stack, user, worker, script):
    url, header = script("true").url, {"Idempotency-Key": str(uuid.uuid4())}
    kafka = int((stack.dir / "run/kafka.pid").read_text().split()[0])
    user.add(url)  # the producer has all that it needs
    os.kill(kafka, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answers = list(pool.map(lambda headers: user.get("/add", url=url, headers=headers), (header, None)))
    finally:
        os.kill(kafka, signal.SIGCONT)
    for answer in answers:
        assert answer.status_code == 503 and "Retry-After" in answer.headers and "may still run" in answer.text, answer.text
    key = answers[0].json()["key"]
    repeated = trabajos.wait_for("it is accepted", lambda: [again for again in [user.get("/add", url=url, headers=header)] if again.ok])[0]
    assert repeated.text.split()[-1] == key and user.await_end(key) == "Finished"
    assert stack.sql("SELECT count(*) FROM resultados WHERE key = %s", key) == [(1,)]


def test_records_that_are_no_results_are_counted_and_few_of_them_logged(stack, user, worker, script):
    observer = trabajos.observer(stack, "patient-observer")
    with trabajos.running(observer):
        put(stack, "resultados", [(str(uuid.uuid4()), value) for value in [None, "", "{", "[]", '{"code":"Finished"}'] + ["x"] * 20])
        trabajos.wait_for("all are counted", lambda: observer.metric("trabajos_results_unreadable_total") >= 25)
        key, _, _ = user.run(script("true").url)
        trabajos.wait_for("results go on", lambda: observer.metric("trabajos_results_total") >= 1)
        assert 0 < observer.log.read_text().count("unreadable record in resultados") < 25


def test_a_topic_that_lets_clients_date_their_records_is_an_error_until_it_is_corrected(stack, worker):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"]})

    def own_settings():
        resource = confluent_kafka.admin.ConfigResource("topic", "trabajos")
        entries = admin.describe_configs([resource])[resource].result(30)
        return {entry.name: entry.value for entry in entries.values() if not entry.is_default}

    def configure(settings):
        resource = confluent_kafka.admin.ConfigResource("topic", "trabajos", set_config=settings)
        admin.alter_configs([resource])[resource].result(30)

    kept = own_settings()
    changed = {**kept, "retention.ms": "1000000000", "max.message.bytes": "500000"}
    configure({**changed, "message.timestamp.type": "CreateTime"})
    observer = trabajos.observer(stack, "dated-observer").start(ready=False)
    try:
        remedy = "--add-config message.timestamp.type=LogAppendTime"
        trabajos.wait_for("it says how to correct it", lambda: remedy in observer.readyz().text)
        configure(changed)
        observer.await_ready()
        assert own_settings() == {**kept, "max.message.bytes": "500000"}, "of an operator's settings only the retention is ours"
        assert observer.stop() == 0
    finally:
        configure(kept)
        observer.end()
