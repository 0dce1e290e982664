//! Bytes that the Java classes of Kafka 4.3.1 wrote, for versions that the other implementation does not know.
//! Versions of Kafka 4.4 are here too, with bytes made by hand, field by field.

use std::fmt::Debug;

use wire::{Reader, Request, Response, Uuid};

use crate::prelude::written;

/// In the hexadecimal digits, 0000000000000001 and 0000000000000002.
const TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);

/// The bytes of hexadecimal digits.
pub fn bytes(digits: &str) -> Vec<u8> {
    let digit = |place| u8::from_str_radix(&digits[place..place + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(digit).collect()
}

/// Asserts that a request of ours is written as theirs and read from it.
pub fn is_request<'a, R: Request<'a> + PartialEq + Debug>(ours: R, version: i16, theirs: &'a [u8]) {
    assert_eq!(written(|writer| ours.encode(writer, version)), theirs);
    let mut reader = Reader::new(theirs);
    assert_eq!(R::decode(&mut reader, version), Ok(ours));
    assert_eq!(reader.remaining(), 0);
}

/// Asserts that a response of ours is written as theirs and read from it.
pub fn is_response<'a, R: Response<'a> + PartialEq + Debug>(
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

#[test]
fn list_offsets_11() {
    use wire::list_offsets::*;
    let partition = Partition {
        partition_index: 3,
        current_leader_epoch: 2,
        timestamp: -6,
    };
    let topic = Topic {
        name: "orders",
        partitions: vec![partition],
    };
    let request = Request {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![topic],
        timeout_ms: 1000,
    };
    let theirs = "ffffffff0102076f7264657273020000000300000002fffffffffffffffa0000000003e800";
    is_request(request, 11, &bytes(theirs));
    let partition = PartitionResponse {
        partition_index: 3,
        error_code: 0,
        timestamp: -1,
        offset: 42,
        leader_epoch: 2,
    };
    let topic = TopicResponse {
        name: "orders".into(),
        partitions: vec![partition],
    };
    let response = Response {
        topics: vec![topic],
        ..Response::default()
    };
    let theirs =
        "0000000002076f726465727302000000030000ffffffffffffffff000000000000002a00000002000000";
    is_response(response, 11, &bytes(theirs));
}

#[test]
fn offset_commit_10() {
    use wire::offset_commit::*;
    let partition = Partition {
        partition_index: 1,
        committed_offset: 9,
        committed_leader_epoch: 2,
        committed_metadata: Some("x"),
    };
    let topic = Topic {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
        ..Topic::default()
    };
    let request = Request {
        group_id: "g",
        generation_id_or_member_epoch: 5,
        member_id: "m",
        topics: vec![topic],
        ..Request::default()
    };
    let theirs = "026700000005026d00020000000000000001000000000000000202000000010000000000000009\
        000000020278000000";
    is_request(request, 10, &bytes(theirs));
}

#[test]
fn offset_fetch_10() {
    use wire::offset_fetch::*;
    let topic = GroupTopic {
        topic_id: TOPIC_ID,
        partition_indexes: vec![0, 1],
        ..GroupTopic::default()
    };
    let group = Group {
        group_id: "g",
        member_id: Some("m"),
        member_epoch: 5,
        topics: Some(vec![topic]),
    };
    let request = Request {
        groups: vec![group],
        require_stable: true,
        ..Request::default()
    };
    let theirs = "020267026d00000005020000000000000001000000000000000203000000000000000100000100";
    is_request(request, 10, &bytes(theirs));
}

#[test]
fn describe_log_dirs_5() {
    use wire::describe_log_dirs::*;
    let topic = DescribableTopic {
        topic: "orders",
        partitions: vec![1],
    };
    let request = Request {
        topics: Some(vec![topic]),
    };
    is_request(request, 5, &bytes("02076f726465727302000000010000"));
    let partition = Partition {
        partition_index: 1,
        partition_size: 77,
        offset_lag: 0,
        is_future_key: false,
    };
    let topic = Topic {
        name: "orders".into(),
        partitions: vec![partition],
    };
    let directory = LogDir {
        error_code: 0,
        log_dir: "/d".into(),
        topics: vec![topic],
        total_bytes: 1000,
        usable_bytes: 900,
        is_cordoned: true,
    };
    let response = Response {
        results: vec![directory],
        ..Response::default()
    };
    let theirs = "000000000000020000032f6402076f72646572730200000001000000000000004d\
        000000000000000000000000000000000003e80000000000000384010000";
    is_response(response, 5, &bytes(theirs));
}

#[test]
fn share_fetch_request_2_has_acquire_mode_and_renewal() {
    use wire::share_fetch::*;
    let batch = AcknowledgementBatch {
        first_offset: 10,
        last_offset: 11,
        acknowledge_types: vec![1, 4],
    };
    let partition = FetchPartition {
        partition_index: 4,
        acknowledgement_batches: vec![batch],
    };
    let topic = FetchTopic {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
    };
    let forgotten = ForgottenTopic {
        topic_id: TOPIC_ID,
        partitions: vec![5],
    };
    let request = Request {
        group_id: Some("g"),
        member_id: Some("m"),
        share_session_epoch: 3,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_records: 100,
        batch_size: 50,
        share_acquire_mode: 1,
        is_renew_ack: true,
        topics: vec![topic],
        forgotten_topics_data: vec![forgotten],
    };
    let theirs = "0267026d00000003000001f400000001001000000000006400000032010102\
        00000000000000010000000000000002020000000402000000000000000a000000000000000b0301040000\
        00020000000000000001000000000000000202000000050000";
    is_request(request, 2, &bytes(theirs));
}

#[test]
fn share_fetch_response_2_holds_records_and_what_was_acquired() {
    use wire::share_fetch::*;
    let acquired = AcquiredRecords {
        first_offset: 10,
        last_offset: 11,
        delivery_count: 3,
    };
    let partition = PartitionData {
        partition_index: 4,
        acknowledge_error_code: 121,
        acknowledge_error_message: Some("no".into()),
        current_leader: LeaderIdAndEpoch {
            leader_id: 2,
            leader_epoch: 9,
        },
        records: bytes::Bytes::from_static(&[1, 2, 3]).into(),
        acquired_records: vec![acquired],
        ..PartitionData::default()
    };
    let topic = TopicResponse {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
    };
    let endpoint = NodeEndpoint {
        node_id: 2,
        host: "h".into(),
        port: 9092,
        rack: Some("r".into()),
    };
    let response = Response {
        throttle_time_ms: 1,
        acquisition_lock_timeout_ms: 30_000,
        responses: vec![topic],
        node_endpoints: vec![endpoint],
        ..Response::default()
    };
    let theirs = "0000000100000000007530020000000000000001000000000000000202000000040000000079036e6f\
        0000000200000009000401020302000000000000000a000000000000000b00030000000200000002026800\
        00238402720000";
    is_response(response, 2, &bytes(theirs));
}

#[test]
fn share_acknowledge_request_2_has_renewal() {
    use wire::share_acknowledge::*;
    let batch = AcknowledgementBatch {
        first_offset: 10,
        last_offset: 11,
        acknowledge_types: vec![2],
    };
    let partition = AcknowledgePartition {
        partition_index: 4,
        acknowledgement_batches: vec![batch],
    };
    let topic = AcknowledgeTopic {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
    };
    let request = Request {
        group_id: Some("g"),
        member_id: Some("m"),
        share_session_epoch: 3,
        is_renew_ack: true,
        topics: vec![topic],
    };
    let theirs = "0267026d0000000301020000000000000001000000000000000202000000040200000000\
        0000000a000000000000000b020200000000";
    is_request(request, 2, &bytes(theirs));
}

#[test]
fn share_acknowledge_response_2_has_the_time_of_the_lock() {
    use wire::share_acknowledge::*;
    let partition = PartitionData {
        partition_index: 4,
        error_code: 6,
        error_message: Some("no".into()),
        current_leader: LeaderIdAndEpoch {
            leader_id: 2,
            leader_epoch: 9,
        },
    };
    let topic = TopicResponse {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
    };
    let endpoint = NodeEndpoint {
        node_id: 2,
        host: "h".into(),
        port: 9092,
        rack: None,
    };
    let response = Response {
        throttle_time_ms: 1,
        acquisition_lock_timeout_ms: 30_000,
        responses: vec![topic],
        node_endpoints: vec![endpoint],
        ..Response::default()
    };
    let theirs = "0000000100000000007530020000000000000001000000000000000202000000040006036e6f\
        00000002000000090000000200000002026800002384000000";
    is_response(response, 2, &bytes(theirs));
}

#[test]
fn describe_share_group_offsets_1_has_lag() {
    use wire::describe_share_group_offsets::*;
    let all = Group {
        group_id: "g",
        topics: None,
    };
    let topic = Topic {
        topic_name: "orders",
        partitions: vec![0, 1],
    };
    let some = Group {
        group_id: "h",
        topics: Some(vec![topic]),
    };
    let request = Request {
        groups: vec![all, some],
    };
    let theirs = "0302670000026802076f7264657273030000000000000001000000";
    is_request(request, 1, &bytes(theirs));
    let partition = PartitionResponse {
        partition_index: 1,
        start_offset: 100,
        leader_epoch: 2,
        lag: 7,
        ..PartitionResponse::default()
    };
    let topic = TopicResponse {
        topic_name: "orders".into(),
        topic_id: TOPIC_ID,
        partitions: vec![partition],
    };
    let group = GroupResponse {
        group_id: "g".into(),
        topics: vec![topic],
        ..GroupResponse::default()
    };
    let response = Response {
        throttle_time_ms: 0,
        groups: vec![group],
    };
    let theirs = "0000000002026702076f7264657273000000000000000100000000000000020200000001\
        000000000000006400000002000000000000000700000000000000000000";
    is_response(response, 1, &bytes(theirs));
}

#[test]
fn api_versions_5_names_the_cluster_and_the_node() {
    use wire::api_versions::*;
    let request = Request {
        client_software_name: "ab",
        client_software_version: "1",
        cluster_id: Some("c"),
        node_id: 7,
    };
    // name · version · cluster · node · no tags
    let by_hand = ["036162", "0231", "0263", "00000007", "00"].concat();
    is_request(request, 5, &bytes(&by_hand));
    let key = ApiVersion {
        api_key: 18,
        min_version: 0,
        max_version: 5,
    };
    let response = Response {
        error_code: 129,
        api_keys: vec![key],
        ..Response::default()
    };
    // error · one key, its range, no tags · throttle time · no tags
    let by_hand = ["0081", "02", "0012", "0000", "0005", "00", "00000000", "00"].concat();
    is_response(response, 5, &bytes(&by_hand));
}

#[test]
fn delete_groups_3_has_an_error_for_people() {
    use wire::delete_groups::*;
    let request = Request {
        groups_names: vec!["g"],
    };
    is_request(request, 3, &bytes("02026700"));
    let result = GroupResult {
        group_id: "g".into(),
        error_code: 68,
        error_message: Some("no".into()),
    };
    let response = Response {
        throttle_time_ms: 0,
        results: vec![result],
    };
    // throttle time · one group, its error, its message, no tags · no tags
    let by_hand = ["00000000", "02", "0267", "0044", "036e6f", "00", "00"].concat();
    is_response(response, 3, &bytes(&by_hand));
}
