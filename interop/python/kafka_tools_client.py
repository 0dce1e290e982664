"""Apache Kafka's own command line tools, from its jars; what the scripts in its `bin` folder start."""

import json
import os
import re
import tempfile

import administration_tools
from processes import Lines, run
from scenarios import Driver, Record, check, fresh, main, topic_of, wait_until

JVM = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
TOPICS = "org.apache.kafka.tools.TopicCommand"
CONFIGS = "kafka.admin.ConfigCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand"
CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
VERIFIABLE_PRODUCER = "org.apache.kafka.tools.VerifiableProducer"
VERIFIABLE_CONSUMER = "org.apache.kafka.tools.VerifiableConsumer"
PRODUCER_PERFORMANCE = "org.apache.kafka.tools.ProducerPerformance"
NULL = "<null>"


def text_or_null(value):
    return NULL if value is None else value.decode()


def value_of(text):
    return None if text == NULL else text.encode()


class Member:
    """kafka-verifiable-consumer: tells its assignments and what it got, and commits."""

    def __init__(self, tools, group, topic):
        self.assigned = set()
        arguments = ["--group-id", group, "--topic", topic, "--verbose", "--reset-policy", "earliest"]
        self.lines = Lines(tools.command(VERIFIABLE_CONSUMER, *arguments))

    def poll(self, seconds):
        return [record for line in self.lines.take(seconds) for record in self.understand(json.loads(line))]

    def understand(self, event):
        if event["name"] == "partitions_assigned":
            self.assigned |= {tp["partition"] for tp in event["partitions"]}
        elif event["name"] == "partitions_revoked":
            self.assigned -= {tp["partition"] for tp in event["partitions"]}
        elif event["name"] == "record_data":
            yield Record(event["partition"], event["offset"], (event["key"] or "").encode(), event["value"].encode())

    def assignment(self):
        return set(self.assigned)

    def close(self):
        self.lines.stop()


class Tools(Driver):
    name = "Apache Kafka tools"
    sets_timestamps = False
    null_headers = True

    def __init__(self, options):
        super().__init__(options.bootstrap)
        self.class_path = options.classpath
        self.version = run(JVM + ["-cp", self.class_path, TOPICS, "--version"]).decode().split()[0]
        self.extra = [
            ("kafka-verifiable-producer", verifiable_producer),
            ("kafka-producer-perf-test", producer_performance),
            ("kafka-consumer-groups --reset-offsets", reset_offsets),
            *administration_tools.SCENARIOS,
        ]

    def command(self, main_class, *arguments):
        return self.jvm(main_class) + ["--bootstrap-server", self.bootstrap, *arguments]

    def jvm(self, main_class):
        return JVM + ["-cp", self.class_path, main_class]

    def tool(self, main_class, *arguments, stdin=None):
        return run(self.command(main_class, *arguments), stdin).decode()

    def produce(self, topic, messages, acks="all", compression="none", idempotent=False):
        reader = ["parse.key=true", "parse.headers=true", "null.marker=" + NULL, "headers.delimiter=\x01", "key.separator=\x02"]
        arguments = ["--topic", topic, "--request-required-acks", acks, "--compression-codec", compression]
        arguments += ["--command-property", "enable.idempotence=" + ("true" if idempotent else "false")]
        # a record larger than this tool's batch buffer needs the room it would get from max.request.size anyway
        for setting in reader:
            arguments += ["--reader-property", setting]
        lines = []
        for m in messages:
            headers = ",".join("%s:%s" % (name, text_or_null(value)) for name, value in m.headers) or NULL
            lines.append("%s\x01%s\x02%s\n" % (headers, text_or_null(m.key), text_or_null(m.value)))
        self.tool(CONSOLE_PRODUCER, *arguments, stdin="".join(lines).encode())
        return None

    def read(self, topic, count):
        printed = ["print.%s=true" % what for what in ("timestamp", "partition", "offset", "headers", "key")]
        arguments = ["--topic", topic, "--from-beginning", "--max-messages", str(count), "--timeout-ms", "20000"]
        for setting in printed + ["key.separator=\x02", "null.literal=" + NULL]:
            arguments += ["--formatter-property", setting]
        return [self.record_of(line) for line in self.tool(CONSOLE_CONSUMER, *arguments).split("\n") if line]

    def record_of(self, line):
        time, partition, offset, headers, key, value = line.split("\x02")
        pairs = [] if headers == "NO_HEADERS" else [pair.split(":", 1) for pair in headers.split(",")]
        return Record(
            int(partition.split(":")[1]),
            int(offset.split(":")[1]),
            value_of(key),
            value_of(value),
            tuple((name, value_of(text)) for name, text in pairs),
            int(time.split(":")[1]),
        )

    def member(self, group, topic):
        return Member(self, group, topic)

    def create_topic(self, topic, partitions):
        self.tool(TOPICS, "--create", "--topic", topic, "--partitions", str(partitions), "--replication-factor", "1")

    def topics(self):
        return self.tool(TOPICS, "--list").split()

    def partition_count(self, topic):
        return int(re.search(r"PartitionCount: (\d+)", self.tool(TOPICS, "--describe", "--topic", topic)).group(1))

    def alter_config(self, topic, key, value):
        self.tool(CONFIGS, "--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", key + "=" + value)

    def config(self, topic, key):
        text = self.tool(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", topic)
        found = re.search(r"\b%s=(\S+)" % re.escape(key), text)
        return found and found.group(1)

    def add_partitions(self, topic, total):
        self.tool(TOPICS, "--alter", "--topic", topic, "--partitions", str(total))

    def delete_records(self, topic, partition, before):
        wanted = {"partitions": [{"topic": topic, "partition": partition, "offset": before}], "version": 1}
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(wanted, file)
        try:
            self.tool(DELETE_RECORDS, "--offset-json-file", file.name)
        finally:
            os.unlink(file.name)

    def offset_at(self, topic, partition, time):
        out = self.tool(OFFSETS, "--topic-partitions", "%s:%d" % (topic, partition), "--time", str(time)).strip()
        found = out.split(":")[-1] if out else ""
        return int(found) if found else None

    def earliest(self, topic, partition):
        return self.offset_at(topic, partition, -2)

    def offset_for_time(self, topic, partition, timestamp):
        return self.offset_at(topic, partition, timestamp)

    def delete_topic(self, topic):
        self.tool(TOPICS, "--delete", "--topic", topic)

    def groups(self):
        return self.tool(GROUPS, "--list").split()

    def described(self, group, topic):
        """Lines of the offsets table: partition -> (committed, end, lag)."""
        rows = [line.split() for line in self.tool(GROUPS, "--describe", "--group", group).splitlines()]
        return {int(row[2]): tuple(row[3:6]) for row in rows if len(row) > 5 and row[:2] == [group, topic]}

    def committed(self, group, topic):
        return {partition: int(row[0]) for partition, row in self.described(group, topic).items() if row[0] != "-"}

    def delete_group(self, group):
        self.tool(GROUPS, "--delete", "--group", group)


def verifiable_producer(tools):
    topic = topic_of(tools, "verifiable", 2)
    out = tools.tool(VERIFIABLE_PRODUCER, "--topic", topic, "--max-messages", "5000")
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    acked = {event["value"] for event in events if event["name"] == "producer_send_success"}
    check(len(acked) == 5000, "%d of 5000 acknowledged" % len(acked))
    read = {record.value.decode() for record in tools.read(topic, 5000)}
    check(read == acked, "what was acknowledged is not what was read")
    return "5000 records"


def producer_performance(tools):
    topic = topic_of(tools, "performance", 6)
    arguments = ["--topic", topic, "--num-records", "100000", "--record-size", "100", "--throughput", "-1"]
    out = run(JVM + ["-cp", tools.class_path, PRODUCER_PERFORMANCE, *arguments, "--command-property", "bootstrap.servers=" + tools.bootstrap]).decode()
    check("100000 records sent" in out, out[-200:])
    end = sum(tools.offset_at(topic, partition, -1) for partition in range(6))
    check(end == 100000, "the ends of the partitions add up to %d" % end)
    return "100,000 records of 100 B"


def reset_offsets(tools):
    topic, group = topic_of(tools, "reset"), fresh(tools, "reset")
    tools.produce(topic, [])
    verified = tools.tool(VERIFIABLE_PRODUCER, "--topic", topic, "--max-messages", "10")
    check("producer_send_success" in verified, "nothing was produced")
    tools.tool(CONSOLE_CONSUMER, "--topic", topic, "--group", group, "--from-beginning", "--max-messages", "10", "--timeout-ms", "20000")
    wait_until(lambda: tools.committed(group, topic) == {0: 10}, "offset 10 is committed")
    tools.tool(GROUPS, "--reset-offsets", "--group", group, "--topic", topic, "--to-offset", "3", "--execute")
    check(tools.described(group, topic) == {0: ("3", "10", "7")}, "after the reset: %r" % tools.described(group, topic))
    return "to offset 3, lag 7"


if __name__ == "__main__":
    main(Tools)
