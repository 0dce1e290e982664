//! Claims about the records: Kafka's bytes, and what is not Kafka's.

use super::*;

fn transaction() -> Transaction {
    Transaction {
        producer: producer(4_000, 3),
        last_epoch: -1,
        previous_producer_id: NO_PRODUCER,
        next_producer_id: NO_PRODUCER,
        timeout: TIMEOUT,
        state: State::Ongoing,
        partitions: partitions(&[("t", 0), ("t", 2)]),
        started_at: Some(Millis(1_000)),
        updated_at: Millis(2_000),
        client_version: 2,
    }
}

const NO_PRODUCER: i64 = -1;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex"))
        .collect()
}

const KEY: &str = "0000 0001 61";

#[test]
fn version_1_is_flexible_and_has_kafka_s_tags() {
    let record = Record::Transaction {
        id: "a".into(),
        transaction: transaction(),
    };
    let value = "0001 0000000000000fa0 0003 0000ea60 01
                 02 02 74 03 00000000 00000002 00
                 00000000000007d0 00000000000003e8
                 01 02 02 0002";
    assert_eq!(record.encode(2), (bytes(KEY), Some(bytes(value))));
    assert_eq!(record.encode(1), record.encode(2));
    assert_eq!(Record::decode(&bytes(KEY), Some(&bytes(value))), Ok(record));
}

#[test]
fn version_0_has_fixed_lengths_and_no_tags() {
    let transaction = Transaction {
        client_version: 0,
        ..transaction()
    };
    let record = Record::Transaction {
        id: "a".into(),
        transaction,
    };
    let value = "0000 0000000000000fa0 0003 0000ea60 01
                 00000001 0001 74 00000002 00000000 00000002
                 00000000000007d0 00000000000003e8";
    assert_eq!(record.encode(0), (bytes(KEY), Some(bytes(value))));
    assert_eq!(Record::decode(&bytes(KEY), Some(&bytes(value))), Ok(record));
}

#[test]
fn version_0_gives_way_to_1_for_a_tag() {
    let defaults = Transaction {
        client_version: 0,
        ..transaction()
    };
    let mut tagged = vec![defaults; 4];
    tagged[0].client_version = 2;
    tagged[1].next_producer_id = 5_000;
    tagged[2].previous_producer_id = 3_000;
    tagged[3].last_epoch = 2;
    for transaction in tagged {
        let record = Record::Transaction {
            id: "a".into(),
            transaction,
        };
        assert_eq!(record.encode(0), record.encode(1));
    }
}

#[test]
fn an_empty_transaction_has_null_for_partitions() {
    let transaction = Transaction {
        state: State::Empty,
        partitions: Partitions::new(),
        started_at: None,
        client_version: 0,
        ..transaction()
    };
    let value = "0001 0000000000000fa0 0003 0000ea60 00 00 00000000000007d0 ffffffffffffffff 00";
    let record = Record::Transaction {
        id: "a".into(),
        transaction,
    };
    assert_eq!(record.encode(2).1, Some(bytes(value)));
}

#[test]
fn all_tags_are_read_back() {
    let transaction = Transaction {
        last_epoch: 2,
        previous_producer_id: 3_000,
        next_producer_id: 5_000,
        ..transaction()
    };
    let record = Record::Transaction {
        id: "a".into(),
        transaction,
    };
    let (key, value) = record.encode(2);
    assert_eq!(Record::decode(&key, value.as_deref()), Ok(record));
}

#[test]
fn no_value_is_a_tombstone() {
    let record = Record::Tombstone { id: "a".into() };
    assert_eq!(record.encode(2), (bytes(KEY), None));
    assert_eq!(Record::decode(&bytes(KEY), None), Ok(record));
}

#[test]
fn unknown_tags_are_passed_over() {
    let value =
        "0001 0000000000000fa0 0003 0000ea60 00 00 00000000000007d0 ffffffffffffffff 01 63 02 0102";
    assert!(Record::decode(&bytes(KEY), Some(&bytes(value))).is_ok());
}

#[test]
fn what_cannot_be_read_is_refused() {
    let (_, value) = Record::Transaction {
        id: "a".into(),
        transaction: transaction(),
    }
    .encode(2);
    let value = value.expect("a value");
    for length in 0..value.len() {
        assert!(
            Record::decode(&bytes(KEY), Some(&value[..length])).is_err(),
            "{length}"
        );
    }
    let unknown = |part, version| Err(RecordError::UnknownVersion { part, version });
    assert_eq!(
        Record::decode(&bytes("0001 0001 61"), None),
        unknown("key", 1)
    );
    assert_eq!(
        Record::decode(&bytes(KEY), Some(&bytes("0002"))),
        unknown("value", 2)
    );
    let mut dead = value.clone();
    dead[16] = 6;
    assert_eq!(
        Record::decode(&bytes(KEY), Some(&dead)),
        Err(RecordError::UnknownState(6))
    );
    let mut longer = value;
    longer.push(0);
    let left_over = RecordError::LeftOver {
        part: "value",
        left: 1,
    };
    assert_eq!(Record::decode(&bytes(KEY), Some(&longer)), Err(left_over));
}
