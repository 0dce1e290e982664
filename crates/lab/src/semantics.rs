//! Task 1.5: a worker is killed in the middle of a batch, three times; only where it commits its offsets differs.
//!
//! A worker reads thirty inputs in batches of ten and writes an output for each. The first one finishes a batch and is gone after
//! half of the second; another one goes on from what was committed. The outputs tell what was lost, repeated, or exact.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::{ClientError, Consumer, Event, IncomingRecord, OutgoingRecord, Position, Producer};
use serde::Serialize;
use serde_json::json;

use crate::report::Step;
use crate::session::Session;
use crate::traffic::{Outgoing, PRODUCER, Seen, poll};

const PARTITIONS: i32 = 3;
const INPUTS: usize = 30;
const BATCH: usize = 10;
/// How many records of its second batch the first worker gets done.
const DONE_BEFORE_THE_END: usize = 5;
/// How long a worker waits for a batch to become full before it takes what there is.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often an input has an output, in spite of a worker that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Semantics {
    /// Offsets are committed before the work.
    AtMost,
    /// Offsets are committed after the work.
    AtLeast,
    /// Offsets and outputs are one transaction.
    Exactly,
}

/// What the outputs tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Count {
    inputs: usize,
    /// Inputs without an output.
    lost: usize,
    /// Inputs with more than one.
    repeated: usize,
    /// Inputs with one.
    exact: usize,
    /// Outputs of transactions that were never committed, which only read_uncommitted shows.
    aborted: usize,
}

/// How a worker's life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    KilledInSecondBatch,
    NothingLeft,
}

/// What a worker was doing, for the step's lines.
type Told = Vec<String>;

pub(crate) fn run(session: &mut Session<'_>) -> Result<(), ClientError> {
    let inputs = session.create_topic("inputs", PARTITIONS)?;
    let records: Vec<Outgoing> = (0..INPUTS)
        .map(|number| Outgoing {
            partition: i32::try_from(number).ok().map(|number| number % PARTITIONS),
            key: None,
            value: format!("input-{number:02}").into_bytes(),
        })
        .collect();
    session.send(&inputs, &records, &[])?;
    let mut facts = serde_json::Map::new();
    for semantics in [Semantics::AtMost, Semantics::AtLeast, Semantics::Exactly] {
        let count = compare(session, &inputs, semantics)?;
        facts.insert(semantics.id().to_owned(), json!(count));
    }
    session.facts = facts.into();
    Ok(())
}

impl Semantics {
    fn id(self) -> &'static str {
        match self {
            Semantics::AtMost => "at_most_once",
            Semantics::AtLeast => "at_least_once",
            Semantics::Exactly => "exactly_once",
        }
    }

    /// As in a sentence, and in names of topics.
    fn name(self) -> &'static str {
        match self {
            Semantics::AtMost => "at-most-once",
            Semantics::AtLeast => "at-least-once",
            Semantics::Exactly => "exactly-once",
        }
    }

    fn strategy(self) -> &'static str {
        match self {
            Semantics::AtMost => "take a batch, commit its offsets, do the work",
            Semantics::AtLeast => "take a batch, do the work, commit its offsets",
            Semantics::Exactly => {
                "take a batch, do the work and add the offsets in one transaction, commit it"
            }
        }
    }

    /// What a worker that is gone with half a batch undone must come to.
    fn expected(self) -> Count {
        let half = BATCH - DONE_BEFORE_THE_END;
        let (lost, repeated, aborted) = match self {
            Semantics::AtMost => (half, 0, 0),
            Semantics::AtLeast => (0, DONE_BEFORE_THE_END, 0),
            Semantics::Exactly => (0, 0, DONE_BEFORE_THE_END),
        };
        Count {
            inputs: INPUTS,
            lost,
            repeated,
            exact: INPUTS - lost - repeated,
            aborted,
        }
    }
}

fn compare(
    session: &mut Session<'_>,
    inputs: &str,
    semantics: Semantics,
) -> Result<Count, ClientError> {
    let outputs = session.create_topic(semantics.name(), 1)?;
    let group = session.group_name(semantics.name());
    let mut told = Told::new();
    for (worker, end) in [
        ("worker-1", End::KilledInSecondBatch),
        ("worker-2", End::NothingLeft),
    ] {
        let mut worker = Worker::start(session, semantics, worker, &group, inputs, &outputs)?;
        worker.live(session, end, &mut told)?;
    }
    let count = count(session, &outputs)?;
    let mut step = Step::new(format!("{}: {}", semantics.name(), semantics.strategy()));
    step.lines = told;
    let aborted = match count.aborted {
        0 => String::new(),
        aborted => format!(
            "; {aborted} outputs of the aborted transaction are there for read_uncommitted only"
        ),
    };
    step.say(format!(
        "{INPUTS} inputs: {} lost, {} repeated, {} exact{aborted}",
        count.lost, count.repeated, count.exact
    ));
    step.data = json!(count);
    session.tell(step);
    let claim = match semantics {
        Semantics::AtMost => {
            "at-most-once loses what was committed and not done, and repeats nothing"
        }
        Semantics::AtLeast => {
            "at-least-once repeats what was done and not committed, and loses nothing"
        }
        Semantics::Exactly => "exactly-once loses nothing and repeats nothing",
    };
    let detail = format!(
        "{} lost, {} repeated, {} exact",
        count.lost, count.repeated, count.exact
    );
    session.check(claim, count == semantics.expected(), detail);
    Ok(count)
}

/// Counts the outputs of each input.
fn count(session: &Session<'_>, outputs: &str) -> Result<Count, ClientError> {
    let committed = session.read(outputs, &[0], "read_committed")?;
    let all = session.read(outputs, &[0], "read_uncommitted")?;
    Ok(tally(&committed, all.len()))
}

fn tally(committed: &[Seen], all: usize) -> Count {
    let mut outputs: BTreeMap<String, usize> = (0..INPUTS)
        .map(|number| (format!("input-{number:02}"), 0))
        .collect();
    for output in committed {
        *outputs.entry(output.value.clone()).or_default() += 1;
    }
    let with = |wanted: fn(usize) -> bool| outputs.values().filter(|count| wanted(**count)).count();
    Count {
        inputs: INPUTS,
        lost: with(|count| count == 0),
        repeated: with(|count| count > 1),
        exact: with(|count| count == 1),
        aborted: all.saturating_sub(committed.len()),
    }
}

/// Reads inputs, writes outputs. Dropped without a word it is a process that was killed: what it did not commit is not committed.
struct Worker<'a> {
    name: &'a str,
    semantics: Semantics,
    consumer: Consumer,
    producer: Producer,
    group: &'a str,
    inputs: &'a str,
    outputs: &'a str,
}

impl<'a> Worker<'a> {
    fn start(
        session: &Session<'_>,
        semantics: Semantics,
        name: &'a str,
        group: &'a str,
        inputs: &'a str,
        outputs: &'a str,
    ) -> Result<Worker<'a>, ClientError> {
        let mut properties = PRODUCER.to_vec();
        if semantics == Semantics::Exactly {
            // The second worker has the id of the first, so it fences it and ends what it left open.
            properties.push(("transactional.id", group));
        }
        let producer = session.cluster.producer(&properties, |_| {})?;
        if semantics == Semantics::Exactly {
            producer.init_transactions(session.remaining()?)?;
        }
        let consumer = session.cluster.consumer(&[
            ("group.id", group),
            ("client.id", name),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
        ])?;
        consumer.subscribe(&[inputs])?;
        Ok(Worker {
            name,
            semantics,
            consumer,
            producer,
            group,
            inputs,
            outputs,
        })
    }

    fn live(
        &mut self,
        session: &mut Session<'_>,
        end: End,
        told: &mut Told,
    ) -> Result<(), ClientError> {
        let mut number = 0;
        loop {
            let least = match end {
                End::KilledInSecondBatch => BATCH,
                End::NothingLeft => 1,
            };
            let batch = take(&self.consumer, session, least)?;
            if batch.is_empty() {
                // Nothing came for a while, which a rebalance explains as well: the committed offsets decide.
                if session
                    .lag(self.group, self.inputs)?
                    .values()
                    .all(|lag| *lag == 0)
                {
                    told.push(format!("{}: nothing is left to do", self.name));
                    return Ok(());
                }
                continue;
            }
            number += 1;
            let is_last = end == End::KilledInSecondBatch && number == 2;
            let done = if is_last {
                DONE_BEFORE_THE_END
            } else {
                batch.len()
            };
            self.work(session, &batch, done)?;
            let what = format!("{}: batch {number} of {}", self.name, batch.len());
            if is_last {
                told.push(format!("{what}: {done} done, then killed"));
                return Ok(());
            }
            told.push(format!("{what}: done and committed"));
        }
    }

    /// Does the first `done` records of a batch and, if that is all of it, whatever is to be done after.
    fn work(
        &self,
        session: &Session<'_>,
        batch: &[IncomingRecord<'_>],
        done: usize,
    ) -> Result<(), ClientError> {
        let is_whole = done == batch.len();
        match self.semantics {
            Semantics::AtMost => {
                self.commit(batch)?;
                self.write(session, &batch[..done])
            }
            Semantics::AtLeast => {
                self.write(session, &batch[..done])?;
                if is_whole {
                    self.commit(batch)?;
                }
                Ok(())
            }
            Semantics::Exactly => {
                self.producer.begin()?;
                self.write(session, &batch[..done])?;
                if is_whole {
                    let limit = session.remaining()?;
                    let next = next_offsets(batch);
                    self.producer
                        .send_offsets(&self.consumer, self.inputs, &next, limit)?;
                    self.producer.commit(limit)?;
                }
                Ok(())
            }
        }
    }

    fn commit(&self, batch: &[IncomingRecord<'_>]) -> Result<(), ClientError> {
        for record in batch {
            self.consumer.store(record)?;
        }
        self.consumer.commit()
    }

    /// The work: an output for each input, stored before this returns.
    fn write(
        &self,
        session: &Session<'_>,
        batch: &[IncomingRecord<'_>],
    ) -> Result<(), ClientError> {
        for (number, record) in batch.iter().enumerate() {
            let output = OutgoingRecord {
                topic: self.outputs,
                value: record.value(),
                ..OutgoingRecord::default()
            };
            self.producer.send(&output, number)?;
        }
        self.producer.flush(session.remaining()?)
    }
}

/// Up to a batch of records: waits for `least` of them until the run's time is over, for the others a moment.
///
/// # Errors
/// `TimedOut` when `least` is more than one and they do not come.
fn take<'c>(
    consumer: &'c Consumer,
    session: &Session<'_>,
    least: usize,
) -> Result<Vec<IncomingRecord<'c>>, ClientError> {
    let mut batch = Vec::with_capacity(BATCH);
    let begun = Instant::now();
    while batch.len() < BATCH {
        session.remaining()?;
        match poll(consumer)? {
            Some(Event::Record(record)) => batch.push(record),
            Some(Event::EndOfPartition(_)) => {}
            None if begun.elapsed() >= PATIENCE && (least == 1 || batch.len() >= least) => break,
            None => {}
        }
    }
    Ok(batch)
}

/// The offset after the last record of each partition.
fn next_offsets(batch: &[IncomingRecord<'_>]) -> Vec<Position> {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for record in batch {
        next.insert(record.partition(), record.offset() + 1);
    }
    next.into_iter()
        .map(|(partition, offset)| Position { partition, offset })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_counted_by_input() {
        let output = |number: usize| Seen {
            partition: 0,
            offset: 0,
            key: None,
            value: format!("input-{number:02}"),
        };
        let outputs: Vec<Seen> = [&[0, 0, 0, 1][..], &(3..INPUTS).collect::<Vec<_>>()]
            .concat()
            .into_iter()
            .map(output)
            .collect();
        let count = tally(&outputs, outputs.len() + 2);
        assert_eq!(
            count,
            Count {
                inputs: 30,
                lost: 1,
                repeated: 1,
                exact: 28,
                aborted: 2,
            }
        );
    }
}
