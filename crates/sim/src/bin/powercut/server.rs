//! The broker's process: started, waited for, killed; killed too when the harness itself fails.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::connection::Connection;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    started: Instant,
}

impl Server {
    pub fn start(command: &[String]) -> Result<Server, String> {
        let (program, arguments) = command.split_first().ok_or("no command")?;
        let started = Instant::now();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        Ok(Server { child, started })
    }

    /// Waits for the first answered Metadata that names a broker; the time since the start.
    pub fn wait_until_ready(&mut self, address: SocketAddr) -> Result<Duration, String> {
        loop {
            if Connection::open(address).is_ok_and(|mut connection| connection.has_brokers()) {
                return Ok(self.started.elapsed());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the broker ended with {status} before it answered"));
            }
            if self.started.elapsed() > PATIENCE {
                return Err(format!(
                    "the broker did not answer within {} s",
                    PATIENCE.as_secs()
                ));
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// SIGKILL while it may still be starting.
    pub fn kill_after(mut self, delay: Duration) {
        std::thread::sleep(delay);
        self.kill();
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
