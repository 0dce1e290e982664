//! Connections to the brokers of a cluster that many callers share: one exchange each, then back to the others.
//!
//! A broker has at most [`MAX_PER_BROKER`] at a time; who comes then waits, no longer than the cluster's time limit. Long polls may
//! have [`MAX_LONG_POLLS`] of them, so that however many callers wait for records, what is answered at once finds a connection. A
//! connection whose caller went away in mid-exchange is closed, because its answer is still to come.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::ClientError;

const MAX_PER_BROKER: usize = 128;
/// A long poll holds a connection for as long as it waits.
pub(super) const MAX_LONG_POLLS: usize = 96;
/// Brokers that are remembered; a cluster with more than that opens a connection for each exchange to the others.
const MAX_BROKERS: usize = 1000;
/// A connection unused for longer is opened anew: a firewall may have forgotten it without telling either end.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Connections by the address of their broker.
pub(crate) struct Connections {
    cluster: Cluster,
    brokers: Mutex<HashMap<String, Arc<Broker>>>,
}

/// How long an exchange lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// The broker answers as soon as it can.
    Brief,
    /// The broker may wait for records before it answers.
    LongPoll,
}

struct Broker {
    permits: Arc<Semaphore>,
    long_polls: Arc<Semaphore>,
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
    _permit: Permit,
}

/// A place among the connections to a broker and, for a long poll, among those that wait.
struct Permit {
    _long_poll: Option<OwnedSemaphorePermit>,
    _connection: OwnedSemaphorePermit,
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
    /// `Busy` when all that this exchange may have are in use for too long, `Unreachable` when the broker does not answer.
    pub(crate) async fn get(
        &self,
        address: &str,
        exchange: Exchange,
    ) -> Result<SharedConnection, ClientError> {
        let broker = self.broker(address);
        let permit = timeout(self.cluster.timeout(), broker.permit(exchange))
            .await
            .map_err(|_| ClientError::Busy {
                what: format!("asking {address}"),
                reason: match exchange {
                    Exchange::Brief => format!("all {MAX_PER_BROKER} connections are in use"),
                    Exchange::LongPoll => {
                        format!("{MAX_LONG_POLLS} reads wait for records already")
                    }
                },
            })?;
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
            long_polls: Arc::new(Semaphore::new(MAX_LONG_POLLS)),
            idle: Mutex::new(Vec::new()),
        });
        if brokers.len() < MAX_BROKERS {
            brokers.insert(address.to_owned(), Arc::clone(&broker));
        }
        broker
    }
}

impl Broker {
    async fn permit(&self, exchange: Exchange) -> Permit {
        let acquire = async |permits: &Arc<Semaphore>| {
            let permit = Arc::clone(permits).acquire_owned().await;
            permit.expect("the semaphores of a broker are never closed")
        };
        // A long poll that waits for its turn holds no connection meanwhile.
        let long_poll = match exchange {
            Exchange::Brief => None,
            Exchange::LongPoll => Some(acquire(&self.long_polls).await),
        };
        Permit {
            _long_poll: long_poll,
            _connection: acquire(&self.permits).await,
        }
    }

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
