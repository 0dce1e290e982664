//! Runs a broker alone, without the platform around it: `cargo run --release -p broker --example serve -- PORT [DIRECTORY]`.

use broker::{Broker, BrokerSettings, Storage, loopback};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let storage = arguments.next().map_or(Storage::Memory, |directory| {
        Storage::Directory(directory.into())
    });
    let mut settings = BrokerSettings::new(storage);
    settings.listen = loopback(port);
    let broker = Broker::start(settings).await?;
    println!("{:?}", broker.kafka_addresses());
    tokio::signal::ctrl_c().await?;
    broker.shutdown().await;
    Ok(())
}
