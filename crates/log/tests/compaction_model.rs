//! Compaction against a model that keeps every record: random keys, tombstones, codecs, lags, crashes, and a slow reader.
//!
//! - `SameTable`: whoever reads the whole log has the same table before and after.
//! - `NothingInvented`: each record that is left is the one that was written at its offset.
//! - `LagIsKept`: no record younger than `min.compaction.lag.ms` is gone.
//! - `TombstonesAreSeen`: a reader that needs no longer than `delete.retention.ms` for the whole log has the right table at its end.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use support::*;
use thalweg_log::{
    ByteCount, CompactionBuffer, CompactionSettings, Disk, Isolation, LogSettings, Offset,
    PartitionLog, ProducerEnds, Replay, SimDisk,
};
use wire::records::{Compression, RecordIter, decompress, scan_batches};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[derive(Clone, Debug)]
enum Op {
    /// Keys by number, with a value unless it is a tombstone, in a codec.
    Append(Vec<(usize, bool)>, usize),
    Wait(i64),
    Checkpoint,
    Compact,
    /// Whether the power is cut.
    Crash(bool),
    /// The slow reader reads on.
    Read,
    Restart,
}

fn any_op() -> impl Strategy<Value = Op> {
    let rows = prop::collection::vec((0..KEYS.len(), prop::bool::weighted(0.7)), 1..5);
    prop_oneof![
        8 => (rows, 0..Compression::ALL.len()).prop_map(|(rows, codec)| Op::Append(rows, codec)),
        3 => (1..400_i64).prop_map(Op::Wait),
        4 => Just(Op::Checkpoint),
        4 => Just(Op::Compact),
        1 => any::<bool>().prop_map(Op::Crash),
        8 => Just(Op::Read),
        1 => Just(Op::Restart),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Written {
    timestamp: i64,
    key: &'static str,
    value: Option<String>,
}

/// A reader of the whole log that takes its time.
#[derive(Default)]
struct Reader {
    from: i64,
    since: i64,
    table: BTreeMap<String, String>,
}

struct World {
    disk: SimDisk,
    shared: Arc<dyn Disk>,
    settings: LogSettings,
    log: Option<PartitionLog>,
    written: BTreeMap<i64, Written>,
    reader: Reader,
    now: i64,
    buffer: CompactionBuffer,
}

impl World {
    fn new(seed: u64, min_lag: u64, retention: u64, segment: u64, keys: u64) -> World {
        let disk = SimDisk::new(seed);
        disk.create_dir_all("data".as_ref())
            .and_then(|()| disk.sync_dir("".as_ref()))
            .unwrap();
        let settings = LogSettings {
            segment_bytes: ByteCount(segment),
            index_interval_bytes: ByteCount(100),
            retention_age: None,
            compaction: Some(CompactionSettings {
                min_dirty_ratio: 0.0,
                min_lag: Duration::from_millis(min_lag),
                max_lag: Duration::from_millis(i64::MAX as u64),
                delete_retention: Duration::from_millis(retention),
            }),
            ..LogSettings::default()
        };
        let shared = disk.shared();
        let mut world = World {
            disk,
            shared,
            settings,
            log: None,
            written: BTreeMap::new(),
            reader: Reader::default(),
            now: NOW,
            buffer: CompactionBuffer {
                memory: ByteCount(24 * keys),
                load: 0.9,
            },
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let (shared, settings) = (Arc::clone(&self.shared), self.settings.clone());
        let replay: &mut dyn FnMut(Replay<'_>) = &mut |_| {};
        let (log, recovery) = PartitionLog::open(shared, DIR, settings, self.now, replay).unwrap();
        assert!(
            !recovery.is_alarming(),
            "a crash is no damage: {recovery:?}"
        );
        self.log = Some(log);
        self.reader = Reader {
            since: self.now,
            ..Reader::default()
        };
        self.check();
    }

    fn log(&mut self) -> &mut PartitionLog {
        self.log.as_mut().expect("it is open between crashes")
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Append(rows, codec) => self.append(&rows, Compression::ALL[codec]),
            Op::Wait(millis) => self.now += millis,
            Op::Checkpoint => self.log().checkpoint(Vec::new()).unwrap(),
            Op::Compact => self.compact(),
            Op::Crash(is_power_cut) => {
                self.finish_reading();
                match is_power_cut {
                    true => self.disk.power_cut(),
                    false => self.disk.kill(),
                }
                self.open();
            }
            Op::Read => self.read_on(),
            Op::Restart => {
                self.finish_reading();
                self.log.take().unwrap().close(Vec::new()).unwrap();
                self.open();
            }
        }
    }

    fn append(&mut self, rows: &[(usize, bool)], codec: Compression) {
        let now = self.now;
        let value = format!("{}", self.written.len());
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(key, has_value)| (KEYS[*key], has_value.then_some(value.as_str())))
            .collect();
        let batch = keyed_by(now, &rows, codec, |builder| builder);
        let base = self.log().end_offset().0;
        step(self.log(), &[batch]);
        for (number, (key, value)) in rows.iter().enumerate() {
            let written = Written {
                timestamp: now + number as i64,
                key: KEYS.iter().find(|known| *known == key).unwrap(),
                value: value.map(str::to_owned),
            };
            self.written.insert(base + number as i64, written);
        }
    }

    fn compact(&mut self) {
        let (now, buffer) = (self.now, self.buffer);
        self.log()
            .compact(now, ProducerEnds::new(), buffer)
            .unwrap();
        self.check();
        let lag = self.settings.compaction.unwrap().min_lag.as_millis() as i64;
        let left = rows(&self.log().view());
        for (offset, written) in &self.written {
            let is_young = lag > 0 && written.timestamp > now - lag;
            let is_left = left.iter().any(|row| row.0 == *offset);
            assert!(
                !is_young || is_left,
                "LagIsKept: {offset} {written:?} at {now}"
            );
        }
    }

    fn check(&mut self) {
        let view = self.log().view();
        assert_eq!(view.verify().unwrap(), [], "all files agree");
        let mut table = BTreeMap::new();
        let mut last = -1;
        for (offset, key, value) in rows(&view) {
            assert!(offset > last, "offsets ascend");
            last = offset;
            let written = &self.written[&offset];
            assert_eq!(
                (written.key, &written.value),
                (key.as_str(), &value),
                "NothingInvented"
            );
            apply(&mut table, key, value);
        }
        assert_eq!(table, self.table(), "SameTable");
        let end = self
            .written
            .last_key_value()
            .map_or(0, |(last, _)| last + 1);
        assert_eq!(view.high_watermark, Offset(end));
    }

    fn table(&self) -> BTreeMap<String, String> {
        let mut table = BTreeMap::new();
        for written in self.written.values() {
            apply(&mut table, written.key.to_owned(), written.value.clone());
        }
        table
    }

    fn finish_reading(&mut self) {
        // It begins anew when it has come to the end.
        self.read_on();
        while self.reader.from > 0 {
            self.read_on();
        }
    }

    /// One batch further; at the end the table is compared, and the reader begins anew.
    fn read_on(&mut self) {
        let view = self.log().view();
        let retention = self.settings.compaction.unwrap().delete_retention;
        if self.reader.from < view.high_watermark.0 {
            let from = Offset(self.reader.from);
            let plan = view.plan_read(from, ByteCount(1), Isolation::ReadUncommitted);
            let read = plan.unwrap().execute().unwrap();
            assert!(!read.is_empty(), "there is something from {from} on");
            for batch in scan_batches(&read[0]) {
                let (header, batch) = batch.unwrap();
                let records = decompress(&header, batch, 1 << 20).unwrap();
                for record in RecordIter::new(&header, &records) {
                    let record = record.unwrap();
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    if record.offset >= self.reader.from {
                        let (key, value) = (text(record.key.unwrap()), record.value.map(text));
                        apply(&mut self.reader.table, key, value);
                    }
                }
                self.reader.from = header.last_offset() + 1;
            }
        }
        if self.reader.from == view.high_watermark.0 {
            let took = self.now - self.reader.since;
            if took <= retention.as_millis() as i64 {
                assert_eq!(self.reader.table, self.table(), "TombstonesAreSeen");
            }
            self.reader = Reader {
                since: self.now,
                ..Reader::default()
            };
        }
    }
}

fn apply(table: &mut BTreeMap<String, String>, key: String, value: Option<String>) {
    match value {
        Some(value) => table.insert(key, value),
        None => table.remove(&key),
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn compaction_keeps_its_promises(
        seed in any::<u64>(),
        min_lag in prop_oneof![Just(0_u64), 1..500_u64],
        retention in prop_oneof![0..600_u64, 500..3_000_u64],
        segment in prop_oneof![Just(1_u64), 100..1_500_u64],
        keys in prop_oneof![8..12_u64, Just(1_000_u64)],
        ops in prop::collection::vec(any_op(), 1..80),
    ) {
        let mut world = World::new(seed, min_lag, retention, segment, keys);
        ops.into_iter().for_each(|op| world.run(op));
        world.finish_reading();
        world.check();
    }
}
