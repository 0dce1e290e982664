//! Writes a partition directory as a broker would, for Kafka's own tools to read:
//! `cargo run -p thalweg-log --example write_partition -- DIR` and then
//! `java -cp 'libs/*' org.apache.kafka.tools.DumpLogSegments --deep-iteration --files DIR/orders-0/00000000000000000000.log`.

use std::path::PathBuf;

use thalweg_log::{ByteCount, FileDisk, LogSettings, PartitionLog, TimestampType, write_topic_id};
use wire::records::{BatchBuilder, CheckedBatch, Compression};

const BATCHES: i64 = 3_000;
const START: i64 = 1_700_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = PathBuf::from(
        std::env::args()
            .nth(1)
            .ok_or("give a directory to write to")?,
    );
    for (name, timestamp_type) in [
        ("orders-0", TimestampType::CreateTime),
        ("orders-1", TimestampType::LogAppendTime),
    ] {
        let settings = LogSettings {
            segment_bytes: ByteCount::kibibytes(512),
            timestamp_type,
            ..LogSettings::default()
        };
        let disk = FileDisk::shared();
        let dir = base.join(name);
        let (mut log, _) =
            PartitionLog::open(disk.clone(), &dir, settings.clone(), START, &mut |_| {})?;
        write_topic_id(&disk, &dir, wire::Uuid([7; 16]))?;
        fill(&mut log, 0..BATCHES / 3)?;
        log.set_leader_epoch(3)?;
        fill(&mut log, BATCHES / 3..2 * BATCHES / 3)?;
        log.close(Vec::new())?;
        // The last third comes after a restart and ends without a clean stop: its index entries are partly in memory only.
        let (mut log, _) = PartitionLog::open(disk, &dir, settings, START, &mut |_| {})?;
        fill(&mut log, 2 * BATCHES / 3..BATCHES)?;
        println!(
            "{}: {} records in {}",
            dir.display(),
            log.end_offset(),
            log.size_bytes()
        );
    }
    Ok(())
}

/// Batches of one to seven records, of all compressions, some from idempotent producers, with times that go back now and then.
fn fill(
    log: &mut PartitionLog,
    numbers: std::ops::Range<i64>,
) -> Result<(), Box<dyn std::error::Error>> {
    for number in numbers {
        let time = START + number * 10 - (number % 5) * 17;
        let mut builder = BatchBuilder::new(time);
        if number % 3 == 0 {
            builder = builder.producer(4_000, 0, i32::try_from(number)?);
        }
        for record in 0..1 + number % 7 {
            let (key, value) = (
                format!("key-{record}"),
                format!("value {number}.{record} ").repeat(10 + (number % 40) as usize),
            );
            builder.push(
                time + record,
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                &[("source", Some(b"example"))],
            );
        }
        let compression = Compression::ALL[number as usize % Compression::ALL.len()];
        log.append(
            &CheckedBatch::check(builder.build(compression), usize::MAX)?,
            time,
        );
        if number % 10 == 9 {
            log.write()?;
            for file in log.unsynced_files() {
                file.sync()?;
            }
            log.mark_synced(log.end_offset());
            log.publish(log.end_offset());
        }
    }
    log.write()?;
    log.publish(log.end_offset());
    Ok(())
}
