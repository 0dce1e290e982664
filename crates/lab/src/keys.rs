//! Task 1.2: thirty records of ten users go where murmur2 says; how unevenly; and where records without a key go.

use std::collections::BTreeMap;

use client::{ClientError, NullKeys, Partitioner};
use serde_json::json;

use crate::report::Step;
use crate::session::Session;
use crate::traffic::{Outgoing, Placed};

const PARTITIONS: i32 = 3;
const USERS: usize = 10;
const RECORDS: usize = 30;
/// Keys whose hash is the smallest number there is: it has no positive twin.
const NO_TWIN: [&str; 3] = ["cee-23qh", "etp-8io8", "iwh-qnrr"];
/// How many keys the formulas are compared on.
const COMPARED: usize = 10_000;
/// So much is one batch of the sticky policy here: ten records.
const BATCH_BYTES: usize = 100;

pub(crate) fn run(session: &mut Session<'_>) -> Result<(), ClientError> {
    let topic = session.create_topic("", PARTITIONS)?;
    let keys: Vec<String> = (1..=USERS).map(|user| format!("user-{user}")).collect();
    predict(session, &keys);
    produce(session, &topic, &keys)?;
    compare_formulas(session);
    let null_keys = session.create_topic("null-keys", PARTITIONS)?;
    spread_null_keys(session, &null_keys)
}

fn predicted(key: &str) -> i32 {
    wire::partition_for_key(key.as_bytes(), PARTITIONS)
}

/// Records by partition; partitions without any are there too.
fn counts(partitions: impl Iterator<Item = i32>) -> BTreeMap<i32, usize> {
    let mut counts: BTreeMap<i32, usize> =
        (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    for partition in partitions {
        *counts.entry(partition).or_default() += 1;
    }
    counts
}

fn in_words(counts: &BTreeMap<i32, usize>) -> String {
    let parts = counts
        .iter()
        .map(|(partition, count)| format!("P{partition} {count}"));
    parts.collect::<Vec<_>>().join(", ")
}

fn predict(session: &mut Session<'_>, keys: &[String]) {
    let mut step = Step::new("Predict: (murmur2(key) & 0x7fffffff) % 3");
    let mut facts = Vec::new();
    for key in keys {
        let hash = wire::murmur2(key.as_bytes());
        let partition = predicted(key);
        step.say(format!("{key}: murmur2 {hash} -> P{partition}"));
        facts.push(json!({ "key": key, "murmur2": hash, "partition": partition }));
    }
    let users = counts(keys.iter().map(|key| predicted(key)));
    step.say(format!("users by partition: {}", in_words(&users)));
    step.say("ten keys are few: they spread unevenly, and a partition with many of them has more work (skew)");
    step.say("user-1, user-2 and user-3 alone would fill one partition and leave two empty");
    step.data = json!(facts);
    session.facts = json!({ "keys": facts, "users_by_partition": users });
    session.tell(step);
    session.check(
        "ten users spread unevenly over three partitions, as their hashes say",
        users.values().copied().eq([1, 2, 7]),
        in_words(&users),
    );
}

fn produce(session: &mut Session<'_>, topic: &str, keys: &[String]) -> Result<(), ClientError> {
    let records: Vec<Outgoing> = (0..RECORDS)
        .map(|number| Outgoing::keyed(&keys[number % USERS], &format!("event {number}")))
        .collect();
    let placed = session.send(topic, &records, &[])?;
    let mut step = Step::new(format!("Produce {RECORDS} records of {USERS} users"));
    let rows: Vec<(&str, Placed)> = records
        .iter()
        .map(|record| record.key.as_deref().unwrap_or_default())
        .zip(placed)
        .collect();
    for (key, place) in &rows {
        step.say(format!(
            "{key} -> partition={} offset={}",
            place.partition, place.offset
        ));
    }
    let actual = counts(rows.iter().map(|(_, place)| place.partition));
    let expected = counts(rows.iter().map(|(key, _)| predicted(key)));
    step.say(format!("records by partition: {}", in_words(&actual)));
    step.data = rows
        .iter()
        .map(|(key, place)| json!({ "key": key, "partition": place.partition, "offset": place.offset }))
        .collect();
    session.tell(step);
    let right = rows
        .iter()
        .filter(|(key, place)| predicted(key) == place.partition)
        .count();
    session.check(
        "every record is in the partition that murmur2 predicts",
        right == RECORDS,
        format!("{right} of {RECORDS}"),
    );
    session.check(
        "the number of records in each partition is the predicted one",
        actual == expected,
        format!("{}; predicted {}", in_words(&actual), in_words(&expected)),
    );
    let ends = session.ends(topic)?;
    let stored: i64 = ends.values().sum();
    session.check(
        "the cluster has every record once",
        stored == RECORDS as i64,
        format!("{stored} records"),
    );
    Ok(())
}

/// Dropping the sign bit is not `Math.abs`: a producer that uses the latter sends keys elsewhere than Kafka's own.
fn compare_formulas(session: &mut Session<'_>) {
    let by_abs = |key: &str| wire::murmur2(key.as_bytes()).wrapping_abs() % PARTITIONS;
    let mut step = Step::new("Why not Math.abs(murmur2(key)) % 3");
    let differ = (0..COMPARED)
        .map(|number| format!("user-{number}"))
        .filter(|key| by_abs(key) != predicted(key))
        .count();
    step.say(format!(
        "of user-0 to user-{}, {differ} would go to another partition than Kafka's clients choose",
        COMPARED - 1
    ));
    for key in NO_TWIN {
        step.say(format!(
            "{key}: murmur2 {}, by abs partition {}, by Kafka P{}",
            wire::murmur2(key.as_bytes()),
            by_abs(key),
            predicted(key)
        ));
    }
    step.data =
        json!({ "compared": COMPARED, "differ": differ, "without_a_positive_twin": NO_TWIN });
    session.tell(step);
    session.check(
        "abs names a partition that does not exist for some keys, Kafka's formula never does",
        NO_TWIN
            .iter()
            .all(|key| by_abs(key) < 0 && predicted(key) >= 0),
        NO_TWIN.join(", "),
    );
}

fn spread_null_keys(session: &mut Session<'_>, topic: &str) -> Result<(), ClientError> {
    let policies = [
        NullKeys::Sticky {
            batch_bytes: BATCH_BYTES,
        },
        NullKeys::RoundRobin,
        NullKeys::Random,
    ];
    let mut step = Step::new(format!("{RECORDS} records without a key, by each policy"));
    let mut data = serde_json::Map::new();
    for policy in policies {
        let mut partitioner = Partitioner::new(policy, session.options.random);
        let records: Vec<Outgoing> = (0..RECORDS)
            .map(|number| {
                let value = format!("event {number:04}").into_bytes();
                Outgoing {
                    partition: Some(partitioner.partition(None, value.len(), PARTITIONS)),
                    key: None,
                    value,
                }
            })
            .collect();
        let placed = session.send(topic, &records, &[])?;
        let sequence: Vec<i32> = placed.iter().map(|place| place.partition).collect();
        let digits: String = sequence.iter().map(ToString::to_string).collect();
        step.say(format!("{}: {digits}", policy.name()));
        data.insert(policy.name().to_owned(), json!(sequence));
        let (claim, holds) = match policy {
            NullKeys::Sticky { .. } => (
                "sticky keeps a batch of ten together and takes another partition then",
                sequence
                    .chunks(10)
                    .all(|batch| batch.iter().all(|p| *p == batch[0]))
                    && sequence[9] != sequence[10]
                    && sequence[19] != sequence[20],
            ),
            NullKeys::RoundRobin => (
                "round_robin takes the partitions in turn",
                sequence
                    .iter()
                    .zip(0..)
                    .all(|(partition, turn)| *partition == turn % PARTITIONS),
            ),
            NullKeys::Random => (
                "random draws for each record",
                sequence.windows(2).any(|pair| pair[0] != pair[1]),
            ),
        };
        session.check(claim, holds, in_words(&counts(sequence.into_iter())));
    }
    step.say("in a topic with one partition all three are the same, and order is total");
    step.data = data.into();
    session.tell(step);
    Ok(())
}
