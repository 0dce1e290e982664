//! A shard whose partition has transactions, on a disk that fails and a machine that goes down: after every start the same
//! transactions are open and aborted as a plain reading of the log tells, and every marker that was answered for is there.
//! A failing seed fails again: `SHARD_SEED=17 cargo test -p broker --test shard_transactions`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use broker::SyncPool;
use broker::shard::{AppendItem, Event, Marker, OpenRequest, Reply, Shard, Slot};
use broker_state::configs::{Durability, TopicSettings};
use broker_state::producers::ProducerState;
use log::{ByteCount, Disk as _, Fault, Isolation, Offset, SimDisk};
use wire::records::{BatchBuilder, CheckedBatch, Compression, EndTransactionMarker, scan_batches};
use wire::{ErrorCode, Uuid};

const SEEDS: u64 = 60;
const PRODUCERS: i64 = 4;

#[test]
fn transactions_survive_every_crash() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("SHARD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SHARD_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| Machine::new(seed).run());
        assert!(
            outcome.is_ok(),
            "seed {seed} fails; replay it with SHARD_SEED={seed}"
        );
    }
}

#[test]
fn a_producer_is_known_though_its_records_were_deleted_before_the_first_checkpoint() {
    for durability in [Durability::Sync, Durability::Os] {
        let mut machine = Machine::new(1);
        machine.settings.durability = durability;
        let (mut shard, partition) = machine.start();
        let items = vec![machine.item(&partition, 3, 5, 0)];
        let now_ms = machine.now_ms;
        let appended = ask(&mut shard, now_ms, |reply| Event::Append { items, reply });
        assert_eq!(appended.expect("the disk works")[0].error, ErrorCode::None);
        let markers = vec![machine.marker(&partition, 3, 6)];
        let ended = ask(&mut shard, now_ms, |reply| Event::WriteMarkers {
            markers,
            reply,
        });
        assert_eq!(ended.expect("the disk works"), [ErrorCode::None]);
        // What comes after lies in other segments, and the first ones go.
        for _ in 0..40 {
            let mut builder = BatchBuilder::new(now_ms);
            builder.push(now_ms, None, Some(&[7; 600]), &[]);
            let bytes = builder.build(Compression::None);
            let items = vec![AppendItem {
                partition: Arc::clone(&partition),
                batch: CheckedBatch::check(bytes, usize::MAX).expect("a built batch is good"),
                verified_at: None,
            }];
            let appended = ask(&mut shard, now_ms, |reply| Event::Append { items, reply });
            assert_eq!(appended.expect("the disk works")[0].error, ErrorCode::None);
        }
        let before = machine.describe(&mut shard, &partition);
        let deleted = ask(&mut shard, now_ms, |reply| Event::DeleteRecords {
            partition: Arc::clone(&partition),
            before: -1,
            reply,
        });
        assert_eq!(deleted.expect("the disk works"), Ok(42));
        machine.disk.power_cut();
        let (mut shard, partition) = machine.start();
        assert_eq!(machine.describe(&mut shard, &partition), before);
        assert_eq!(before[0].producer_epoch, 6);
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Machine {
    dice: Dice,
    disk: SimDisk,
    settings: TopicSettings,
    now_ms: i64,
    /// Offsets of batches that were answered for and must survive, with the producer.
    promised: BTreeMap<i64, i64>,
}

/// What a plain reading of the log tells.
#[derive(Debug, Default)]
struct Told {
    /// First offsets by producer.
    open: BTreeMap<i64, i64>,
    aborted: Vec<(i64, i64)>,
    batches: BTreeMap<i64, i64>,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("data"))
            .and_then(|()| disk.sync_dir(Path::new("")))
            .expect("no faults yet");
        let durability = match dice.roll(3) {
            0 => Durability::Os,
            1 => Durability::Interval { flush_ms: 500 },
            _ => Durability::Sync,
        };
        let settings = TopicSettings {
            segment_bytes: 2_000 + dice.roll(8_000),
            durability,
            ..TopicSettings::default()
        };
        Self {
            dice,
            disk,
            settings,
            now_ms: 1_700_000_000_000,
            promised: BTreeMap::new(),
        }
    }

    fn run(mut self) {
        for _ in 0..6 {
            let (mut shard, partition) = self.start();
            if self.dice.roll(2) == 0 {
                // One: what a failed sync has lost is written again, which a second fault would undo.
                let fault = [Fault::NoSpace, Fault::DeviceError][self.dice.roll(2) as usize];
                self.disk.fail_nth(1 + self.dice.roll(200), fault);
            }
            for _ in 0..self.dice.roll(25) {
                if self.step(&mut shard, &partition).is_none() {
                    break;
                }
            }
            match self.dice.roll(3) {
                0 => self.disk.kill(),
                _ => self.disk.power_cut(),
            }
        }
        self.start();
    }

    /// Opens the partition and compares what it knows with what its log says.
    fn start(&mut self) -> (Shard, Slot) {
        // What is left of the last life's fault meets nobody.
        self.disk.fail_nth(u64::MAX / 2, Fault::NoSpace);
        let mut shard = Shard::new(0, self.disk.shared(), Arc::new(SyncPool::new(0)));
        let request = OpenRequest {
            topic: "orders".into(),
            topic_id: Uuid([7; 16]),
            index: 0,
            directory: PathBuf::from("data/orders-0"),
            settings: self.settings,
        };
        let opened = ask(&mut shard, self.now_ms, |reply| Event::Open {
            requests: vec![request],
            reply,
        });
        let opened = opened
            .expect("the disk works")
            .expect("the partition opens");
        let partition = opened.into_iter().next().expect("one was asked for");
        self.check(&mut shard, &partition);
        (shard, partition)
    }

    fn check(&mut self, shard: &mut Shard, partition: &Slot) {
        let view = partition.view();
        let told = read(partition);
        for (offset, producer) in &self.promised {
            assert_eq!(
                told.batches.get(offset),
                Some(producer),
                "AckedIsDurable at {offset}"
            );
        }
        self.promised
            .retain(|offset, _| told.batches.contains_key(offset));
        let stable = told.open.values().min().copied();
        assert_eq!(
            view.last_stable_offset.0,
            stable.unwrap_or(view.high_watermark.0)
        );
        let aborted = view.aborted_transactions(view.log_start, view.last_stable_offset);
        let aborted = aborted.expect("the indexes are readable");
        let found: Vec<(i64, i64)> = aborted
            .iter()
            .map(|one| (one.producer_id, one.first_offset.0))
            .collect();
        let visible = |one: &&(i64, i64)| one.1 < view.last_stable_offset.0;
        let expected: Vec<(i64, i64)> = told.aborted.iter().filter(visible).copied().collect();
        assert_eq!(found, expected);
        for state in self.describe(shard, partition) {
            let first = told.open.get(&state.producer_id).copied();
            assert_eq!(state.transaction_start_offset, first.unwrap_or(-1));
            let epoch = state.producer_epoch;
            let is_open = partition.has_open_transaction(state.producer_id, epoch);
            assert_eq!(is_open, first.is_some());
        }
        assert_eq!(view.verify().expect("readable"), [], "AllFilesAgree");
    }

    fn describe(&self, shard: &mut Shard, partition: &Slot) -> Vec<ProducerState> {
        let partition = Arc::clone(partition);
        let described = ask(shard, self.now_ms, |reply| Event::DescribeProducers {
            partition,
            reply,
        });
        described.expect("nothing is written").expect("it is there")
    }

    /// Some batches and some markers in one step; none when the disk has failed.
    fn step(&mut self, shard: &mut Shard, partition: &Slot) -> Option<()> {
        self.now_ms += [1, 300, 6_000, 70_000][self.dice.roll(4) as usize];
        let known: BTreeMap<i64, ProducerState> = self
            .describe(shard, partition)
            .into_iter()
            .map(|state| (state.producer_id, state))
            .collect();
        let (mut events, mut waiting) = (Vec::new(), Vec::new());
        for producer_id in 0..PRODUCERS {
            let state = known.get(&producer_id);
            let epoch = state.map_or(0, |state| state.producer_epoch);
            let is_open = partition.has_open_transaction(producer_id, epoch);
            let (reply, answer) = channel();
            match self.dice.roll(4) {
                0 if is_open => {
                    let marker = self.marker(partition, producer_id, epoch + 1);
                    let reply = Reply::new(move |outcomes| drop(reply.send(outcomes)));
                    let markers = vec![marker];
                    events.push(Event::WriteMarkers { markers, reply });
                    waiting.push((producer_id, Answer::Marked(answer)));
                }
                1 | 2 => {
                    let sequence = state.map_or(0, |state| state.last_sequence + 1);
                    let item = self.item(partition, producer_id, epoch, sequence);
                    let (reply, answer) = channel();
                    let reply = Reply::new(move |outcomes| drop(reply.send(outcomes)));
                    let items = vec![item];
                    events.push(Event::Append { items, reply });
                    waiting.push((producer_id, Answer::Appended(answer)));
                }
                _ => {}
            }
        }
        events.push(Event::Tick);
        let before = partition.view().high_watermark.0;
        let stepped = shard.step(self.now_ms, events);
        let completed = stepped.ok()?;
        for job in completed.checkpoints {
            let finished = job.job.run().ok()?;
            let event = Event::Checkpointed {
                partition: job.partition,
                finished,
            };
            shard.step(self.now_ms, [event]).ok()?;
        }
        self.note(before, waiting, partition);
        Some(())
    }

    /// What was answered for must survive: markers always, with all that lies before them.
    fn note(&mut self, before: i64, waiting: Vec<(i64, Answer)>, partition: &Slot) {
        let told = read(partition);
        let is_synced = self.settings.durability == Durability::Sync;
        for (producer_id, answer) in waiting {
            match answer {
                Answer::Marked(answer) => {
                    let outcomes = answer.try_recv().expect("answered by the end of the step");
                    assert_eq!(outcomes, [ErrorCode::None]);
                    self.promised.extend(&told.batches);
                }
                Answer::Appended(answer) => {
                    let outcomes = answer.try_recv().expect("answered by the end of the step");
                    // The disk was full, and the shard goes on.
                    if outcomes[0].error == ErrorCode::KafkaStorageError {
                        continue;
                    }
                    assert_eq!(
                        outcomes[0].error,
                        ErrorCode::None,
                        "{:?}",
                        outcomes[0].message
                    );
                    assert!(outcomes[0].base_offset >= before);
                    if is_synced {
                        self.promised.insert(outcomes[0].base_offset, producer_id);
                    }
                }
            }
        }
    }

    fn item(
        &mut self,
        partition: &Slot,
        producer_id: i64,
        epoch: i16,
        sequence: i32,
    ) -> AppendItem {
        let mut builder = BatchBuilder::new(self.now_ms)
            .producer(producer_id, epoch, sequence)
            .transactional();
        let value = vec![7; 1 + self.dice.roll(600) as usize];
        builder.push(self.now_ms, None, Some(&value), &[]);
        let bytes = builder.build(Compression::None);
        AppendItem {
            partition: Arc::clone(partition),
            batch: CheckedBatch::check(bytes, usize::MAX).expect("a built batch is good"),
            verified_at: Some(partition.view().high_watermark),
        }
    }

    fn marker(&mut self, partition: &Slot, producer_id: i64, producer_epoch: i16) -> Marker {
        Marker {
            partition: Arc::clone(partition),
            producer_id,
            producer_epoch,
            coordinator_epoch: 0,
            transaction_version: 2,
            is_commit: self.dice.roll(2) == 0,
        }
    }
}

enum Answer {
    Marked(Receiver<Vec<ErrorCode>>),
    Appended(Receiver<Vec<broker::shard::AppendOutcome>>),
}

/// Asks a shard and steps it; none when the step failed.
fn ask<T: Send + 'static>(
    shard: &mut Shard,
    now_ms: i64,
    event: impl FnOnce(Reply<T>) -> Event,
) -> Option<T> {
    let (sender, receiver) = channel();
    let reply = Reply::new(move |answer| drop(sender.send(answer)));
    shard.step(now_ms, [event(reply)]).ok()?;
    receiver.try_recv().ok()
}

/// Reads the whole partition, batch by batch.
fn read(partition: &Slot) -> Told {
    let view = partition.view();
    let mut told = Told::default();
    let mut next = view.log_start;
    while next < view.high_watermark {
        let plan = view.plan_read(next, ByteCount::mebibytes(1), Isolation::ReadUncommitted);
        let bytes = plan.expect("in the log").execute().expect("readable");
        for found in bytes.iter().flat_map(|bytes| scan_batches(bytes)) {
            let (header, whole) = found.expect("whole batches");
            let (id, offset) = (header.producer_id, header.base_offset);
            next = Offset(header.last_offset() + 1);
            told.batches.insert(offset, id);
            match EndTransactionMarker::of_batch(&header, whole) {
                Some(marker) => {
                    let first = told.open.remove(&id).filter(|_| !marker.is_commit);
                    told.aborted.extend(first.map(|first| (id, first)));
                }
                None => {
                    told.open.entry(id).or_insert(offset);
                }
            }
        }
    }
    told.aborted.sort_unstable_by_key(|(_, first)| *first);
    told
}
