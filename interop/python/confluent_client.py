"""confluent-kafka for Python: librdkafka, as installed from PyPI."""

import confluent_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka import OFFSET_BEGINNING
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from scenarios import Driver, Record, check, main


def record_of(message):
    if message.error():
        raise KafkaException(message.error())
    headers = tuple((k, v) for k, v in message.headers() or [])
    return Record(message.partition(), message.offset(), message.key(), message.value(), headers, message.timestamp()[1])


class Member:
    def __init__(self, consumer):
        self.consumer = consumer

    def poll(self, seconds):
        records = [record_of(message) for message in self.consumer.consume(100, seconds)]
        if records:
            self.consumer.commit(asynchronous=False)
        return records

    def assignment(self):
        return {tp.partition for tp in self.consumer.assignment()}

    def close(self):
        self.consumer.close()


class Transactional:
    def __init__(self, bootstrap, name):
        self.bootstrap = bootstrap
        self.producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "linger.ms": 5})
        self.producer.init_transactions(30)

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic, messages):
        for m in messages:
            self.producer.produce(topic, m.value, m.key, partition=m.partition)
        check(self.producer.flush(30) == 0, "messages were left after flush")

    def offsets(self, group, topic, offsets):
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        positions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        self.producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
        consumer.close()

    def commit(self):
        self.producer.commit_transaction(30)

    def abort(self):
        self.producer.abort_transaction(30)

    def close(self):
        self.producer.flush(30)


class Confluent(Driver):
    name = "confluent-kafka"
    version = "%s, librdkafka %s" % (confluent_kafka.__version__, confluent_kafka.libversion()[0])

    def __init__(self, options):
        super().__init__(options.bootstrap)
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})

    def produce(self, topic, messages, acks="all", compression="none", idempotent=False):
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "acks": acks,
                "compression.type": compression,
                "enable.idempotence": idempotent,
                "linger.ms": 5,
            }
        )
        placed, errors = [], []

        def delivered(error, message):
            errors.append(error) if error else placed.append((message.partition(), message.offset()))

        for m in messages:
            where = {} if m.partition is None else {"partition": m.partition}
            when = {} if m.timestamp is None else {"timestamp": m.timestamp}
            producer.produce(topic, m.value, m.key, headers=list(m.headers), on_delivery=delivered, **where, **when)
            producer.poll(0)
        check(producer.flush(30) == 0, "messages were left after flush")
        check(not errors, "not delivered: %s" % errors[:1])
        return placed

    def partitions(self, topic):
        return sorted(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)

    def transactional(self, name):
        return Transactional(self.bootstrap, name)

    def read_committed(self, topic, count):
        return self.read(topic, count, "read_committed")

    def read(self, topic, count, isolation="read_uncommitted"):
        settings = {"group.id": "unused", "enable.auto.commit": False, "isolation.level": isolation}
        consumer = Consumer({"bootstrap.servers": self.bootstrap, **settings})
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in self.partitions(topic)])
        records = []
        for _ in range(60):
            records += [record_of(message) for message in consumer.consume(count - len(records), 0.5)]
            if len(records) >= count:
                break
        consumer.close()
        return records

    def member(self, group, topic, **settings):
        settings = settings or {"heartbeat.interval.ms": 500}
        settings = {key.replace("_", "."): value for key, value in settings.items()}
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                **settings,
            }
        )
        consumer.subscribe([topic])
        return Member(consumer)

    def consumer_protocol_member(self, group, topic):
        return self.member(group, topic, group_protocol="consumer")

    def wait(self, futures):
        return [future.result(30) for future in futures.values()]

    def create_topic(self, topic, partitions):
        self.wait(self.admin.create_topics([NewTopic(topic, partitions, 1)]))

    def topics(self):
        return list(self.admin.list_topics(timeout=10).topics)

    def partition_count(self, topic):
        return len(self.partitions(topic))

    def alter_config(self, topic, key, value):
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.wait(self.admin.incremental_alter_configs([resource]))

    def config(self, topic, key):
        (entries,) = self.wait(self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
        return entries[key].value

    def add_partitions(self, topic, total):
        self.wait(self.admin.create_partitions([NewPartitions(topic, total)]))

    def delete_records(self, topic, partition, before):
        self.wait(self.admin.delete_records([TopicPartition(topic, partition, before)]))

    def offset(self, topic, partition, spec):
        (found,) = self.wait(self.admin.list_offsets({TopicPartition(topic, partition): spec}))
        return found.offset

    def earliest(self, topic, partition):
        return self.offset(topic, partition, OffsetSpec.earliest())

    def delete_topic(self, topic):
        self.wait(self.admin.delete_topics([topic]))

    def offset_for_time(self, topic, partition, timestamp):
        found = self.offset(topic, partition, OffsetSpec.for_timestamp(timestamp))
        return None if found < 0 else found

    def groups(self):
        return [group.group_id for group in self.admin.list_consumer_groups().result(30).valid]

    def committed(self, group, topic):
        (answer,) = self.wait(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
        return {tp.partition: tp.offset for tp in answer.topic_partitions if tp.topic == topic}

    def delete_group(self, group):
        self.wait(self.admin.delete_consumer_groups([group]))


if __name__ == "__main__":
    main(Confluent)
