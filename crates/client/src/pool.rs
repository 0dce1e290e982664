//! A few [`Admin`]s that many callers share: opened when they are needed, kept while they work, opened anew after a failure.
//!
//! At most `limit` are out at a time; who comes then waits, no longer than the cluster's time limit. HTTP handlers call it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::error::ClientError;

/// An admin unused for longer is opened anew: a firewall may have forgotten its connections without telling either end.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Admins by turns. Clones share them.
#[derive(Clone)]
pub struct AdminPool {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Cluster,
    limit: usize,
    permits: Arc<Semaphore>,
    /// The last one returned is the first to go out again, so that what is not needed grows old.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    admin: Admin,
    since: Instant,
}

/// An admin for one caller; it goes back when dropped, unless its connection failed.
pub struct PooledAdmin {
    admin: Option<Admin>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl AdminPool {
    pub(crate) fn new(cluster: &Cluster, limit: usize) -> AdminPool {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        AdminPool {
            shared: Arc::new(Shared {
                cluster: cluster.clone(),
                limit,
                permits: Arc::new(Semaphore::new(limit)),
                idle: Mutex::new(Vec::new()),
            }),
        }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    /// An admin that is connected.
    ///
    /// # Errors
    /// `TimedOut` when all are in use for too long, `Unreachable` when no broker answers.
    pub async fn get(&self) -> Result<PooledAdmin, ClientError> {
        let patience = self.shared.cluster.timeout();
        let permits = Arc::clone(&self.shared.permits);
        let permit = timeout(patience, permits.acquire_owned())
            .await
            .map_err(|_| ClientError::TimedOut {
                what: format!("waiting for one of {} admin clients", self.shared.limit),
                after: patience,
            })?
            .expect("the semaphore of a pool is never closed");
        let admin = match self.shared.take_idle() {
            Some(admin) => admin,
            None => self.shared.cluster.admin().await?,
        };
        Ok(PooledAdmin {
            admin: Some(admin),
            shared: Arc::clone(&self.shared),
            _permit: permit,
        })
    }
}

impl Shared {
    fn take_idle(&self) -> Option<Admin> {
        let mut idle = self.idle();
        while let Some(Idle { mut admin, since }) = idle.pop() {
            if since.elapsed() < MAX_IDLE && admin.is_usable() {
                return Some(admin);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for PooledAdmin {
    type Target = Admin;

    fn deref(&self) -> &Admin {
        self.admin.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for PooledAdmin {
    fn deref_mut(&mut self) -> &mut Admin {
        self.admin.as_mut().expect("it is there until the drop")
    }
}

impl Drop for PooledAdmin {
    fn drop(&mut self) {
        if let Some(mut admin) = self.admin.take()
            && admin.is_usable()
        {
            let since = Instant::now();
            self.shared.idle().push(Idle { admin, since });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::scripted_broker::{self, Answer};

    /// A pool over a broker that counts the connections it was asked on, and closes each one after `requests`.
    async fn pool(limit: usize, requests: usize) -> (AdminPool, Arc<AtomicUsize>) {
        let connections = Arc::new(AtomicUsize::new(0));
        let asked = AtomicUsize::new(0);
        let counter = Arc::clone(&connections);
        let address = scripted_broker::start(move |request, address| {
            counter.fetch_max(request.connection + 1, Ordering::Relaxed);
            if asked.fetch_add(1, Ordering::Relaxed) % (requests + 1) == requests {
                return Answer::Close;
            }
            request.answer_basics(address)
        })
        .await;
        let cluster = Cluster::new(&address).with_timeout(Duration::from_secs(5));
        (cluster.admin_pool(limit), connections)
    }

    #[tokio::test]
    async fn an_admin_that_came_back_goes_out_again() {
        let (pool, connections) = pool(2, 1000).await;
        for _ in 0..3 {
            let mut admin = pool.get().await.expect("connected");
            admin.refresh().await.expect("it works");
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_admin_that_failed_is_replaced() {
        let (pool, connections) = pool(1, 2).await;
        let mut admin = pool.get().await.expect("connected");
        assert!(admin.refresh().await.is_err(), "the broker closes");
        drop(admin);
        pool.get().await.expect("a new connection");
        assert_eq!(connections.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_admin_that_was_idle_for_long_is_replaced() {
        let (pool, connections) = pool(1, 1000).await;
        drop(pool.get().await.expect("connected"));
        tokio::time::pause();
        tokio::time::advance(MAX_IDLE).await;
        tokio::time::resume();
        drop(pool.get().await.expect("a new connection"));
        assert_eq!(connections.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn who_comes_when_all_are_in_use_waits_no_longer_than_the_limit() {
        let (pool, _) = pool(1, 1000).await;
        let taken = pool.get().await.expect("connected");
        tokio::time::pause();
        let error = pool.get().await.err().expect("none is free");
        tokio::time::resume();
        assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
        drop(taken);
        pool.get().await.expect("it is free again");
    }
}
