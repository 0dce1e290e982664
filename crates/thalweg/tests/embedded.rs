//! `thalweg::embedded` with librdkafka, as an application's own tests would use it.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use thalweg::{Settings, embedded};

const PATIENCE: Duration = Duration::from_secs(20);

fn produce(bootstrap: &str, topic: &str, values: &[&str]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .create()
        .expect("valid properties");
    for value in values {
        let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).key("k").payload(value);
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("there is room in the queue");
    }
    producer.flush(PATIENCE).expect("the broker acknowledges");
}

fn consume(bootstrap: &str, topic: &str, count: usize) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "readers")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("valid properties");
    consumer.subscribe(&[topic]).expect("a valid subscription");
    let value = |message: &rdkafka::message::BorrowedMessage<'_>| {
        String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned()
    };
    let messages = consumer.iter().take(count);
    messages
        .map(|message| value(&message.expect("a record comes")))
        .collect()
}

#[test]
fn a_program_produces_to_and_consumes_from_its_own_broker() {
    let thalweg = embedded(Settings::in_memory()).expect("a broker in memory");
    assert_eq!(thalweg.bootstrap(), thalweg.kafka_address().to_string());
    produce(&thalweg.bootstrap(), "orders", &["one", "two", "three"]);
    assert_eq!(
        consume(&thalweg.bootstrap(), "orders", 3),
        ["one", "two", "three"]
    );
}

#[test]
fn two_brokers_in_one_program_are_two_clusters() {
    let one = embedded(Settings::in_memory()).expect("a broker in memory");
    let other = embedded(Settings::in_memory()).expect("a broker in memory");
    assert_ne!(one.kafka_address(), other.kafka_address());
    assert_ne!(one.cluster_id(), other.cluster_id());
}

#[test]
fn dropping_the_handle_stops_the_broker_and_keeps_the_data_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let thalweg = embedded(Settings::on_disk(folder.path())).expect("a broker on disk");
    let address = thalweg.kafka_address();
    let cluster_id = thalweg.cluster_id().to_owned();
    produce(&thalweg.bootstrap(), "orders", &["one", "two"]);
    drop(thalweg);
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "the port is closed"
    );

    let thalweg = embedded(Settings::on_disk(folder.path())).expect("the folder is free again");
    assert_eq!(thalweg.cluster_id(), cluster_id);
    assert_eq!(consume(&thalweg.bootstrap(), "orders", 2), ["one", "two"]);
}

#[test]
fn a_wrong_setting_is_an_error_and_not_a_broker() {
    let settings = Settings::in_memory().broker_config("num.partitions", "many");
    let error = embedded(settings).expect_err("a refusal");
    assert!(error.to_string().contains("num.partitions"), "{error}");
}

#[tokio::test]
async fn it_starts_and_stops_inside_an_async_runtime() {
    let thalweg = embedded(Settings::in_memory()).expect("a broker in memory");
    assert!(
        tokio::net::TcpStream::connect(thalweg.kafka_address())
            .await
            .is_ok()
    );
}
