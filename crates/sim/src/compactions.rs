//! A shard with one compacted partition: keyed records, tombstones, checkpoints, and compactions that any operation of the disk cuts
//! short. Whoever reads the log into a table gets what was promised, however far the files have changed places.
//!
//! The compactor's threads are played here: a job runs between two steps, and what came of it reaches the shard some steps later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use broker::SyncPool;
use broker::shard::{
    AppendItem, AppendOutcome, Checkpointing, Completed, Event, OpenRequest, Reply, Shard, Slot,
    UpkeepSettings,
};
use broker_state::configs::TopicSettings;
use log::{
    ByteCount, CompactionBuffer, CompactionJob, Fault, Isolation, LogError, Offset, Pace,
    PartitionView, Remains,
};
use wire::records::{
    BatchBuilder, CheckedBatch, Compression, RecordIter, decompress, scan_batches,
};
use wire::{ErrorCode, Uuid};

use crate::dice::Dice;
use crate::invariant::invariant;
use crate::rig::{Rig, Sabotage};
use crate::{Reached, story};

const STEPS: usize = 80;
const KEYS: usize = 12;
const DATA: &str = "data";
const DIRECTORY: &str = "data/table-0";
/// A start that fails because the disk does is tried again this often; then the disk is mended.
const FAULTY_STARTS: usize = 4;

/// Runs one seed.
pub fn run(seed: u64, sabotage: Sabotage) -> Reached {
    let mut world = World::new(seed, sabotage);
    world.start();
    for _ in 0..STEPS {
        world.act();
    }
    world.crash();
    world.reached
}

/// A key, and a number or a tombstone.
type Row = (u8, Option<u64>);
type Table = BTreeMap<u8, u64>;

enum Answer {
    Opened(Result<Vec<Slot>, LogError>),
    Appended(Vec<AppendOutcome>),
}

struct World {
    dice: Dice,
    rig: Rig,
    sabotage: Sabotage,
    now_ms: i64,
    settings: TopicSettings,
    buffer: CompactionBuffer,
    shard: Shard,
    slot: Option<Slot>,
    /// Every record that was sent, by the offset that it must have.
    sent: BTreeMap<i64, Row>,
    /// Everything before it was acknowledged or seen.
    promised: i64,
    next_value: u64,
    checkpoints: Vec<Checkpointing>,
    compaction: Option<(Slot, CompactionJob)>,
    /// What the background has to tell the shard.
    news: VecDeque<Event>,
    remains: Vec<Remains>,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    reached: Reached,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut dice = Dice::new(seed);
        let rig = Rig::new(seed, sabotage);
        let (sender, answers) = channel();
        let settings = TopicSettings {
            segment_bytes: 200 + dice.below(1_500) as u64,
            index_interval_bytes: 100,
            is_compacted: true,
            deletes_by_retention: false,
            retention_ms: None,
            min_cleanable_dirty_ratio: *dice.pick(&[0.0, 0.3]),
            min_compaction_lag_ms: *dice.pick(&[0, 0, 5_000]),
            delete_retention_ms: *dice.pick(&[0, 100_000]),
            file_delete_delay_ms: 0,
            ..TopicSettings::default()
        };
        let keys = *dice.pick(&[KEYS as u64, 1_000]);
        Self {
            shard: Shard::new(0, rig.shared(), Arc::new(SyncPool::new(0))),
            dice,
            rig,
            sabotage,
            now_ms: 1_700_000_000_000,
            settings,
            buffer: CompactionBuffer {
                memory: ByteCount(24 * keys * 2),
                load: 0.9,
            },
            slot: None,
            sent: BTreeMap::new(),
            promised: 0,
            next_value: 0,
            checkpoints: Vec::new(),
            compaction: None,
            news: VecDeque::new(),
            remains: Vec::new(),
            sender,
            answers,
            reached: Reached::default(),
        }
    }

    fn act(&mut self) {
        self.now_ms += *self.dice.pick(&[0, 1, 300, 6_000, 70_000]);
        match self.dice.below(40) {
            0 => self.crash(),
            1..9 if !self.checkpoints.is_empty() => self.checkpoint(),
            1..9 => self.compact(),
            9 => self.remove_remains(),
            10..12 => self.compare(),
            12..15 => {
                // Long enough for what was written to be due for a checkpoint.
                self.now_ms += 70_000;
                self.step(vec![Event::Tick]);
            }
            15..22 => {
                let news = self.news.pop_front().into_iter();
                self.step(news.collect());
            }
            22..30 => {
                self.step(vec![Event::Tick]);
            }
            _ => self.append(),
        }
    }

    fn remove_remains(&mut self) {
        for remains in std::mem::take(&mut self.remains) {
            // What cannot be removed now is removed at the next start.
            let _ = remains.purge();
        }
    }

    fn append(&mut self) {
        let partition = Arc::clone(self.slot.as_ref().expect("it is open between crashes"));
        let mut end = self.end();
        let mut items = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let batch = self.any_batch(&mut end);
            items.push(AppendItem {
                partition: Arc::clone(&partition),
                batch,
                verified_at: None,
            });
        }
        story::tell(format!("{} records up to {end}", self.now_ms));
        let reply = self.reply(Answer::Appended);
        if !self.step(vec![Event::Append { items, reply }]) {
            return;
        }
        let Ok(Answer::Appended(outcomes)) = self.answers.try_recv() else {
            panic!("EveryRequestIsAnswered: an append that succeeded has no answer");
        };
        let is_stored = |outcome: &AppendOutcome| outcome.error == ErrorCode::None;
        invariant!(
            EveryRequestIsAnswered,
            outcomes.iter().all(is_stored),
            "{outcomes:?} on a disk that is not full"
        );
        self.reached.acknowledged += 1;
        self.promised = end;
    }

    fn any_batch(&mut self, end: &mut i64) -> CheckedBatch {
        let mut batch = BatchBuilder::new(self.now_ms);
        for _ in 0..1 + self.dice.below(4) {
            let key = self.dice.below(KEYS) as u8;
            self.next_value += 1;
            let value = (!self.dice.one_in(4)).then_some(self.next_value);
            let bytes = value.map(|value| {
                let mut bytes = value.to_be_bytes().to_vec();
                bytes.resize(8 + *self.dice.pick(&[0, 30, 300]), 1);
                bytes
            });
            batch.push(self.now_ms, Some(&[key]), bytes.as_deref(), &[]);
            self.sent.insert(*end, (key, value));
            *end += 1;
        }
        let codec = *self.dice.pick(&[Compression::None, Compression::Lz4]);
        CheckedBatch::check(batch.build(codec), usize::MAX).expect("a built batch is good")
    }

    fn end(&self) -> i64 {
        self.sent.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// One step of the shard; `false` when it has ended the process.
    fn step(&mut self, events: Vec<Event>) -> bool {
        self.reached.steps += 1;
        self.plan_fault(80, 10, false);
        let result = self.shard.step(self.now_ms, events);
        self.rig.mend();
        match result {
            Ok(completed) => {
                self.take(completed);
                true
            }
            Err(fatal) => {
                story::tell(format!("  the step fails: {fatal}"));
                self.reached.failed_steps += 1;
                self.crash();
                false
            }
        }
    }

    fn take(&mut self, completed: Completed) {
        self.checkpoints.extend(completed.checkpoints);
        self.remains.extend(completed.remains);
        if let Some(begun) = completed.compaction {
            assert!(self.compaction.is_none(), "one compaction at a time");
            story::tell("  a compaction is to be done".to_owned());
            self.compaction = Some((begun.partition, begun.job));
        }
    }

    fn plan_fault(&mut self, chances: usize, operations: usize, may_fill: bool) {
        let nth = 1 + self.dice.below(operations) as u64;
        match self.dice.below(chances) {
            0 => self.rig.fail_at(nth, Fault::DeviceError),
            1 => self.rig.stop_at(nth),
            2 if may_fill => self.rig.fail_at(nth, Fault::NoSpace),
            _ => return,
        }
        story::tell(format!("  the disk fails at operation {nth}"));
    }

    /// The background thread makes a checkpoint.
    fn checkpoint(&mut self) {
        if self.checkpoints.is_empty() {
            return;
        }
        let Checkpointing { partition, job } = self.checkpoints.remove(0);
        self.plan_fault(20, 6, true);
        let outcome = job.run();
        self.rig.mend();
        match outcome {
            Ok(finished) => {
                self.reached.checkpoints += 1;
                self.news.push_back(Event::Checkpointed {
                    partition,
                    finished,
                });
            }
            Err(error) if error.is_mended_by_space() => {
                self.news.push_back(Event::CheckpointPutOff { partition });
            }
            Err(error) => {
                story::tell(format!("  a checkpoint fails: {error}"));
                self.reached.failed_steps += 1;
                self.crash();
            }
        }
    }

    /// A thread of the compactor does its job, or a part of it.
    fn compact(&mut self) {
        let Some((partition, job)) = self.compaction.take() else {
            return;
        };
        let patience = *self.dice.pick(&[usize::MAX, usize::MAX, 3]);
        let mut asked = 0;
        let mut may_go_on = |_| {
            asked += 1;
            asked <= patience
        };
        self.plan_fault(10, 40, true);
        let news = &mut self.news;
        let outcome = job.run(self.buffer, Pace(&mut may_go_on), &mut |swapped| {
            news.push_back(Event::Swapped {
                partition: Arc::clone(&partition),
                swapped,
            });
        });
        self.rig.mend();
        let swaps = self.news.len();
        story::tell(format!(
            "a compaction ends with {:?}; the shard has {swaps} things to hear",
            outcome.as_ref().err()
        ));
        self.reached.compactions += u64::from(outcome.is_ok());
        self.news.push_back(Event::Compacted { partition, outcome });
    }

    /// Reads the whole log and compares it with what was sent.
    fn compare(&mut self) {
        let slot = self.slot.as_ref().expect("it is open between crashes");
        let view = slot.view();
        let end = view.high_watermark.0;
        let (mut table, mut last) = (Table::new(), -1);
        let forgets = self.sabotage == Sabotage::ForgetfulReplay;
        for (offset, row) in rows(&view) {
            if forgets && offset % 7 == 0 {
                continue;
            }
            invariant!(OffsetsAreDense, offset > last, "{offset} follows {last}");
            last = offset;
            invariant!(
                NothingInvented,
                self.sent.get(&offset) == Some(&row),
                "offset {offset} has {row:?}, not {:?}",
                self.sent.get(&offset)
            );
            put(&mut table, row);
        }
        let mut promised = Table::new();
        let visible = self.sent.range(..end);
        visible.for_each(|(_, row)| put(&mut promised, *row));
        invariant!(
            SameTable,
            table == promised,
            "up to {end} the log gives {table:?} and not {promised:?}"
        );
        self.promised = self.promised.max(end);
    }

    fn crash(&mut self) {
        // What a process would do on its way out, it does not do when it is killed.
        std::mem::take(&mut self.remains)
            .into_iter()
            .for_each(std::mem::forget);
        self.rig.stop_at(1);
        self.shard = Shard::new(0, self.rig.shared(), Arc::new(SyncPool::new(0)));
        self.slot = None;
        self.checkpoints.clear();
        self.compaction = None;
        self.news.clear();
        while self.answers.try_recv().is_ok() {}
        self.rig.mend();
        if self.dice.one_in(3) {
            story::tell("Kill".to_owned());
            self.reached.kills += 1;
            self.rig.sim().kill();
        } else {
            story::tell("PowerCut".to_owned());
            self.reached.power_cuts += 1;
            self.rig.sim().power_cut();
        }
        self.start();
    }

    fn start(&mut self) {
        for faults in (0..FAULTY_STARTS).rev() {
            if faults > 0 {
                self.plan_fault(9, 20, true);
            }
            let opened = self.open();
            self.rig.mend();
            match opened {
                Ok(slot) => return self.recovered(slot),
                Err(error) => {
                    story::tell(format!("  the start fails: {error}"));
                    invariant!(RecoveryFindsNoDamage, faults > 0, "{error}");
                    self.shard = Shard::new(0, self.rig.shared(), Arc::new(SyncPool::new(0)));
                    self.rig.sim().power_cut();
                }
            }
        }
    }

    fn open(&mut self) -> Result<Slot, LogError> {
        let disk = self.rig.shared();
        let failed = |source| LogError::Io {
            operation: "create",
            path: DATA.into(),
            source,
        };
        disk.create_dir_all(DATA.as_ref()).map_err(failed)?;
        disk.sync_dir("".as_ref()).map_err(failed)?;
        let request = OpenRequest {
            topic: "table".into(),
            topic_id: Uuid([7; 16]),
            index: 0,
            directory: DIRECTORY.into(),
            settings: self.settings,
        };
        let reply = self.reply(Answer::Opened);
        let requests = vec![request];
        let upkeep = UpkeepSettings {
            compacts: true,
            compaction_backoff_ms: 0,
            ..UpkeepSettings::default()
        };
        let events = [Event::Upkeep(upkeep), Event::Open { requests, reply }];
        let step = self.shard.step(self.now_ms, events);
        assert!(step.is_ok(), "an open that fails is an answer");
        match self.answers.try_recv() {
            Ok(Answer::Opened(opened)) => Ok(opened?.remove(0)),
            _ => panic!("EveryRequestIsAnswered: the open has no answer"),
        }
    }

    fn recovered(&mut self, slot: Slot) {
        let end = slot.view().high_watermark.0;
        story::tell(format!("  there is {} to {end}", slot.view().log_start));
        invariant!(
            AckedIsDurable,
            end >= self.promised,
            "it ends at {end}, but was promised up to {}",
            self.promised
        );
        invariant!(
            NothingInvented,
            end <= self.end(),
            "it ends at {end}, but was sent up to {}",
            self.end()
        );
        self.sent.split_off(&end);
        let findings = slot.view().verify().expect("the disk is mended");
        invariant!(
            RecoveryFindsNoDamage,
            findings.is_empty(),
            "the files do not agree: {findings:?}"
        );
        self.slot = Some(slot);
        self.compare();
    }

    fn reply<T: Send + 'static>(
        &self,
        answer: impl FnOnce(T) -> Answer + Send + 'static,
    ) -> Reply<T> {
        let sender = self.sender.clone();
        Reply::new(move |value| {
            // The world holds the receiver for as long as it holds a shard.
            let _ = sender.send(answer(value));
        })
    }
}

fn put(table: &mut Table, (key, value): Row) {
    match value {
        Some(value) => table.insert(key, value),
        None => table.remove(&key),
    };
}

/// Every record that a reader of the whole log gets.
fn rows(view: &PartitionView) -> Vec<(i64, Row)> {
    let (mut next, mut rows) = (view.log_start, Vec::new());
    while next < view.high_watermark {
        let plan = view.plan_read(next, ByteCount(700), Isolation::ReadUncommitted);
        let read = plan.and_then(|plan| plan.execute());
        let read = read.unwrap_or_else(|error| panic!("RecoveryFindsNoDamage: {error}"));
        let before = next;
        for batch in read.iter().flat_map(|bytes| scan_batches(bytes)) {
            let (header, batch) = batch.expect("what is read is whole batches");
            let records = decompress(&header, batch, usize::MAX).expect("they decompress");
            for record in RecordIter::new(&header, &records) {
                let record = record.expect("stored records are whole");
                let number = |value: &[u8]| {
                    u64::from_be_bytes(value[..8].try_into().expect("a value begins with it"))
                };
                let key = record.key.expect("every record has a key")[0];
                rows.push((record.offset, (key, record.value.map(number))));
            }
            next = Offset(header.last_offset() + 1);
        }
        if next == before {
            // Compaction may leave nothing up to the end of what can be read.
            break;
        }
    }
    rows
}
