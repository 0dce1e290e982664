"""Apache Kafka's administration tools: each says what an operator expects of one broker, Thalweg's or Kafka's own."""

import json
import os
import re
import tempfile

from processes import run
from scenarios import check, fresh, topic_of

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONFIGS = "kafka.admin.ConfigCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
ALL_GROUPS = "org.apache.kafka.tools.GroupsCommand"
OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand"
FEATURES = "org.apache.kafka.tools.FeatureCommand"
QUORUM = "org.apache.kafka.tools.MetadataQuorumCommand"
REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
ELECTION = "org.apache.kafka.tools.LeaderElectionCommand"
LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
CLIENT_METRICS = "org.apache.kafka.tools.ClientMetricsCommand"
ACLS = "org.apache.kafka.tools.AclCommand"
API_VERSIONS = "org.apache.kafka.tools.BrokerApiVersionsCommand"
CLUSTER = "org.apache.kafka.tools.ClusterTool"


def said(tools, main_class, *arguments):
    """What the tool prints, on standard output and errors, whether it succeeds or not."""
    if main_class == CLUSTER:
        command = tools.jvm(main_class) + [*arguments, "--bootstrap-server", tools.bootstrap]
    else:
        command = tools.command(main_class, *arguments)
    return run(["sh", "-c", 'exec "$@" 2>&1', "sh", *command], check=False).decode()


def expect(tools, main_class, arguments, *wanted):
    """Runs a tool and wants each of these texts (or compiled patterns) in what it prints."""
    text = said(tools, main_class, *arguments)
    for want in wanted:
        found = want.search(text) if isinstance(want, re.Pattern) else want in text
        check(found, "%s %s: no %r in %r" % (main_class.split(".")[-1], " ".join(arguments), want, text[-600:]))
    return text


class Json:
    """A file with this value, as tools want it."""

    def __init__(self, value):
        self.value = value

    def __enter__(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(self.value, file)
        self.name = file.name
        return self.name

    def __exit__(self, *_):
        os.unlink(self.name)


def configs_of_topics(tools):
    topic = topic_of(tools, "configs")
    entity = ["--entity-type", "topics", "--entity-name", topic]
    expect(tools, CONFIGS, ["--alter", *entity, "--add-config", "cleanup.policy=[compact,delete],retention.ms=1000"], "Completed updating config for topic %s." % topic)
    synonyms = "synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}"
    text = expect(tools, CONFIGS, ["--describe", *entity], "cleanup.policy=compact,delete sensitive=false " + synonyms)
    check("retention.ms=1000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1000}" in text, text)
    all_of_them = expect(tools, CONFIGS, ["--describe", "--all", *entity], "max.message.bytes=1048588 sensitive=false")
    check(all_of_them.count("sensitive=") >= 30, "only %d keys" % all_of_them.count("sensitive="))
    expect(tools, CONFIGS, ["--alter", *entity, "--add-config", "retention.ms=soon"], "InvalidConfigurationException")
    expect(tools, CONFIGS, ["--alter", *entity, "--delete-config", "retention.ms"], "Completed updating config")
    return "set, described with origins, refused, removed"


def configs_of_brokers(tools):
    default = ["--entity-type", "brokers", "--entity-default"]
    one = ["--entity-type", "brokers", "--entity-name", "1"]
    expect(tools, CONFIGS, ["--alter", *default, "--add-config", "log.retention.ms=777777777"], "Completed updating default config for brokers in the cluster.")
    try:
        expect(tools, CONFIGS, ["--describe", *default], "log.retention.ms=777777777 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=777777777}")
        topic = topic_of(tools, "broker-default")
        value = expect(tools, CONFIGS, ["--describe", "--all", "--entity-type", "topics", "--entity-name", topic], "retention.ms=777777777")
        check("DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=777777777" in value, "the topic does not say where its value comes from")
    finally:
        expect(tools, CONFIGS, ["--alter", *default, "--delete-config", "log.retention.ms"], "Completed updating default config")
    expect(tools, CONFIGS, ["--alter", *one, "--add-config", "node.id=5"], "Cannot update these configs dynamically")
    text = expect(tools, CONFIGS, ["--describe", "--all", *one], re.compile(r"advertised\.listeners=PLAINTEXT://127\.0\.0\.1:\d+ "), "node.id=1 ", re.compile(r"log\.dirs=\S"))
    return "%d keys of the broker" % text.count("sensitive=")


def configs_of_groups(tools):
    group = fresh(tools, "configs")
    entity = ["--entity-type", "groups", "--entity-name", group]
    expect(tools, CONFIGS, ["--alter", *entity, "--add-config", "consumer.session.timeout.ms=50000"], "Completed updating config for group %s." % group)
    synonyms = "synonyms={DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000, DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000}"
    expect(tools, CONFIGS, ["--describe", *entity], "consumer.session.timeout.ms=50000 sensitive=false " + synonyms)
    refused = "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"
    expect(tools, CONFIGS, ["--alter", *entity, "--add-config", "consumer.session.timeout.ms=44000"], refused)
    expect(tools, CONFIGS, ["--alter", *entity, "--delete-config", "consumer.session.timeout.ms"], "Completed updating config")
    return "set within the broker's limits"


def quotas(tools):
    user, client = fresh(tools, "user"), fresh(tools, "client")
    of_user = ["--entity-type", "users", "--entity-name", user]
    of_client = ["--entity-type", "clients", "--entity-name", client]
    of_both = of_user + of_client
    address = ["--entity-type", "ips", "--entity-name", "127.0.0.9"]
    entities = [(of_user, "producer_byte_rate=1024,consumer_byte_rate=2048"), (of_both, "controller_mutation_rate=10"), (address, "connection_creation_rate=5")]
    for entity, values in entities:
        expect(tools, CONFIGS, ["--alter", *entity, "--add-config", values], "Completed updating config for")
    expect(tools, CONFIGS, ["--describe", *of_user], "Quota configs for user-principal '%s' are consumer_byte_rate=2048.0, producer_byte_rate=1024.0" % user)
    expect(tools, CONFIGS, ["--describe", *of_both], "Quota configs for user-principal '%s', client-id '%s' are controller_mutation_rate=10.0" % (user, client))
    expect(tools, CONFIGS, ["--describe", *address], "Quota configs for ip '127.0.0.9' are connection_creation_rate=5.0")
    expect(tools, CONFIGS, ["--alter", *of_client, "--add-config", "producer_byte_rate=-7"], "Quota producer_byte_rate must be greater than 0")
    for entity, values in entities:
        names = ",".join(value.split("=")[0] for value in values.split(","))
        expect(tools, CONFIGS, ["--alter", *entity, "--delete-config", names], "Completed updating config for")
    check("Quota" not in said(tools, CONFIGS, "--describe", *of_user), "a quota is left")
    return "of a user, a client of a user, an address"


def quota_holds_back(tools):
    topic = topic_of(tools, "throttled")
    client = ["--entity-type", "clients", "--entity-name", "throttled"]
    expect(tools, CONFIGS, ["--alter", *client, "--add-config", "producer_byte_rate=20000"], "Completed updating config")
    arguments = ["--topic", topic, "--num-records", "400", "--record-size", "1000", "--throughput", "-1"]
    settings = ["bootstrap.servers=" + tools.bootstrap, "client.id=throttled", "batch.size=1000"]
    perf = "org.apache.kafka.tools.ProducerPerformance"
    try:
        out = run(tools.jvm(perf) + arguments + ["--command-property", *settings]).decode()
    finally:
        expect(tools, CONFIGS, ["--alter", *client, "--delete-config", "producer_byte_rate"], "Completed updating config")
    rate = float(re.search(r"\(([0-9.]+) MB/sec\)", out).group(1)) * 1048576
    check(rate < 60000, "%.0f bytes a second with a quota of 20000" % rate)
    return "400 KB at %.0f KB/s with a quota of 20 KB/s" % (rate / 1000)


def features(tools):
    described = expect(tools, FEATURES, ["describe"], re.compile(r"Feature: metadata\.version\s.*FinalizedVersionLevel: 4\.3-IV0"), re.compile(r"Feature: group\.version\s.*FinalizedVersionLevel: 1"))
    epoch = int(re.search(r"Epoch: (\d+)", described).group(1))
    expect(tools, FEATURES, ["downgrade", "--feature", "transaction.version=1"], "transaction.version was downgraded to 1.")
    expect(tools, FEATURES, ["upgrade", "--feature", "transaction.version=2"], "transaction.version was upgraded to 2.")
    expect(tools, FEATURES, ["upgrade", "--feature", "transaction.version=9"], "Invalid update version 9 for feature transaction.version. Local controller 1 only supports versions 0-2")
    expect(tools, FEATURES, ["upgrade", "--feature", "nosuch.version=1"], "Local controller 1 does not support this feature.")
    later = int(re.search(r"Epoch: (\d+)", said(tools, FEATURES, "describe")).group(1))
    check(later > epoch, "the epoch went from %d to %d" % (epoch, later))
    return "described, down and up again, refused"


def quorum(tools):
    status = expect(tools, QUORUM, ["describe", "--status"], re.compile(r"LeaderId:\s+1\b"), re.compile(r"MaxFollowerLag:\s+0\b"), re.compile(r'CurrentVoters:\s+\[\{"id": 1,'))
    expect(tools, QUORUM, ["describe", "--replication"], re.compile(r"(?m)^1\s.*\sLeader\s*$"))
    return "high watermark " + re.search(r"HighWatermark:\s+(\d+)", status).group(1)


def reassignment(tools):
    topic = topic_of(tools, "reassign", 2)
    to = lambda broker: Json({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [broker]}]})
    with Json({"topics": [{"topic": topic}], "version": 1}) as topics:
        expect(tools, REASSIGN, ["--generate", "--topics-to-move-json-file", topics, "--broker-list", "1"], "Proposed partition reassignment configuration")
    with to(1) as here, to(2) as elsewhere:
        expect(tools, REASSIGN, ["--execute", "--reassignment-json-file", here], "Successfully started partition reassignment for %s-0" % topic)
        expect(tools, REASSIGN, ["--verify", "--reassignment-json-file", here], "Reassignment of partition %s-0 is completed." % topic)
        expect(tools, REASSIGN, ["--execute", "--reassignment-json-file", elsewhere], "Unknown broker id 2")
    expect(tools, REASSIGN, ["--list"], "No partition reassignments found.")
    return "to where it is, verified; to a broker that is not there, refused"


def leader_election(tools):
    topic = topic_of(tools, "election")
    arguments = ["--election-type", "preferred", "--topic", topic, "--partition", "0"]
    expect(tools, ELECTION, arguments, "Valid replica already elected for partitions %s-0" % topic)
    return "not needed"


def log_dirs(tools):
    topic = topic_of(tools, "log-dirs", 2)
    tools.tool("org.apache.kafka.tools.VerifiableProducer", "--topic", topic, "--max-messages", "100")
    text = expect(tools, LOG_DIRS, ["--describe", "--topic-list", topic], "Received log directory information from brokers 1")
    described = json.loads(text[text.index('{"'):].splitlines()[0])
    partitions = described["brokers"][0]["logDirs"][0]["partitions"]
    size = sum(partition["size"] for partition in partitions)
    check(len(partitions) == 2 and size > 100, "%r" % partitions)
    return "%d bytes in 2 partitions" % size


def client_metrics(tools):
    name = fresh(tools, "metrics")
    altered = ["--alter", "--name", name, "--metrics", "org.apache.kafka.producer.", "--interval", "5000", "--match", "client_id=x"]
    expect(tools, CLIENT_METRICS, altered, "Altered client metrics config for %s." % name)
    expect(tools, CLIENT_METRICS, ["--describe", "--name", name], "interval.ms=5000", "match=client_id=x", "metrics=org.apache.kafka.producer.")
    expect(tools, CLIENT_METRICS, ["--list"], name)
    expect(tools, CLIENT_METRICS, ["--delete", "--name", name], "Deleted client metrics config for %s." % name)
    check(name not in said(tools, CLIENT_METRICS, "--list"), "the subscription is still listed")
    return "subscribed, described, listed, deleted"


def acls(tools):
    expect(tools, ACLS, ["--list"], "SecurityDisabledException: No Authorizer is configured on the broker")
    add = ["--add", "--allow-principal", "User:a", "--operation", "Read", "--topic", "t"]
    expect(tools, ACLS, add, "SecurityDisabledException: No Authorizer is configured on the broker")
    return "refused: SECURITY_DISABLED"


def api_versions(tools):
    text = expect(tools, API_VERSIONS, [], "(id: 1 rack: null isFenced: false)", "Produce(0): 0 to 13 [usable: 13]", "ApiVersions(18): 0 to ")
    return "%d keys" % text.count("[usable")


def cluster(tools):
    text = expect(tools, CLUSTER, ["cluster-id"], re.compile(r"Cluster ID: \S{22}"))
    expect(tools, CLUSTER, ["list-endpoints"], re.compile(r"1\s+127\.0\.0\.1\s+\d+\s"))
    expect(tools, CLUSTER, ["unregister", "--id", "99"], "Broker ID 99 is not currently registered")
    return text.strip().splitlines()[-1]


def consumer_groups(tools):
    topic, group = topic_of(tools, "group-admin", 2), fresh(tools, "group-admin")
    expect(tools, GROUPS, ["--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute"], re.compile(r"%s\s+%s\s+1\s+0" % (group, topic)))
    expect(tools, GROUPS, ["--list", "--state"], re.compile(r"%s\s+Empty" % group))
    check(group in said(tools, GROUPS, "--list", "--type", "classic"), "the group is not among the classic ones")
    check(group not in said(tools, GROUPS, "--list", "--type", "consumer"), "the group is among those of the consumer protocol")
    check(group not in said(tools, GROUPS, "--list", "--state", "stable"), "the group is among the stable ones")
    expect(tools, GROUPS, ["--describe", "--group", group, "--state"], re.compile(r"%s\s+127\.0\.0\.1:\d+\s+\(1\)\s+-\s+Empty\s+0" % group))
    expect(tools, GROUPS, ["--describe", "--group", group, "--members"], "has no active members")
    expect(tools, ALL_GROUPS, ["--list"], group)
    expect(tools, GROUPS, ["--delete-offsets", "--group", group, "--topic", topic + ":1"], re.compile(r"%s\s+1\s+Successful" % topic))
    expect(tools, GROUPS, ["--delete", "--group", group], "Deletion of requested consumer groups ('%s') was successful." % group)
    expect(tools, GROUPS, ["--describe", "--group", group], "GroupIdNotFoundException")
    return "listed by state and type, described, offsets deleted, deleted"


def offsets_and_records(tools):
    topic = topic_of(tools, "offsets")
    tools.tool("org.apache.kafka.tools.VerifiableProducer", "--topic", topic, "--max-messages", "10")
    expect(tools, OFFSETS, ["--topic", topic], "%s:0:10" % topic)
    with Json({"partitions": [{"topic": topic, "partition": 0, "offset": 4}], "version": 1}) as wanted:
        expect(tools, DELETE_RECORDS, ["--offset-json-file", wanted], "partition: %s-0\tlow_watermark: 4" % topic)
    expect(tools, OFFSETS, ["--topic", topic, "--time", "earliest"], "%s:0:4" % topic)
    expect(tools, OFFSETS, ["--topic", topic, "--time", "max-timestamp"], re.compile(r"%s:0:\d" % topic))
    return "10 records, 4 deleted"


SCENARIOS = [
    ("kafka-configs: topics", configs_of_topics),
    ("kafka-configs: brokers", configs_of_brokers),
    ("kafka-configs: groups", configs_of_groups),
    ("kafka-configs: quotas", quotas),
    ("a quota holds a producer back", quota_holds_back),
    ("kafka-features", features),
    ("kafka-metadata-quorum", quorum),
    ("kafka-reassign-partitions", reassignment),
    ("kafka-leader-election", leader_election),
    ("kafka-log-dirs", log_dirs),
    ("kafka-client-metrics", client_metrics),
    ("kafka-acls", acls),
    ("kafka-broker-api-versions", api_versions),
    ("kafka-cluster", cluster),
    ("kafka-consumer-groups: administration", consumer_groups),
    ("kafka-get-offsets, kafka-delete-records", offsets_and_records),
]
