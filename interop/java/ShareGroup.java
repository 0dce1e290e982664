// KafkaShareConsumer (KIP-932): a queue on a topic. Accept, release, reject, time-out, and two consumers that share one partition.

import java.time.Duration;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

class ShareGroup {
    static KafkaShareConsumer<String, String> member(String group, String topic, String mode) {
        Map<String, Object> config = Map.of("bootstrap.servers", Interop.bootstrap, "group.id", group, "share.acknowledgement.mode", mode, "max.poll.records", "20");
        var consumer = new KafkaShareConsumer<>(config, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    static String prepare(String what, int partitions, String group, Map<String, String> settings) throws Exception {
        String topic = Interop.topicOf(what, partitions);
        var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        var ops = new ArrayList<AlterConfigOp>();
        ops.add(new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET));
        settings.forEach((key, value) -> ops.add(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET)));
        Interop.admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
        return topic;
    }

    static List<Interop.Sent> jobs(int count) {
        return IntStream.range(0, count).mapToObj(i -> Interop.Sent.of("k", "job-" + i)).toList();
    }

    /** Two consumers, one partition: each record to one of them, all of them to somebody. */
    static String queue() throws Exception {
        String group = Interop.fresh("share"), topic = prepare("jobs", 1, group, Map.of());
        // Whole batches are handed out, so they are small here.
        Interop.produce(topic, jobs(500), "batch.size=200", "linger.ms=0");
        var seen = new ArrayList<String>();
        int[] each = new int[2];
        try (var a = member(group, topic, "implicit"); var b = member(group, topic, "implicit")) {
            long deadline = System.currentTimeMillis() + Interop.PATIENCE_MS;
            while (seen.size() < 500 && System.currentTimeMillis() < deadline) {
                int turn = 0;
                for (var consumer : List.of(a, b)) {
                    for (var record : consumer.poll(Duration.ofMillis(200))) {
                        seen.add(record.value());
                        each[turn]++;
                    }
                    turn++;
                }
            }
            a.commitSync();
            b.commitSync();
        }
        Interop.check(seen.size() == 500 && new HashSet<>(seen).size() == 500, "got " + seen.size() + " records, " + new HashSet<>(seen).size() + " of them distinct");
        Interop.check(each[0] > 0 && each[1] > 0, "one of two consumers got everything");
        return each[0] + " and " + each[1] + " of 500 records from one partition";
    }

    /** What is released comes again with a higher count, what is rejected never, what is accepted never. */
    static String acknowledge() throws Exception {
        String group = Interop.fresh("share"), topic = prepare("verdicts", 1, group, Map.of());
        Interop.produce(topic, jobs(30));
        var deliveries = new TreeMap<String, List<Integer>>();
        try (var consumer = member(group, topic, "explicit")) {
            long deadline = System.currentTimeMillis() + Interop.PATIENCE_MS;
            while (System.currentTimeMillis() < deadline && deliveries.values().stream().mapToInt(List::size).sum() < 40) {
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    int number = Integer.parseInt(record.value().substring(4));
                    int count = record.deliveryCount().orElse((short) 0);
                    deliveries.computeIfAbsent(record.value(), key -> new ArrayList<>()).add(count);
                    boolean isFirst = count == 1;
                    consumer.acknowledge(record, number % 3 == 0 && isFirst ? AcknowledgeType.RELEASE : number % 3 == 1 ? AcknowledgeType.REJECT : AcknowledgeType.ACCEPT);
                }
                consumer.commitSync();
            }
            for (int i = 0; i < 3; i++) {
                for (var record : consumer.poll(Duration.ofMillis(300))) {
                    throw new AssertionError(record.value() + " came again after everything was settled");
                }
            }
        }
        for (int i = 0; i < 30; i++) {
            var counts = deliveries.get("job-" + i);
            var expected = i % 3 == 0 ? List.of(1, 2) : List.of(1);
            Interop.check(expected.equals(counts), "job-" + i + " came with the counts " + counts + ", wanted " + expected);
        }
        return "10 accepted, 10 released and accepted, 10 rejected";
    }

    /** A consumer that goes away without a word: its records go to another when their lock ends. */
    static String lockTimeout() throws Exception {
        String group = Interop.fresh("share"), topic = prepare("locks", 1, group, Map.of("share.record.lock.duration.ms", "15000"));
        Interop.produce(topic, jobs(10));
        var again = new ArrayList<Integer>();
        try (var silent = member(group, topic, "explicit"); var other = member(group, topic, "explicit")) {
            int taken = 0;
            for (int i = 0; i < 40 && taken == 0; i++) taken = silent.poll(Duration.ofMillis(500)).count();
            Interop.check(taken == 10, "the first consumer got " + taken + " of 10");
            long deadline = System.currentTimeMillis() + Interop.PATIENCE_MS;
            while (again.size() < 10 && System.currentTimeMillis() < deadline) {
                for (var record : other.poll(Duration.ofMillis(500))) {
                    again.add((int) record.deliveryCount().orElse((short) 0));
                    other.acknowledge(record, AcknowledgeType.ACCEPT);
                }
                other.commitSync();
            }
        }
        Interop.check(again.equals(Collections.nCopies(10, 2)), "the second consumer got the counts " + again);
        return "10 records taken over after 15 s";
    }
}
