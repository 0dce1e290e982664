//! Runs the transaction coordinator: one thread with the `Transactions` machine and its journal, `__transaction_state-0`.
//! It works in steps like a shard: take what has gathered → decide → make durable → reply → have markers written.
//!
//! What it keeps true:
//! - an end is durable before its first marker is written, and complete only after the last one is;
//! - a batch or an offset that is let into a transaction gets to its owner before that transaction's marker: offsets are
//!   handed on by this thread, batches carry the high watermark that this thread has read (`AppendItem::verified_at`).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker_state::features::TRANSACTION_VERSION;
use broker_state::groups;
use broker_state::producer_ids::ProducerIdentity;
use broker_state::step::{Millis, RequestId};
use broker_state::topics;
use broker_state::transactions::{
    Command, Markers, Record, Reply as TransactionReply, TransactionEffects, TransactionSettings,
    TransactionalId, Transactions,
};
use log::Offset;
use wire::ErrorCode;

use crate::clock::Clock;
use crate::cluster::{Cluster, TRANSACTION_STATE};
use crate::controller::ControllerHandle;
use crate::coordinator::CoordinatorHandle;
use crate::data::Data;
use crate::error::StartError;
use crate::journal::{Entry, Journal};
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::queue::Queue;
use crate::room::Room;
use crate::shard::{Fatal, Reply, ShardHandle, Slot};
use crate::sync_pool::SyncPool;

mod markers;
mod metrics;

pub use markers::offsets_partition;
pub use metrics::TransactionMetrics;

/// The longest the thread sleeps when no deadline is near.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// For each partition asked about, what `AppendItem::verified_at` may say, or why nothing may be written there.
pub type Admitted = Result<Vec<Result<Offset, ErrorCode>>, ErrorCode>;
/// What the groups answer, or why they were not asked.
pub type OffsetsCommitted = Result<groups::Reply, ErrorCode>;

/// What the transaction coordinator is asked.
enum Event {
    Command {
        command: Box<Command>,
        asker: Asker,
    },
    /// The controller's answer: ids that nobody else has, none when it has ended.
    ProducerIds(Range<i64>),
    MarkersWritten {
        id: TransactionalId,
        producer: ProducerIdentity,
    },
    Close {
        reply: Reply<()>,
    },
}

/// What an answer is for.
enum Asker {
    Client(Reply<TransactionReply>),
    /// A produce request that wants to write to these partitions.
    Produce {
        partitions: Vec<Slot>,
        reply: Reply<Admitted>,
    },
    /// Offsets that go on to the groups.
    Offsets {
        commit: Box<groups::Command>,
        reply: Reply<OffsetsCommitted>,
    },
}

/// The way to the transaction coordinator; clones share one queue, bounded by the memory that requests may hold.
#[derive(Clone)]
pub struct TransactionsHandle(Arc<Queue<Event>>);

impl TransactionsHandle {
    pub fn new() -> Self {
        Self(Arc::new(Queue::new()))
    }

    /// Asks; `None` when the broker is stopping.
    pub async fn ask(&self, command: Command) -> Option<TransactionReply> {
        let asked = self
            .0
            .ask(|reply| command_event(command, Asker::Client(reply)));
        asked.await
    }

    /// Adds or verifies `partitions`, as `command` says, for batches that are about to be written to them.
    pub async fn admit(&self, command: Command, partitions: Vec<Slot>) -> Admitted {
        let asked = self
            .0
            .ask(|reply| command_event(command, Asker::Produce { partitions, reply }));
        asked
            .await
            .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    /// Adds or verifies the offsets of a group, as `command` says, and hands `commit` on to the groups.
    pub async fn commit_offsets(
        &self,
        command: Command,
        commit: groups::Command,
    ) -> OffsetsCommitted {
        let commit = Box::new(commit);
        let asked = self
            .0
            .ask(|reply| command_event(command, Asker::Offsets { commit, reply }));
        asked
            .await
            .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    /// Ends the thread after what it has been asked so far.
    pub async fn close(&self) {
        // An answer that does not come means that the thread has ended already.
        let _ = self.0.ask(|reply| Event::Close { reply }).await;
    }

    /// As `close`, without waiting.
    pub fn close_now(&self) {
        self.0.send(Event::Close {
            reply: Reply::ignored(),
        });
    }
}

fn command_event(command: Command, asker: Asker) -> Event {
    let command = Box::new(command);
    Event::Command { command, asker }
}

/// What the coordinator works with once it runs.
pub struct Surroundings {
    pub cluster: Arc<Cluster>,
    pub shards: Vec<ShardHandle>,
    pub groups: CoordinatorHandle,
    pub controller: ControllerHandle,
    pub metrics: Arc<Metrics>,
    /// What clients see of the journal.
    pub partition: Arc<Partition>,
}

/// The machine with its journal, replayed and ready to run.
pub struct TransactionCoordinator {
    transactions: Transactions,
    journal: Journal,
    waiting: HashMap<RequestId, Asker>,
    next_request: u64,
    is_asking_for_ids: bool,
    /// What waits for space on the disk: nobody would tell it again.
    held: Vec<Event>,
    is_without_room: bool,
}

impl TransactionCoordinator {
    /// Opens the journal and replays it.
    ///
    /// # Errors
    /// `State` or `Log` when the journal cannot be read.
    pub fn open(
        data: &Data,
        settings: TransactionSettings,
        syncs: Arc<SyncPool>,
        now_ms: i64,
    ) -> Result<Self, StartError> {
        let mut transactions = Transactions::new(settings);
        let apply = |key: Option<&[u8]>, value: Option<&[u8]>| {
            let record = Record::decode(key.unwrap_or_default(), value)
                .map_err(|error| error.to_string())?;
            transactions.apply(&record);
            Ok(())
        };
        let directory = data.partition_directory(TRANSACTION_STATE, 0);
        let journal = Journal::open(Arc::clone(data.disk()), directory, syncs, now_ms, apply);
        let journal = journal.map_err(|error| StartError::replay(TRANSACTION_STATE, error))?;
        Ok(Self {
            transactions,
            journal,
            waiting: HashMap::new(),
            next_request: 0,
            is_asking_for_ids: false,
            held: Vec::new(),
            is_without_room: false,
        })
    }

    pub fn shared_view(&self) -> Arc<log::SharedView> {
        self.journal.shared_view()
    }

    /// Starts the thread.
    pub fn spawn(
        self,
        handle: TransactionsHandle,
        surroundings: Surroundings,
        clock: Clock,
        keeper: Keeper,
    ) -> JoinHandle<()> {
        let failing = keeper.clone();
        let run = move || {
            if let Err(fatal) = self.run(&handle, &surroundings, &clock) {
                handle.0.close();
                failing.fail(fatal);
            }
        };
        keeper.spawn("transactions", run)
    }

    fn run(
        mut self,
        handle: &TransactionsHandle,
        around: &Surroundings,
        clock: &Clock,
    ) -> Result<(), Fatal> {
        let mut effects = TransactionEffects::default();
        self.transactions
            .loaded(Millis(clock.now_ms()), &mut effects);
        self.settle(effects, clock.now_ms(), handle, around)?;
        loop {
            handle.0.wait(self.sleep(clock.now_ms()));
            let Some(events) = handle.0.take(Vec::new()) else {
                return Ok(());
            };
            let now_ms = clock.now_ms();
            let version = around.cluster.image().features().level(TRANSACTION_VERSION);
            self.transactions.set_version(version);
            let mut effects = TransactionEffects::default();
            let mut closing = None;
            for event in self.with_room(events) {
                match event {
                    Event::Close { reply } => closing = Some(reply),
                    event => self.take(now_ms, event, &mut effects),
                }
            }
            if !self.is_without_room {
                self.transactions.tick(Millis(now_ms), &mut effects);
            }
            if closing.is_some() {
                effects
                    .step
                    .replies
                    .extend(self.transactions.waiting_requests());
            }
            self.settle(effects, now_ms, handle, around)?;
            if let Some(reply) = closing {
                handle.0.close();
                self.journal.close().map_err(fatal)?;
                reply.deliver(());
                return Ok(());
            }
        }
    }

    /// What can be worked on now. Without room on the disk that is what makes no records: clients that want more are told nothing
    /// and ask again, what the broker itself has to say waits.
    fn with_room(&mut self, events: Vec<Event>) -> Vec<Event> {
        self.is_without_room = self.journal.room() == Room::Out;
        if !self.is_without_room {
            let mut held = std::mem::take(&mut self.held);
            held.extend(events);
            return held;
        }
        let mut possible = Vec::with_capacity(events.len());
        for event in events {
            match &event {
                Event::Command { command, .. } => match **command {
                    Command::VerifyPartitions(_) | Command::Describe(_) | Command::List(_) => {
                        possible.push(event);
                    }
                    _ => {}
                },
                Event::ProducerIds(_) | Event::MarkersWritten { .. } => self.held.push(event),
                Event::Close { .. } => possible.push(event),
            }
        }
        possible
    }

    fn sleep(&self, now_ms: i64) -> Duration {
        if self.is_without_room {
            return LONGEST_SLEEP;
        }
        let Some(Millis(deadline)) = self.transactions.next_deadline() else {
            return LONGEST_SLEEP;
        };
        Duration::from_millis(deadline.saturating_sub(now_ms).max(0) as u64).min(LONGEST_SLEEP)
    }

    fn take(&mut self, now_ms: i64, event: Event, effects: &mut TransactionEffects) {
        let now = Millis(now_ms);
        match event {
            Event::Command { command, asker } => {
                let request = RequestId(self.next_request);
                self.next_request += 1;
                self.waiting.insert(request, asker);
                self.transactions.handle(now, request, *command, effects);
            }
            Event::ProducerIds(ids) => {
                self.is_asking_for_ids = false;
                self.transactions.lend(now, ids, effects);
            }
            Event::MarkersWritten { id, producer } => {
                self.transactions
                    .markers_written(now, &id, producer, effects);
            }
            Event::Close { .. } => unreachable!("run takes it"),
        }
    }

    /// Makes the records of a step durable, lets its replies go, then has its markers written.
    fn settle(
        &mut self,
        effects: TransactionEffects,
        now_ms: i64,
        handle: &TransactionsHandle,
        around: &Surroundings,
    ) -> Result<(), Fatal> {
        let TransactionEffects { step, markers } = effects;
        if !step.records.is_empty() {
            self.write(&step.records, now_ms)?;
            around.partition.wake_waiters();
        }
        for (request, reply) in step.replies {
            let asker = self.waiting.remove(&request);
            let asker = asker.expect("each request is answered once");
            answer(asker, reply, &around.groups);
        }
        for markers in markers {
            end(markers, handle, around);
        }
        if self.transactions.wants_producer_ids() && !self.is_asking_for_ids {
            self.is_asking_for_ids = true;
            ask_for_producer_ids(handle, &around.controller);
        }
        let (open, tally) = (self.transactions.open_count(), self.transactions.tally());
        around.metrics.transactions.set(open, tally);
        Ok(())
    }

    fn write(&mut self, records: &[Record], now_ms: i64) -> Result<(), Fatal> {
        let version = self.transactions.settings().version;
        let entry = |record: &Record| entry(record, version);
        self.journal
            .append(records.iter().map(entry), now_ms)
            .map_err(fatal)?;
        if self.journal.wants_rewriting() {
            let records: Vec<Record> = self.transactions.snapshot_records().collect();
            self.journal
                .rewrite(records.iter().map(entry), now_ms)
                .map_err(fatal)?;
        }
        Ok(())
    }
}

/// Hands an answer to who asked.
///
/// Here, on this thread, is where a high watermark is read: the marker of the transaction before is published by now, and
/// that of this transaction can only follow.
fn answer(asker: Asker, answer: TransactionReply, groups: &CoordinatorHandle) {
    match asker {
        Asker::Client(reply) => reply.deliver(answer),
        Asker::Produce { partitions, reply } => {
            let errors = match answer {
                TransactionReply::AddPartitions(Ok(())) => {
                    Ok(vec![ErrorCode::None; partitions.len()])
                }
                TransactionReply::VerifyPartitions(Ok(errors)) => Ok(errors),
                other => Err(refusal(&other)),
            };
            let verified = |(partition, error): (Slot, ErrorCode)| match error {
                ErrorCode::None => Ok(partition.view().high_watermark),
                error => Err(error),
            };
            reply.deliver(
                errors.map(|errors| partitions.into_iter().zip(errors).map(verified).collect()),
            );
        }
        Asker::Offsets { commit, reply } => {
            let error = match answer {
                TransactionReply::AddPartitions(Ok(())) => ErrorCode::None,
                TransactionReply::VerifyPartitions(Ok(errors)) => {
                    errors.first().copied().unwrap_or(ErrorCode::None)
                }
                other => refusal(&other),
            };
            if error != ErrorCode::None {
                return reply.deliver(Err(error));
            }
            groups.send(*commit, Reply::new(|answer| reply.deliver(Ok(answer))));
        }
    }
}

fn refusal(answer: &TransactionReply) -> ErrorCode {
    match answer {
        TransactionReply::AddPartitions(Err(error))
        | TransactionReply::VerifyPartitions(Err(error)) => *error,
        _ => unreachable!("partitions are added or verified"),
    }
}

/// Has the markers of a transaction written, and tells the thread when that is done.
fn end(markers: Markers, handle: &TransactionsHandle, around: &Surroundings) {
    let (id, producer) = (markers.id.clone(), markers.producer);
    let queue = Arc::clone(&handle.0);
    let written = move || {
        let id = id.clone();
        queue.send(Event::MarkersWritten { id, producer });
    };
    markers::write(markers, around, written);
}

fn ask_for_producer_ids(handle: &TransactionsHandle, controller: &ControllerHandle) {
    let queue = Arc::clone(&handle.0);
    let reply = Reply::new(move |reply| {
        let ids = match reply {
            topics::Reply::ProducerIdsReserved(Ok(ids)) => ids,
            // None are left in the world: whoever waits is told to try again, and again.
            _ => return,
        };
        queue.send(Event::ProducerIds(ids));
    });
    controller.send(topics::Command::ReserveProducerIds, reply);
}

fn entry(record: &Record, version: i16) -> Entry {
    let (key, value) = record.encode(version);
    (Some(key), value)
}

fn fatal(source: log::LogError) -> Fatal {
    Fatal::Write {
        partition: format!("{TRANSACTION_STATE}-0"),
        source,
    }
}
