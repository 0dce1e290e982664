//! Dead letters (KIP-1191): records that a share group gives up are copied to the topic that the group has configured.
//!
//! A record is archived only after its letter is as durable as that topic promises; until then its state says that it
//! is on its way, and a restart sends it off again. So no letter is lost, and a crash at the wrong moment doubles one.
//! A disk that is full is waited for; a topic that is missing or takes no dead letters is not, as in Kafka: the reason is
//! logged and the record archived without a letter. A record that cannot be read, or whose letter the topic refuses, as
//! for its size, gets a letter with headers only, and those beside it get theirs.
//!
//! Source of headers, checks and the choice of the partition: the behaviour of Kafka 4.4.

use std::collections::VecDeque;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};
use std::time::Duration;

use broker_state::configs::BrokerConfig;
use broker_state::share_partitions::{Command, DeadLetters};
use broker_state::topics::{Command as TopicsCommand, NewTopic};
use bytes::Bytes;
use log::{ByteCount, Isolation, Offset};
use tokio::sync::mpsc::UnboundedReceiver;
use wire::records::{BatchBuilder, Compression, RecordIter, decompress, scan_batches};
use wire::{ErrorCode, Uuid};

use super::ShareHandle;
use crate::api::produce::check;
use crate::cluster::Topic;
use crate::core::Core;
use crate::entropy;
use crate::partition::Partition;
use crate::shard::{AppendOutcome, Event, Reply};

/// How long a letter waits that cannot be written now.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How much of the log is read at a time.
const READ_BYTES: u64 = 1 << 20;
/// The largest batch that is unpacked.
const LARGEST_BATCH: usize = 64 << 20;
/// Room for the batch header, so that a batch of letters stays below `max.message.bytes`.
const OVERHEAD: usize = 128;

/// What the broker's configuration says of dead letters.
#[derive(Clone, Debug)]
pub struct DeadLetterSettings {
    creates_topics: bool,
    prefix: String,
}

impl DeadLetterSettings {
    pub fn of(config: &BrokerConfig) -> Self {
        let prefix = config.value("errors.deadletterqueue.topic.name.prefix");
        Self {
            creates_topics: config.boolean("errors.deadletterqueue.auto.create.topics.enable"),
            prefix: prefix.unwrap_or_default().to_owned(),
        }
    }
}

/// Why letters are not delivered.
enum Failure {
    /// It may work later.
    ForNow(String),
    /// It will not work as things are configured.
    ForGood(String),
    /// The topic takes letters, but not these.
    Refused(String),
}

fn for_good(reason: impl Into<String>) -> Failure {
    Failure::ForGood(reason.into())
}

/// Delivers dead letters, one after the other, until the broker ends.
pub async fn deliver(core: Weak<Core>, share: ShareHandle, settings: DeadLetterSettings) {
    let Some(mut letterbox) = share.take_letterbox() else {
        return;
    };
    drop(share);
    let mut late: VecDeque<DeadLetters> = VecDeque::new();
    while let Some(letters) = next(&core, &mut letterbox, &mut late).await {
        let Some(core) = core.upgrade() else { return };
        match deliver_one(&core, &settings, &letters).await {
            Ok(()) => {}
            Err(Failure::ForNow(reason)) => {
                tracing::warn!(group = %letters.key.group, reason, "dead letters wait");
                late.push_back(letters);
                continue;
            }
            // What cannot be done while the broker stops may well be done after the next start.
            Err(_) if *core.stopping.borrow() => return,
            Err(Failure::ForGood(reason) | Failure::Refused(reason)) => {
                let DeadLetters {
                    key, first, last, ..
                } = &letters;
                tracing::warn!(group = %key.group, first, last, reason, "records are given up without dead letters");
            }
        }
        let DeadLetters {
            key, first, last, ..
        } = letters;
        core.share
            .tell(Command::DeadLettersDone { key, first, last });
    }
}

/// The next letters: new ones, or after a while those that are late.
async fn next(
    core: &Weak<Core>,
    letterbox: &mut UnboundedReceiver<DeadLetters>,
    late: &mut VecDeque<DeadLetters>,
) -> Option<DeadLetters> {
    let stopped = core.upgrade()?.stopped();
    tokio::select! {
        letters = letterbox.recv() => letters,
        () = tokio::time::sleep(RETRY_AFTER), if !late.is_empty() => late.pop_front(),
        () = stopped => None,
    }
}

async fn deliver_one(
    core: &Core,
    settings: &DeadLetterSettings,
    letters: &DeadLetters,
) -> Result<(), Failure> {
    let image = core.image();
    let config = image.group_config(letters.key.group.as_str()).share.clone();
    let name = config.dead_letter_topic.clone();
    let name = name.ok_or_else(|| for_good("the group has no topic for them any more"))?;
    let topic = find_topic(core, settings, &name).await?;
    let source = image.topic_by_id(letters.key.topic_id);
    let source = source.ok_or_else(|| for_good("the topic of the records is gone"))?;
    let index = letters.key.partition;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let target = index % count.max(1);
    let log = source.partition(index);
    let log = log.ok_or_else(|| for_good("the partition of the records is gone"))?;
    let delivery = Delivery {
        core,
        topic: &topic,
        target,
        source,
        log,
        letters,
        copies: config.copies_dead_letters,
    };
    let mut next = letters.first;
    while next <= letters.last {
        next = delivery.send(next).await?;
    }
    Ok(())
}

/// The topic for dead letters, if it may take them.
async fn find_topic(
    core: &Core,
    settings: &DeadLetterSettings,
    name: &str,
) -> Result<Arc<Topic>, Failure> {
    if !name.starts_with(&settings.prefix) {
        let prefix = &settings.prefix;
        return Err(for_good(format!("{name} does not begin with '{prefix}'")));
    }
    if core.image().topic(name).is_none() && settings.creates_topics {
        create(core, name).await?;
    }
    match core.image().topic(name) {
        None => Err(for_good(format!("{name} does not exist"))),
        Some(topic) if !topic.settings.takes_dead_letters => {
            let key = "errors.deadletterqueue.group.enable";
            Err(for_good(format!("{name} does not have {key}=true")))
        }
        Some(topic) => Ok(Arc::clone(topic)),
    }
}

/// Creates the topic; whether that worked is seen by looking for it.
async fn create(core: &Core, name: &str) -> Result<(), Failure> {
    let later = || Failure::ForNow("the topic cannot be created now".to_owned());
    let id = entropy::uuid().ok_or_else(later)?;
    let config = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let topic = NewTopic {
        name: name.to_owned(),
        id: Uuid(id),
        partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: vec![
            config("errors.deadletterqueue.group.enable", "true"),
            config("message.timestamp.type", "CreateTime"),
        ],
    };
    let command = TopicsCommand::CreateTopics {
        topics: vec![topic],
        validate_only: false,
    };
    core.controller
        .ask(command)
        .await
        .map(drop)
        .ok_or_else(later)
}

/// A record as its letter shows it: key and value, if they are there and wanted.
type Copied = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// From where letters go, and where to.
struct Delivery<'a> {
    core: &'a Core,
    topic: &'a Topic,
    target: i32,
    source: &'a Topic,
    log: &'a Arc<Partition>,
    letters: &'a DeadLetters,
    copies: bool,
}

impl Delivery<'_> {
    /// Sends a batch of letters from `next` on; gives the offset after the last one.
    async fn send(&self, next: i64) -> Result<i64, Failure> {
        let (copied, upto) = match self.copies {
            true => copies(self.log, next, self.letters.last).await?,
            false => (Vec::new(), self.letters.last + 1),
        };
        let (batch, upto) = self.pack(&copied, next, upto);
        match append(self.core, self.topic, self.target, batch).await {
            Ok(()) => {}
            Err(Failure::Refused(_)) if !*self.core.stopping.borrow() => {
                for offset in next..upto {
                    self.send_alone(&copied, offset).await?;
                }
            }
            Err(failure) => return Err(failure),
        }
        Ok(upto)
    }

    /// Sends one letter as it is, or else with headers only; if that is refused too, only this record has none.
    async fn send_alone(&self, copied: &[Copied], offset: i64) -> Result<(), Failure> {
        for copied in [copied, &[]] {
            let (batch, _) = self.pack(copied, offset, offset + 1);
            match append(self.core, self.topic, self.target, batch).await {
                Err(Failure::Refused(reason)) if !*self.core.stopping.borrow() => {
                    let (group, topic) = (&self.letters.key.group, &self.topic.name);
                    tracing::warn!(%group, %topic, offset, reason, "a dead letter is refused");
                }
                done => return done,
            }
        }
        Ok(())
    }

    /// Packs letters from `next` on, up to `upto` or as many as fit, into one batch; gives the offset after the last one.
    fn pack(&self, copied: &[Copied], next: i64, upto: i64) -> (Bytes, i64) {
        let Self {
            core,
            topic,
            source,
            letters,
            ..
        } = *self;
        let now_ms = core.now_ms();
        let most = topic.settings.max_message_bytes.saturating_sub(OVERHEAD);
        let limit = core
            .share_settings(letters.key.group.as_str())
            .delivery_count_limit;
        let reason = match letters.count >= limit {
            true => "Offset delivery count exceeded the threshold.",
            false => "Offset rejected by client.",
        };
        let mut copied = copied.iter().peekable();
        let mut builder = BatchBuilder::new(now_ms);
        let mut size = 0;
        for offset in next..upto {
            while copied.peek().is_some_and(|(at, ..)| *at < offset) {
                copied.next();
            }
            // An offset that has no record any more gets a letter with headers only.
            let record = copied.next_if(|(at, ..)| *at == offset);
            let (key, value) = record.map_or((&None, &None), |(_, key, value)| (key, value));
            let texts = [
                ("__dlq.errors.topic", source.name.to_string()),
                ("__dlq.errors.partition", letters.key.partition.to_string()),
                ("__dlq.errors.offset", offset.to_string()),
                ("__dlq.errors.group", letters.key.group.to_string()),
                ("__dlq.errors.delivery.count", letters.count.to_string()),
                ("__dlq.errors.message", reason.to_owned()),
            ];
            let of_headers: usize = texts
                .iter()
                .map(|(name, text)| name.len() + text.len() + 8)
                .sum();
            let of_record = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
            let bytes = of_headers + of_record(key) + of_record(value) + 32;
            if size > 0 && size + bytes > most {
                return (builder.build(Compression::None), offset);
            }
            size += bytes;
            let headers: Vec<(&str, Option<&[u8]>)> = texts
                .iter()
                .map(|(name, text)| (*name, Some(text.as_bytes())))
                .collect();
            builder.push(now_ms, key.as_deref(), value.as_deref(), &headers);
        }
        (builder.build(Compression::None), upto)
    }
}

/// Keys and values of the records from `first` on, as many as one read gives, and the offset after what was read.
async fn copies(
    log: &Arc<Partition>,
    first: i64,
    last: i64,
) -> Result<(Vec<Copied>, i64), Failure> {
    let view = log.view();
    let from = first.max(view.log_start.0);
    if from > last || from >= view.high_watermark.0 {
        return Ok((Vec::new(), last + 1));
    }
    let isolation = Isolation::ReadUncommitted;
    let plan = view.plan_read(Offset(from), ByteCount(READ_BYTES), isolation);
    let plan = plan.map_err(|error| Failure::ForNow(error.to_string()))?;
    let read = tokio::task::spawn_blocking(move || plan.execute()).await;
    let read = read.expect("reading does not panic");
    // A damaged batch cannot be copied, and waiting does not mend it.
    let parts = match read {
        Ok(parts) => parts,
        Err(error) => {
            tracing::warn!(offset = from, %error, "a record cannot be read for its dead letter");
            return Ok((Vec::new(), from + 1));
        }
    };
    Ok(match copies_of(&parts, from..=last) {
        Some((copied, upto)) if upto > from => (copied, upto.min(last + 1)),
        Some((copied, _)) => (copied, last + 1),
        None => (Vec::new(), from + 1),
    })
}

/// The records in `wanted` that can be read, and the offset after the last batch; `None` when not even the first batch can be told.
fn copies_of<P: AsRef<[u8]>>(
    parts: &[P],
    wanted: RangeInclusive<i64>,
) -> Option<(Vec<Copied>, i64)> {
    let (mut copied, mut upto) = (Vec::new(), *wanted.start());
    for batch in parts.iter().flat_map(|part| scan_batches(part.as_ref())) {
        let Ok((header, bytes)) = batch else {
            return (upto > *wanted.start()).then_some((copied, upto));
        };
        let base = upto;
        upto = header.last_offset() + 1;
        let damaged = |error: &dyn Display| {
            tracing::warn!(offset = base, %error, "records cannot be read for their dead letters");
        };
        let records = match decompress(&header, bytes, LARGEST_BATCH) {
            Ok(records) => records,
            Err(error) => {
                damaged(&error);
                continue;
            }
        };
        // What follows a damaged record in its batch cannot be found.
        let whole = RecordIter::new(&header, &records)
            .map_while(|record| record.map_err(|error| damaged(&error)).ok());
        for record in whole {
            if wanted.contains(&record.offset) {
                let (key, value) = (record.key, record.value);
                copied.push((record.offset, key.map(Vec::from), value.map(Vec::from)));
            }
        }
    }
    Some((copied, upto))
}

/// Appends a batch of letters; it is then as durable as its topic promises.
async fn append(core: &Core, topic: &Topic, index: i32, batch: Bytes) -> Result<(), Failure> {
    let item = match check(topic, index, Some(batch), core.now_ms()) {
        Ok(item) => item,
        Err(refused) => return Err(refusal(refused)),
    };
    let partition = Arc::clone(&item.partition);
    let (reply, receiver) = Reply::channel();
    let items = vec![item];
    core.send_to_owner(&partition, Event::Append { items, reply });
    let outcome = receiver.await.ok().and_then(|mut outcomes| outcomes.pop());
    let outcome = outcome.ok_or_else(|| Failure::ForNow("the broker stops".to_owned()))?;
    match outcome.error {
        ErrorCode::None => Ok(()),
        error if error.is_retriable() => Err(Failure::ForNow(error.name().to_owned())),
        _ => Err(refusal(outcome)),
    }
}

/// Whether it is about the letters or about the topic.
fn refusal(outcome: AppendOutcome) -> Failure {
    let error = outcome.error;
    let reason = outcome.message.unwrap_or_else(|| error.name().to_owned());
    match error {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidRecord => {
            Failure::Refused(reason)
        }
        _ => Failure::ForGood(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(offset: i64, value: &[u8]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(1_000).base_offset(offset);
        builder.push(1_000, None, Some(value), &[]);
        builder.build(Compression::Gzip).to_vec()
    }

    #[test]
    fn a_damaged_batch_is_passed_over_and_those_around_it_are_copied() {
        let mut damaged = batch(1, b"b");
        damaged[61..].fill(0xff);
        let log = [batch(0, b"a"), damaged, batch(2, b"c")].concat();
        let copied = |offset, value: &[u8]| (offset, None, Some(value.to_vec()));
        let expected = vec![copied(0, b"a"), copied(2, b"c")];
        assert_eq!(copies_of(&[log], 0..=2), Some((expected, 3)));
    }

    #[test]
    fn what_follows_bytes_that_are_no_batch_is_read_on_its_own() {
        let mut damaged = batch(1, b"b");
        damaged[16] = 9;
        let log = [batch(0, b"a"), damaged.clone()].concat();
        let copied = vec![(0, None, Some(b"a".to_vec()))];
        assert_eq!(copies_of(&[log], 0..=2), Some((copied, 1)));
        assert_eq!(copies_of(&[damaged], 1..=2), None);
    }
}
