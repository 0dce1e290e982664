// Transactions by Apache Kafka's Java client: what a commit shows, what an abort hides, offsets in transactions, fencing.

import java.time.Duration;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

class Transactions {
    static KafkaProducer<String, String> producer(String id) {
        Map<String, Object> config = Map.of("bootstrap.servers", Interop.bootstrap, "transactional.id", id, "linger.ms", "5");
        var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        return producer;
    }

    static void send(KafkaProducer<String, String> producer, String topic, String prefix, int count) {
        for (int i = 0; i < count; i++) producer.send(new ProducerRecord<>(topic, i % 3, "k", prefix + "-" + i));
    }

    /** Values from the beginning up to what is readable now. */
    static List<String> values(String topic, String isolation) {
        try (var consumer = Interop.consumer(Map.of("isolation.level", isolation))) {
            var partitions = consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            var values = new ArrayList<String>();
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                consumer.poll(Duration.ofMillis(200)).forEach(record -> values.add(record.value()));
            }
            Collections.sort(values);
            return values;
        }
    }

    static List<String> named(String prefix, int count) {
        return IntStream.range(0, count).mapToObj(i -> prefix + "-" + i).sorted().collect(Collectors.toList());
    }

    static String commitAndAbort() throws Exception {
        String topic = Interop.topicOf("transactions", 3);
        try (var producer = producer(Interop.fresh("txn"))) {
            for (String round : List.of("one", "two", "three")) {
                producer.beginTransaction();
                send(producer, topic, round, 30);
                producer.flush();
                if (round.equals("one")) {
                    Interop.check(values(topic, "read_committed").isEmpty(), "an open transaction is read by read_committed");
                    Interop.check(values(topic, "read_uncommitted").size() == 30, "an open transaction is hidden from read_uncommitted");
                }
                if (round.equals("two")) producer.abortTransaction(); else producer.commitTransaction();
            }
        }
        var expected = Stream.concat(named("one", 30).stream(), named("three", 30).stream()).sorted().toList();
        Interop.check(values(topic, "read_committed").equals(expected), "read_committed reads something else than what was committed");
        Interop.check(values(topic, "read_uncommitted").size() == 90, "read_uncommitted reads something else than everything");
        return "two committed, one aborted between them";
    }

    static String fencing() throws Exception {
        String topic = Interop.topicOf("fenced", 3), id = Interop.fresh("txn");
        var old = producer(id);
        old.beginTransaction();
        send(old, topic, "old", 9);
        old.flush();
        try (var young = producer(id)) {
            try {
                old.commitTransaction();
                throw new AssertionError("a producer whose successor has begun may still commit");
            } catch (ProducerFencedException | InvalidProducerEpochException expected) {
                old.close(Duration.ZERO);
            }
            young.beginTransaction();
            send(young, topic, "young", 9);
            young.commitTransaction();
        }
        Interop.check(values(topic, "read_committed").equals(named("young", 9)), "what the fenced producer wrote is read");
        return "the older of two is fenced, what it had open is aborted";
    }

    /** Consume, transform, produce: the group's offsets move with the commit only. */
    static String offsets() throws Exception {
        String input = Interop.topicOf("eos-in", 3), output = Interop.topicOf("eos-out", 3), group = Interop.fresh("eos");
        Interop.produce(input, Interop.spread("v").stream().map(m -> new Interop.Sent(m.key(), m.value(), m.partition() % 3, null, List.of())).toList());
        Map<String, Object> settings = Map.of("group.id", group, "isolation.level", "read_committed", "max.poll.records", "10");
        int copied = 0, aborted = 0;
        try (var producer = producer(Interop.fresh("txn")); var consumer = Interop.consumer(settings)) {
            consumer.subscribe(List.of(input));
            while (copied < 60) {
                var records = consumer.poll(Duration.ofMillis(500));
                if (records.isEmpty()) continue;
                producer.beginTransaction();
                var next = new HashMap<TopicPartition, OffsetAndMetadata>();
                for (var record : records) {
                    producer.send(new ProducerRecord<>(output, record.partition(), record.key(), record.value()));
                    next.put(new TopicPartition(input, record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
                if (aborted < 2) {
                    producer.abortTransaction();
                    aborted++;
                    var committed = consumer.committed(next.keySet());
                    for (var partition : next.keySet()) {
                        var at = committed.get(partition);
                        consumer.seek(partition, at == null ? 0 : at.offset());
                    }
                } else {
                    producer.commitTransaction();
                    copied += records.count();
                }
            }
        }
        var expected = Interop.spread("v").stream().map(Interop.Sent::value).sorted().toList();
        Interop.check(values(output, "read_committed").equals(expected), "the copy differs from the original");
        return "60 records copied, " + aborted + " attempts aborted";
    }

    /** A transaction that is left open ends by its time-out, and readers go on. */
    static String timeout() throws Exception {
        String topic = Interop.topicOf("left-open", 3);
        Map<String, Object> config = Map.of("bootstrap.servers", Interop.bootstrap, "transactional.id", Interop.fresh("txn"), "transaction.timeout.ms", "2000");
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            send(producer, topic, "lost", 9);
            producer.flush();
            Interop.produce(topic, List.of(new Interop.Sent("k", "kept", 0, null, List.of())));
            Interop.waitUntil(() -> "the record behind the open transaction is read", () -> values(topic, "read_committed").equals(List.of("kept")));
            try {
                producer.commitTransaction();
                throw new AssertionError("a transaction that timed out may still be committed");
            } catch (KafkaException expected) {
                return "aborted by the broker after its time-out: " + expected.getClass().getSimpleName();
            }
        }
    }
}
