//! The queue in front of an owner: a shard, the controller, the coordinator. Requests go in one by one, the owner
//! takes all that have gathered and works on them in one step.
//!
//! It is bounded by the memory that requests may hold (`Limits::request_memory_bytes`): each event belongs to a
//! request that is still being worked on.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::shard::Reply;

pub struct Queue<E> {
    state: Mutex<State<E>>,
    filled: Condvar,
}

struct State<E> {
    events: Vec<E>,
    is_closed: bool,
}

impl<E> Queue<E> {
    pub fn new() -> Self {
        let state = State {
            events: Vec::new(),
            is_closed: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
        }
    }

    /// Hands `event` over; after the owner has ended it is dropped, and with it its reply.
    pub fn send(&self, event: E) {
        let mut state = self.state.lock();
        if state.is_closed {
            return;
        }
        state.events.push(event);
        if state.events.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// Hands over the event that `event` makes and waits for its reply; `None` when the owner has ended.
    pub async fn ask<T: Send + 'static>(&self, event: impl FnOnce(Reply<T>) -> E) -> Option<T> {
        let (reply, receiver) = Reply::channel();
        self.send(event(reply));
        receiver.await.ok()
    }

    /// Returns when there are events, when the queue is closed, or after `longest`.
    pub fn wait(&self, longest: Duration) {
        let mut state = self.state.lock();
        if state.events.is_empty() && !state.is_closed && !longest.is_zero() {
            self.filled.wait_for(&mut state, longest);
        }
    }

    /// All events that have gathered, and `spare` in their place; `None` once the queue is closed.
    pub fn take(&self, spare: Vec<E>) -> Option<Vec<E>> {
        let mut state = self.state.lock();
        (!state.is_closed).then(|| std::mem::replace(&mut state.events, spare))
    }

    /// Whether nothing waits and events are still taken.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.events.is_empty() && !state.is_closed
    }

    /// Takes no more events and drops those that wait.
    pub fn close(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.events)
        };
        // Their replies are dropped here, outside of the lock.
        drop(dropped);
        self.filled.notify_one();
    }
}
