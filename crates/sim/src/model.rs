//! One partition as an outside observer knows it: what was sent, what was promised, what was seen.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use log::{ByteCount, Isolation, LogError, Offset, PartitionView};
use wire::records::{
    BatchBuilder, BatchHeader, CheckedBatch, Compression, RecordIter, decompress, scan_batches,
};

use crate::dice::Dice;
use crate::invariant::invariant;

/// What a promise outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crash {
    /// The process ends; what the system was given stays.
    Kill,
    /// The machine ends; what was synced stays.
    PowerCut,
}

/// Offsets that are in nobody's log any more.
type Hole = Range<i64>;

/// What came before a restart, and how the partition came back.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    pub crash: Crash,
    /// What is visible after the restart is synced.
    pub is_synced: bool,
    /// A power cut may have taken something from the middle: what was not synced goes in any order.
    pub may_have_holes: bool,
}

/// A batch that was given to the log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub base_offset: i64,
    /// As it is stored, apart from base offset and leader epoch.
    pub batch: CheckedBatch,
}

impl Entry {
    pub fn end(&self) -> i64 {
        self.base_offset + i64::from(self.batch.header().record_count)
    }

    pub fn size(&self) -> u64 {
        self.batch.bytes().len() as u64
    }
}

/// Offsets up to which something was promised, by what the promise outlives.
#[derive(Clone, Copy, Debug, Default)]
struct Floors {
    kill: i64,
    power_cut: i64,
}

impl Floors {
    fn raise(&mut self, end: i64, outlives: Crash) {
        self.kill = self.kill.max(end);
        if outlives == Crash::PowerCut {
            self.power_cut = self.power_cut.max(end);
        }
    }

    fn after(self, crash: Crash) -> i64 {
        match crash {
            Crash::Kill => self.kill,
            Crash::PowerCut => self.power_cut,
        }
    }

    fn cut(&mut self, end: i64) {
        self.kill = self.kill.min(end);
        self.power_cut = self.power_cut.min(end);
    }
}

/// What is known of one partition.
#[derive(Clone, Debug)]
pub struct LogModel {
    name: String,
    /// Everything that may be in the log or was deleted from its start, in order and without gaps.
    entries: Vec<Entry>,
    /// Where the log goes on when nothing is there before it.
    begin: i64,
    /// What power cuts have taken from the middle of a log that was not synced.
    holes: Vec<Hole>,
    /// There may be holes among what was deleted, where nobody looks.
    is_unsynced: bool,
    log_start: i64,
    /// The largest offset that anybody has asked to delete up to.
    asked_start: i64,
    acked: Floors,
    seen: Floors,
    /// Up to here the content was compared.
    compared: i64,
}

impl LogModel {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            entries: Vec::new(),
            begin: 0,
            holes: Vec::new(),
            is_unsynced: false,
            log_start: 0,
            asked_start: 0,
            acked: Floors::default(),
            seen: Floors::default(),
            compared: 0,
        }
    }

    pub fn end(&self) -> i64 {
        self.entries.last().map_or(0, Entry::end).max(self.begin)
    }

    pub fn is_unsynced(&self) -> bool {
        self.is_unsynced
    }

    pub fn has_holes(&self) -> bool {
        !self.holes.is_empty()
    }

    pub fn log_start(&self) -> i64 {
        self.log_start
    }

    pub fn entry_at(&self, base_offset: i64) -> Option<&Entry> {
        let found = self
            .entries
            .binary_search_by_key(&base_offset, |entry| entry.base_offset);
        found.ok().map(|number| &self.entries[number])
    }

    /// A batch is given to the log; gives the offset that it must get.
    pub fn append(&mut self, batch: CheckedBatch) -> i64 {
        let base_offset = self.end();
        self.entries.push(Entry { base_offset, batch });
        base_offset
    }

    /// Somebody was told that everything before `end` is stored.
    pub fn acknowledge(&mut self, end: i64, outlives: Crash) {
        self.acked.raise(end, outlives);
    }

    /// Somebody may have read everything before `end`.
    pub fn see(&mut self, end: i64, outlives: Crash) {
        self.seen.raise(end, outlives);
    }

    pub fn ask_to_delete_before(&mut self, offset: i64) {
        self.asked_start = self.asked_start.max(offset);
    }

    /// The log start has moved to what somebody was told.
    pub fn deleted_before(&mut self, offset: i64) {
        self.log_start = self.log_start.max(offset);
    }

    /// Takes note of the log start as readers see it. `may_go` tells which entries retention may delete, the bytes after them given.
    pub fn observe_start(&mut self, view: &PartitionView, may_go: impl Fn(&Entry, u64) -> bool) {
        let (name, start) = (&self.name, view.log_start.0);
        invariant!(
            LogStartNeverGoesBack,
            start >= self.log_start,
            "{name} starts at {start} after it started at {}",
            self.log_start
        );
        let unasked = self.log_start.max(self.asked_start);
        // Retention counted what a power cut may have taken since.
        let kept = self
            .entries
            .iter()
            .filter(|entry| entry.base_offset >= start);
        let mut left: u64 = kept.map(Entry::size).sum();
        for entry in self.entries.iter().rev() {
            if entry.end() <= start && entry.end() > unasked {
                invariant!(
                    LogStartNeverGoesBack,
                    may_go(entry, left),
                    "{name} has deleted offset {} without a reason: it starts at {start}, {left} bytes are left",
                    entry.base_offset
                );
                left += entry.size();
            }
        }
        self.log_start = start;
        self.compared = self.compared.max(start);
    }

    /// Up to where everything is there after such a restart.
    pub fn promised(&self, restart: Restart) -> i64 {
        let crash = restart.crash;
        self.acked.after(crash).max(self.seen.after(crash))
    }

    /// Compares what became visible since the last time.
    pub fn compare_new(&mut self, view: &PartitionView, dice: &mut Dice) {
        let from = self.compared.max(view.log_start.0);
        self.compare(view, from, None, dice);
        self.compared = view.high_watermark.0;
    }

    /// Compares everything that a view shows, however old it is.
    pub fn check_view(&self, view: &PartitionView, dice: &mut Dice) {
        self.compare(view, view.log_start.0, None, dice);
    }

    /// The first visible record at or after a time.
    pub fn first_at(&self, timestamp: i64, view: &PartitionView) -> Option<i64> {
        let visible = self.entries.iter().flat_map(|entry| {
            let header = entry.batch.header();
            // Records of one batch are a millisecond apart.
            (entry.base_offset..entry.end()).zip(header.base_timestamp..)
        });
        let (start, end) = (view.log_start.0, view.high_watermark.0);
        visible
            .filter(|(offset, _)| (start..end).contains(offset))
            .find(|(_, at)| *at >= timestamp)
            .map(|(offset, _)| offset)
    }

    /// Takes what a restart has left, after checking that it left everything that was promised. Gives what was lost.
    pub fn recover(&mut self, view: &PartitionView, after: Restart, dice: &mut Dice) -> Vec<Entry> {
        let Restart {
            crash, is_synced, ..
        } = after;
        let (name, end) = (self.name.clone(), view.high_watermark.0);
        let (acked, seen) = (self.acked.after(crash), self.seen.after(crash));
        invariant!(
            AckedIsDurable,
            end >= acked,
            "{name} ends at {end} after a {crash:?}, but was acknowledged up to {acked}"
        );
        invariant!(
            VisibleIsDurable,
            end >= seen,
            "{name} ends at {end} after a {crash:?}, but was seen up to {seen}"
        );
        let known = self.end().max(self.log_start).max(self.asked_start);
        invariant!(
            NothingInvented,
            end <= known,
            "{name} ends at {end}, but was written only up to {known}"
        );
        self.is_unsynced |= after.may_have_holes;
        let holes_from = after.may_have_holes.then_some(acked.max(seen));
        let holes = self.compare(view, view.log_start.0, holes_from, dice);
        let lost = self.lose(end, &holes);
        self.begin = self.begin.min(end);
        let is_all_deleted = end == view.log_start.0;
        let is_end_lost = holes.last().is_some_and(|hole| hole.end == end);
        if self.end() != end && (is_all_deleted || is_end_lost) {
            // What was deleted, or lies in a hole, had not reached the disk all the same: the log goes on behind it.
            self.entries.retain(|entry| entry.end() <= end);
            self.begin = end;
        }
        invariant!(
            OffsetsAreDense,
            self.end() == end,
            "{name} ends at {end}, which is not the end of the batch before {}",
            self.end()
        );
        // Offsets from the end on are given out again.
        self.holes.retain(|hole| hole.start < end);
        self.holes.extend(holes);
        self.acked.cut(end);
        self.seen.cut(end);
        self.see(
            end,
            if is_synced {
                Crash::PowerCut
            } else {
                Crash::Kill
            },
        );
        self.compared = end;
        lost
    }

    /// Forgets what lies in holes or from `end` on.
    fn lose(&mut self, end: i64, holes: &[Hole]) -> Vec<Entry> {
        let is_lost = |entry: &mut Entry| {
            let is_in = |hole: &Hole| entry.base_offset < hole.end && entry.end() > hole.start;
            entry.base_offset >= end || holes.iter().any(is_in)
        };
        self.entries.extract_if(.., is_lost).collect()
    }

    /// Everything given to the log is known to be on the disk.
    pub fn closed_cleanly(&mut self) {
        let end = self.end();
        self.acked.raise(end, Crash::PowerCut);
        self.seen.raise(end, Crash::PowerCut);
    }

    /// Reads from `from` to the end and compares each batch with what was sent. Holes may begin at `holes_from`; gives new ones.
    fn compare(
        &self,
        view: &PartitionView,
        from: i64,
        holes_from: Option<i64>,
        dice: &mut Dice,
    ) -> Vec<Hole> {
        let name = &self.name;
        let (mut next, mut holes) = (from, Vec::new());
        let mut marks = BTreeSet::new();
        while next < view.high_watermark.0 {
            if let Some(hole) = self.holes.iter().find(|hole| hole.contains(&next)) {
                next = hole.end;
                continue;
            }
            let may_be_hole = holes_from.is_some_and(|least| next >= least);
            let part = match read(view, next, dice) {
                Ok(part) => part,
                Err(error) => {
                    invariant!(
                        RecoveryFindsNoDamage,
                        may_be_hole,
                        "{name} at {next}: {error}"
                    );
                    let after = self.entry_after(next);
                    holes.push(next..after);
                    next = after;
                    continue;
                }
            };
            if part.is_empty() && may_be_hole {
                holes.push(next..view.high_watermark.0);
                break;
            }
            for (header, bytes) in &part {
                let known = self.holes.iter().find(|hole| hole.contains(&next));
                next = known.map_or(next, |hole| hole.end);
                let (base, end) = (header.base_offset, header.last_offset() + 1);
                if base > next && may_be_hole {
                    holes.push(next..base);
                    next = base;
                }
                invariant!(
                    OffsetsAreDense,
                    (base == next || next == from) && (base..end).contains(&next),
                    "{name} continues at {base} where {next} was expected"
                );
                self.compare_batch(header, bytes);
                for mark in marks_of(header, bytes) {
                    invariant!(
                        NoDuplicate,
                        marks.insert(mark),
                        "record {mark} is in {name} twice"
                    );
                }
                next = end;
            }
            invariant!(
                OffsetsAreDense,
                !part.is_empty(),
                "{name} has nothing at {next} below its high watermark {}",
                view.high_watermark
            );
        }
        holes
    }

    /// Where the next batch behind the one at `offset` begins.
    fn entry_after(&self, offset: i64) -> i64 {
        let mut bases = self.entries.iter().map(|entry| entry.base_offset);
        bases.find(|base| *base > offset).unwrap_or(self.end())
    }

    fn compare_batch(&self, header: &BatchHeader, found: &Bytes) {
        let (name, base) = (&self.name, header.base_offset);
        let Some(sent) = self.entry_at(base) else {
            panic!("NothingInvented: {name} has a batch at offset {base} where none was sent");
        };
        let is_same = sent.batch.bytes()[16..] == found[16..];
        if !is_same && base < self.acked.kill {
            panic!(
                "AckedIsDurable: {name} has other bytes at offset {base} than were acknowledged"
            );
        }
        invariant!(
            NothingInvented,
            is_same,
            "{name} has other bytes at offset {base} than were sent: {header:?} instead of {:?}",
            sent.batch.header()
        );
    }
}

/// Some whole batches from `from` on, read as consumers do.
fn read(
    view: &PartitionView,
    from: i64,
    dice: &mut Dice,
) -> Result<Vec<(BatchHeader, Bytes)>, LogError> {
    let limit = ByteCount(*dice.pick(&[1, 500, 5_000, 50_000]));
    let mut batches = Vec::new();
    for part in read_at(view, Offset(from), limit, dice.one_in(2))? {
        for batch in scan_batches(&part) {
            let (header, bytes) = batch.expect("what is read is whole batches");
            batches.push((header, part.slice_ref(bytes)));
        }
    }
    Ok(batches)
}

fn read_at(
    view: &PartitionView,
    from: Offset,
    limit: ByteCount,
    try_cache: bool,
) -> Result<Vec<Bytes>, LogError> {
    let plan = view.plan_read(from, limit, Isolation::ReadUncommitted)?;
    if try_cache && let Some(found) = plan.execute_if_cached()? {
        return Ok(found);
    }
    plan.execute()
}

/// Makes batches whose records are told apart by a number.
#[derive(Clone, Debug, Default)]
pub struct Mint {
    next_mark: u64,
}

/// The idempotent producer of a batch, and its first sequence.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub producer_id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

impl Mint {
    /// A batch of `count` records of some size; the records' times go up by one.
    pub fn batch(
        &mut self,
        dice: &mut Dice,
        timestamp: i64,
        count: usize,
        stamp: Option<Stamp>,
    ) -> CheckedBatch {
        let mut builder = BatchBuilder::new(timestamp);
        if let Some(Stamp {
            producer_id,
            epoch,
            sequence,
        }) = stamp
        {
            builder = builder.producer(producer_id, epoch, sequence);
        }
        for number in 0..count {
            let size = 8 + *dice.pick(&[0, 10, 100, 700]);
            let value = self.value(size);
            builder.push(timestamp + number as i64, None, Some(&value), &[]);
        }
        CheckedBatch::check(builder.build(Compression::None), usize::MAX)
            .expect("a built batch is good")
    }

    /// The mark, then bytes that are not zero, as a lost sector is.
    fn value(&mut self, size: usize) -> Vec<u8> {
        self.next_mark += 1;
        let mut value = self.next_mark.to_be_bytes().to_vec();
        let mut filling = Dice::new(self.next_mark);
        value.resize_with(size, || filling.next() as u8 | 1);
        value
    }
}

/// The numbers of the records in a batch.
fn marks_of(header: &BatchHeader, batch: &[u8]) -> Vec<u64> {
    let records = decompress(header, batch, usize::MAX).expect("stored batches decompress");
    let marks = RecordIter::new(header, &records).map(|record| {
        let record = record.expect("stored records are whole");
        let value = record.value.expect("every record was sent with a value");
        u64::from_be_bytes(value[..8].try_into().expect("a value begins with its mark"))
    });
    marks.collect()
}

/// The same records again, without saying who sends them.
pub fn anonymous(batch: &CheckedBatch) -> CheckedBatch {
    let header = batch.header();
    let records = decompress(header, batch.bytes(), usize::MAX).expect("built batches decompress");
    let mut builder = BatchBuilder::new(header.base_timestamp);
    for record in RecordIter::new(header, &records) {
        let record = record.expect("built records are whole");
        builder.push(record.timestamp, record.key, record.value, &[]);
    }
    CheckedBatch::check(builder.build(Compression::None), usize::MAX)
        .expect("a built batch is good")
}
