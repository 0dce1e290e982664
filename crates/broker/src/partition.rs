//! A partition as every thread sees it: what it is called, who owns it, what can be read, who waits for more.
//! Its log is owned by one shard (or by the coordinator, for its own topic) and is not reachable from here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::SharedView;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire::Uuid;

/// Who may append to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This shard, which keeps it in this slot.
    Shard { shard: usize, slot: usize },
    /// A coordinator, whose journal it is; clients read but do not write.
    Coordinator,
}

/// Shared by the cluster image, the shard and every request that uses the partition.
pub struct Partition {
    pub topic: Arc<str>,
    pub topic_id: Uuid,
    pub index: i32,
    pub owner: Owner,
    view: Arc<SharedView>,
    waiters: Mutex<Vec<Arc<Notify>>>,
    /// Producer id and epoch of each transaction that is open here, as published.
    open_transactions: Mutex<HashMap<i64, i16>>,
    closed: AtomicBool,
}

impl Partition {
    pub fn new(
        topic: Arc<str>,
        topic_id: Uuid,
        index: i32,
        owner: Owner,
        view: Arc<SharedView>,
    ) -> Self {
        Self {
            topic,
            topic_id,
            index,
            owner,
            view,
            waiters: Mutex::default(),
            open_transactions: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// What can be read now.
    pub fn view(&self) -> log::PartitionView {
        self.view.load()
    }

    /// Whether this producer has a transaction with this epoch here, whose batches need not be verified one by one.
    pub fn has_open_transaction(&self, producer_id: i64, producer_epoch: i16) -> bool {
        self.open_transactions.lock().get(&producer_id) == Some(&producer_epoch)
    }

    /// Called by the owner when it publishes: this producer's transaction here, by its epoch, or that it has none.
    pub fn set_transaction(&self, producer_id: i64, epoch: Option<i16>) {
        let mut open = self.open_transactions.lock();
        match epoch {
            Some(epoch) => open.insert(producer_id, epoch),
            None => open.remove(&producer_id),
        };
    }

    /// Called by the owner when it has opened the log anew: all transactions that are open here.
    pub fn replace_transactions(&self, open: impl Iterator<Item = (i64, i16)>) {
        *self.open_transactions.lock() = open.collect();
    }

    /// Wakes `waiter` at each publish until `stop_waiting`.
    ///
    /// Register first and look second: a publish between the two is then not missed.
    pub fn wait_for_publish(&self, waiter: &Arc<Notify>) {
        self.waiters.lock().push(Arc::clone(waiter));
    }

    pub fn stop_waiting(&self, waiter: &Arc<Notify>) {
        self.waiters
            .lock()
            .retain(|other| !Arc::ptr_eq(other, waiter));
    }

    /// Called by the owner after it has published a view.
    pub fn wake_waiters(&self) {
        for waiter in self.waiters.lock().iter() {
            waiter.notify_one();
        }
    }

    /// Marks a deleted partition: fetches that wait on it return at once.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake_waiters();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}
