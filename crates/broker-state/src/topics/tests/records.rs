//! Claims about the bytes of metadata records.

use proptest::prelude::*;

use super::*;
use crate::quotas::{QuotaEntity, QuotaKey};
use wire::Float64;

fn entity() -> impl Strategy<Value = QuotaEntity> {
    let name = || prop::option::of("[a-z]{1,9}");
    (name(), name()).prop_map(|(user, client_id)| {
        let parts = [
            ("user", user.as_deref()),
            ("client-id", client_id.as_deref()),
        ];
        QuotaEntity::from_parts(&parts).expect("a good entity")
    })
}

fn any_record() -> impl Strategy<Value = MetadataRecord> {
    use MetadataRecord::*;
    let id = || any::<[u8; 16]>().prop_map(Uuid);
    let text = || "\\PC{0,20}";
    let scope = || prop_oneof![Just(BrokerScope::AllBrokers), Just(BrokerScope::ThisBroker)];
    let partitions = || 1..=MAX_PARTITIONS;
    let resource = || {
        prop_oneof![
            text().prop_map(|name| group(&name)),
            text().prop_map(|name| subscription(&name))
        ]
    };
    let pairs = prop::collection::vec((text(), text()), 0..5);
    prop_oneof![
        (id(), text(), partitions(), -1_i16..=i16::MAX, pairs).prop_map(
            |(id, name, partitions, replication_factor, configs)| TopicCreated {
                id,
                name,
                partitions,
                replication_factor,
                configs
            }
        ),
        (id(), partitions()).prop_map(|(id, partitions)| PartitionsAdded { id, partitions }),
        id().prop_map(|id| TopicDeleted { id }),
        (id(), text(), text()).prop_map(|(id, name, value)| TopicConfigSet { id, name, value }),
        (id(), text()).prop_map(|(id, name)| TopicConfigRemoved { id, name }),
        (scope(), text(), text()).prop_map(|(scope, name, value)| BrokerConfigSet {
            scope,
            name,
            value
        }),
        (scope(), text()).prop_map(|(scope, name)| BrokerConfigRemoved { scope, name }),
        (0..=i64::MAX).prop_map(|next| ProducerIdsReserved { next }),
        (id(), 0..=MAX_PARTITIONS, partitions(), 0..=i32::MAX).prop_map(
            |(id, first_partition, partitions, epoch)| LeaderEpochSet {
                id,
                first_partition,
                partitions,
                epoch
            }
        ),
        Just(LeaderEpochsRaised),
        (resource(), text(), text()).prop_map(|(resource, name, value)| ResourceConfigSet {
            resource,
            name,
            value
        }),
        (resource(), text()).prop_map(|(resource, name)| ResourceConfigRemoved { resource, name }),
        (entity(), 0..5_usize, 1e-9..1e18_f64).prop_map(|(entity, key, value)| ClientQuotaSet {
            entity,
            key: QuotaKey::ALL[key],
            value: Float64(value)
        }),
        (entity(), 0..5_usize).prop_map(|(entity, key)| ClientQuotaRemoved {
            entity,
            key: QuotaKey::ALL[key]
        }),
        (text(), 0..=i16::MAX, 0..=i64::MAX).prop_map(|(name, level, epoch)| FeatureLevelSet {
            name,
            level,
            epoch
        }),
    ]
}

#[test]
fn a_created_topic_s_bytes_are_as_documented() {
    let record = MetadataRecord::TopicCreated {
        id: Uuid([7; 16]),
        name: "ab".to_owned(),
        partitions: 3,
        replication_factor: -1,
        configs: vec![("k".to_owned(), "v".to_owned())],
    };
    let mut expected = vec![1, 0];
    expected.extend([7; 16]);
    expected.extend([2, b'a', b'b', 6, 1, 1, 1, b'k', 1, b'v']);
    assert_eq!(record.encode(), expected);
}

#[test]
fn the_other_kinds_bytes_are_as_documented() {
    let id = Uuid([7; 16]);
    let (name, value) = ("k".to_owned(), "v".to_owned());
    let scope = BrokerScope::ThisBroker;
    let with_id = |kind: u8, rest: &[u8]| [&[kind, 0], id.0.as_slice(), rest].concat();
    let bytes = [
        (
            MetadataRecord::PartitionsAdded {
                id,
                partitions: 100,
            },
            with_id(2, &[0xc8, 1]),
        ),
        (MetadataRecord::TopicDeleted { id }, with_id(3, &[])),
        (
            MetadataRecord::TopicConfigSet {
                id,
                name: name.clone(),
                value: value.clone(),
            },
            with_id(4, &[1, b'k', 1, b'v']),
        ),
        (
            MetadataRecord::TopicConfigRemoved {
                id,
                name: name.clone(),
            },
            with_id(5, &[1, b'k']),
        ),
        (
            MetadataRecord::BrokerConfigSet {
                scope,
                name: name.clone(),
                value,
            },
            vec![6, 0, 1, 1, b'k', 1, b'v'],
        ),
        (
            MetadataRecord::BrokerConfigRemoved { scope, name },
            vec![7, 0, 1, 1, b'k'],
        ),
        (
            MetadataRecord::ProducerIdsReserved { next: 1000 },
            vec![8, 0, 0xd0, 0x0f],
        ),
        (
            MetadataRecord::LeaderEpochSet {
                id,
                first_partition: 1,
                partitions: 2,
                epoch: 3,
            },
            with_id(9, &[2, 4, 6]),
        ),
        (MetadataRecord::LeaderEpochsRaised, vec![10, 0]),
    ];
    for (record, expected) in bytes {
        assert_eq!(record.encode(), expected, "{record:?}");
    }
}

#[test]
fn the_bytes_of_resources_features_and_quotas_are_as_documented() {
    let bytes = [
        (
            MetadataRecord::ResourceConfigSet {
                resource: group("g"),
                name: "k".to_owned(),
                value: "v".to_owned(),
            },
            vec![11, 0, 32, 1, b'g', 1, b'k', 1, b'v'],
        ),
        (
            MetadataRecord::ResourceConfigRemoved {
                resource: subscription("m"),
                name: "k".to_owned(),
            },
            vec![12, 0, 16, 1, b'm', 1, b'k'],
        ),
        (
            MetadataRecord::FeatureLevelSet {
                name: "f".to_owned(),
                level: 2,
                epoch: 3,
            },
            vec![13, 0, 1, b'f', 4, 6],
        ),
        (
            MetadataRecord::ClientQuotaRemoved {
                entity: QuotaEntity::from_parts(&[("user", Some("u")), ("client-id", None)])
                    .expect("a good entity"),
                key: QuotaKey::RequestPercentage,
            },
            [
                b"\x0f\x00\x02\x09client-id\x00\x04user\x01\x01u\x12".as_slice(),
                b"request_percentage",
            ]
            .concat(),
        ),
    ];
    for (record, expected) in bytes {
        assert_eq!(record.encode(), expected, "{record:?}");
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_with_what_to_do() {
    assert_eq!(
        MetadataRecord::decode(&[200, 0]),
        Err(RecordError::UnknownKind { kind: 200 })
    );
    assert_eq!(
        MetadataRecord::decode(&[0, 0]),
        Err(RecordError::UnknownKind { kind: 0 })
    );
    assert_eq!(
        MetadataRecord::decode(&[10, 1]),
        Err(RecordError::UnknownVersion {
            kind: 10,
            version: 1
        })
    );
    let text = RecordError::UnknownKind { kind: 200 }.to_string();
    assert!(
        text.ends_with("start the version that wrote this data directory, or a newer one"),
        "{text}"
    );
}

#[test]
fn damage_is_refused_with_what_is_damaged() {
    let text = |bytes: &[u8]| {
        MetadataRecord::decode(bytes)
            .expect_err("damaged")
            .to_string()
    };
    assert_eq!(text(&[]), "metadata record is empty");
    assert_eq!(
        text(&[10]),
        "metadata record of kind 10 is damaged: ends in the middle of version"
    );
    assert_eq!(
        text(&[3, 0, 1]),
        "metadata record of kind 3 is damaged: ends in the middle of topic id"
    );
    assert_eq!(
        text(&[10, 0, 1]),
        "metadata record of kind 10 is damaged: 1 bytes are left over behind its end"
    );
    let long = [&[5, 0], [7; 16].as_slice(), &[0xff, 0xff, 0x7f]].concat();
    assert!(text(&long).contains("config name is 2097151, outside 0..=1024"));
    assert!(text(&[6, 0, 2]).contains("scope is 2, outside 0..=1"));
    assert!(text(&[8, 0, 1]).contains("producer id is -1, outside"));
}

#[test]
fn a_count_of_partitions_that_nobody_asked_for_is_refused() {
    for partitions in [0, -1, MAX_PARTITIONS + 1, i32::MAX] {
        let record = MetadataRecord::PartitionsAdded {
            id: Uuid([7; 16]),
            partitions,
        };
        assert!(
            MetadataRecord::decode(&record.encode()).is_err(),
            "{partitions}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(record in any_record()) {
        prop_assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn a_record_that_is_cut_anywhere_is_refused(record in any_record(), cut in any::<prop::sample::Index>()) {
        let bytes = record.encode();
        let cut = cut.index(bytes.len());
        prop_assert!(MetadataRecord::decode(&bytes[..cut]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(mut bytes: Vec<u8>, kind in 0_u8..12) {
        let _ = MetadataRecord::decode(&bytes);
        bytes.splice(0..0, [kind, 0]);
        if let Ok(record) = MetadataRecord::decode(&bytes) {
            let mut run = Run::new();
            if run.cluster.apply(&record).is_ok() {
                run.log.push(record.clone());
            }
            prop_assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn any_records_are_applied_or_refused_without_a_panic(records in prop::collection::vec(any_record(), 0..20)) {
        let mut run = Run::new();
        for record in records {
            if record_is_small(&record) && run.cluster.apply(&record).is_ok() {
                run.log.push(record);
            }
        }
    }
}

/// A million partitions are fine and slow to compare.
fn record_is_small(record: &MetadataRecord) -> bool {
    match record {
        MetadataRecord::TopicCreated { partitions, .. }
        | MetadataRecord::PartitionsAdded { partitions, .. } => *partitions < 1_000,
        _ => true,
    }
}
