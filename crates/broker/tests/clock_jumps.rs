//! A clock that jumps by a day: machines that slept, virtual machines that were moved. The system clock of a broker is not set back or
//! forth with the wall clock (decision 0004); these tests jump the broker's own time, which is worse.

mod support;

use std::time::Duration;

use broker::{Broker, BrokerSettings, Clock, Storage};
use support::{Client, batch, idempotent_batch};
use wire::ErrorCode;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NOW_MS: i64 = 1_700_000_000_000;

async fn start(storage: Storage, now_ms: i64) -> (Broker, Clock, Client) {
    let clock = Clock::manual(now_ms);
    let mut settings = BrokerSettings::new(storage);
    settings.clock = clock.clone();
    let broker = Broker::start(settings).await.expect("the broker starts");
    let client = Client::connect(broker.kafka_addresses()[0]).await;
    (broker, clock, client)
}

#[tokio::test]
async fn a_jump_forward_keeps_records_producers_and_connections() {
    let (broker, clock, mut client) = start(Storage::Memory, NOW_MS).await;
    client
        .create_topic("orders", 1, &[("message.timestamp.type", "LogAppendTime")])
        .await;
    let first = idempotent_batch(7, 0, 0, &["a"]);
    assert_eq!(client.produce("orders", 0, &first).await.0, ErrorCode::None);
    clock.advance(DAY / 2);
    let second = idempotent_batch(7, 0, 1, &["b"]);
    assert_eq!(
        client.produce("orders", 0, &second).await,
        (ErrorCode::None, 1)
    );
    // What is sent again is still known.
    assert_eq!(
        client.produce("orders", 0, &second).await,
        (ErrorCode::None, 1)
    );
    clock.advance(DAY);
    let plain = batch(&["c"]);
    assert_eq!(
        client.produce("orders", 0, &plain).await,
        (ErrorCode::None, 2)
    );
    assert_eq!(client.fetch("orders", 0, 0).await, ["a", "b", "c"]);
    assert!(broker.is_ready());
}

#[tokio::test]
async fn a_start_a_day_in_the_past_keeps_everything_and_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = || Storage::Directory(directory.path().to_owned());
    let day_ms = DAY.as_millis() as i64;
    let topic = [("message.timestamp.type", "LogAppendTime")];
    let mut expected = Vec::new();
    // The wall clock of each start: right, a day early, a day late.
    for (number, jump_ms) in [0, -day_ms, day_ms].into_iter().enumerate() {
        let (broker, clock, mut client) = start(storage(), NOW_MS + jump_ms).await;
        if number == 0 {
            client.create_topic("orders", 1, &topic).await;
        }
        let value = format!("value {number}");
        let again = idempotent_batch(7, 0, number as i32, &[&value]);
        let offset = number as i64;
        for _ in 0..2 {
            let stored = client.produce("orders", 0, &again).await;
            assert_eq!(stored, (ErrorCode::None, offset), "start {number}");
        }
        expected.push(value);
        clock.advance(Duration::from_secs(120));
        // Retention has had its turn by the time that this step is over.
        let stored = client.produce("orders", 0, &again).await;
        assert_eq!(stored, (ErrorCode::None, offset));
        assert_eq!(client.fetch("orders", 0, 0).await, expected);
        assert!(broker.is_ready());
        broker.shutdown().await;
    }
}
