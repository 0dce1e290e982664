//! The records' bytes: Kafka's own, readable in all versions, and harmless when they are garbage.

use std::time::Duration;

use broker_state::groups::*;
use broker_state::step::Millis;
use proptest::prelude::*;
use wire::Uuid;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits"))
        .collect()
}

fn committed() -> CommittedOffset {
    CommittedOffset {
        offset: 42,
        leader_epoch: 3,
        metadata: "note".to_owned(),
        committed_at: Millis(1_700_000_000_000),
        expires_at: None,
        topic_id: Uuid::ZERO,
    }
}

fn offset_commit(committed: CommittedOffset) -> Record {
    Record::OffsetCommit {
        group: GroupId::from("g"),
        topic: TopicName::from("t1"),
        partition: 7,
        committed,
    }
}

const OFFSET_KEY: &str = "0001 0001 67 0002 7431 00000007";

#[test]
fn an_offset_commit_is_written_as_kafka_writes_version_3() {
    let value = "0003 000000000000002a 00000003 0004 6e6f7465 0000018bcfe56800";
    let record = offset_commit(committed());
    assert_eq!(record.encode(), (bytes(OFFSET_KEY), Some(bytes(value))));
    assert_eq!(
        Record::decode(&bytes(OFFSET_KEY), Some(&bytes(value))),
        Ok(record)
    );
}

#[test]
fn an_offset_commit_with_a_topic_id_is_written_as_version_4() {
    let value = "0004 000000000000002a 00000003 05 6e6f7465 0000018bcfe56800 01 00 10 000102030405060708090a0b0c0d0e0f";
    let topic_id = Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    let record = offset_commit(CommittedOffset {
        topic_id,
        ..committed()
    });
    assert_eq!(record.encode(), (bytes(OFFSET_KEY), Some(bytes(value))));
    assert_eq!(
        Record::decode(&bytes(OFFSET_KEY), Some(&bytes(value))),
        Ok(record)
    );
}

#[test]
fn an_offset_commit_with_an_expiry_is_written_as_version_1() {
    let value = "0001 000000000000002a 0004 6e6f7465 0000018bcfe56800 0000018bcfe56801";
    let expires_at = Some(Millis(1_700_000_000_001));
    let record = offset_commit(CommittedOffset {
        expires_at,
        leader_epoch: -1,
        ..committed()
    });
    assert_eq!(record.encode(), (bytes(OFFSET_KEY), Some(bytes(value))));
    assert_eq!(
        Record::decode(&bytes(OFFSET_KEY), Some(&bytes(value))),
        Ok(record)
    );
}

#[test]
fn older_offset_commits_are_read() {
    let plain = offset_commit(CommittedOffset {
        leader_epoch: -1,
        ..committed()
    });
    let key_version_0 = "0000 0001 67 0002 7431 00000007";
    for (key, version) in [
        (OFFSET_KEY, "0002"),
        (OFFSET_KEY, "0000"),
        (key_version_0, "0000"),
    ] {
        let value = format!("{version} 000000000000002a 0004 6e6f7465 0000018bcfe56800");
        assert_eq!(
            Record::decode(&bytes(key), Some(&bytes(&value))),
            Ok(plain.clone())
        );
    }
}

#[test]
fn a_key_without_a_value_is_a_tombstone() {
    let offset = Record::OffsetTombstone {
        group: GroupId::from("g"),
        topic: TopicName::from("t1"),
        partition: 7,
    };
    assert_eq!(offset.encode(), (bytes(OFFSET_KEY), None));
    assert_eq!(Record::decode(&bytes(OFFSET_KEY), None), Ok(offset));
    let group = Record::GroupTombstone {
        group: GroupId::from("g"),
    };
    assert_eq!(group.encode(), (bytes("0002 0001 67"), None));
    assert_eq!(Record::decode(&bytes("0002 0001 67"), None), Ok(group));
}

fn group_of_one(instance_id: Option<&str>) -> GroupMetadata {
    GroupMetadata {
        protocol_type: "consumer".to_owned(),
        generation: Generation(2),
        protocol: Some("range".to_owned()),
        leader: Some(MemberId::from("m")),
        state_since: Some(Millis(1_700_000_000_000)),
        members: vec![MemberMetadata {
            member_id: MemberId::from("m"),
            instance_id: instance_id.map(InstanceId::from),
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            rebalance_timeout: Duration::from_millis(300_000),
            session_timeout: Duration::from_millis(45_000),
            subscription: SharedBytes::from([1, 2]),
            assignment: SharedBytes::from([3]),
        }],
    }
}

fn group_record(metadata: GroupMetadata) -> Record {
    Record::GroupMetadata {
        group: GroupId::from("g"),
        metadata,
    }
}

#[test]
fn a_group_is_written_as_kafka_writes_version_3() {
    let value =
        "0003 0008 636f6e73756d6572 00000002 0005 72616e6765 0001 6d 0000018bcfe56800 00000001
                 0001 6d 0001 69 0001 63 0002 2f68 000493e0 0000afc8 00000002 0102 00000001 03";
    let record = group_record(group_of_one(Some("i")));
    assert_eq!(record.encode(), (bytes("0002 0001 67"), Some(bytes(value))));
    assert_eq!(
        Record::decode(&bytes("0002 0001 67"), Some(&bytes(value))),
        Ok(record)
    );
}

#[test]
fn an_empty_group_is_written_as_kafka_writes_it() {
    let value = "0003 0008 636f6e73756d6572 00000003 ffff ffff 0000018bcfe56800 00000000";
    let metadata = GroupMetadata {
        generation: Generation(3),
        protocol: None,
        leader: None,
        members: Vec::new(),
        ..group_of_one(None)
    };
    assert_eq!(group_record(metadata).encode().1, Some(bytes(value)));
}

#[test]
fn older_groups_are_read() {
    let start = "0008 636f6e73756d6572 00000002 0005 72616e6765 0001 6d";
    let member = "0001 6d 0001 63 0002 2f68";
    let end = "0000afc8 00000002 0102 00000001 03";
    let version_0 = format!("0000 {start} 00000001 {member} {end}");
    let version_1 = format!("0001 {start} 00000001 {member} 000493e0 {end}");
    let version_2 = format!("0002 {start} 0000018bcfe56800 00000001 {member} 000493e0 {end}");
    let read = |value: &str| Record::decode(&bytes("0002 0001 67"), Some(&bytes(value)));
    let undated = GroupMetadata {
        state_since: None,
        ..group_of_one(None)
    };
    let mut without_rebalance_timeout = undated.clone();
    without_rebalance_timeout.members[0].rebalance_timeout = Duration::from_millis(45_000);
    assert_eq!(
        read(&version_0),
        Ok(group_record(without_rebalance_timeout))
    );
    assert_eq!(read(&version_1), Ok(group_record(undated)));
    assert_eq!(read(&version_2), Ok(group_record(group_of_one(None))));
}

#[test]
fn a_flexible_group_is_read() {
    let value = "0004 09 636f6e73756d6572 00000002 06 72616e6765 02 6d 0000018bcfe56800 02
                 02 6d 02 69 02 63 03 2f68 000493e0 0000afc8 03 0102 02 03 00 00";
    let read = Record::decode(&bytes("0002 0001 67"), Some(&bytes(value)));
    assert_eq!(read, Ok(group_record(group_of_one(Some("i")))));
}

#[test]
fn records_of_other_kinds_and_newer_versions_are_named() {
    assert_eq!(
        Record::decode(&bytes("0063 0001 67"), None),
        Err(RecordError::UnknownKey(99))
    );
    let newer = Record::decode(&bytes("0002 0001 67"), Some(&bytes("0005 00")));
    assert_eq!(newer, Err(RecordError::UnknownValue { key: 2, version: 5 }));
    assert_eq!(
        newer.unwrap_err().to_string(),
        "group record value version 5 of key version 2 is not known here; read it with a newer version"
    );
}

#[test]
fn a_count_of_members_that_are_not_there_is_refused_without_reserving_for_them() {
    let value = bytes("0003 0000 00000001 ffff ffff ffffffffffffffff 7fffffff");
    let read = Record::decode(&bytes("0002 0001 67"), Some(&value));
    assert_eq!(read, Err(RecordError::Damaged { field: "members" }));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => ".{0,12}", 1 => "[a-z]{120,300}"]
}

prop_compose! {
    fn any_offset()(
        offset in any::<i64>(), leader_epoch in -1..i32::MAX, metadata in text(), at in 0..i64::MAX,
        expires_at in proptest::option::of(0..i64::MAX), topic_id in any::<[u8; 16]>(),
    ) -> CommittedOffset {
        let is_plain = expires_at.is_none();
        CommittedOffset {
            offset,
            leader_epoch: if is_plain { leader_epoch } else { -1 },
            metadata,
            committed_at: Millis(at),
            expires_at: expires_at.map(Millis),
            topic_id: if is_plain { Uuid(topic_id) } else { Uuid::ZERO },
        }
    }
}

prop_compose! {
    fn any_member()(
        member_id in text(), instance_id in proptest::option::of(text()), client_id in text(), client_host in text(),
        rebalance in 0..i32::MAX as u64, session in 0..i32::MAX as u64,
        subscription in any::<Vec<u8>>(), assignment in any::<Vec<u8>>(),
    ) -> MemberMetadata {
        MemberMetadata {
            member_id: MemberId::from(member_id),
            instance_id: instance_id.map(InstanceId::from),
            client_id,
            client_host,
            rebalance_timeout: Duration::from_millis(rebalance),
            session_timeout: Duration::from_millis(session),
            subscription: SharedBytes::from(subscription),
            assignment: SharedBytes::from(assignment),
        }
    }
}

prop_compose! {
    fn any_group()(
        protocol_type in text(), generation in any::<i32>(), protocol in proptest::option::of(text()),
        leader in proptest::option::of(text()), since in proptest::option::of(0..i64::MAX),
        members in proptest::collection::vec(any_member(), 0..5),
    ) -> GroupMetadata {
        GroupMetadata {
            protocol_type,
            generation: Generation(generation),
            protocol,
            leader: leader.map(MemberId::from),
            state_since: since.map(Millis),
            members,
        }
    }
}

fn any_place() -> impl Strategy<Value = (GroupId, TopicName, i32)> {
    let place = (text(), text(), any::<i32>());
    place.prop_map(|(group, topic, partition)| {
        (GroupId::from(group), TopicName::from(topic), partition)
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (any_place(), any_offset()).prop_map(|((group, topic, partition), committed)| {
            Record::OffsetCommit {
                group,
                topic,
                partition,
                committed,
            }
        }),
        any_place().prop_map(|(group, topic, partition)| Record::OffsetTombstone {
            group,
            topic,
            partition
        }),
        (text(), any_group()).prop_map(|(group, metadata)| {
            Record::GroupMetadata {
                group: GroupId::from(group),
                metadata,
            }
        }),
        text().prop_map(|group| Record::GroupTombstone {
            group: GroupId::from(group)
        }),
    ]
}

/// Bytes that begin like a record, so that garbage reaches the deeper fields.
fn almost_a_value() -> impl Strategy<Value = Vec<u8>> {
    (0..6u8, any::<Vec<u8>>()).prop_map(|(version, rest)| [vec![0, version], rest].concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(record in any_record()) {
        let (key, value) = record.encode();
        prop_assert!(key.len() + value.as_ref().map_or(0, Vec::len) <= record.size());
        prop_assert_eq!(Record::decode(&key, value.as_deref()), Ok(record));
    }

    #[test]
    fn garbage_is_refused_without_a_panic(key in any::<Vec<u8>>(), value in almost_a_value()) {
        let _ = Record::decode(&key, Some(&value));
        let _ = Record::decode(&bytes(OFFSET_KEY), Some(&value));
        let _ = Record::decode(&bytes("0002 0001 67"), Some(&value));
    }

    #[test]
    fn a_damaged_record_is_refused_or_is_another_record(record in any_record(), at in any::<usize>(), byte in any::<u8>()) {
        let (key, value) = record.encode();
        if let Some(mut value) = value {
            let at = at % value.len();
            value[at] = byte;
            let _ = Record::decode(&key, Some(&value));
            value.truncate(at);
            prop_assert!(Record::decode(&key, Some(&value)).is_err());
        }
    }
}
