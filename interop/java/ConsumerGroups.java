// Groups whose partitions the broker assigns (KIP-848): static members, patterns, the way from the classic protocol and back, refusals.

import java.time.Duration;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;

class ConsumerGroups {
    static final Map<String, Object> NEW = Map.of("group.protocol", "consumer");

    static Map<String, Object> with(String... settings) {
        var all = new HashMap<>(NEW);
        for (int i = 0; i < settings.length; i += 2) all.put(settings[i], settings[i + 1]);
        return all;
    }

    static ConsumerGroupDescription describe(String group) throws Exception {
        return Interop.admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    static KafkaConsumer<String, String> consumer(String group, Map<String, Object> settings) {
        var config = new HashMap<>(settings);
        config.put("group.id", group);
        return Interop.consumer(config);
    }

    static void pollUntil(KafkaConsumer<?, ?> consumer, int partitions) throws Exception {
        Interop.waitUntil(() -> "has " + consumer.assignment(), () -> {
            consumer.poll(Duration.ofMillis(100));
            return consumer.assignment().size() == partitions;
        });
    }

    static <E extends Throwable> void refused(KafkaConsumer<?, ?> consumer, Class<E> as) throws Exception {
        try {
            Interop.waitUntil(() -> "a refusal", () -> {
                consumer.poll(Duration.ofMillis(100));
                return false;
            });
        } catch (KafkaException error) {
            Interop.check(as.isInstance(error), "refused with " + error);
        }
    }

    /** A classic member, one of the new protocol beside it, then each of them alone. */
    static String migration(String assignor) throws Exception {
        String topic = Interop.topicOf("migration", 6);
        String group = Interop.fresh("migration");
        Interop.produce(topic, Interop.spread("first"));
        Map<String, Object> old = Map.of("group.protocol", "classic", "partition.assignment.strategy", assignor);
        var classic = new Interop.Member(group, topic, old);
        Interop.waitSettled(List.of(classic), "a classic member has everything");
        var modern = new Interop.Member(group, topic, NEW);
        Interop.waitSettled(List.of(classic, modern), "it shares with one of the new protocol");
        var mixed = describe(group);
        Interop.check(mixed.type() == GroupType.CONSUMER, "it is a " + mixed.type() + " group");
        var upgraded = mixed.members().stream().map(m -> m.upgraded().orElse(null)).collect(Collectors.toSet());
        Interop.check(upgraded.equals(Set.of(true, false)), "upgraded: " + upgraded);
        Interop.produce(topic, Interop.spread("second"));
        modern.leave();
        Interop.waitSettled(List.of(classic), "the classic member has everything again");
        Interop.check(describe(group).type() == GroupType.CLASSIC, "it is a classic group again");
        var returned = new Interop.Member(group, topic, NEW);
        Interop.waitSettled(List.of(classic, returned), "it shares again");
        classic.leave();
        Interop.waitSettled(List.of(returned), "the new protocol alone");
        Interop.produce(topic, Interop.spread("third"));
        Interop.waitDistinct(List.of(classic, modern, returned), 180);
        returned.leave();
        return "classic, mixed, classic, mixed, consumer; every record";
    }

    static String staticMembers() throws Exception {
        String topic = Interop.topicOf("consumer-static", 6);
        String group = Interop.fresh("consumer-static");
        var stay = CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP);
        var first = consumer(group, with("group.instance.id", "one"));
        first.subscribe(List.of(topic));
        pollUntil(first, 6);
        try (var second = consumer(group, with("group.instance.id", "one"))) {
            second.subscribe(List.of(topic));
            refused(second, UnreleasedInstanceIdException.class);
        }
        int epoch = describe(group).groupEpoch().orElseThrow();
        first.close(stay);
        var member = describe(group).members().iterator().next();
        Interop.check(member.memberEpoch().orElseThrow() == -2, "a member that has left for a while is at " + member.memberEpoch());
        try (var back = consumer(group, with("group.instance.id", "one"))) {
            back.subscribe(List.of(topic));
            pollUntil(back, 6);
            Interop.check(describe(group).groupEpoch().orElseThrow() == epoch, "its return made a new epoch");
        }
        Interop.admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")))).all().get();
        Interop.check(describe(group).groupState() == GroupState.EMPTY, "the group is not empty");
        return "an id in use is refused; back without a rebalance; removed by an administrator";
    }

    static String pattern() throws Exception {
        String prefix = Interop.fresh("pattern");
        Interop.create(prefix + ".a", 2);
        Interop.create(prefix + ".b", 3);
        Interop.create("not-" + prefix + ".c", 1);
        try (var consumer = consumer(Interop.fresh("pattern"), NEW)) {
            consumer.subscribe(new SubscriptionPattern(prefix + "\\.[a-z]+"));
            pollUntil(consumer, 5);
            Interop.create(prefix + ".d", 4);
            pollUntil(consumer, 9);
        }
        return "topics that match, and one that is created later";
    }

    static String refusals() throws Exception {
        String topic = Interop.topicOf("refusals", 1);
        String group = Interop.fresh("refusals");
        try (var consumer = consumer(group, NEW)) {
            consumer.subscribe(new SubscriptionPattern("broken("));
            refused(consumer, InvalidRegularExpression.class);
        }
        try (var consumer = consumer(group, with("group.remote.assignor", "nobody"))) {
            consumer.subscribe(List.of(topic));
            refused(consumer, UnsupportedAssignorException.class);
        }
        try (var consumer = consumer(group, NEW)) {
            consumer.subscribe(List.of(topic));
            pollUntil(consumer, 1);
            try {
                Interop.admin.deleteConsumerGroups(List.of(group)).all().get();
                throw new AssertionError("a group with members was deleted");
            } catch (java.util.concurrent.ExecutionException error) {
                Interop.check(error.getCause() instanceof GroupNotEmptyException, "refused with " + error.getCause());
            }
        }
        return "a broken pattern, an unknown assignor, a group with members";
    }
}
