//! Runs a broker alone, without the platform around it, with broker settings under Kafka's names:
//! `cargo run --release -p broker --example serve -- PORT [DIRECTORY [KEY=VALUE …]]`.

use broker::{Broker, BrokerSettings, Storage, loopback};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let storage = arguments.next().map_or(Storage::Memory, |directory| {
        Storage::Directory(directory.into())
    });
    let mut settings = BrokerSettings::new(storage);
    settings.listen = loopback(port);
    settings.broker_config = arguments
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        })
        .collect();
    let broker = Broker::start(settings).await?;
    println!("{:?}", broker.kafka_addresses());
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    broker.shutdown().await;
    Ok(())
}
