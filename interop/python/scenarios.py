"""The scenarios of the interop run, once for every client that is driven from Python.

A client program makes a Driver and calls `main(driver)`. Each scenario prints one line of JSON:
{"scenario": name, "ok": true | false | null, "detail": text}; null means that the client does not offer it.
The same scenarios, by the same names, are written in JavaScript, Java and Go beside this folder.
"""

import argparse
import json
import os
import sys
import threading
import time
import traceback
from typing import NamedTuple, Optional

PATIENCE = 40.0  # seconds that a scenario waits for something to happen


class NotOffered(Exception):
    """The client has no such feature; the scenario is left out, with the reason."""


class Record(NamedTuple):
    partition: int
    offset: int
    key: Optional[bytes]
    value: Optional[bytes]
    headers: tuple = ()
    timestamp: int = -1


class Message(NamedTuple):
    key: Optional[bytes]
    value: Optional[bytes]
    partition: Optional[int] = None
    headers: tuple = ()
    timestamp: Optional[int] = None


class Driver:
    """What a client must be able to do. A driver overrides what its client offers."""

    name = "?"
    version = "?"
    sets_timestamps = True
    null_headers = True
    tombstones = True
    extra = []  # further scenarios of this client alone

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def produce(self, topic, messages, acks="all", compression="none", idempotent=False):
        """Sends all and waits; [(partition, offset)] in order, or None when the client does not tell."""
        raise NotOffered("no producer")

    def read(self, topic, count):
        """The first `count` records of a topic without a group; [Record]."""
        raise NotOffered("no consumer")

    def read_committed(self, topic, count):
        """As `read`, without what a transaction left open or aborted."""
        raise NotOffered("no reading of committed records only")

    def transactional(self, name):
        """A producer with this transactional id: begin(), send(topic, messages), offsets(group, topic, {partition: offset}),
        commit(), abort(), close()."""
        raise NotOffered("no transactions")

    def consumer_protocol_member(self, group, topic):
        """A `member` of a group whose partitions the broker assigns (KIP-848)."""
        raise NotOffered("no consumer group protocol")

    def member(self, group, topic):
        """A group member from the earliest offset: poll(seconds) -> [Record], assignment() -> set, close().
        What poll returned is committed before the next poll or on close."""
        raise NotOffered("no consumer groups")

    def create_topic(self, topic, partitions):
        raise NotOffered("no admin requests")

    def have_topic(self, topic, partitions):
        """Called when the client cannot create topics: somebody else does."""
        if partitions > 1:
            raise NotOffered("cannot create a topic of %d partitions, and no other tool here does" % partitions)

    def topics(self):
        raise NotOffered("no admin requests")

    def partition_count(self, topic):
        raise NotOffered("no admin requests")

    def alter_config(self, topic, key, value):
        raise NotOffered("no admin requests")

    def config(self, topic, key):
        raise NotOffered("no admin requests")

    def add_partitions(self, topic, total):
        raise NotOffered("no admin requests")

    def delete_records(self, topic, partition, before):
        raise NotOffered("no request to delete records")

    def earliest(self, topic, partition):
        raise NotOffered("no request for offsets")

    def delete_topic(self, topic):
        raise NotOffered("no admin requests")

    def offset_for_time(self, topic, partition, timestamp):
        """The first offset at or after a time; None when there is none."""
        raise NotOffered("no request for offsets by time")

    def groups(self):
        raise NotOffered("no admin requests")

    def committed(self, group, topic):
        """{partition: committed offset} of a group, by an admin request."""
        raise NotOffered("no admin requests")

    def delete_group(self, group):
        raise NotOffered("no admin requests")


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def wait_until(condition, what, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %d s: %s" % (patience, what() if callable(what) else what))
        time.sleep(0.05)


_fresh = 0


def fresh(driver, what):
    """A name no other run uses."""
    global _fresh
    _fresh += 1
    return "%s-%s-%d-%d" % (driver.name.replace(" ", "-"), what, os.getpid(), _fresh)


def topic_of(driver, what, partitions=1):
    topic = fresh(driver, what)
    try:
        driver.create_topic(topic, partitions)
    except NotOffered:
        driver.have_topic(topic, partitions)
    return topic


def numbered(count, prefix="value", keys=7, partition=None):
    return [Message(b"key-%d" % (i % keys), b"%s-%d" % (prefix.encode(), i), partition) for i in range(count)]


def by_key(records):
    """Values in order of arrival, a list for each key: what order Kafka promises for keyed records."""
    lists = {}
    for record in records:
        lists.setdefault(record.key, []).append(record.value)
    return lists


def same(sent, got):
    check(len(got) == len(sent), "sent %d records, read %d" % (len(sent), len(got)))
    check(by_key(got) == by_key(sent), "what was read differs from what was sent, or its order does")


def dense(placed):
    """Offsets of each partition follow each other."""
    seen = {}
    for partition, offset in placed:
        if partition in seen:
            check(offset == seen[partition] + 1, "partition %d: offset %d after %d" % (partition, offset, seen[partition]))
        seen[partition] = offset


def produce(driver):
    for acks in ("all", "1", "0"):
        topic = topic_of(driver, "produce-acks-%s" % acks, 3)
        sent = numbered(30)
        placed = driver.produce(topic, sent, acks=acks)
        if placed is not None and acks != "0":
            check(len(placed) == len(sent), "%d acknowledgements for %d records" % (len(placed), len(sent)))
            dense(sorted(placed))
        same(sent, driver.read(topic, len(sent)))
    return "acks all, 1 and 0"


def consume(driver):
    topic = topic_of(driver, "consume", 3)
    sent = numbered(300) + [Message(b"large", b"x" * 200_000), Message(b"empty", b"")]
    if driver.tombstones:
        sent.append(Message(b"gone", None))
    driver.produce(topic, sent)
    got = driver.read(topic, len(sent))
    same(sent, got)
    for partition in {record.partition for record in got}:
        dense([(r.partition, r.offset) for r in got if r.partition == partition])
    return "%d records, one of 200 kB, one empty%s" % (len(sent), ", one tombstone" if driver.tombstones else "")


def headers(driver):
    topic = topic_of(driver, "headers")
    sent = [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("text", "grüße".encode())]
    if driver.null_headers:
        sent.append(("null", None))
    driver.produce(topic, [Message(b"k", b"v", 0, tuple(sent))])
    (record,) = driver.read(topic, 1)
    check(list(record.headers) == sent, "sent %r, read %r" % (sent, list(record.headers)))
    return "repeated key, empty value, UTF-8%s" % (", null value" if driver.null_headers else "")


def compression(codec):
    def scenario(driver):
        topic = topic_of(driver, "compression-" + codec, 2)
        sent = numbered(500, "compressible " * 20)
        driver.produce(topic, sent, compression=codec)
        same(sent, driver.read(topic, len(sent)))
        return "%d records" % len(sent)

    return scenario


def idempotence(driver):
    topic = topic_of(driver, "idempotence", 2)
    sent = numbered(2000)
    driver.produce(topic, sent, idempotent=True)
    same(sent, driver.read(topic, len(sent)))
    return "%d records, in order, none twice" % len(sent)


class MemberThread(threading.Thread):
    """Polls a member until told to leave; keeps what it got and what it is assigned."""

    def __init__(self, member, group, topic):
        super().__init__(daemon=True)
        self.open = lambda: member(group, topic)
        self.records = []
        self.assigned = frozenset()
        self.failure = None
        self.leaving = threading.Event()
        self.start()

    def run(self):
        try:
            member = self.open()
            try:
                while not self.leaving.is_set():
                    self.records.extend(member.poll(0.2))
                    self.assigned = frozenset(member.assignment())
            finally:
                member.close()
                self.assigned = frozenset()
        except Exception as error:  # reported by the scenario that waits for this member
            self.failure = error

    def leave(self):
        self.leaving.set()
        self.join(PATIENCE)
        check(not self.is_alive(), "a member did not leave the group")


def settled(members, partitions):
    """Every partition belongs to exactly one member and no member is without."""
    for member in members:
        if member.failure:
            raise member.failure
    owned = [partition for member in members for partition in member.assigned]
    return sorted(owned) == list(range(partitions)) and all(member.assigned for member in members)


def group_rebalance(driver):
    return rebalance(driver, driver.member)


def group_consumer_protocol(driver):
    return rebalance(driver, driver.consumer_protocol_member)


def rebalance(driver, member):
    topic = topic_of(driver, "group", 6)
    partitions = 6
    group = fresh(driver, "members")
    spread = lambda prefix: [Message(b"k-%d" % i, b"%s-%d" % (prefix, i), i % partitions) for i in range(60)]
    driver.produce(topic, spread(b"first"))
    members = [MemberThread(member, group, topic) for _ in range(2)]
    state = lambda: "assignments " + str([sorted(one.assigned) for one in members])
    wait_until(lambda: settled(members, partitions), lambda: "two members share the partitions: " + state())
    members.append(MemberThread(member, group, topic))
    wait_until(lambda: settled(members, partitions), lambda: "a third member gets its share: " + state())
    driver.produce(topic, spread(b"second"))
    left = members.pop(0)
    left.leave()
    wait_until(lambda: settled(members, partitions), lambda: "the others take over: " + state())
    driver.produce(topic, spread(b"third"))
    everything = {m.value for name in (b"first", b"second", b"third") for m in spread(name)}
    got = lambda: {record.value for one in members + [left] for record in one.records}
    wait_until(lambda: got() == everything, lambda: "%d of %d records arrive" % (len(got()), len(everything)))
    for one in members:
        one.leave()
    resumed = MemberThread(member, group, topic)
    driver.produce(topic, spread(b"fourth"))
    wait_until(lambda: len(resumed.records) >= 60 or resumed.failure, "a new member continues")
    resumed.leave()
    values = sorted(record.value for record in resumed.records)
    check(values == sorted(m.value for m in spread(b"fourth")), "the new member did not continue at the committed offsets: it got %d records" % len(values))
    return "2 members, 3, then 2 again; every record; resumed at the committed offsets"


def offsets_by_time(driver):
    topic = topic_of(driver, "times")
    if driver.sets_timestamps:
        base = int(time.time() * 1000) - 3_600_000
        driver.produce(topic, [Message(b"k", b"v-%d" % i, 0, (), base + i * 1000) for i in range(10)])
        asked = [(base - 5000, 0), (base, 0), (base + 3500, 4), (base + 9000, 9), (base + 9001, None)]
    else:
        driver.produce(topic, numbered(5, "before", partition=0))
        time.sleep(0.1)
        between = int(time.time() * 1000)
        time.sleep(0.1)
        driver.produce(topic, numbered(5, "after", partition=0))
        asked = [(between - 3_600_000, 0), (between, 5), (between + 3_600_000, None)]
    for timestamp, offset in asked:
        found = driver.offset_for_time(topic, 0, timestamp)
        check(found == offset, "time %d: offset %r, not %r" % (timestamp, found, offset))
    return "%d times" % len(asked)


def admin_topics(driver):
    topic = fresh(driver, "admin")
    driver.create_topic(topic, 4)
    wait_until(lambda: topic in driver.topics(), "the topic is listed")
    check(driver.partition_count(topic) == 4, "created with 4 partitions, described with another number")
    try:
        driver.create_topic(topic, 4)
    except NotOffered:
        raise
    except Exception as error:
        check("exist" in (repr(error) + str(error)).lower(), "a second create failed with %r" % error)
        return "create, list, describe, refused when it exists"
    raise AssertionError("a topic was created twice")


def admin_configs(driver):
    topic = topic_of(driver, "configs")
    driver.alter_config(topic, "retention.ms", "86400000")
    wait_until(lambda: driver.config(topic, "retention.ms") == "86400000", "retention.ms is read back")
    driver.alter_config(topic, "max.message.bytes", "2000000")
    wait_until(lambda: driver.config(topic, "max.message.bytes") == "2000000", "max.message.bytes is read back")
    return "retention.ms and max.message.bytes altered and read back"


def admin_partitions(driver):
    topic = topic_of(driver, "partitions", 2)
    driver.add_partitions(topic, 5)
    wait_until(lambda: driver.partition_count(topic) == 5, "5 partitions are described")
    driver.produce(topic, [Message(b"k", b"v", 4)])
    return "2 to 5, written to the last"


def admin_delete_records(driver):
    topic = topic_of(driver, "truncate")
    driver.produce(topic, numbered(10, partition=0))
    driver.delete_records(topic, 0, 4)
    wait_until(lambda: driver.earliest(topic, 0) == 4, lambda: "the first offset is 4, it is %r" % driver.earliest(topic, 0))
    check(driver.read(topic, 6)[0].offset == 4, "reading from the start did not begin at 4")
    return "first offset 4 after deleting before 4"


def admin_delete_topic(driver):
    topic = topic_of(driver, "delete")
    driver.produce(topic, numbered(10, partition=0))
    driver.delete_topic(topic)
    wait_until(lambda: topic not in driver.topics(), "the topic is no longer listed")
    driver.create_topic(topic, 1)
    wait_until(lambda: topic in driver.topics(), "a new topic of the same name is listed")
    driver.produce(topic, numbered(1, "again", partition=0))
    got = driver.read(topic, 1)
    check(got[0].value == b"again-0" and got[0].offset == 0, "the new topic of the same name begins with %r" % (got[0],))
    return "deleted, then made again: empty"


def admin_groups(driver):
    topic = topic_of(driver, "groups")
    group = fresh(driver, "listed")
    driver.produce(topic, numbered(10, partition=0))
    member = MemberThread(driver.member, group, topic)
    wait_until(lambda: len(member.records) == 10 or member.failure, "ten records arrive")
    wait_until(lambda: group in driver.groups(), "the group is listed")
    member.leave()
    wait_until(lambda: driver.committed(group, topic) == {0: 10}, lambda: "offset 10 is committed: %r" % driver.committed(group, topic))
    driver.delete_group(group)
    wait_until(lambda: group not in driver.groups(), "the deleted group is no longer listed")
    return "listed, offsets read, deleted"


def transactions(driver):
    """Two commits with an abort between them; the offsets that belong to the abort are not committed."""
    producer = driver.transactional(fresh(driver, "txn"))
    topic = topic_of(driver, "transactions")
    group = fresh(driver, "copied")
    for number, name in enumerate(("one", "two", "three")):
        producer.begin()
        producer.send(topic, numbered(30, name, partition=0))
        producer.offsets(group, topic, {0: 30 * number + 1})
        if name == "two":
            producer.abort()
            check(driver.committed(group, topic) == {0: 1}, "after an abort the group is at %r" % driver.committed(group, topic))
        else:
            producer.commit()
    producer.close()
    committed = numbered(30, "one") + numbered(30, "three")
    same(committed, driver.read_committed(topic, 60))
    everything = numbered(30, "one") + numbered(30, "two") + numbered(30, "three")
    same(everything, driver.read(topic, 90))
    wait_until(lambda: driver.committed(group, topic) == {0: 61}, lambda: "the group is at %r" % driver.committed(group, topic))
    return "two committed, one aborted, offsets with them"


SCENARIOS = [
    ("produce", produce),
    ("consume", consume),
    ("headers", headers),
    ("compression-none", compression("none")),
    ("compression-gzip", compression("gzip")),
    ("compression-snappy", compression("snappy")),
    ("compression-lz4", compression("lz4")),
    ("compression-zstd", compression("zstd")),
    ("idempotence", idempotence),
    ("group-rebalance", group_rebalance),
    ("offsets-by-time", offsets_by_time),
    ("admin-topics", admin_topics),
    ("admin-configs", admin_configs),
    ("admin-partitions", admin_partitions),
    ("admin-delete-records", admin_delete_records),
    ("admin-delete-topic", admin_delete_topic),
    ("admin-groups", admin_groups),
    ("transactions", transactions),
    ("group-consumer-protocol", group_consumer_protocol),
]


def one(driver, name, scenario):
    try:
        return {"scenario": name, "ok": True, "detail": scenario(driver)}
    except NotOffered as reason:
        return {"scenario": name, "ok": None, "detail": str(reason)}
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        text = str(error) or repr(error)
        return {"scenario": name, "ok": False, "detail": "%s: %s" % (type(error).__name__, text)[:400]}


def main(make_driver):
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--only", help="comma separated names of scenarios")
    parser.add_argument("--classpath", help="Kafka's jars, for programs that start its tools")
    options = parser.parse_args()
    driver = make_driver(options)
    print(json.dumps({"client": driver.name, "version": driver.version}), flush=True)
    for name, scenario in SCENARIOS + driver.extra:
        if options.only and name not in options.only.split(","):
            continue
        start = time.monotonic()
        line = one(driver, name, scenario)
        line["seconds"] = round(time.monotonic() - start, 2)
        print(json.dumps(line), flush=True)
    sys.stdout.flush()
    os._exit(0)  # a client's own threads may not end by themselves after a failed scenario
