//! A Kafka broker inside a program: start it, produce with any client, consume, drop it.
//!
//! `cargo run --example embedded`

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In memory and on a free port; `Settings::on_disk("folder")` keeps the data.
    let thalweg = thalweg::embedded(thalweg::Settings::in_memory())?;
    println!("broker at {}", thalweg.bootstrap());

    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", thalweg.bootstrap())
        .create()?;
    let record = BaseRecord::to("orders").key("o-1").payload("one coffee");
    producer.send(record).map_err(|(error, _)| error)?;
    producer.flush(Duration::from_secs(5))?;

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", thalweg.bootstrap())
        .set("group.id", "baristas")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&["orders"])?;
    let order = consumer.iter().next().ok_or("the consumer was closed")??;
    println!(
        "order: {}",
        String::from_utf8_lossy(order.payload().unwrap_or_default())
    );
    Ok(())
    // Dropping `thalweg` stops the broker.
}
