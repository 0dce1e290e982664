//! The records of consumer groups (KIP-848): as Apache Kafka 4.3.1 wrote them, and harmless when they are garbage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_state::groups::*;
use broker_state::step::Millis;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use wire::Uuid;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits"))
        .collect()
}

/// Checks that these bytes are this change of group `g1`, and that it is written as these bytes.
#[track_caller]
fn is_written(key: &str, value: &str, change: ConsumerChange) {
    let group = GroupId::from("g1");
    let record = Record::Consumer { group, change };
    assert_eq!(
        Record::decode(&bytes(key), Some(&bytes(value))).as_ref(),
        Ok(&record)
    );
    assert_eq!(record.encode(), (bytes(key), Some(bytes(value))));
}

const MEMBER: &str = "d7i6clLJQDapQke9m1yq-Q";
const MEMBER_HEX: &str = "0016 64376936636c4c4a51446170516b65396d3179712d51";

fn topic() -> Uuid {
    "W-6uesJKS9et1MqqfsXuZA".parse().expect("an id")
}

#[test]
fn a_group_s_epoch_is_written_as_kafka_writes_it() {
    let epoch = GroupEpoch {
        epoch: 2,
        metadata_hash: 0x4511_e450_5c33_dd7f,
    };
    let value = "0000 00000002 01 00 08 4511e4505c33dd7f";
    is_written("0003 0002 6731", value, ConsumerChange::Group(Some(epoch)));
    let plain = GroupEpoch {
        epoch: 2,
        metadata_hash: 0,
    };
    is_written(
        "0003 0002 6731",
        "0000 00000002 00",
        ConsumerChange::Group(Some(plain)),
    );
}

#[test]
fn a_member_is_written_as_kafka_writes_it() {
    let member = MemberSettings {
        client_id: "c1".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        topics: BTreeSet::from([TopicName::from("t")]),
        regex: Some(String::new()),
        rebalance_timeout: Duration::from_millis(300_000),
        ..MemberSettings::default()
    };
    let value = "0000 00 00 03 6331 0b 2f3132372e302e302e31 02 02 74 01 000493e0 00 00";
    let key = format!("0005 0002 6731 {MEMBER_HEX}");
    is_written(
        &key,
        value,
        ConsumerChange::Member(MEMBER.into(), Some(member.clone())),
    );
    let classic = MemberSettings {
        classic: Some(ClassicMember {
            session_timeout: Duration::from_millis(45_000),
            protocols: vec![Protocol {
                name: "range".to_owned(),
                metadata: SharedBytes::from([1, 2]),
            }],
        }),
        ..member
    };
    let value = "0000 00 00 03 6331 0b 2f3132372e302e302e31 02 02 74 01 000493e0 00
                 01 00 11 01 0000afc8 02 06 72616e6765 03 0102 00 00";
    is_written(
        &key,
        value,
        ConsumerChange::Member(MEMBER.into(), Some(classic)),
    );
}

#[test]
fn targets_are_written_as_kafka_writes_them() {
    let made_at = AssignmentEpoch {
        epoch: 2,
        made_at: Millis(0x1a1_f9dd_7a62),
    };
    let value = "0000 00000002 01 00 08 000001a1f9dd7a62";
    is_written(
        "0006 0002 6731",
        value,
        ConsumerChange::Assignment(Some(made_at)),
    );
    let target = Partitions::from([(topic(), BTreeSet::from([0, 1, 2, 3, 4, 5]))]);
    let value = "0000 02 5beeae7ac24a4bd7add4caaa7ec5ee64 07
                 00000000 00000001 00000002 00000003 00000004 00000005 00 00";
    let key = format!("0007 0002 6731 {MEMBER_HEX}");
    is_written(
        &key,
        value,
        ConsumerChange::Target(MEMBER.into(), Some(target)),
    );
}

#[test]
fn a_member_that_gives_up_partitions_is_written_as_kafka_writes_it() {
    let epochs = |partitions: &[i32]| {
        let partitions = partitions.iter().map(|partition| (*partition, 2)).collect();
        PartitionEpochs::from([(topic(), partitions)])
    };
    let current = CurrentAssignment {
        epoch: 2,
        previous_epoch: 2,
        state: MemberState::UnrevokedPartitions,
        assigned: epochs(&[0, 1, 2]),
        pending_revocation: epochs(&[3, 4, 5]),
    };
    let value = "0000 00000002 00000002 01
                 02 5beeae7ac24a4bd7add4caaa7ec5ee64 04 00000000 00000001 00000002
                    01 00 0d 04 00000002 00000002 00000002
                 02 5beeae7ac24a4bd7add4caaa7ec5ee64 04 00000003 00000004 00000005
                    01 00 0d 04 00000002 00000002 00000002 00";
    let key = format!("0008 0002 6731 {MEMBER_HEX}");
    is_written(
        &key,
        value,
        ConsumerChange::Current(MEMBER.into(), Some(current)),
    );
}

#[test]
fn partitions_without_epochs_have_the_member_s() {
    let value =
        "0000 00000007 00000006 00 02 5beeae7ac24a4bd7add4caaa7ec5ee64 02 00000003 00 01 00";
    let key = bytes(&format!("0008 0002 6731 {MEMBER_HEX}"));
    let read = Record::decode(&key, Some(&bytes(value)));
    let Ok(Record::Consumer {
        change: ConsumerChange::Current(_, Some(current)),
        ..
    }) = read
    else {
        panic!("a current assignment was written before Kafka 4.3: {read:?}");
    };
    let expected = PartitionEpochs::from([(topic(), BTreeMap::from([(3, 7)]))]);
    assert_eq!(current.assigned, expected);
}

#[test]
fn a_regular_expression_is_written_as_kafka_writes_it() {
    let resolved = ResolvedRegex {
        topics: BTreeSet::from([TopicName::from("a.a"), TopicName::from("a.b")]),
        version: 0x167d,
        resolved_at: Millis(0x1a1_fa08_1bda),
    };
    let value = "0000 03 04 612e61 04 612e62 000000000000167d 000001a1fa081bda 00";
    let change = ConsumerChange::Regex("a.+".to_owned(), Some(resolved));
    is_written("0010 0002 6731 0003 612e2b", value, change);
}

#[test]
fn partition_metadata_of_older_kafkas_is_passed_over() {
    let group = GroupId::from("g1");
    let change = ConsumerChange::PartitionMetadata;
    let read = Record::decode(&bytes("0004 0002 6731"), Some(&bytes("0000 01 00")));
    assert_eq!(read, Ok(Record::Consumer { group, change }));
}

#[test]
fn a_state_that_is_not_known_is_read_as_such() {
    let key = bytes(&format!("0008 0002 6731 {MEMBER_HEX}"));
    let read = Record::decode(&key, Some(&bytes("0000 00000007 00000006 42 01 01 00")));
    let Ok(Record::Consumer {
        change: ConsumerChange::Current(_, Some(current)),
        ..
    }) = read
    else {
        panic!("a state of a newer Kafka is no damage: {read:?}");
    };
    assert_eq!(current.state, MemberState::Unknown);
}

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn topics() -> impl Strategy<Value = BTreeSet<TopicName>> {
    btree_set(text().prop_map(TopicName::from), 0..4)
}

fn topic_id() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(Uuid)
}

fn epochs() -> impl Strategy<Value = PartitionEpochs> {
    btree_map(
        topic_id(),
        btree_map(any::<i32>(), any::<i32>(), 1..4),
        0..4,
    )
}

prop_compose! {
    fn any_settings()(
        texts in (option::of(text()), option::of(text()), text(), text()), topics in topics(),
        regex in option::of(text()), assignor in option::of(text()), rebalance in 0..i32::MAX as u64,
        classic in option::of((0..i32::MAX as u64, vec((text(), any::<Vec<u8>>()), 0..3))),
    ) -> MemberSettings {
        let (instance_id, rack_id, client_id, client_host) = texts;
        let classic = classic.map(|(session, protocols)| ClassicMember {
            session_timeout: Duration::from_millis(session),
            protocols: protocols
                .into_iter()
                .map(|(name, metadata)| Protocol { name, metadata: SharedBytes::from(metadata) })
                .collect(),
        });
        MemberSettings {
            instance_id: instance_id.map(InstanceId::from),
            rack_id,
            client_id,
            client_host,
            topics,
            regex,
            rebalance_timeout: Duration::from_millis(rebalance),
            assignor,
            classic,
        }
    }
}

fn any_state() -> impl Strategy<Value = MemberState> {
    prop_oneof![
        Just(MemberState::Stable),
        Just(MemberState::UnrevokedPartitions),
        Just(MemberState::UnreleasedPartitions),
        Just(MemberState::Unknown),
    ]
}

prop_compose! {
    fn any_current()(
        epoch in any::<i32>(), previous_epoch in any::<i32>(), state in any_state(),
        assigned in epochs(), pending_revocation in epochs(),
    ) -> CurrentAssignment {
        CurrentAssignment { epoch, previous_epoch, state, assigned, pending_revocation }
    }
}

prop_compose! {
    fn any_regex()(topics in topics(), version in any::<i64>(), at in any::<i64>()) -> ResolvedRegex {
        ResolvedRegex { topics, version, resolved_at: Millis(at) }
    }
}

fn any_change() -> impl Strategy<Value = ConsumerChange> {
    let member = || text().prop_map(MemberId::from);
    let target = btree_map(topic_id(), btree_set(any::<i32>(), 0..4), 0..4);
    prop_oneof![
        option::of((any::<i32>(), any::<i64>())).prop_map(|epoch| ConsumerChange::Group(
            epoch.map(|(epoch, metadata_hash)| GroupEpoch {
                epoch,
                metadata_hash
            })
        )),
        Just(ConsumerChange::PartitionMetadata),
        (member(), option::of(any_settings())).prop_map(|(id, m)| ConsumerChange::Member(id, m)),
        option::of((any::<i32>(), any::<i64>())).prop_map(|epoch| ConsumerChange::Assignment(
            epoch.map(|(epoch, at)| AssignmentEpoch {
                epoch,
                made_at: Millis(at)
            })
        )),
        (member(), option::of(target)).prop_map(|(id, t)| ConsumerChange::Target(id, t)),
        (member(), option::of(any_current())).prop_map(|(id, c)| ConsumerChange::Current(id, c)),
        (text(), option::of(any_regex())).prop_map(|(regex, r)| ConsumerChange::Regex(regex, r)),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    (text(), any_change()).prop_map(|(group, change)| Record::Consumer {
        group: GroupId::from(group),
        change,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(record in any_record()) {
        let (key, value) = record.encode();
        prop_assert!(key.len() + value.as_ref().map_or(0, Vec::len) <= record.size());
        prop_assert_eq!(Record::decode(&key, value.as_deref()), Ok(record));
    }

    #[test]
    fn garbage_is_refused_without_a_panic(kind in 3..17u8, rest in any::<Vec<u8>>()) {
        let key = [&[0, kind, 0, 1, b'g', 0, 1, b'm'][..]].concat();
        let value = [&[0, 0][..], &rest].concat();
        let _ = Record::decode(&key, Some(&value));
        let _ = Record::decode(&key[..5], Some(&value));
    }

    #[test]
    fn a_record_that_is_cut_off_is_refused(record in any_record(), at in any::<usize>(), byte in any::<u8>()) {
        let (key, value) = record.encode();
        if let Some(mut value) = value {
            let at = at % value.len();
            prop_assert!(Record::decode(&key, Some(&value[..at])).is_err());
            value[at] = byte;
            let _ = Record::decode(&key, Some(&value));
        }
    }
}
