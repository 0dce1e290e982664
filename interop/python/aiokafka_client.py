"""aiokafka, as installed from PyPI. Its event loop runs in a thread of its own."""

import asyncio
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from scenarios import PATIENCE, Driver, NotOffered, Record, main


def records_of(batches):
    return [
        Record(r.partition, r.offset, r.key, r.value, tuple(r.headers), r.timestamp)
        for batch in batches.values()
        for r in batch
    ]


class Loop:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)


class Member:
    def __init__(self, run, consumer):
        self.run = run
        self.consumer = consumer

    def poll(self, seconds):
        return self.run(self.fetch(seconds))

    async def fetch(self, seconds):
        records = records_of(await self.consumer.getmany(timeout_ms=int(seconds * 1000)))
        if records:
            await self.consumer.commit()
        return records

    def assignment(self):
        return {tp.partition for tp in self.consumer.assignment()}

    def close(self):
        self.run(self.consumer.stop())


class Transactional:
    def __init__(self, run, producer):
        self.run = run
        self.producer = producer

    def begin(self):
        self.run(self.producer.begin_transaction())

    def send(self, topic, messages):
        self.run(self.send_all(topic, messages))

    async def send_all(self, topic, messages):
        sent = [await self.producer.send(topic, m.value, m.key, m.partition) for m in messages]
        await asyncio.gather(*sent)

    def offsets(self, group, topic, offsets):
        positions = {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
        self.run(self.producer.send_offsets_to_transaction(positions, group))

    def commit(self):
        self.run(self.producer.commit_transaction())

    def abort(self):
        self.run(self.producer.abort_transaction())

    def close(self):
        self.run(self.producer.stop())


class Aiokafka(Driver):
    name = "aiokafka"
    version = aiokafka.__version__
    null_headers = True

    def __init__(self, options):
        super().__init__(options.bootstrap)
        self.run = Loop().run
        self.admin = self.run(self.start(lambda: AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)))

    async def start(self, make):
        made = make()
        await made.start()
        return made

    def produce(self, topic, messages, acks="all", compression="none", idempotent=False):
        return self.run(self.send(topic, messages, acks if acks == "all" else int(acks), compression, idempotent))

    async def send(self, topic, messages, acks, compression, idempotent):
        producer = await self.start(
            lambda: AIOKafkaProducer(
                bootstrap_servers=self.bootstrap,
                acks=acks,
                compression_type=None if compression == "none" else compression,
                enable_idempotence=idempotent,
                linger_ms=5,
            )
        )
        sent = [
            await producer.send(topic, m.value, m.key, m.partition, m.timestamp, list(m.headers)) for m in messages
        ]
        placed = await asyncio.gather(*sent)
        await producer.stop()
        return None if acks == 0 else [(p.partition, p.offset) for p in placed]

    def transactional(self, name):
        make = lambda: AIOKafkaProducer(bootstrap_servers=self.bootstrap, transactional_id=name, linger_ms=5)
        return Transactional(self.run, self.run(self.start(make)))

    async def reader(self, topic, isolation="read_uncommitted"):
        consumer = await self.start(
            lambda: AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                group_id=None,
                isolation_level=isolation,
            )
        )
        count = await self.count(topic)
        consumer.assign([TopicPartition(topic, p) for p in range(count)])
        return consumer

    def read(self, topic, count):
        return self.run(self.read_some(topic, count))

    def read_committed(self, topic, count):
        return self.run(self.read_some(topic, count, "read_committed"))

    async def read_some(self, topic, count, isolation="read_uncommitted"):
        consumer = await self.reader(topic, isolation)
        records = []
        for _ in range(60):
            records += records_of(await consumer.getmany(timeout_ms=500))
            if len(records) >= count:
                break
        await consumer.stop()
        return records

    def member(self, group, topic):
        consumer = self.run(
            self.start(
                lambda: AIOKafkaConsumer(
                    topic,
                    bootstrap_servers=self.bootstrap,
                    group_id=group,
                    auto_offset_reset="earliest",
                    enable_auto_commit=False,
                    heartbeat_interval_ms=500,
                    metadata_max_age_ms=1000,
                )
            )
        )
        return Member(self.run, consumer)

    def create_topic(self, topic, partitions):
        answer = self.run(self.admin.create_topics([NewTopic(topic, partitions, 1)]))
        for name, code, message in answer.topic_errors:
            if code:
                raise RuntimeError("%s: error %d: %s" % (name, code, message or aiokafka.errors.for_code(code).__name__))

    def topics(self):
        return self.run(self.admin.list_topics())

    def partition_count(self, topic):
        return self.run(self.count(topic))

    async def count(self, topic):
        (described,) = await self.admin.describe_topics([topic])
        return len(described["partitions"])

    def alter_config(self, topic, key, value):
        self.run(self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {key: value})]))

    def config(self, topic, key):
        asked = ConfigResource(ConfigResourceType.TOPIC, topic, {key: None})
        (answer,) = self.run(self.admin.describe_configs([asked]))
        entries = answer.resources[0][4]
        return {entry[0]: entry[1] for entry in entries}[key]

    def add_partitions(self, topic, total):
        self.run(self.admin.create_partitions({topic: NewPartitions(total)}))

    def delete_records(self, topic, partition, before):
        self.run(self.admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)}))

    def earliest(self, topic, partition):
        tp = TopicPartition(topic, partition)
        return self.ask(topic, lambda consumer: consumer.beginning_offsets([tp]))[tp]

    def ask(self, topic, question):
        async def answer():
            consumer = await self.reader(topic)
            found = await question(consumer)
            await consumer.stop()
            return found

        return self.run(answer())

    def delete_topic(self, topic):
        self.run(self.admin.delete_topics([topic]))

    def offset_for_time(self, topic, partition, timestamp):
        tp = TopicPartition(topic, partition)
        found = self.ask(topic, lambda consumer: consumer.offsets_for_times({tp: timestamp}))[tp]
        return found.offset if found else None

    def groups(self):
        return [group[0] for group in self.run(self.admin.list_consumer_groups())]

    def committed(self, group, topic):
        offsets = self.run(self.admin.list_consumer_group_offsets(group))
        return {tp.partition: found.offset for tp, found in offsets.items() if tp.topic == topic}

    def delete_group(self, group):
        raise NotOffered("no request to delete a group")


if __name__ == "__main__":
    main(Aiokafka)
