"""Kafka's topics go away and come back, and old records are read again: whoever reads or writes them goes on by itself."""

import contextlib
import time
import uuid

import confluent_kafka
import confluent_kafka.admin
import pytest
import trabajos


DAY_S = 86400


@pytest.fixture
def topics(stack):
    """Delete and make topics, as an operator would."""
    return Topics(stack.env["KAFKA_BOOTSTRAP"])


class Topics:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})

    def have(self, name):
        found = self.admin.list_topics(timeout=10).topics.get(name)
        return found is not None and found.error is None and bool(found.partitions)

    def settings(self, name):
        """(partitions, settings of its own)."""
        resource = confluent_kafka.admin.ConfigResource("topic", name)
        entries = self.admin.describe_configs([resource])[resource].result(30)
        own = {entry.name: entry.value for entry in entries.values() if not entry.is_default}
        return len(self.admin.list_topics(timeout=10).topics[name].partitions), own

    def delete(self, *names):
        for future in self.admin.delete_topics(list(names), operation_timeout=30).values():
            future.result(60)
        trabajos.wait_for("the topics are gone", lambda: not any(self.have(name) for name in names))

    def quietest(self, name):
        """The partition with the fewest records: (its number, where the next one goes)."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap, "group.id": "nobody"})
        try:
            partitions = self.admin.list_topics(timeout=10).topics[name].partitions
            ends = {n: consumer.get_watermark_offsets(confluent_kafka.TopicPartition(name, n), 10)[1] for n in partitions}
        finally:
            consumer.close()
        return min(ends.items(), key=lambda item: item[1])

    def configure(self, name, settings):
        resource = confluent_kafka.admin.ConfigResource("topic", name, set_config=settings)
        self.admin.alter_configs([resource])[resource].result(30)

    @contextlib.contextmanager
    def dated_by_clients(self, name):
        """While the block lasts, records have the moment that whoever writes them says."""
        _, settings = self.settings(name)
        self.configure(name, {**settings, "message.timestamp.type": "CreateTime"})
        try:
            yield
        finally:
            self.configure(name, settings)

    def all_of(self, name, consumer):
        partitions = self.admin.list_topics(timeout=10).topics[name].partitions
        return [(confluent_kafka.TopicPartition(name, n), *consumer.get_watermark_offsets(confluent_kafka.TopicPartition(name, n), 10))
                for n in partitions]

    def rewind(self, group, name):
        """An operator's reset of a group without members, to the earliest offsets."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False})
        try:
            earliest = [confluent_kafka.TopicPartition(each.topic, each.partition, low) for each, low, _ in self.all_of(name, consumer)]
            consumer.commit(offsets=earliest, asynchronous=False)
        finally:
            consumer.close()

    def lag(self, group, name):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            ends = {each.partition: (low, high) for each, low, high in self.all_of(name, consumer)}
            committed = consumer.committed([confluent_kafka.TopicPartition(name, n) for n in ends], timeout=10)
            return sum(ends[each.partition][1] - max(each.offset, ends[each.partition][0]) for each in committed)
        finally:
            consumer.close()

    def make(self, name, partitions, settings):
        new = confluent_kafka.admin.NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        for future in self.admin.create_topics([new], operation_timeout=30).values():
            future.result(60)
        trabajos.wait_for("the topic is there", lambda: self.have(name))


def accepted(user, url):
    """The job's key; None while none can be accepted."""
    answer = user.get("/add", url=url)
    assert answer.status_code in (200, 503), answer.text
    return answer.text.split()[-1] if answer.status_code == 200 else None


def put_plainly(stack, partition, key, url, times=1, age_days=0):
    """Equal records as the original's frontend writes them; True when Kafka has them all."""
    kept = []
    producer = confluent_kafka.Producer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP"], "message.timeout.ms": 20000})
    for _ in range(times):
        producer.produce("trabajos", key=key, value=url, partition=partition, timestamp=int((time.time() - age_days * DAY_S) * 1000),
                         on_delivery=lambda error, _: kept.append(error is None))
    producer.flush(30)
    return kept == [True] * times


def test_a_worker_reads_a_topic_that_was_deleted_and_made_again(stack, topics, user, worker, script):
    url = script("echo again").url
    _, status, _ = user.run(url)
    assert status == "Finished"
    partitions, settings = topics.settings("trabajos")
    quietest, end = topics.quietest("trabajos")
    topics.delete("trabajos")
    trabajos.wait_for("the worker says so", lambda: worker.readyz().status_code == 503, 90)
    topics.make("trabajos", partitions, settings)
    # No frontend helps this one into the ledger. As often as it takes to come behind the old topic's offset, which a consumer that
    # is up keeps: Kafka gives it no means to tell the two topics apart.
    key = "0b3ee0f4-8a53-4f43-a3c0-8d5d2f0a9f10"
    assert put_plainly(stack, quietest, key, url, end + 1)
    trabajos.wait_for("the record's job ended", lambda: stack.sql("SELECT status FROM trabajos WHERE key = %s", key) == [("Finished",)], 90)
    worker.await_ready()
    key = trabajos.wait_for("the frontend accepts again", lambda: accepted(user, url), 90)
    assert user.await_end(key) == "Finished" and user.log(key) == "again\n"


def test_topics_that_are_missing_at_the_start_are_made_and_used(stack, topics, user, no_worker, script):
    url = script("echo made").url
    before = {name: topics.settings(name) for name in ("trabajos", "resultados")}
    topics.delete("trabajos", "resultados")
    worker, observer = trabajos.worker(stack, "topicless"), trabajos.observer(stack, "topicless-observer")
    with trabajos.running(worker, observer):
        assert {name: topics.settings(name) for name in before} == before
        key = trabajos.wait_for("the frontend accepts again", lambda: accepted(user, url), 90)
        assert user.await_end(key) == "Finished"
        trabajos.wait_for("the observer sees the result", lambda: "received message: " in observer.out.read_text(), 60)


# Older than RETENTION_DAYS; younger by less than a clock may be wrong; and one whose job is in the ledger still.
AGES = {"swept": 31, "just swept": 29.5, "kept": 20}


def test_jobs_that_were_swept_stay_so_when_their_records_are_read_again(stack, topics, no_worker, script):
    url, keys = script("true").url, {name: str(uuid.uuid4()) for name in AGES}
    everybody = list(keys.values())
    # records of that age, in a segment that a newer one keeps from Kafka's own retention
    assert put_plainly(stack, 0, str(uuid.uuid4()), url)
    with topics.dated_by_clients("trabajos"):
        for name, age_days in AGES.items():
            assert put_plainly(stack, 0, keys[name], url, age_days=age_days)
    with trabajos.running(trabajos.worker(stack, "of-old", RETENTION_DAYS=365)):
        trabajos.wait_for("all ran", lambda: stack.sql(
            "SELECT count(*) FROM trabajos WHERE key = ANY (%s::uuid[]) AND status = 'Finished'", everybody) == [(3,)])
        # as the retention does; what belongs to them goes with them
        stack.sql("DELETE FROM trabajos WHERE key = ANY (%s::uuid[])", [keys["swept"], keys["just swept"]])
    trabajos.wait_for("the group is empty", lambda: topics.rewind("worker", "trabajos") is None)
    worker = trabajos.worker(stack, "of-today")
    with trabajos.running(worker):
        trabajos.wait_for("all was read again", lambda: topics.lag("worker", "trabajos") == 0)
        assert worker.metric("trabajos_ingest_expired_total") >= 2
    assert stack.sql("SELECT key::text, status, attempt FROM trabajos WHERE key = ANY (%s::uuid[])", everybody) == [
        (keys["kept"], "Finished", 1)]
    assert stack.sql("SELECT key FROM resultados WHERE key = ANY (%s)", everybody) == [(keys["kept"],)]
    assert stack.sql("SELECT count(*) FROM attempts WHERE key = ANY (%s::uuid[])", everybody) == [(1,)]
