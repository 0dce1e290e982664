//! Records: their order, their places and times, and what a reader gets back.

use client::offsets::OffsetQuery;
use client::{OutgoingRecord, Position};

use crate::subject::{Subject, contract};
use crate::traffic::{produce, produce_values, read_all, read_from};

contract! {
    BOTH:
        a_partition_keeps_the_order_of_its_records,
        records_with_one_key_share_a_partition,
        a_record_comes_back_as_it_went_in,
        offsets_are_found_by_time,
        a_reader_begins_where_it_is_told,
}

async fn a_partition_keeps_the_order_of_its_records(subject: &Subject) {
    let topic = subject.topic("ordered", 3).await;
    let values: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
    let records = values
        .iter()
        .enumerate()
        .map(|(number, value)| OutgoingRecord {
            topic: &topic,
            partition: i32::try_from(number % 3).ok(),
            value: Some(value.as_bytes()),
            ..OutgoingRecord::default()
        });
    let records: Vec<_> = records.collect();
    let places = produce(&subject.cluster, &records);
    let seen = read_all(&subject.cluster, &topic, 3);
    assert_eq!(seen.len(), values.len());
    for partition in 0..3 {
        let of_one: Vec<_> = seen
            .iter()
            .filter(|record| record.partition == partition)
            .collect();
        let offsets: Vec<i64> = of_one.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (0..100).collect::<Vec<i64>>());
        let numbers: Vec<&str> = of_one.iter().map(|record| record.value.as_str()).collect();
        assert!(numbers.is_sorted(), "partition {partition}: {numbers:?}");
    }
    for (place, value) in places.iter().zip(&values) {
        let at = |record: &&crate::traffic::Seen| (record.partition, record.offset) == *place;
        assert_eq!(
            seen.iter().find(at).map(|record| &record.value),
            Some(value),
            "as acknowledged"
        );
    }
}

async fn records_with_one_key_share_a_partition(subject: &Subject) {
    let topic = subject.topic("keyed", 6).await;
    let keys = ["a", "b", "c", "d", "e"];
    let records = (0..50).map(|number| OutgoingRecord {
        topic: &topic,
        key: Some(keys[number % keys.len()].as_bytes()),
        value: Some(b"x"),
        ..OutgoingRecord::default()
    });
    let records: Vec<_> = records.collect();
    let places = produce(&subject.cluster, &records);
    for (number, (partition, _)) in places.iter().enumerate() {
        assert_eq!(
            *partition,
            places[number % keys.len()].0,
            "key {}",
            keys[number % keys.len()]
        );
    }
}

async fn a_record_comes_back_as_it_went_in(subject: &Subject) {
    let topic = subject.topic("whole", 1).await;
    let headers = [
        ("trace".to_owned(), Some(vec![0, 255, 10])),
        ("trace".to_owned(), Some(b"again".to_vec())),
        ("empty".to_owned(), None),
    ];
    let record = OutgoingRecord {
        topic: &topic,
        partition: Some(0),
        key: Some("schlüssel".as_bytes()),
        value: Some("9007199254740993".as_bytes()),
        timestamp_ms: Some(1_700_000_000_123),
        headers: &headers,
    };
    assert_eq!(produce(&subject.cluster, &[record]), [(0, 0)]);
    let seen = read_all(&subject.cluster, &topic, 1);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].key.as_deref(), Some("schlüssel"));
    assert_eq!(seen[0].value, "9007199254740993");
    assert_eq!(seen[0].timestamp_ms, Some(1_700_000_000_123));
    assert_eq!(seen[0].headers, headers);
}

async fn offsets_are_found_by_time(subject: &Subject) {
    let topic = subject.topic("timed", 1).await;
    // In the past, as Kafka refuses times too far ahead; a minute apart.
    let base = 1_700_000_000_000;
    let records = (0..10).map(|minute| OutgoingRecord {
        topic: &topic,
        partition: Some(0),
        value: Some(b"x"),
        timestamp_ms: Some(base + minute * 60_000),
        ..OutgoingRecord::default()
    });
    let records: Vec<_> = records.collect();
    produce(&subject.cluster, &records);
    let mut admin = subject.admin().await;
    let described = [admin.topic(&topic).await.expect("it was created")];
    let place = (topic.clone(), 0);
    for (query, offset) in [
        (OffsetQuery::Earliest, Some(0)),
        (OffsetQuery::Latest, Some(10)),
        (OffsetQuery::AtTime(base), Some(0)),
        (OffsetQuery::AtTime(base + 1), Some(1)),
        (OffsetQuery::AtTime(base + 9 * 60_000), Some(9)),
        (OffsetQuery::AtTime(base + 9 * 60_000 + 1), None),
    ] {
        let found = admin
            .list_offsets(&described, query)
            .await
            .expect("an answer");
        assert_eq!(found.get(&place).copied(), offset, "{query:?}");
    }
}

async fn a_reader_begins_where_it_is_told(subject: &Subject) {
    let topic = subject.topic("resumed", 1).await;
    produce_values(&subject.cluster, &topic, 0, &["a", "b", "c", "d"]);
    let from = [Position {
        partition: 0,
        offset: 2,
    }];
    let seen = read_from(&subject.cluster, &topic, &from);
    let values: Vec<_> = seen
        .iter()
        .map(|record| (record.offset, record.value.as_str()))
        .collect();
    assert_eq!(values, [(2, "c"), (3, "d")]);
}
