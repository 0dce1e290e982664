//! Task 1.4: one to four consumers share three partitions; who gets what and when, and how far behind the group is.

use std::collections::BTreeMap;
use std::time::Instant;

use client::{ClientError, Consumer, Event};
use serde::Serialize;
use serde_json::json;
use wire::ErrorCode;

use crate::report::Step;
use crate::session::Session;
use crate::traffic::{Outgoing, poll};

const PARTITIONS: i32 = 3;
/// Records that wait for the group before each change of its members.
const BACKLOG: usize = 60;
/// The most records that one consumer takes before the next one has its turn.
const TURN: usize = 20;

/// What happened to the partitions of a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Change {
    at_ms: u64,
    consumer: String,
    partitions: Vec<i32>,
}

/// What one size of the group came to.
#[derive(Debug, Serialize)]
struct Phase {
    consumers: usize,
    /// From the change of members until everything was assigned and the broker said so.
    settled_after_ms: u64,
    lag_before: i64,
    lag_after: i64,
    assignment: BTreeMap<String, Vec<i32>>,
    timeline: Vec<Change>,
}

struct Member {
    name: String,
    consumer: Consumer,
    partitions: Vec<i32>,
    read: usize,
}

struct Group {
    name: String,
    topic: String,
    members: Vec<Member>,
    sent: usize,
    read: usize,
}

pub(crate) fn run(session: &mut Session<'_>) -> Result<(), ClientError> {
    let topic = session.create_topic("", PARTITIONS)?;
    let mut group = Group {
        name: session.group_name("group"),
        topic,
        members: Vec::new(),
        sent: 0,
        read: 0,
    };
    let mut phases = Vec::new();
    for size in 1..=session.options.consumers.clamp(1, 4) {
        let before = group.add_backlog(session)?;
        let begun = Instant::now();
        group.members.push(member(session, &group, size)?);
        let title = format!("consumer-{size} joins: {size} for {PARTITIONS} partitions");
        phases.push(group.settle(session, &title, begun, before)?);
        check_shares(session, &group, size);
    }
    if group.members.len() > 1 {
        let before = group.add_backlog(session)?;
        let begun = Instant::now();
        // Dropping it leaves the group, as a consumer that is closed does.
        group.members.remove(0);
        let phase = group.settle(session, "consumer-1 leaves", begun, before)?;
        session.check(
            "the partitions of a consumer that leaves go to those that stay",
            phase.assignment.values().map(Vec::len).sum::<usize>() == PARTITIONS as usize,
            in_words(&phase.assignment),
        );
        phases.push(phase);
    }
    session.check(
        "every record was read at least once, whoever had its partition",
        group.read >= group.sent,
        format!(
            "{} sent, {} read; what was read and not committed when a partition moved is read again",
            group.sent, group.read
        ),
    );
    session.check(
        "each time the group read until nothing was left: lag 0",
        phases
            .iter()
            .all(|phase| phase.lag_before >= BACKLOG as i64 && phase.lag_after == 0),
        phases
            .iter()
            .map(|phase| format!("{} to {}", phase.lag_before, phase.lag_after))
            .collect::<Vec<_>>()
            .join(", "),
    );
    session.facts = json!({ "partitions": PARTITIONS, "phases": phases });
    Ok(())
}

fn member(session: &Session<'_>, group: &Group, number: usize) -> Result<Member, ClientError> {
    let name = format!("consumer-{number}");
    let properties = [
        ("group.id", group.name.as_str()),
        ("client.id", &name),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("session.timeout.ms", "10000"),
        // A member hears of a rebalance in the answer to its next heartbeat: the default of three seconds would be watched waiting.
        ("heartbeat.interval.ms", "250"),
    ];
    let consumer = session.cluster.consumer(&properties)?;
    consumer.subscribe(&[&group.topic])?;
    Ok(Member {
        name,
        consumer,
        partitions: Vec::new(),
        read: 0,
    })
}

fn check_shares(session: &mut Session<'_>, group: &Group, size: usize) {
    let claim = match size {
        1 => "one consumer has all three partitions",
        2 => "two consumers share them two to one",
        3 => "three consumers have one each",
        _ => "the fourth consumer is idle: a partition has one consumer of a group",
    };
    let assignment = group.assignment();
    let mut shares: Vec<usize> = assignment.values().map(Vec::len).collect();
    shares.sort_unstable();
    session.check(claim, shares == fair_shares(size), in_words(&assignment));
}

/// How many partitions each of `size` members has, the smallest share first.
fn fair_shares(size: usize) -> Vec<usize> {
    let partitions = PARTITIONS as usize;
    let mut shares: Vec<usize> = (0..size)
        .map(|member| partitions / size + usize::from(member < partitions % size))
        .collect();
    shares.sort_unstable();
    shares
}

fn in_words(assignment: &BTreeMap<String, Vec<i32>>) -> String {
    let members = assignment
        .iter()
        .map(|(name, partitions)| match &partitions[..] {
            [] => format!("{name} idle"),
            partitions => {
                let partitions: Vec<String> = partitions.iter().map(|p| format!("P{p}")).collect();
                format!("{name} {}", partitions.join(" "))
            }
        });
    members.collect::<Vec<_>>().join(", ")
}

impl Group {
    fn assignment(&self) -> BTreeMap<String, Vec<i32>> {
        let members = self.members.iter();
        members
            .map(|member| (member.name.clone(), member.partitions.clone()))
            .collect()
    }

    /// Sends records that the group has to catch up with, evenly; gives the lag.
    fn add_backlog(&mut self, session: &mut Session<'_>) -> Result<i64, ClientError> {
        let records: Vec<Outgoing> = (0..BACKLOG)
            .map(|number| Outgoing {
                partition: i32::try_from(number).ok().map(|number| number % PARTITIONS),
                key: None,
                value: format!("record {}", self.sent + number).into_bytes(),
            })
            .collect();
        session.send(&self.topic, &records, &[])?;
        self.sent += BACKLOG;
        Ok(session.lag(&self.name, &self.topic)?.values().sum())
    }

    /// Lets everybody read until the group has settled and has caught up; tells the step.
    fn settle(
        &mut self,
        session: &mut Session<'_>,
        title: &str,
        begun: Instant,
        lag_before: i64,
    ) -> Result<Phase, ClientError> {
        let mut timeline = Vec::new();
        let mut settled_after_ms = None;
        let lag_after = loop {
            session.remaining()?;
            let read = self.read_in_turn(session, &mut timeline)?;
            if settled_after_ms.is_none() && self.is_settled(session)? {
                let ms = begun.elapsed().as_millis();
                settled_after_ms = Some(u64::try_from(ms).unwrap_or(u64::MAX));
            }
            // Asking for the lag after every record would be slower than reading.
            if settled_after_ms.is_none() || read > 0 {
                continue;
            }
            let lag = session.lag(&self.name, &self.topic)?.values().sum();
            if lag == 0 {
                break lag;
            }
        };
        let phase = Phase {
            consumers: self.members.len(),
            settled_after_ms: settled_after_ms.unwrap_or_default(),
            lag_before,
            lag_after,
            assignment: self.assignment(),
            timeline,
        };
        session.tell(self.step(title, &phase));
        Ok(phase)
    }

    fn step(&self, title: &str, phase: &Phase) -> Step {
        let mut step = Step::new(title);
        for change in &phase.timeline {
            let partitions: Vec<String> =
                change.partitions.iter().map(|p| format!("P{p}")).collect();
            let what = match &partitions[..] {
                [] => "has nothing".to_owned(),
                partitions => format!("has {}", partitions.join(" ")),
            };
            step.say(format!(
                "{:>6} ms  {} {what}",
                change.at_ms, change.consumer
            ));
        }
        step.say(format!(
            "settled after {} ms: {}",
            phase.settled_after_ms,
            in_words(&phase.assignment)
        ));
        let read: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{} {}", member.name, member.read))
            .collect();
        step.say(format!(
            "lag {} before, {} after; read so far: {}",
            phase.lag_before,
            phase.lag_after,
            read.join(", ")
        ));
        step.data = json!(phase);
        step
    }

    /// Gives each consumer its turn; notes whose partitions have changed. Gives how many records were read.
    fn read_in_turn(
        &mut self,
        session: &Session<'_>,
        timeline: &mut Vec<Change>,
    ) -> Result<usize, ClientError> {
        let mut read = 0;
        for member in &mut self.members {
            read += member.take_turn()?;
            let mut partitions = member.consumer.assigned_partitions();
            partitions.sort_unstable();
            if partitions != member.partitions {
                timeline.push(Change {
                    at_ms: session.elapsed_ms(),
                    consumer: member.name.clone(),
                    partitions: partitions.clone(),
                });
                member.partitions = partitions;
            }
        }
        self.read += read;
        Ok(read)
    }

    /// Whether every partition has one consumer, the shares are fair, and the broker counts the same members.
    fn is_settled(&self, session: &mut Session<'_>) -> Result<bool, ClientError> {
        let mut partitions: Vec<i32> = self
            .members
            .iter()
            .flat_map(|m| m.partitions.clone())
            .collect();
        partitions.sort_unstable();
        let mut shares: Vec<usize> = self.members.iter().map(|m| m.partitions.len()).collect();
        shares.sort_unstable();
        if !partitions.into_iter().eq(0..PARTITIONS) || shares != fair_shares(self.members.len()) {
            return Ok(false);
        }
        let name = &self.name;
        let group = session.ask(async |admin| admin.group(name).await)?;
        Ok(group.state == "Stable" && group.members.len() == self.members.len())
    }
}

impl Member {
    /// Reads what is there, some records at most, and commits it.
    fn take_turn(&mut self) -> Result<usize, ClientError> {
        let mut read = 0;
        while read < TURN {
            let Some(event) = poll(&self.consumer)? else {
                break;
            };
            if let Event::Record(record) = event {
                // Refused when the partition went away while the record waited; its next owner reads it.
                if self.consumer.store(&record).is_ok() {
                    read += 1;
                }
            }
        }
        if read > 0 {
            passes_in_a_rebalance(self.consumer.commit())?;
        }
        self.read += read;
        Ok(read)
    }
}

/// A commit that comes in the middle of a rebalance is refused; what it would have covered is read again by the next owner.
fn passes_in_a_rebalance(result: Result<(), ClientError>) -> Result<(), ClientError> {
    match result {
        Err(error)
            if matches!(
                error.code(),
                Some(
                    ErrorCode::RebalanceInProgress
                        | ErrorCode::IllegalGeneration
                        | ErrorCode::UnknownMemberId
                )
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::fair_shares;

    #[test]
    fn shares_differ_by_one_at_most() {
        // B-035
        assert_eq!(fair_shares(1), [3]);
        assert_eq!(fair_shares(2), [1, 2]);
        assert_eq!(fair_shares(3), [1, 1, 1]);
        assert_eq!(fair_shares(4), [0, 1, 1, 1]);
    }
}
