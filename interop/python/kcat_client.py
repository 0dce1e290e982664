"""kcat (librdkafka's command line client), as packaged by Debian.

It cannot create topics; those with several partitions are made by Kafka's tools, when they are here."""

import json
import re

from kafka_tools_client import Tools
from processes import Lines, run
from scenarios import Driver, Record, main


def record_of(line):
    fields = json.loads(line)
    encode = lambda text: None if text is None else text.encode()
    names = iter(fields.get("headers", []))
    headers = tuple((name, encode(value)) for name, value in zip(names, names))
    return Record(
        fields["partition"], fields["offset"], encode(fields["key"]), encode(fields["payload"]), headers, fields["ts"]
    )


class Member:
    """`kcat -G`: commits by itself what it has printed."""

    def __init__(self, bootstrap, group, topic):
        self.assigned = set()
        command = ["kcat", "-b", bootstrap, "-G", group, "-J", "-u"]
        settings = ["auto.commit.interval.ms=100", "heartbeat.interval.ms=500", "auto.offset.reset=earliest"]
        for setting in settings:
            command += ["-X", setting]
        self.lines = Lines(command + [topic], self.note)

    def note(self, line):
        """`% Group g rebalanced (memberid m): assigned: t [0], t [1]`, or `revoked: …`."""
        found = re.search(rb"rebalanced \(.*?\): (assigned|revoked)(.*)", line)
        if found:
            partitions = {int(number) for number in re.findall(rb"\[(\d+)\]", found.group(2))}
            self.assigned = partitions if found.group(1) == b"assigned" else self.assigned - partitions

    def poll(self, seconds):
        return [record_of(line) for line in self.lines.take(seconds)]

    def assignment(self):
        return set(self.assigned)

    def close(self):
        self.lines.stop()


class Kcat(Driver):
    name = "kcat"
    sets_timestamps = False

    def __init__(self, options):
        super().__init__(options.bootstrap)
        about = run(["kcat", "-V"]).decode()
        found = re.search(r"Version (\S+) .*?librdkafka ([\d.]+)", about)
        self.version = "%s, librdkafka %s" % found.groups()
        self.tools = Tools(options) if options.classpath else None

    def kcat(self, *arguments, stdin=None):
        return run(["kcat", "-b", self.bootstrap, *arguments], stdin)

    def produce(self, topic, messages, acks="all", compression="none", idempotent=False):
        settings = ["-X", "acks=" + acks, "-X", "enable.idempotence=" + ("true" if idempotent else "false")]
        if compression != "none":
            settings += ["-z", compression]
        alike = {}
        for m in messages:
            alike.setdefault((m.partition, m.headers, m.value is None), []).append(m)
        for (partition, headers, is_null), group in alike.items():
            command = ["-P", "-t", topic, "-K", "\t", *settings] + (["-Z"] if is_null else [])
            if partition is not None:
                command += ["-p", str(partition)]
            for name, value in headers:
                command += ["-H", name if value is None else name + "=" + value.decode()]
            self.kcat(*command, stdin=b"".join(m.key + b"\t" + (m.value or b"") + b"\n" for m in group))
        return None

    def read(self, topic, count):
        out = self.kcat("-C", "-q", "-t", topic, "-o", "beginning", "-J", "-c", str(count))
        return [record_of(line) for line in out.splitlines()]

    def member(self, group, topic):
        return Member(self.bootstrap, group, topic)

    def have_topic(self, topic, partitions):
        if self.tools:
            self.tools.create_topic(topic, partitions)
        else:
            super().have_topic(topic, partitions)

    def query(self, topic, partition, timestamp):
        out = self.kcat("-Q", "-t", "%s:%d:%d" % (topic, partition, timestamp)).decode()
        return int(re.search(r"offset (-?\d+)", out).group(1))

    def earliest(self, topic, partition):
        return self.query(topic, partition, -2)

    def offset_for_time(self, topic, partition, timestamp):
        found = self.query(topic, partition, timestamp)
        return None if found < 0 else found


if __name__ == "__main__":
    main(Kcat)
