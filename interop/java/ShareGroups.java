// Share groups (KIP-932) with Apache Kafka's Java client: the scenarios of a work queue.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;

public class ShareGroups {
    /** A member of a share group that keeps what it has been given. */
    static class Worker implements AutoCloseable {
        final KafkaShareConsumer<String, String> consumer;
        final List<ConsumerRecord<String, String>> last = new ArrayList<>();

        Worker(String group, String topic, String... settings) {
            var config = new HashMap<String, Object>(Map.of("bootstrap.servers", Interop.bootstrap, "group.id", group));
            for (String setting : settings) config.put(setting.split("=")[0], setting.split("=")[1]);
            consumer = new KafkaShareConsumer<>(config, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(topic));
        }

        /** One poll; in explicit mode each record must be answered before the next one. */
        List<ConsumerRecord<String, String>> poll(long ms) {
            last.clear();
            consumer.poll(Duration.ofMillis(ms)).forEach(last::add);
            return last;
        }

        /** Polls until there is something. */
        List<ConsumerRecord<String, String>> some() throws Exception {
            Interop.waitUntil(() -> "a record is delivered", () -> !poll(500).isEmpty());
            return last;
        }

        void answer(AcknowledgeType type) {
            last.forEach(record -> consumer.acknowledge(record, type));
            consumer.commitSync();
        }

        @Override public void close() {
            consumer.close();
        }
    }

    static final String EXPLICIT = "share.acknowledgement.mode=explicit";

    /** A group that begins at the first record, with further settings of its own. */
    static String group(String what, String... settings) throws Exception {
        String group = Interop.fresh(what);
        var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        var changes = Stream.concat(Stream.of("share.auto.offset.reset=earliest"), Arrays.stream(settings))
                .map(setting -> new ConfigEntry(setting.split("=")[0], setting.split("=")[1]))
                .map(entry -> new AlterConfigOp(entry, AlterConfigOp.OpType.SET))
                .toList();
        Interop.admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
        return group;
    }

    static String topic(String what, int partitions, int records) throws Exception {
        String topic = Interop.topicOf(what, partitions);
        Interop.produce(topic, Interop.numbered(records, "value"));
        return topic;
    }

    static int deliveries(ConsumerRecord<String, String> record) {
        return record.deliveryCount().orElseThrow();
    }

    static String shared() throws Exception {
        String group = group("shared");
        String topic = topic("shared", 1, 0);
        var seen = new HashMap<String, Integer>();
        try (var a = new Worker(group, topic, "max.poll.records=20"); var b = new Worker(group, topic, "max.poll.records=20")) {
            a.poll(2_000);
            b.poll(2_000);
            for (int i = 0; i < 20; i++) Interop.produce(topic, Interop.numbered(25, "batch-" + i));
            int[] counts = {0, 0};
            Interop.waitUntil(() -> "500 records are worked on, " + seen.size() + " are", () -> {
                for (var worker : List.of(a, b)) {
                    for (var record : worker.poll(100)) {
                        seen.merge(record.value(), 1, Integer::sum);
                        counts[worker == a ? 0 : 1]++;
                    }
                }
                return seen.size() == 500;
            });
            long twice = seen.values().stream().filter(count -> count > 1).count();
            Interop.check(twice == 0, twice + " records were delivered twice");
            Interop.check(counts[0] > 0 && counts[1] > 0, "one of the two got nothing: " + Arrays.toString(counts));
            return "500 records of one partition, " + counts[0] + " to one and " + counts[1] + " to the other, none twice";
        }
    }

    static String released() throws Exception {
        String group = group("released");
        String topic = topic("released", 1, 3);
        try (var a = new Worker(group, topic, EXPLICIT)) {
            Interop.check(a.some().size() == 3, "got " + a.last.size());
            a.consumer.acknowledge(a.last.get(0), AcknowledgeType.ACCEPT);
            a.consumer.acknowledge(a.last.get(1), AcknowledgeType.RELEASE);
            a.consumer.acknowledge(a.last.get(2), AcknowledgeType.ACCEPT);
            a.consumer.commitSync();
            for (int count = 2; count <= 5; count++) {
                var again = a.some();
                Interop.check(again.size() == 1 && again.get(0).offset() == 1, "redelivered " + again);
                Interop.check(deliveries(again.get(0)) == count, "delivery " + deliveries(again.get(0)) + ", not " + count);
                a.answer(AcknowledgeType.RELEASE);
            }
            Interop.check(a.poll(2_000).isEmpty(), "delivered more often than the limit: " + a.last);
        }
        return "one record delivered 5 times and then given up, the others once";
    }

    static String rejected() throws Exception {
        String group = group("rejected");
        String topic = topic("rejected", 1, 2);
        try (var a = new Worker(group, topic, EXPLICIT)) {
            a.some();
            a.consumer.acknowledge(a.last.get(0), AcknowledgeType.REJECT);
            a.consumer.acknowledge(a.last.get(1), AcknowledgeType.RELEASE);
            a.consumer.commitSync();
            var again = a.some();
            Interop.check(again.size() == 1 && again.get(0).offset() == 1, "after a reject came " + again);
            a.answer(AcknowledgeType.ACCEPT);
        }
        try (var b = new Worker(group, topic)) {
            Interop.check(b.poll(3_000).isEmpty(), "came again: " + b.last);
        }
        return "the rejected record never came again";
    }

    static String closed() throws Exception {
        String group = group("closed");
        String topic = topic("closed", 1, 5);
        var a = new Worker(group, topic, EXPLICIT);
        Interop.check(a.some().size() == 5, "got " + a.last.size());
        a.close();
        long start = System.currentTimeMillis();
        try (var b = new Worker(group, topic, EXPLICIT)) {
            var again = b.some();
            Interop.check(again.size() == 5 && deliveries(again.get(0)) == 2, "came again: " + again);
            b.answer(AcknowledgeType.ACCEPT);
        }
        long ms = System.currentTimeMillis() - start;
        Interop.check(ms < 12_000, "only after " + ms + " ms");
        return "what a member had when it closed came to the next one at once";
    }

    static String timedOut() throws Exception {
        String group = group("late", "share.record.lock.duration.ms=15000");
        String topic = topic("late", 1, 1);
        try (var a = new Worker(group, topic, EXPLICIT); var b = new Worker(group, topic, EXPLICIT)) {
            a.some();
            var late = List.copyOf(a.last);
            long start = System.currentTimeMillis();
            var again = b.some();
            long ms = System.currentTimeMillis() - start;
            Interop.check(deliveries(again.get(0)) == 2, "delivery " + deliveries(again.get(0)));
            Interop.check(ms > 10_000, "redelivered after " + ms + " ms");
            a.consumer.acknowledge(late.get(0), AcknowledgeType.ACCEPT);
            var refused = a.consumer.commitSync().values().stream().flatMap(Optional::stream).toList();
            Interop.check(refused.size() == 1, "a late acknowledgement was not refused");
            b.answer(AcknowledgeType.ACCEPT);
            return "redelivered when the lock had ended; the late answer is " + refused.get(0).getClass().getSimpleName();
        }
    }

    static String renewed() throws Exception {
        String group = group("renewed", "share.record.lock.duration.ms=15000");
        String topic = topic("renewed", 1, 1);
        try (var a = new Worker(group, topic, EXPLICIT); var b = new Worker(group, topic, EXPLICIT)) {
            a.some();
            var record = a.last.get(0);
            long end = System.currentTimeMillis() + 22_000;
            while (System.currentTimeMillis() < end) {
                a.consumer.acknowledge(record, AcknowledgeType.RENEW);
                a.consumer.commitSync();
                a.consumer.poll(Duration.ofMillis(100));
                Interop.check(b.poll(4_000).isEmpty(), "came to another member although it was renewed");
            }
            a.consumer.acknowledge(record, AcknowledgeType.ACCEPT);
            var refused = a.consumer.commitSync().values().stream().flatMap(Optional::stream).toList();
            Interop.check(refused.isEmpty(), "refused: " + refused);
        }
        return "a lock of 15 s held for 22 s";
    }

    /** The part of `killed` that is killed: takes records and keeps them. */
    public static void main(String[] arguments) throws Exception {
        Interop.bootstrap = arguments[0];
        try (var worker = new Worker(arguments[1], arguments[2], EXPLICIT)) {
            System.out.println("holds " + worker.some().size());
            Thread.sleep(600_000);
        }
    }

    static String killed() throws Exception {
        String group = group("killed");
        String topic = topic("killed", 1, 7);
        var java = ProcessHandle.current().info().command().orElse("java");
        var child = new ProcessBuilder(java, "-cp", System.getProperty("java.class.path"), "ShareGroups", Interop.bootstrap, group, topic)
                .redirectErrorStream(true).start();
        try (var output = child.inputReader()) {
            String line;
            while ((line = output.readLine()) != null && !line.startsWith("holds")) { }
            Interop.check("holds 7".equals(line), "the member to be killed said: " + line);
        } finally {
            child.destroyForcibly().waitFor(10, TimeUnit.SECONDS);
        }
        long start = System.currentTimeMillis();
        try (var b = new Worker(group, topic)) {
            var again = b.some();
            Interop.check(again.size() == 7 && deliveries(again.get(0)) == 2, "came again: " + again);
        }
        return "what a killed member had came again after " + (System.currentTimeMillis() - start) + " ms";
    }

    /** KIP-1191, newer than this client: the broker does it all. */
    static String deadLetters() throws Exception {
        String letters = "dlq." + Interop.fresh("letters");
        var enabled = Map.of("errors.deadletterqueue.group.enable", "true");
        Interop.admin.createTopics(List.of(new NewTopic(letters, 1, (short) 1).configs(enabled))).all().get();
        String group = group("letters", "errors.deadletterqueue.topic.name=" + letters, "errors.deadletterqueue.copy.record.enable=true");
        String topic = topic("letters", 1, 3);
        try (var a = new Worker(group, topic, EXPLICIT)) {
            a.some();
            a.consumer.acknowledge(a.last.get(0), AcknowledgeType.ACCEPT);
            a.consumer.acknowledge(a.last.get(1), AcknowledgeType.REJECT);
            a.consumer.acknowledge(a.last.get(2), AcknowledgeType.RELEASE);
            a.consumer.commitSync();
            for (int count = 2; count <= 5; count++) {
                a.some();
                a.answer(AcknowledgeType.RELEASE);
            }
        }
        var found = Interop.read(letters, 2);
        Interop.check(found.get(0).value().equals("value-1") && found.get(1).value().equals("value-2"), "letters: " + found);
        var header = found.get(1).headers().lastHeader("__dlq.errors.delivery.count");
        Interop.check(new String(header.value()).equals("5"), "delivered " + new String(header.value()) + " times");
        return "one rejected and one that failed 5 times, with their headers";
    }

    static String strict() throws Exception {
        String group = group("strict");
        String topic = topic("strict", 1, 100);
        var sizes = new ArrayList<Integer>();
        try (var a = new Worker(group, topic, "share.acquire.mode=record_limit", "max.poll.records=7")) {
            int[] all = {0};
            Interop.waitUntil(() -> "100 records, " + all[0], () -> {
                int size = a.poll(500).size();
                if (size > 0) sizes.add(size);
                all[0] += size;
                return all[0] == 100;
            });
        }
        Interop.check(sizes.stream().allMatch(size -> size <= 7), "polls of " + sizes);
        return sizes.size() + " polls of at most 7 records";
    }

    static String administered() throws Exception {
        String group = group("administered");
        String topic = topic("administered", 2, 40);
        var partitions = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
        int[] all = {0};
        try (var a = new Worker(group, topic)) {
            Interop.waitUntil(() -> "40 records, " + all[0], () -> (all[0] += a.poll(500).size()) == 40);
            a.consumer.commitSync();
            var described = Interop.admin.describeShareGroups(List.of(group)).all().get().get(group);
            Interop.check(described.members().size() == 1, "members: " + described.members());
            Interop.check(described.members().iterator().next().assignment().topicPartitions().size() == 2, "assignment: " + described);
        }
        Interop.check(Interop.admin.listGroups(new ListGroupsOptions().withTypes(Set.of(org.apache.kafka.common.GroupType.SHARE))).all().get().stream()
                .anyMatch(listing -> listing.groupId().equals(group)), "not listed as a share group");
        var spec = Map.of(group, new ListShareGroupOffsetsSpec().topicPartitions(partitions));
        var offsets = Interop.admin.listShareGroupOffsets(spec).partitionsToOffsetInfo(group).get();
        long sum = offsets.values().stream().mapToLong(SharePartitionOffsetInfo::startOffset).sum();
        Interop.check(sum == 40, "start offsets " + offsets);
        Interop.check(offsets.values().stream().allMatch(info -> info.lag().orElse(-1L) == 0), "lag: " + offsets);
        Interop.admin.alterShareGroupOffsets(group, Map.of(partitions.get(0), 3L)).all().get();
        var moved = Interop.admin.listShareGroupOffsets(spec).partitionsToOffsetInfo(group).get().get(partitions.get(0));
        Interop.check(moved.startOffset() == 3, "moved to " + moved);
        int expected = (int) (offsets.get(partitions.get(0)).startOffset() - 3);
        try (var b = new Worker(group, topic)) {
            int[] again = {0};
            Interop.waitUntil(() -> expected + " records again, " + again[0], () -> (again[0] += b.poll(500).size()) == expected);
        }
        Interop.admin.deleteShareGroupOffsets(group, Set.of(topic)).all().get();
        var none = Interop.admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(group).get();
        Interop.check(none.isEmpty(), "after deleting them: " + none);
        Interop.admin.deleteShareGroups(List.of(group)).all().get();
        return "described, listed with lag, moved back, deleted";
    }

    static Map<String, Interop.Scenario> scenarios() {
        var all = new LinkedHashMap<String, Interop.Scenario>();
        all.put("share-two-members", ShareGroups::shared);
        all.put("share-release", ShareGroups::released);
        all.put("share-reject", ShareGroups::rejected);
        all.put("share-close", ShareGroups::closed);
        all.put("share-lock-timeout", ShareGroups::timedOut);
        all.put("share-renew", ShareGroups::renewed);
        all.put("share-kill", ShareGroups::killed);
        all.put("share-dead-letters", ShareGroups::deadLetters);
        all.put("share-record-limit", ShareGroups::strict);
        all.put("share-admin", ShareGroups::administered);
        return all;
    }
}
