//! Task 1.3: a consumer that logs partition, offset and key; order within a partition and a key, none across partitions.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use client::ClientError;
use serde_json::json;

use crate::report::Step;
use crate::session::Session;
use crate::traffic::{Outgoing, Seen};

const PARTITIONS: i32 = 3;
const ALL: [i32; 3] = [0, 1, 2];
const ORDER: [&str; 3] = ["Order created", "Order shipped", "Order delivered"];
const VISIT: [&str; 5] = [
    "login",
    "view product A",
    "add to cart",
    "checkout",
    "payment confirm",
];
const USERS: usize = 10;
/// What a worker does with one record: long enough for the others to do something meanwhile.
const WORK: Duration = Duration::from_millis(2);

pub(crate) fn run(session: &mut Session<'_>) -> Result<(), ClientError> {
    life_of_an_order(session)?;
    let topic = session.create_topic("visits", PARTITIONS)?;
    let sent = visits(session, &topic)?;
    let seen = consume(session, &topic, &sent)?;
    work_in_parallel(session, seen)
}

fn life_of_an_order(session: &mut Session<'_>) -> Result<(), ClientError> {
    let topic = session.create_topic("orders", PARTITIONS)?;
    let mut records: Vec<Outgoing> = ORDER
        .iter()
        .map(|event| Outgoing::keyed("order-100", event))
        .collect();
    records.push(Outgoing::keyed("order-101", "Order paid"));
    records.push(Outgoing::keyed("order-102", "Order created"));
    let placed = session.send(&topic, &records, &[])?;
    let seen = session.read(&topic, &ALL, "read_committed")?;
    let mut step =
        Step::new("The life of an order: three records of order-100, one each of two others");
    step.lines.extend(seen.iter().map(Seen::line));
    step.say("order-101 has the same partition as order-100 by its hash: a partition has many keys, a key one partition");
    step.data = json!(seen);
    session.tell(step);
    let of_order: Vec<&Seen> = seen
        .iter()
        .filter(|record| record.key.as_deref() == Some("order-100"))
        .collect();
    let in_order = of_order
        .iter()
        .map(|record| record.value.as_str())
        .eq(ORDER);
    session.check(
        "order-100 is created, shipped, delivered: in one partition, at offsets 0, 1, 2",
        in_order
            && of_order.iter().map(|record| record.offset).eq(0..3)
            && of_order
                .iter()
                .all(|record| record.partition == placed[0].partition),
        format!("{} records in P{}", of_order.len(), placed[0].partition),
    );
    Ok(())
}

/// Ten users at the same time, each doing the same five things; the value has the place in which it was sent.
fn visits(session: &mut Session<'_>, topic: &str) -> Result<Vec<Outgoing>, ClientError> {
    let mut sent = Vec::new();
    for event in VISIT {
        for user in 1..=USERS {
            let value = format!("#{:02} {event}", sent.len());
            sent.push(Outgoing::keyed(&format!("user-{user}"), &value));
        }
    }
    session.send(topic, &sent, &[])?;
    Ok(sent)
}

/// The place in which a record was sent, from its value.
fn place(record: &Seen) -> usize {
    let number = record
        .value
        .get(1..3)
        .and_then(|digits| digits.parse().ok());
    number.unwrap_or(usize::MAX)
}

fn consume(
    session: &mut Session<'_>,
    topic: &str,
    sent: &[Outgoing],
) -> Result<Vec<Seen>, ClientError> {
    let seen = session.read(topic, &ALL, "read_committed")?;
    let mut step = Step::new(format!(
        "Consume {} records of {USERS} users with one consumer",
        sent.len()
    ));
    step.lines.extend(seen.iter().map(Seen::line));
    step.data = json!(seen);
    session.tell(step);
    session.check(
        "every record comes once",
        {
            let mut places: Vec<usize> = seen.iter().map(place).collect();
            places.sort_unstable();
            places.into_iter().eq(0..sent.len())
        },
        format!("{} of {}", seen.len(), sent.len()),
    );
    let offsets = by(&seen, |record| record.partition.to_string());
    session.check(
        "within a partition offsets come in order, without a gap",
        offsets.values().all(|records| {
            records
                .iter()
                .zip(0..)
                .all(|(record, offset)| record.offset == offset)
        }),
        format!("{} partitions", offsets.len()),
    );
    check_keys(session, &seen, "one consumer");
    let places: Vec<usize> = seen.iter().map(place).collect();
    session.check(
        "across partitions there is no order: records do not come as they were sent",
        !places.is_sorted(),
        format!(
            "the first ten that came were sent as {:?}",
            &places[..places.len().min(10)]
        ),
    );
    Ok(seen)
}

fn check_keys(session: &mut Session<'_>, seen: &[Seen], by_whom: &str) {
    let keys = by(seen, |record| record.key.clone().unwrap_or_default());
    let in_order = |records: &Vec<&Seen>| {
        let events = records
            .iter()
            .map(|record| record.value.get(4..).unwrap_or_default());
        events.eq(VISIT)
    };
    session.check(
        format!(
            "every user's five events come in the order in which they happened, with {by_whom}"
        ),
        keys.values().all(in_order) && keys.len() == USERS,
        format!("{} users", keys.len()),
    );
}

fn by(seen: &[Seen], group: impl Fn(&Seen) -> String) -> BTreeMap<String, Vec<&Seen>> {
    let mut groups: BTreeMap<String, Vec<&Seen>> = BTreeMap::new();
    for record in seen {
        groups.entry(group(record)).or_default().push(record);
    }
    groups
}

/// A worker for each partition, all at once: what they finish is one log.
fn work_in_parallel(session: &mut Session<'_>, seen: Vec<Seen>) -> Result<(), ClientError> {
    let (finished, log) = mpsc::sync_channel(seen.len());
    for partition in ALL {
        let finished = finished.clone();
        let records: Vec<Seen> = seen
            .iter()
            .filter(|record| record.partition == partition)
            .cloned()
            .collect();
        thread::spawn(move || {
            for record in records {
                thread::sleep(WORK);
                // Nobody listens any more once the run is over its time.
                if finished.send(record).is_err() {
                    return;
                }
            }
        });
    }
    drop(finished);
    let log: Vec<Seen> = log.iter().collect();
    session.remaining()?;
    let mut step = Step::new("Process with three workers, one for each partition");
    step.lines.extend(log.iter().map(Seen::line));
    let switches = log
        .windows(2)
        .filter(|pair| pair[0].partition != pair[1].partition)
        .count();
    step.say(format!(
        "the log goes from one partition to another {switches} times"
    ));
    step.data = json!({ "log": log, "switches": switches });
    session.tell(step);
    session.check(
        "partitions are processed in parallel: their records are finished in between each other",
        switches >= ALL.len(),
        format!("{switches} switches in {} records", log.len()),
    );
    let partitions = by(&log, |record| record.partition.to_string());
    session.check(
        "within a partition they are finished one after the other",
        partitions
            .values()
            .all(|records| records.iter().map(|record| record.offset).is_sorted()),
        format!("{} partitions", partitions.len()),
    );
    check_keys(session, &log, "three workers");
    Ok(())
}
