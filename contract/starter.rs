//! The one thread that starts processes. `setpriv --pdeathsig` ends a process when the *thread* that started it ends: this
//! one ends with the suite and not before, whichever test asked for the process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{self, SyncSender};

use crate::process::Background;

struct Order {
    what: String,
    command: Command,
    log: PathBuf,
    started: SyncSender<Result<Background, String>>,
}

/// Starts `command` with its output in the file `log`; it is killed when the handle is dropped or this process ends.
pub fn start(what: &str, command: Command, log: &Path) -> Result<Background, String> {
    static ORDERS: OnceLock<SyncSender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, incoming) = mpsc::sync_channel::<Order>(1);
        std::thread::spawn(move || {
            for order in incoming {
                let started = Background::start(&order.what, &order.command, &order.log);
                let _ = order.started.send(started);
            }
        });
        orders
    });
    let (started, answer) = mpsc::sync_channel(1);
    let order = Order {
        what: what.to_owned(),
        command,
        log: log.to_owned(),
        started,
    };
    let gone = |_| "the starter thread has ended".to_owned();
    orders
        .send(order)
        .map_err(|_| "the starter thread has ended".to_owned())?;
    answer.recv().map_err(gone)?
}
