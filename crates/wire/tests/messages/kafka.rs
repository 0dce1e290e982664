//! Bytes that the Java classes of Kafka 4.3.1 wrote, for versions that the other implementation does not know.

use wire::{Reader, Request, Response};

use crate::prelude::written;

/// The bytes of hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    let digit = |place| u8::from_str_radix(&digits[place..place + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(digit).collect()
}

fn is_request<'a, R: Request<'a> + PartialEq + std::fmt::Debug>(
    ours: R,
    version: i16,
    theirs: &'a [u8],
) {
    assert_eq!(written(|writer| ours.encode(writer, version)), theirs);
    let mut reader = Reader::new(theirs);
    assert_eq!(R::decode(&mut reader, version), Ok(ours));
    assert_eq!(reader.remaining(), 0);
}

fn is_response<'a, R: Response<'a> + PartialEq + std::fmt::Debug>(
    ours: R,
    version: i16,
    theirs: &'a [u8],
) {
    assert_eq!(written(|writer| ours.encode(writer, version)), theirs);
    let mut reader = Reader::new(theirs);
    assert_eq!(R::decode(&mut reader, version), Ok(ours));
    assert_eq!(reader.remaining(), 0);
}

#[test]
fn write_txn_markers_2_names_the_version_of_transactions() {
    use wire::write_txn_markers::*;
    let topic = Topic {
        name: "orders",
        partition_indexes: vec![0, 2],
    };
    let marker = Marker {
        producer_id: 7,
        producer_epoch: 3,
        transaction_result: true,
        topics: vec![topic],
        coordinator_epoch: 5,
        transaction_version: 2,
    };
    is_request(
        Request {
            markers: vec![marker],
        },
        2,
        &bytes("02000000000000000700030102076f72646572730300000000000000020000000005020000"),
    );
    let partition = PartitionResult {
        partition_index: 2,
        error_code: 48,
    };
    let topic = TopicResult {
        name: "orders".into(),
        partitions: vec![partition],
    };
    let marker = MarkerResult {
        producer_id: 7,
        topics: vec![topic],
    };
    is_response(
        Response {
            markers: vec![marker],
        },
        2,
        &bytes("02000000000000000702076f72646572730200000002003000000000"),
    );
}
