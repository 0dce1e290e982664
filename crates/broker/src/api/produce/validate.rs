//! What a topic asks of the records themselves, checked before the shard is asked: a key (compacted topics), timestamps near the
//! broker's clock (`message.timestamp.before/after.max.ms`), the codec (`compression.type`).
//!
//! Records are looked into only where the topic demands it, or where the batch's header tells that one of them must be refused:
//! the header's largest timestamp is the producer's own statement about its records. Kafka looks into all of them.
//! Runs on the connection's thread; whatever decompresses does it where other connections are not held up.

use broker_state::configs::{Compression as Wanted, TopicSettings};
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use wire::ErrorCode;
use wire::records::{
    BatchError, BatchHeader, CheckedBatch, Compression, Level, RecordIter, TimestampType,
    decompress, recompress,
};

use crate::shard::AppendOutcome;

/// The largest batch that is looked into, decompressed.
const MOST_BYTES_LOOKED_INTO: usize = 64 << 20;
/// Errors told of one batch; the batch is refused as a whole in any case.
const MOST_RECORD_ERRORS: usize = 1_000;
/// Batches below this are worked on without telling the runtime: it takes less than a thread switch.
const SMALL: usize = 4 << 10;

/// Large batches that are decompressed at a time: each may take `MOST_BYTES_LOOKED_INTO`.
const OPENED_AT_A_TIME: usize = 4;
static OPENED: [Mutex<()>; OPENED_AT_A_TIME] = [const { Mutex::new(()) }; OPENED_AT_A_TIME];

/// The batch as it is to be stored in a topic with these settings; `partition` names it in messages.
///
/// # Errors
/// The outcome that refuses the whole batch, with the position of each record that is not in order.
pub fn validate(
    settings: &TopicSettings,
    partition: &dyn std::fmt::Display,
    batch: CheckedBatch,
    now_ms: i64,
) -> Result<CheckedBatch, AppendOutcome> {
    let header = batch.header();
    if header.timestamp_type() == TimestampType::LogAppendTime {
        let text =
            format!("{partition}: the broker stamps the time of the append, not the producer");
        return Err(AppendOutcome::refused(ErrorCode::InvalidTimestamp, text));
    }
    let times = Times::of(settings, now_ms);
    let target = target(settings, header);
    let looks_inside = settings.is_compacted || times.is_in_doubt(header);
    if !looks_inside && target.is_none() {
        return Ok(batch);
    }
    let work = || {
        // What a batch becomes is counted nowhere: so only few large ones are opened at a time, whoever sends them.
        let place = batch.bytes().len() % OPENED_AT_A_TIME;
        let _turn = (batch.bytes().len() > SMALL).then(|| OPENED[place].lock());
        if looks_inside {
            check_records(settings, partition, &batch, &times)?;
        }
        match target {
            Some((compression, level)) => store_as(settings, partition, &batch, compression, level),
            None => Ok(batch.clone()),
        }
    };
    let is_threaded = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    match is_threaded && batch.bytes().len() > SMALL {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}

/// The timestamps that a topic takes.
struct Times {
    earliest: i64,
    latest: i64,
    has_earliest: bool,
    is_checked: bool,
}

impl Times {
    fn of(settings: &TopicSettings, now_ms: i64) -> Times {
        Times {
            earliest: now_ms.saturating_sub(settings.message_timestamp_before_max_ms),
            latest: now_ms.saturating_add(settings.message_timestamp_after_max_ms),
            has_earliest: settings.message_timestamp_before_max_ms != i64::MAX,
            is_checked: !settings.is_log_append_time,
        }
    }

    /// Whether the header leaves it open that all records are in order.
    fn is_in_doubt(&self, header: &BatchHeader) -> bool {
        self.is_checked && (self.has_earliest || header.max_timestamp > self.latest)
    }

    /// Records without a timestamp have -1.
    fn refuse(&self, timestamp: i64) -> bool {
        let is_outside = timestamp < self.earliest || timestamp > self.latest;
        self.is_checked && timestamp != -1 && is_outside
    }
}

fn check_records(
    settings: &TopicSettings,
    partition: &dyn std::fmt::Display,
    batch: &CheckedBatch,
    times: &Times,
) -> Result<(), AppendOutcome> {
    let unreadable = |error: BatchError| {
        AppendOutcome::refused(error.error_code(), format!("{partition}: {error}"))
    };
    let header = batch.header();
    let records = decompress(header, batch.bytes(), MOST_BYTES_LOOKED_INTO).map_err(unreadable)?;
    let mut errors: Vec<(i32, String)> = Vec::new();
    let mut is_about_time = false;
    for (index, record) in RecordIter::new(header, &records).enumerate() {
        let record = record.map_err(unreadable)?;
        let text = if settings.is_compacted && record.key.is_none() {
            "a compacted topic takes no record without a key".to_owned()
        } else if times.refuse(record.timestamp) {
            is_about_time = true;
            let (time, earliest, latest) = (record.timestamp, times.earliest, times.latest);
            format!("timestamp {time} is not within {earliest} to {latest}")
        } else {
            continue;
        };
        if errors.len() < MOST_RECORD_ERRORS {
            errors.push((index as i32, text));
        }
    }
    let Some((first, reason)) = errors.first() else {
        return Ok(());
    };
    let error = match is_about_time {
        true => ErrorCode::InvalidTimestamp,
        false => ErrorCode::InvalidRecord,
    };
    let text = format!("{partition}: record {first} of the batch is refused: {reason}");
    Err(AppendOutcome {
        record_errors: errors,
        ..AppendOutcome::refused(error, text)
    })
}

/// The codec that a batch must get; none when it has it.
fn target(settings: &TopicSettings, header: &BatchHeader) -> Option<(Compression, Level)> {
    let (wanted, level) = match settings.compression {
        Wanted::Producer => return None,
        Wanted::Uncompressed => (Compression::None, Level::Default),
        Wanted::Gzip { level: -1 } => (Compression::Gzip, Level::Default),
        Wanted::Gzip { level } => (Compression::Gzip, Level::Of(level)),
        Wanted::Snappy => (Compression::Snappy, Level::Default),
        Wanted::Lz4 { .. } => (Compression::Lz4, Level::Default),
        Wanted::Zstd { level } => (Compression::Zstd, Level::Of(level)),
    };
    (header.compression() != Ok(wanted)).then_some((wanted, level))
}

fn store_as(
    settings: &TopicSettings,
    partition: &dyn std::fmt::Display,
    batch: &CheckedBatch,
    compression: Compression,
    level: Level,
) -> Result<CheckedBatch, AppendOutcome> {
    let refuse = |error: BatchError| {
        AppendOutcome::refused(error.error_code(), format!("{partition}: {error}"))
    };
    let stored = recompress(batch, compression, level, MOST_BYTES_LOOKED_INTO).map_err(refuse)?;
    let limit = settings.max_message_bytes;
    if stored.bytes().len() > limit {
        return Err(refuse(BatchError::TooLarge { limit }));
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::records::BatchBuilder;

    const NOW: i64 = 1_700_000_000_000;

    fn batch(records: &[(i64, Option<&str>)]) -> CheckedBatch {
        let mut builder = BatchBuilder::new(NOW);
        for (timestamp, key) in records {
            builder.push(*timestamp, key.map(str::as_bytes), Some(&[7; 400]), &[]);
        }
        CheckedBatch::check(builder.build(Compression::Gzip), 1 << 20).unwrap()
    }

    fn settings(change: impl FnOnce(&mut TopicSettings)) -> TopicSettings {
        let mut settings = TopicSettings::default();
        change(&mut settings);
        settings
    }

    /// The error and the records that it names.
    fn refusal(settings: &TopicSettings, batch: CheckedBatch) -> (ErrorCode, Vec<i32>) {
        let outcome = validate(settings, &"orders-0", batch, NOW).unwrap_err();
        let records = outcome.record_errors.iter().map(|(index, _)| *index);
        (outcome.error, records.collect())
    }

    #[test]
    fn each_record_without_a_key_is_named() {
        let compacted = settings(|settings| settings.is_compacted = true);
        let records = [(NOW, Some("a")), (NOW, None), (NOW, Some("b")), (NOW, None)];
        assert_eq!(
            refusal(&compacted, batch(&records)),
            (ErrorCode::InvalidRecord, vec![1, 3])
        );
        let good = batch(&records[..1]);
        assert_eq!(validate(&compacted, &"", good.clone(), NOW), Ok(good));
        let other = settings(|_| ());
        assert!(validate(&other, &"", batch(&records), NOW).is_ok());
    }

    #[test]
    fn each_record_whose_time_is_too_far_away_is_named() {
        let bounded = settings(|settings| {
            settings.message_timestamp_before_max_ms = 1_000;
            settings.message_timestamp_after_max_ms = 2_000;
        });
        let records = [
            (NOW, None),
            (NOW - 1_001, None),
            (NOW + 2_000, None),
            (NOW + 2_001, None),
            (NOW - 1_000, None),
            (-1, None),
        ];
        assert_eq!(
            refusal(&bounded, batch(&records)),
            (ErrorCode::InvalidTimestamp, vec![1, 3])
        );
        let stamped = settings(|settings| {
            settings.message_timestamp_before_max_ms = 1_000;
            settings.is_log_append_time = true;
        });
        assert!(validate(&stamped, &"", batch(&records), NOW).is_ok());
    }

    #[test]
    fn a_time_beyond_the_hour_that_is_allowed_is_refused_by_default() {
        let records = [(NOW, None), (NOW + 3_600_001, None)];
        assert_eq!(
            refusal(&settings(|_| ()), batch(&records)),
            (ErrorCode::InvalidTimestamp, vec![1])
        );
    }

    #[test]
    fn a_producer_does_not_stamp_for_the_broker() {
        let stamped = batch(&[(NOW, None)]).with_log_append_time(NOW);
        assert_eq!(
            refusal(&settings(|_| ()), stamped),
            (ErrorCode::InvalidTimestamp, vec![])
        );
    }

    #[test]
    fn a_topic_with_a_codec_stores_every_batch_in_it() {
        let cases = [
            (Wanted::Producer, Compression::Gzip),
            (Wanted::Uncompressed, Compression::None),
            (Wanted::Gzip { level: 9 }, Compression::Gzip),
            (Wanted::Snappy, Compression::Snappy),
            (Wanted::Lz4 { level: 9 }, Compression::Lz4),
            (Wanted::Zstd { level: 3 }, Compression::Zstd),
        ];
        for (wanted, stored) in cases {
            let settings = settings(|settings| settings.compression = wanted);
            let batch = validate(&settings, &"", batch(&[(NOW, None), (NOW, None)]), NOW).unwrap();
            assert_eq!(batch.header().compression(), Ok(stored));
            let records = decompress(batch.header(), batch.bytes(), 1 << 20).unwrap();
            assert_eq!(RecordIter::new(batch.header(), &records).count(), 2);
        }
    }

    #[test]
    fn a_batch_that_is_too_large_once_it_is_stored_is_refused() {
        let small = settings(|settings| {
            settings.compression = Wanted::Uncompressed;
            settings.max_message_bytes = 300;
        });
        assert_eq!(
            refusal(&small, batch(&[(NOW, None)])),
            (ErrorCode::MessageTooLarge, vec![])
        );
    }
}
