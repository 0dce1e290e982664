//! `powercut serve PORT FOLDER`: the broker over a `DroppingDisk`, so that SIGKILL loses every write that was not synced.

use std::path::PathBuf;
use std::sync::Arc;

use broker::{Broker, BrokerSettings, Storage, loopback};

use crate::dropping::DroppingDisk;

/// Serves until it is killed.
pub fn serve(arguments: &[String]) -> Result<(), String> {
    let [port, folder] = arguments else {
        return Err("usage: powercut serve PORT FOLDER".to_owned());
    };
    let port = port
        .parse()
        .map_err(|_| format!("`{port}` is not a port"))?;
    let mut settings = BrokerSettings::new(Storage::Directory(PathBuf::from(folder)));
    settings.listen = loopback(port);
    settings.disk = Some(Arc::new(DroppingDisk::default()));
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| format!("the runtime does not start: {error}"))?;
    runtime.block_on(async {
        let _broker = Broker::start(settings)
            .await
            .map_err(|error| error.to_string())?;
        std::future::pending::<Result<(), String>>().await
    })
}
