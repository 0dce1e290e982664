//! Requests that cannot be decided yet: a transaction is still ending, or there is no producer id to give.
//!
//! Bounded by the memory that requests may hold; each waits up to a time of its own.

use std::collections::{BTreeMap, VecDeque};

use super::command::Command;
use super::ids::TransactionalId;
use crate::step::{Millis, RequestId};

#[derive(Debug, Default)]
pub(super) struct Waiting {
    for_end: BTreeMap<TransactionalId, VecDeque<WaitingRequest>>,
    for_producer_id: VecDeque<WaitingRequest>,
}

#[derive(Debug)]
pub(super) struct WaitingRequest {
    pub request: RequestId,
    pub command: Command,
    pub until: Millis,
}

impl Waiting {
    pub fn for_end(&mut self, request: RequestId, command: Command, until: Millis) {
        let id = match &command {
            Command::InitProducerId(init) => init.id.clone(),
            Command::AddPartitions(add) => add.id.clone(),
            Command::EndTransaction(end) => end.id.clone(),
            Command::VerifyPartitions(_) | Command::Describe(_) | Command::List(_) => {
                unreachable!("what only looks is answered at once")
            }
        };
        self.for_end
            .entry(id)
            .or_default()
            .push_back(WaitingRequest {
                request,
                command,
                until,
            });
    }

    pub fn for_producer_id(&mut self, request: RequestId, command: Command, until: Millis) {
        self.for_producer_id.push_back(WaitingRequest {
            request,
            command,
            until,
        });
    }

    pub fn take_for_producer_id(&mut self) -> VecDeque<WaitingRequest> {
        std::mem::take(&mut self.for_producer_id)
    }

    pub fn take_for_end(&mut self, id: &TransactionalId) -> VecDeque<WaitingRequest> {
        self.for_end.remove(id).unwrap_or_default()
    }

    pub fn next_deadline(&self) -> Option<Millis> {
        // Each queue is in the order of its deadlines, as all wait equally long.
        let first = |queue: &VecDeque<WaitingRequest>| queue.front().map(|first| first.until);
        let ends = self.for_end.values().filter_map(first);
        ends.chain(first(&self.for_producer_id)).min()
    }

    /// Takes out those that have waited for long enough.
    pub fn take_due(&mut self, now: Millis) -> Vec<WaitingRequest> {
        let mut due = Vec::new();
        let queues = self.for_end.values_mut();
        for queue in queues.chain([&mut self.for_producer_id]) {
            while queue.front().is_some_and(|first| first.until <= now) {
                due.extend(queue.pop_front());
            }
        }
        self.for_end.retain(|_, queue| !queue.is_empty());
        due
    }
}
