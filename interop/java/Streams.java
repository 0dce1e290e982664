// Kafka Streams with exactly-once v2: a word count and a windowed join, each with two instances, one of which is closed half way.

import java.nio.file.Files;
import java.time.Duration;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

public class Streams {
    static final String WORDS = "the line of fastest flow along a river bed is the line that a boat takes";

    static Properties config(String application, String instance) throws Exception {
        var config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        config.put(StreamsConfig.CLIENT_ID_CONFIG, application + "-" + instance);
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, Interop.bootstrap);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("streams").toString());
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        config.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "10000");
        return config;
    }

    static KafkaStreams started(Topology topology, String application, String instance) throws Exception {
        var streams = new KafkaStreams(topology, config(application, instance));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        return streams;
    }

    /** Every committed record of a topic, in the order of each partition. */
    static <V> List<ConsumerRecord<String, V>> committed(String topic, Deserializer<V> values, java.util.function.Predicate<List<ConsumerRecord<String, V>>> enough) {
        Map<String, Object> config = Map.of("bootstrap.servers", Interop.bootstrap, "isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), values)) {
            var partitions = consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var records = new ArrayList<ConsumerRecord<String, V>>();
            long deadline = System.currentTimeMillis() + 90_000;
            while (!enough.test(records) && System.currentTimeMillis() < deadline) consumer.poll(Duration.ofMillis(300)).forEach(records::add);
            // What a second attempt at the same input would have written comes right after.
            for (int i = 0; i < 5; i++) consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            return records;
        }
    }

    static void send(String topic, int from, int to, java.util.function.IntFunction<String> key, java.util.function.IntFunction<String> value) throws Exception {
        var records = IntStream.range(from, to).mapToObj(i -> Interop.Sent.of(key.apply(i), value.apply(i))).toList();
        Interop.produce(topic, records, "enable.idempotence=true");
    }

    static String wordCount() throws Exception {
        String input = Interop.topicOf("words", 4), output = Interop.topicOf("counts", 4), application = Interop.fresh("word-count");
        var builder = new StreamsBuilder();
        builder.<String, String>stream(input)
                .flatMapValues(line -> List.of(line.split(" ")))
                .groupBy((key, word) -> word)
                .count(Materialized.as("counts"))
                .toStream()
                .to(output, Produced.with(Serdes.String(), Serdes.Long()));
        int lines = 600;
        var expected = Arrays.stream(WORDS.split(" ")).collect(Collectors.groupingBy(word -> word, TreeMap::new, Collectors.summingLong(word -> lines)));
        try (var first = started(builder.build(), application, "a"); var second = started(builder.build(), application, "b")) {
            send(input, 0, lines / 2, i -> "line-" + i, i -> WORDS);
            committed(output, new LongDeserializer(), records -> records.size() >= 10);
            second.close(Duration.ofSeconds(30));
            send(input, lines / 2, lines, i -> "line-" + i, i -> WORDS);
            var records = committed(output, new LongDeserializer(), all -> latest(all).equals(expected));
            Interop.check(latest(records).equals(expected), "counted " + latest(records) + ", wanted " + expected);
            var before = new HashMap<String, Long>();
            for (var record : records) {
                Long last = before.put(record.key(), record.value());
                Interop.check(last == null || record.value() > last, "the count of '" + record.key() + "' went from " + last + " to " + record.value());
            }
        }
        return expected.size() + " words counted to " + expected.values().stream().mapToLong(n -> n).sum() + ", one of two instances closed half way";
    }

    static Map<String, Long> latest(List<ConsumerRecord<String, Long>> records) {
        var counts = new TreeMap<String, Long>();
        for (var record : records) counts.put(record.key(), record.value());
        return counts;
    }

    /** Every order meets its payment of the same key within the window, once; a payment an hour later meets nothing. */
    static String windowedJoin() throws Exception {
        String orders = Interop.topicOf("orders", 4), payments = Interop.topicOf("payments", 4), output = Interop.topicOf("paid", 4);
        String application = Interop.fresh("join");
        var builder = new StreamsBuilder();
        KStream<String, String> paid = builder.stream(payments);
        builder.<String, String>stream(orders)
                .join(paid, (order, payment) -> order + " " + payment, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofMinutes(5)))
                .to(output);
        int count = 400;
        long now = System.currentTimeMillis();
        try (var first = started(builder.build(), application, "a"); var second = started(builder.build(), application, "b")) {
            sendAt(orders, 0, count / 2, "order", now);
            sendAt(payments, 0, count / 2, "payment", now + 60_000);
            committed(output, new StringDeserializer(), records -> records.size() >= 20);
            second.close(Duration.ofSeconds(30));
            sendAt(orders, count / 2, count, "order", now);
            sendAt(payments, count / 2, count, "payment", now + 60_000);
            var records = committed(output, new StringDeserializer(), all -> all.size() >= count);
            sendAt(payments, 0, count, "late", now + 3_600_000);
            records = committed(output, new StringDeserializer(), all -> all.size() >= count);
            var values = records.stream().map(ConsumerRecord::value).sorted().toList();
            var expected = IntStream.range(0, count).mapToObj(i -> "order-" + i + " payment-" + i).sorted().toList();
            Interop.check(values.equals(expected), "joined " + values.size() + " pairs, wanted " + count + "; distinct " + new HashSet<>(values).size());
        }
        return count + " pairs, each once, none outside the window";
    }

    static void sendAt(String topic, int from, int to, String what, long time) throws Exception {
        var records = IntStream.range(from, to).mapToObj(i -> new Interop.Sent("key-" + i, what + "-" + i, null, time, List.of())).toList();
        Interop.produce(topic, records, "enable.idempotence=true");
    }

    public static void main(String[] arguments) {
        var all = new LinkedHashMap<String, Interop.Scenario>();
        all.put("streams word count, exactly once v2", Streams::wordCount);
        all.put("streams windowed join, exactly once v2", Streams::windowedJoin);
        Interop.runAll("Kafka Streams", all, arguments);
    }
}
