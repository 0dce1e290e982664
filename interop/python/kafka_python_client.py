"""kafka-python, as installed from PyPI."""

import kafka
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic

from scenarios import Driver, Record, main


class Member:
    def __init__(self, consumer):
        self.consumer = consumer

    def poll(self, seconds):
        records = records_of(self.consumer.poll(timeout_ms=int(seconds * 1000)))
        if records:
            self.consumer.commit()
        return records

    def assignment(self):
        return {tp.partition for tp in self.consumer.assignment()}

    def close(self):
        self.consumer.close()


class Transactional:
    def __init__(self, bootstrap, name):
        self.producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, transactional_id=name, linger_ms=5)
        self.producer.init_transactions()

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic, messages):
        for m in messages:
            self.producer.send(topic, m.value, m.key, partition=m.partition)
        self.producer.flush(30)

    def offsets(self, group, topic, offsets):
        positions = {kafka.TopicPartition(topic, partition): kafka.OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
        self.producer.send_offsets_to_transaction(positions, group)

    def commit(self):
        self.producer.commit_transaction()

    def abort(self):
        self.producer.abort_transaction()

    def close(self):
        self.producer.close()


def records_of(batches):
    return [
        Record(r.partition, r.offset, r.key, r.value, tuple((k, v) for k, v in r.headers), r.timestamp)
        for batch in batches.values()
        for r in batch
    ]


class KafkaPython(Driver):
    name = "kafka-python"
    version = kafka.__version__
    null_headers = False  # refused by its own type check

    def __init__(self, options):
        super().__init__(options.bootstrap)
        self.admin = kafka.KafkaAdminClient(bootstrap_servers=self.bootstrap)

    def produce(self, topic, messages, acks="all", compression="none", idempotent=False):
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks=acks if acks == "all" else int(acks),
            compression_type=None if compression == "none" else compression,
            enable_idempotence=idempotent,
            linger_ms=5,
        )
        sent = [
            producer.send(topic, m.value, m.key, list(m.headers), m.partition, m.timestamp) for m in messages
        ]
        producer.flush(30)
        placed = [future.get(30) for future in sent]
        producer.close()
        return [(p.partition, p.offset) for p in placed]

    def transactional(self, name):
        return Transactional(self.bootstrap, name)

    def reader(self, topic, isolation="read_uncommitted"):
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            group_id=None,
            isolation_level=isolation,
        )
        partitions = [kafka.TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        return consumer, partitions

    def read_committed(self, topic, count):
        return self.read(topic, count, "read_committed")

    def read(self, topic, count, isolation="read_uncommitted"):
        consumer, partitions = self.reader(topic, isolation)
        consumer.seek_to_beginning(*partitions)
        records = []
        for _ in range(60):
            records += records_of(consumer.poll(timeout_ms=500))
            if len(records) >= count:
                break
        consumer.close()
        return records

    def member(self, group, topic):
        return Member(
            kafka.KafkaConsumer(
                topic,
                bootstrap_servers=self.bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                heartbeat_interval_ms=500,
            )
        )

    def create_topic(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, 1)])

    def topics(self):
        return self.admin.list_topics()

    def partition_count(self, topic):
        return len(self.admin.describe_topics([topic])[0]["partitions"])

    def resource(self, topic, configs):
        return ConfigResource(ConfigResourceType.TOPIC, topic, configs)

    def alter_config(self, topic, key, value):
        self.admin.alter_configs([self.resource(topic, {key: value})])

    def config(self, topic, key):
        answer = self.admin.describe_configs([self.resource(topic, [key])], config_filter="all")
        return find_value(answer, topic, key)

    def add_partitions(self, topic, total):
        self.admin.create_partitions({topic: NewPartitions(total)})

    def delete_records(self, topic, partition, before):
        self.admin.delete_records({kafka.TopicPartition(topic, partition): before})

    def earliest(self, topic, partition):
        consumer, _ = self.reader(topic)
        tp = kafka.TopicPartition(topic, partition)
        offset = consumer.beginning_offsets([tp])[tp]
        consumer.close()
        return offset

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def offset_for_time(self, topic, partition, timestamp):
        consumer, _ = self.reader(topic)
        tp = kafka.TopicPartition(topic, partition)
        found = consumer.offsets_for_times({tp: timestamp})[tp]
        consumer.close()
        return found.offset if found else None

    def groups(self):
        return [group_id(group) for group in self.admin.list_groups()]

    def committed(self, group, topic):
        offsets = self.admin.list_group_offsets([group])[group]
        return {tp.partition: found.offset for tp, found in offsets.items() if tp.topic == topic}

    def delete_group(self, group):
        self.admin.delete_groups([group])


def group_id(group):
    return group["group_id"] if isinstance(group, dict) else group[0]


def find_value(answer, topic, key):
    return answer[ConfigResourceType.TOPIC.name.lower()][topic][key]["value"]


if __name__ == "__main__":
    main(KafkaPython)
