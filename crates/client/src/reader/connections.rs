//! Connections to the brokers of a cluster that many callers share: one exchange each, then back to the others.
//!
//! A broker has at most [`MAX_PER_BROKER`] at a time; who comes then waits, no longer than the cluster's time limit. A connection
//! whose caller went away in mid-exchange is closed, because its answer is still to come.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::ClientError;

/// A long poll holds a connection for as long as it waits.
const MAX_PER_BROKER: usize = 64;
/// Brokers that are remembered; a cluster with more than that opens a connection for each exchange to the others.
const MAX_BROKERS: usize = 1000;
/// A connection unused for longer is opened anew: a firewall may have forgotten it without telling either end.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Connections by the address of their broker.
pub(crate) struct Connections {
    cluster: Cluster,
    brokers: Mutex<HashMap<String, Arc<Broker>>>,
}

struct Broker {
    permits: Arc<Semaphore>,
    /// The last one returned is the first to go out again, so that what is not needed grows old.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection for one caller; it goes back when dropped, unless it failed or is in the middle of an exchange.
pub(crate) struct SharedConnection {
    connection: Option<Connection>,
    broker: Arc<Broker>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(cluster: &Cluster) -> Connections {
        Connections {
            cluster: cluster.clone(),
            brokers: Mutex::new(HashMap::new()),
        }
    }

    /// A connection to the broker at `address`.
    ///
    /// # Errors
    /// `Busy` when all are in use for too long, `Unreachable` when the broker does not answer.
    pub(crate) async fn get(&self, address: &str) -> Result<SharedConnection, ClientError> {
        let broker = self.broker(address);
        let permits = Arc::clone(&broker.permits);
        let permit = timeout(self.cluster.timeout(), permits.acquire_owned())
            .await
            .map_err(|_| ClientError::Busy {
                what: format!("asking {address}"),
                reason: format!("all {MAX_PER_BROKER} connections are in use"),
            })?
            .expect("the semaphore of a broker is never closed");
        let connection = match broker.take_idle() {
            Some(mut connection) => {
                connection.set_limit(self.cluster.timeout());
                connection
            }
            None => Connection::open(address, &self.cluster).await?,
        };
        Ok(SharedConnection {
            connection: Some(connection),
            broker,
            _permit: permit,
        })
    }

    fn broker(&self, address: &str) -> Arc<Broker> {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = brokers.get(address) {
            return Arc::clone(broker);
        }
        let broker = Arc::new(Broker {
            permits: Arc::new(Semaphore::new(MAX_PER_BROKER)),
            idle: Mutex::new(Vec::new()),
        });
        if brokers.len() < MAX_BROKERS {
            brokers.insert(address.to_owned(), Arc::clone(&broker));
        }
        broker
    }
}

impl Broker {
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some(Idle {
            mut connection,
            since,
        }) = idle.pop()
        {
            if since.elapsed() < MAX_IDLE && connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for SharedConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("it is there until the drop")
    }
}

impl DerefMut for SharedConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .expect("it is there until the drop")
    }
}

impl Drop for SharedConnection {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.is_usable()
        {
            let since = Instant::now();
            let mut idle = self.broker.idle();
            idle.retain(|idle| idle.since.elapsed() < MAX_IDLE);
            idle.push(Idle { connection, since });
        }
    }
}
