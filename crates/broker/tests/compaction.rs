//! Compaction as clients see it: only the last record of each key is left, also after a restart, and produce and fetch go on.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use broker::{Broker, BrokerSettings, Storage};
use bytes::Bytes;
use support::*;
use wire::ErrorCode;
use wire::records::{BatchBuilder, Compression, RecordIter, decompress, scan_batches};

const NOTHING_REMOVED: &str = "thalweg_compaction_removed_records_total 0\n";
const PATIENCE: Duration = Duration::from_secs(60);

async fn start_compacting(directory: &Path, entries: &[(&str, &str)]) -> (Broker, Client) {
    let mut settings = BrokerSettings::new(Storage::Directory(directory.to_owned()));
    for (key, value) in entries.iter().chain(&[("log.cleaner.backoff.ms", "50")]) {
        let entry = ((*key).to_owned(), (*value).to_owned());
        settings.broker_config.insert(entry.0, entry.1);
    }
    let broker = Broker::start(settings).await.expect("the broker starts");
    let client = Client::connect(broker.kafka_addresses()[0]).await;
    (broker, client)
}

async fn stop(broker: Broker, client: Client) {
    drop(client);
    broker.shutdown().await;
}

fn keyed(rows: &[(&str, Option<&[u8]>)]) -> Bytes {
    let mut builder = BatchBuilder::new(1_000);
    for (key, value) in rows {
        builder.push(1_000, Some(key.as_bytes()), *value, &[]);
    }
    builder.build(Compression::None)
}

/// Every record of the one partition: offset, key, and the length of its value.
async fn read_all(client: &mut Client, topic: &str, end: i64) -> Vec<(i64, String, Option<usize>)> {
    let mut rows = Vec::new();
    let mut from = 0;
    while from < end {
        let reply = client.call(11, &fetch_request(topic, 0, from, 0)).await;
        let response: wire::fetch::Response<'_> = reply.read();
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let bytes = partition.records.to_bytes().unwrap_or_default();
        let mut next = from;
        for batch in scan_batches(&bytes) {
            let (header, batch) = batch.expect("a whole batch");
            assert!(wire::records::verify_crc(batch), "the checksum is right");
            let records = decompress(&header, batch, 10 << 20).expect("readable records");
            for record in RecordIter::new(&header, &records) {
                let record = record.expect("a record");
                let key = String::from_utf8_lossy(record.key.expect("a key")).into_owned();
                rows.push((record.offset, key, record.value.map(<[u8]>::len)));
            }
            next = header.last_offset() + 1;
        }
        assert!(
            next > from,
            "a fetch from {from} below {end} gives something"
        );
        from = next;
    }
    rows
}

fn table(rows: &[(i64, String, Option<usize>)]) -> BTreeMap<&str, (i64, usize)> {
    let mut table = BTreeMap::new();
    for (offset, key, length) in rows {
        match length {
            Some(length) => table.insert(key.as_str(), (*offset, *length)),
            None => table.remove(key.as_str()),
        };
    }
    table
}

/// Writes some 6 MiB of ten keys in segments of 1 MiB; gives the end of the log.
async fn fill(client: &mut Client, topic: &str) -> i64 {
    let mut end = 0;
    for number in 0..60_usize {
        let (key, value) = (format!("key-{}", number % 10), vec![7; 100_000 + number]);
        let batch = keyed(&[
            (&key, Some(&value)),
            ("gone", (number < 5).then_some(&b"x"[..])),
        ]);
        let (error, base) = client.produce(topic, 0, &batch).await;
        assert_eq!(error, ErrorCode::None);
        end = base + 2;
    }
    end
}

async fn wait_until_compacted(client: &mut Client, topic: &str, end: i64, most: usize) {
    let started = Instant::now();
    loop {
        let rows = read_all(client, topic, end).await;
        if rows.len() <= most {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{} rows are left", rows.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_keeps_the_last_record_of_each_key() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, mut client) = start_compacting(directory.path(), &[]).await;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    client.create_topic("table", 1, &configs).await;
    let end = fill(&mut client, "table").await;
    let before = read_all(&mut client, "table", end).await;
    wait_until_compacted(&mut client, "table", end, 40).await;
    let after = read_all(&mut client, "table", end).await;
    assert_eq!(table(&after), table(&before));
    let started = Instant::now();
    while broker.metrics_text().await.contains(NOTHING_REMOVED) {
        assert!(started.elapsed() < PATIENCE, "compactions are counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop(broker, client).await;

    let (broker, mut client) = start_compacting(directory.path(), &[]).await;
    assert_eq!(
        table(&read_all(&mut client, "table", end).await),
        table(&before)
    );
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_becomes_compacted_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, mut client) = start_compacting(directory.path(), &[]).await;
    client
        .create_topic("late", 1, &[("segment.bytes", "1048576")])
        .await;
    let end = fill(&mut client, "late").await;
    let before = read_all(&mut client, "late", end).await;
    assert_eq!(before.len(), 120);
    client.set_config("late", "cleanup.policy", "compact").await;
    wait_until_compacted(&mut client, "late", end, 60).await;
    assert_eq!(
        table(&read_all(&mut client, "late", end).await),
        table(&before)
    );
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cleaner_nothing_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let entries = [("log.cleaner.enable", "false")];
    let (broker, mut client) = start_compacting(directory.path(), &entries).await;
    let configs = [("cleanup.policy", "compact"), ("segment.bytes", "1048576")];
    client.create_topic("table", 1, &configs).await;
    let end = fill(&mut client, "table").await;
    stop(broker, client).await;
    let (broker, mut client) = start_compacting(directory.path(), &entries).await;
    assert_eq!(read_all(&mut client, "table", end).await.len(), 120);
    broker.shutdown().await;
}
