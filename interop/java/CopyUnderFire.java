// An exactly-once copy loop whose broker is killed again and again by whoever started this program: a numbered input, copied in
// transactions together with the group's offsets, must be in the output once, whole and in order.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.*;
import java.util.stream.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class CopyUnderFire {
    static final int RECORDS = 12_000, BURST = 20, PARTITIONS = 3;
    static final long PATIENCE_MS = 240_000;
    static final AtomicInteger commits = new AtomicInteger(), failures = new AtomicInteger();
    static volatile boolean done;

    static void feed(String topic) {
        Map<String, Object> config = Map.of("bootstrap.servers", Interop.bootstrap, "enable.idempotence", "true", "delivery.timeout.ms", "200000",
                "request.timeout.ms", "5000", "linger.ms", "5", "max.block.ms", "120000");
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < RECORDS; i++) {
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, "k", "" + i), (placed, error) -> {
                    if (error != null) error.printStackTrace();
                });
                if (i % BURST == BURST - 1) Thread.sleep(50);
            }
            producer.flush();
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    /** Copies until told to stop; after any failure it begins anew from what is committed. */
    static void copy(String input, String output, String group, String id) {
        while (!done) {
            Map<String, Object> reading = Map.of("group.id", group, "isolation.level", "read_committed", "session.timeout.ms", "10000", "default.api.timeout.ms", "10000", "max.poll.records", "50");
            Map<String, Object> writing = Map.of("bootstrap.servers", Interop.bootstrap, "transactional.id", id, "request.timeout.ms", "5000",
                    "delivery.timeout.ms", "15000", "max.block.ms", "15000", "transaction.timeout.ms", "20000");
            try (var consumer = Interop.consumer(reading); var producer = new KafkaProducer<>(writing, new StringSerializer(), new StringSerializer())) {
                producer.initTransactions();
                consumer.subscribe(List.of(input));
                while (!done) transaction(consumer, producer, output);
            } catch (KafkaException error) {
                failures.incrementAndGet();
            }
        }
    }

    static void transaction(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer, String output) {
        var records = consumer.poll(Duration.ofMillis(200));
        if (records.isEmpty()) return;
        producer.beginTransaction();
        var next = new HashMap<TopicPartition, OffsetAndMetadata>();
        for (var record : records) {
            producer.send(new ProducerRecord<>(output, record.partition(), record.key(), record.value()));
            next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
        producer.commitTransaction();
        commits.incrementAndGet();
    }

    /** The committed output by partition, as it is now. */
    static Map<Integer, List<Integer>> committed(String output) {
        try (var consumer = Interop.consumer(Map.of("isolation.level", "read_committed", "default.api.timeout.ms", "10000"))) {
            var partitions = IntStream.range(0, PARTITIONS).mapToObj(i -> new TopicPartition(output, i)).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            var values = new TreeMap<Integer, List<Integer>>();
            long deadline = System.currentTimeMillis() + 20_000;
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p)) && System.currentTimeMillis() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(r -> values.computeIfAbsent(r.partition(), p -> new ArrayList<>()).add(Integer.parseInt(r.value())));
            }
            return values;
        }
    }

    static String run() throws Exception {
        String input = Interop.topicOf("fire-in", PARTITIONS), output = Interop.topicOf("fire-out", PARTITIONS);
        var threads = List.of(new Thread(() -> feed(input)), new Thread(() -> copy(input, output, input + "-copy", input + "-txn")));
        threads.forEach(Thread::start);
        Map<Integer, List<Integer>> found = Map.of();
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (System.currentTimeMillis() < deadline && count(found) < RECORDS) {
            Thread.sleep(2000);
            try {
                found = committed(output);
            } catch (KafkaException error) {
                // The broker was away; ask again.
            }
        }
        done = true;
        for (Thread thread : threads) thread.join(30_000);
        found = committed(output);
        for (int partition = 0; partition < PARTITIONS; partition++) {
            int first = partition;
            var expected = IntStream.range(0, RECORDS / PARTITIONS).map(i -> i * PARTITIONS + first).boxed().toList();
            var values = found.getOrDefault(partition, List.of());
            Interop.check(values.equals(expected), "partition " + partition + " of the copy has " + values.size() + " records, " + new HashSet<>(values).size()
                    + " distinct, wanted " + expected.size() + " in order; " + commits + " transactions, " + failures + " failures");
        }
        return RECORDS + " records in " + commits + " transactions, begun anew " + failures + " times";
    }

    static int count(Map<Integer, List<Integer>> found) {
        return found.values().stream().mapToInt(List::size).sum();
    }

    public static void main(String[] arguments) {
        Interop.runAll("Java client", new LinkedHashMap<>(Map.of("copy loop, exactly once", CopyUnderFire::run)), arguments);
    }
}
