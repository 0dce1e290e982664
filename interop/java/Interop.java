// Apache Kafka's Java client: the scenarios of interop/python/scenarios.py, by the same names, and its own: groups with the
// cooperative-sticky assignor, with static members and with the consumer protocol (more of it, transactions and share groups are beside this file).

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.AppInfoParser;

public class Interop {
    interface Scenario { String run() throws Exception; }
    interface Condition { boolean holds() throws Exception; }
    record Sent(String key, String value, Integer partition, Long timestamp, List<Header> headers) {
        static Sent of(String key, String value) { return new Sent(key, value, null, null, List.of()); }
    }

    static final long PATIENCE_MS = 40_000;
    static String bootstrap;
    static Admin admin;
    static int names = 0;

    static String fresh(String what) {
        return "java-" + what + "-" + ProcessHandle.current().pid() + "-" + ++names;
    }

    static void check(boolean condition, String text) {
        if (!condition) throw new AssertionError(text);
    }

    static void waitUntil(Supplier<String> what, Condition condition) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!condition.holds()) {
            check(System.currentTimeMillis() < deadline, "not within 40 s: " + what.get());
            Thread.sleep(50);
        }
    }

    static String topicOf(String what, int partitions) throws Exception {
        String topic = fresh(what);
        create(topic, partitions);
        return topic;
    }

    static void create(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
    }

    static List<Sent> numbered(int count, String prefix) {
        return IntStream.range(0, count).mapToObj(i -> Sent.of("key-" + i % 7, prefix + "-" + i)).collect(Collectors.toList());
    }

    static List<Sent> spread(String prefix) {
        return IntStream.range(0, 60).mapToObj(i -> new Sent("k", prefix + "-" + i, i % 6, null, List.of())).toList();
    }

    static List<RecordMetadata> produce(String topic, List<Sent> messages, String... settings) throws Exception {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", "5", "enable.idempotence", "false"));
        for (String setting : settings) config.put(setting.split("=")[0], setting.split("=")[1]);
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            var waiting = new ArrayList<Future<RecordMetadata>>();
            for (Sent m : messages) {
                waiting.add(producer.send(new ProducerRecord<>(topic, m.partition, m.timestamp, m.key, m.value, m.headers)));
            }
            var placed = new ArrayList<RecordMetadata>();
            for (var future : waiting) placed.add(future.get(30, TimeUnit.SECONDS));
            return placed;
        }
    }

    static KafkaConsumer<String, String> consumer(Map<String, Object> settings) {
        Map<String, Object> config = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap, "auto.offset.reset", "earliest", "enable.auto.commit", "false", "heartbeat.interval.ms", "300"));
        config.putAll(settings);
        if ("consumer".equals(config.get("group.protocol"))) config.remove("heartbeat.interval.ms"); // the broker sets it
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    static List<ConsumerRecord<String, String>> read(String topic, int count) {
        try (var consumer = consumer(Map.of())) {
            var partitions = consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var records = new ArrayList<ConsumerRecord<String, String>>();
            for (int i = 0; i < 60 && records.size() < count; i++) consumer.poll(Duration.ofMillis(500)).forEach(records::add);
            return records;
        }
    }

    static void same(List<Sent> sent, List<ConsumerRecord<String, String>> got) {
        check(got.size() == sent.size(), "sent " + sent.size() + " records, read " + got.size());
        var expected = new TreeMap<String, List<String>>();
        for (Sent m : sent) expected.computeIfAbsent(m.key, k -> new ArrayList<>()).add(m.value);
        var found = new TreeMap<String, List<String>>();
        for (var r : got) found.computeIfAbsent(r.key(), k -> new ArrayList<>()).add(r.value());
        check(expected.equals(found), "what was read differs from what was sent, or its order does");
    }

    static String produceAcks() throws Exception {
        for (String acks : List.of("all", "1", "0")) {
            String topic = topicOf("produce", 3);
            var sent = numbered(30, "value");
            var placed = produce(topic, sent, "acks=" + acks);
            if (!acks.equals("0")) {
                var offsets = new HashMap<Integer, Long>();
                for (var p : placed) {
                    Long before = offsets.put(p.partition(), p.offset());
                    check(p.offset() == (before == null ? 0 : before + 1), "offset " + p.offset() + " after " + before);
                }
            }
            same(sent, read(topic, sent.size()));
        }
        return "acks all, 1 and 0";
    }

    static String consume() throws Exception {
        String topic = topicOf("consume", 3);
        var sent = numbered(300, "value");
        sent.addAll(List.of(Sent.of("large", "x".repeat(200_000)), Sent.of("empty", ""), Sent.of("gone", null)));
        produce(topic, sent);
        same(sent, read(topic, sent.size()));
        return sent.size() + " records, one of 200 kB, one empty, one tombstone";
    }

    static String headers() throws Exception {
        String topic = topicOf("headers", 1);
        List<Header> headers = List.of(header("trace", "1"), header("trace", "2"), header("empty", ""), header("text", "grüße"), header("null", null));
        produce(topic, List.of(new Sent("k", "v", 0, null, headers)));
        var got = Arrays.asList(read(topic, 1).get(0).headers().toArray());
        check(got.equals(headers), "sent " + headers + ", read " + got);
        return "repeated key, empty value, UTF-8, null value";
    }

    static Header header(String name, String value) {
        return new RecordHeader(name, value == null ? null : value.getBytes(StandardCharsets.UTF_8));
    }

    static Scenario compression(String codec) {
        return () -> {
            String topic = topicOf("compression-" + codec, 2);
            var sent = numbered(500, "compressible ".repeat(20));
            produce(topic, sent, "compression.type=" + codec);
            same(sent, read(topic, sent.size()));
            return "500 records";
        };
    }

    static String idempotence() throws Exception {
        String topic = topicOf("idempotence", 2);
        var sent = numbered(2000, "value");
        produce(topic, sent, "enable.idempotence=true", "acks=all", "batch.size=2000");
        same(sent, read(topic, sent.size()));
        return "2000 records, in order, none twice";
    }

    /** Polls until told to leave, committing what it got; keeps what it got and what it is assigned. */
    static class Member {
        final List<String> values = Collections.synchronizedList(new ArrayList<>());
        volatile Set<Integer> assigned = Set.of();
        volatile Throwable failure;
        final AtomicBoolean leaving = new AtomicBoolean();
        final Thread thread;

        Member(String group, String topic, Map<String, Object> settings) {
            thread = new Thread(() -> {
                var config = new HashMap<>(settings);
                config.put("group.id", group);
                try (var consumer = consumer(config)) {
                    consumer.subscribe(List.of(topic));
                    while (!leaving.get()) {
                        var records = consumer.poll(Duration.ofMillis(100));
                        records.forEach(r -> values.add(r.value()));
                        if (!records.isEmpty()) consumer.commitSync();
                        assigned = consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toSet());
                    }
                } catch (Throwable error) {
                    failure = error;
                }
                assigned = Set.of();
            });
            thread.start();
        }

        void leave() throws InterruptedException {
            leaving.set(true);
            thread.join(PATIENCE_MS);
        }
    }

    static void waitSettled(List<Member> members, String what) throws Exception {
        waitUntil(() -> what + ": " + members.stream().map(m -> m.assigned.toString()).toList(), () -> {
            for (Member m : members) if (m.failure != null) throw new Exception(m.failure);
            var owned = members.stream().flatMap(m -> m.assigned.stream()).sorted().toList();
            return owned.equals(List.of(0, 1, 2, 3, 4, 5)) && members.stream().noneMatch(m -> m.assigned.isEmpty());
        });
    }

    static void waitDistinct(List<Member> members, int count) throws Exception {
        Supplier<Integer> got = () -> members.stream().flatMap(m -> List.copyOf(m.values).stream()).collect(Collectors.toSet()).size();
        waitUntil(() -> got.get() + " of " + count + " records arrive", () -> got.get() == count);
    }

    static String group(Map<String, Object> settings) throws Exception {
        String topic = topicOf("group", 6);
        String group = fresh("members");
        produce(topic, spread("first"));
        var members = new ArrayList<>(List.of(new Member(group, topic, settings), new Member(group, topic, settings)));
        waitSettled(members, "two members share the partitions");
        members.add(new Member(group, topic, settings));
        waitSettled(members, "a third member gets its share");
        produce(topic, spread("second"));
        var everyone = List.copyOf(members);
        members.remove(0).leave();
        waitSettled(members, "the others take over");
        produce(topic, spread("third"));
        waitDistinct(everyone, 180);
        for (Member m : members) m.leave();
        var resumed = new Member(group, topic, settings);
        produce(topic, spread("fourth"));
        waitDistinct(List.of(resumed), 60);
        resumed.leave();
        check(resumed.values.stream().allMatch(v -> v.startsWith("fourth")), "the new member did not continue at the committed offsets");
        return "2 members, 3, then 2 again; every record; resumed at the committed offsets";
    }

    static String staticMembers() throws Exception {
        String topic = topicOf("static", 6);
        String group = fresh("static");
        var first = new Member(group, topic, Map.of("group.instance.id", "one"));
        var second = new Member(group, topic, Map.of("group.instance.id", "two"));
        waitSettled(List.of(first, second), "two static members share the partitions");
        Set<Integer> before = second.assigned;
        second.leave();
        var returned = new Member(group, topic, Map.of("group.instance.id", "two"));
        waitSettled(List.of(first, returned), "the member that came back has its share");
        check(returned.assigned.equals(before), "it had " + before + ", came back to " + returned.assigned);
        first.leave();
        returned.leave();
        return "a member that came back got its partitions again";
    }

    static String offsetsByTime() throws Exception {
        String topic = topicOf("times", 1);
        long base = System.currentTimeMillis() - 3_600_000;
        produce(topic, IntStream.range(0, 10).mapToObj(i -> new Sent("k", "v-" + i, 0, base + i * 1000L, List.of())).toList());
        var asked = new LinkedHashMap<Long, Long>();
        asked.put(base - 5000, 0L);
        asked.put(base, 0L);
        asked.put(base + 3500, 4L);
        asked.put(base + 9000, 9L);
        asked.put(base + 9001, null);
        var partition = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of())) {
            for (var entry : asked.entrySet()) {
                var found = consumer.offsetsForTimes(Map.of(partition, entry.getKey())).get(partition);
                Long offset = found == null ? null : found.offset();
                check(Objects.equals(offset, entry.getValue()), "time " + entry.getKey() + ": offset " + offset + ", not " + entry.getValue());
            }
        }
        var max = admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get();
        check(max.offset() == 9, "the offset of the newest timestamp is " + max.offset());
        return asked.size() + " times, and the newest";
    }

    static int partitionCount(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
    }

    static boolean isListed(String topic) throws Exception {
        return admin.listTopics().names().get().contains(topic);
    }

    static String adminTopics() throws Exception {
        String topic = topicOf("admin", 4);
        waitUntil(() -> "the topic is listed", () -> isListed(topic));
        check(partitionCount(topic) == 4, "created with 4 partitions, described with " + partitionCount(topic));
        try {
            create(topic, 4);
        } catch (ExecutionException error) {
            check(error.getCause() instanceof TopicExistsException, "a second create answered " + error.getCause());
            return "create, list, describe, refused when it exists";
        }
        throw new AssertionError("a topic was created twice");
    }

    static String adminConfigs() throws Exception {
        String topic = topicOf("configs", 1);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        for (String[] setting : new String[][] {{"retention.ms", "86400000"}, {"max.message.bytes", "2000000"}}) {
            var change = new AlterConfigOp(new ConfigEntry(setting[0], setting[1]), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
            waitUntil(() -> setting[0] + " is read back", () ->
                    setting[1].equals(admin.describeConfigs(List.of(resource)).all().get().get(resource).get(setting[0]).value()));
        }
        return "retention.ms and max.message.bytes altered and read back";
    }

    static String adminPartitions() throws Exception {
        String topic = topicOf("partitions", 2);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        waitUntil(() -> "5 partitions are described", () -> partitionCount(topic) == 5);
        produce(topic, List.of(new Sent("k", "v", 4, null, List.of())));
        return "2 to 5, written to the last";
    }

    static String adminDeleteRecords() throws Exception {
        String topic = topicOf("truncate", 1);
        produce(topic, numbered(10, "value"));
        var partition = new TopicPartition(topic, 0);
        admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get();
        long first = admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get().offset();
        check(first == 4, "the first offset is " + first + ", not 4");
        check(read(topic, 6).get(0).offset() == 4, "reading from the start did not begin at 4");
        return "first offset 4 after deleting before 4";
    }

    static String adminDeleteTopic() throws Exception {
        String topic = topicOf("delete", 1);
        produce(topic, numbered(10, "value"));
        admin.deleteTopics(List.of(topic)).all().get();
        waitUntil(() -> "the topic is no longer listed", () -> !isListed(topic));
        create(topic, 1);
        produce(topic, numbered(1, "again"));
        var first = read(topic, 1).get(0);
        check(first.value().equals("again-0") && first.offset() == 0, "the new topic of the same name begins with " + first);
        return "deleted, then made again: empty";
    }

    static boolean hasGroup(String group) throws Exception {
        return admin.listGroups().all().get().stream().anyMatch(listing -> listing.groupId().equals(group));
    }

    static String adminGroups() throws Exception {
        String topic = topicOf("groups", 1);
        String group = fresh("listed");
        produce(topic, numbered(10, "value"));
        var member = new Member(group, topic, Map.of());
        waitDistinct(List.of(member), 10);
        check(hasGroup(group), "the group is not listed");
        member.leave();
        var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(new TopicPartition(topic, 0));
        check(committed != null && committed.offset() == 10, "committed " + committed + ", not 10");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        check(!hasGroup(group), "the deleted group is still listed");
        return "listed, offsets read, deleted";
    }

    static String adminCluster() throws Exception {
        var cluster = admin.describeCluster();
        check(cluster.nodes().get().size() == 1, "nodes: " + cluster.nodes().get());
        check(!cluster.clusterId().get().isEmpty(), "no cluster id");
        int node = cluster.controller().get().id();
        var dirs = admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node);
        check(!dirs.isEmpty(), "no log directory described");
        var broker = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node));
        check(admin.describeConfigs(List.of(broker)).all().get().get(broker).entries().size() > 5, "hardly any broker configuration");
        return "cluster, log directories, broker configuration";
    }

    static Map<String, Scenario> scenarios() {
        var all = new LinkedHashMap<String, Scenario>();
        all.put("produce", Interop::produceAcks);
        all.put("consume", Interop::consume);
        all.put("headers", Interop::headers);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) all.put("compression-" + codec, compression(codec));
        all.put("idempotence", Interop::idempotence);
        all.put("group-rebalance", () -> group(Map.of("partition.assignment.strategy", RangeAssignor.class.getName())));
        all.put("offsets-by-time", Interop::offsetsByTime);
        all.put("admin-topics", Interop::adminTopics);
        all.put("admin-configs", Interop::adminConfigs);
        all.put("admin-partitions", Interop::adminPartitions);
        all.put("admin-delete-records", Interop::adminDeleteRecords);
        all.put("admin-delete-topic", Interop::adminDeleteTopic);
        all.put("admin-groups", Interop::adminGroups);
        all.put("group-cooperative", () -> group(Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName())));
        all.put("group-static-members", Interop::staticMembers);
        all.put("admin-cluster", Interop::adminCluster);
        all.put("group-consumer-protocol", () -> group(Map.of("group.protocol", "consumer")));
        all.put("consumer-static-members", ConsumerGroups::staticMembers);
        all.put("consumer-pattern", ConsumerGroups::pattern);
        all.put("consumer-migration-eager", () -> ConsumerGroups.migration(RangeAssignor.class.getName()));
        all.put("consumer-migration-cooperative", () -> ConsumerGroups.migration(CooperativeStickyAssignor.class.getName()));
        all.put("consumer-refusals", ConsumerGroups::refusals);
        all.put("transactions", Transactions::commitAndAbort);
        all.put("transactions-fencing", Transactions::fencing);
        all.put("transactions-offsets", Transactions::offsets);
        all.put("transactions-timeout", Transactions::timeout);
        all.putAll(ShareGroups.scenarios());
        return all;
    }

    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("[\\p{Cntrl}]+", " ") + '"';
    }

    public static void main(String[] arguments) {
        runAll("Java client", scenarios(), arguments);
    }

    static void runAll(String client, Map<String, Scenario> scenarios, String[] arguments) {
        var options = new HashMap<String, String>();
        for (int i = 0; i + 1 < arguments.length; i += 2) options.put(arguments[i], arguments[i + 1]);
        bootstrap = options.get("--bootstrap");
        System.out.println("{\"client\": " + quoted(client) + ", \"version\": " + quoted(AppInfoParser.getVersion()) + "}");
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        for (var scenario : scenarios.entrySet()) {
            if (options.containsKey("--only") && !List.of(options.get("--only").split(",")).contains(scenario.getKey())) continue;
            long start = System.currentTimeMillis();
            boolean ok = false;
            String detail;
            try {
                detail = scenario.getValue().run();
                ok = true;
            } catch (Throwable error) {
                error.printStackTrace();
                detail = String.valueOf(error);
            }
            double seconds = (System.currentTimeMillis() - start) / 1000.0;
            System.out.println("{\"scenario\": " + quoted(scenario.getKey()) + ", \"ok\": " + ok + ", \"detail\": " + quoted(detail) + ", \"seconds\": " + seconds + "}");
        }
        System.exit(0);
    }
}
