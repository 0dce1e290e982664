//! Leases of a work queue: which messages are out with clients, until when, and how often each was handed out.
//!
//! What it keeps true: a message is leased to one client at a time, and only its last lease may settle it; what came back is handed
//! out before anything new, in order; nothing here looks at a clock, and nothing here talks to a cluster. Both kinds of queue
//! (`queue_shared.rs`, `queue_ordered.rs`) decide by it and act on what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How many acknowledged leases are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{} at {}", self.topic, self.partition, self.offset)
    }
}

/// Names one handing out of one message; never used twice.
pub type LeaseId = u64;

/// How a lease is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub until: Timestamp,
    /// After so many deliveries that came to nothing the message is given up.
    pub most_attempts: u32,
}

/// A message that goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOut<R> {
    pub lease: LeaseId,
    pub spot: Spot,
    pub attempt: u32,
    pub until: Timestamp,
    pub record: R,
}

impl<R> HandedOut<R> {
    /// The same with another view of its record.
    pub fn map<T>(self, view: impl FnOnce(R) -> T) -> HandedOut<T> {
        HandedOut {
            lease: self.lease,
            spot: self.spot,
            attempt: self.attempt,
            until: self.until,
            record: view(self.record),
        }
    }
}

/// A message that is not to be handed out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp<R> {
    pub spot: Spot,
    pub attempts: u32,
    pub reason: Reason,
    pub record: R,
}

/// Why the last delivery came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No answer came in time.
    Expired,
    /// The client said so, in its own words.
    Refused(String),
}

/// The lease is over, or was never ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Leased(LeaseId, Terms),
    /// Came back; to be handed out at this time or later.
    Waiting {
        from: Timestamp,
        is_last: bool,
        reason: Reason,
    },
    /// Somebody is telling the cluster what became of it.
    Settling,
    /// Done with; it waits for those before it in its partition.
    Done(LeaseId),
}

#[derive(Debug, Clone)]
struct Entry<R> {
    record: R,
    bytes: usize,
    attempt: u32,
    state: State,
}

/// The messages of one member that are not done with.
#[derive(Debug)]
pub struct Leases<R> {
    entries: BTreeMap<Spot, Entry<R>>,
    leased: BTreeMap<LeaseId, Spot>,
    /// Those that came back, so that handing out need not look at all.
    waiting: BTreeSet<Spot>,
    /// The last leases that were acknowledged: told twice, because the first answer was lost on its way, they get the same answer.
    acknowledged: BTreeSet<LeaseId>,
    bytes: usize,
    last: LeaseId,
}

impl<R> Default for Leases<R> {
    fn default() -> Leases<R> {
        Leases {
            entries: BTreeMap::new(),
            leased: BTreeMap::new(),
            waiting: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            bytes: 0,
            last: 0,
        }
    }
}

impl<R: Clone> Leases<R> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the records of all of them take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Leases a message that was never out before, or anew under another assignment: what was known of it is forgotten.
    pub fn hand_out(
        &mut self,
        spot: Spot,
        record: R,
        bytes: usize,
        attempt: u32,
        terms: Terms,
    ) -> HandedOut<R> {
        self.forget(&spot);
        self.bytes += bytes;
        let entry = Entry {
            record,
            bytes,
            attempt,
            state: State::Settling,
        };
        self.entries.insert(spot.clone(), entry);
        self.lease(&spot, terms)
    }

    /// Leases at most `most` of the messages that came back and are due at `now`, in order; those that may not go out again are
    /// left for [`Leases::give_up`].
    pub fn hand_out_again(
        &mut self,
        now: Timestamp,
        most: usize,
        terms: Terms,
    ) -> Vec<HandedOut<R>> {
        let due = self.due(now, |is_last| !is_last);
        let due: Vec<Spot> = due.take(most).cloned().collect();
        let handed = due.iter().map(|spot| {
            self.entry(spot).attempt += 1;
            self.lease(spot, terms)
        });
        handed.collect()
    }

    /// Takes what is due at `now` and may not go out again; each is to be [`Leases::finish`]ed or [`Leases::retry`]ed.
    pub fn give_up(&mut self, now: Timestamp) -> Vec<GivenUp<R>> {
        self.take_due(now, true)
    }

    /// Takes what is due at `now` and may go out again, for a cluster that hands it out itself.
    pub fn give_back(&mut self, now: Timestamp) -> Vec<GivenUp<R>> {
        self.take_due(now, false)
    }

    fn take_due(&mut self, now: Timestamp, last: bool) -> Vec<GivenUp<R>> {
        let due: Vec<Spot> = self.due(now, |is_last| is_last == last).cloned().collect();
        let taken = due.into_iter().map(|spot| {
            self.waiting.remove(&spot);
            let entry = self.entry(&spot);
            let before = std::mem::replace(&mut entry.state, State::Settling);
            let State::Waiting { reason, .. } = before else {
                unreachable!("only what waits is due")
            };
            GivenUp {
                attempts: entry.attempt,
                reason,
                record: entry.record.clone(),
                spot,
            }
        });
        taken.collect()
    }

    /// What was being settled could not be: again at `from`.
    pub fn retry(&mut self, spot: &Spot, from: Timestamp, reason: Reason, is_last: bool) {
        if let Some(entry) = self
            .entries
            .get_mut(spot)
            .filter(|entry| entry.state == State::Settling)
        {
            entry.state = State::Waiting {
                from,
                is_last,
                reason,
            };
            self.waiting.insert(spot.clone());
        }
    }

    /// Ends the leases that are over at `now`: their messages wait to be handed out again.
    pub fn expire(&mut self, now: Timestamp) {
        let is_over =
            |entry: &Entry<R>| matches!(entry.state, State::Leased(_, terms) if terms.until <= now);
        let over: Vec<Spot> = self
            .leased
            .values()
            .filter(|spot| self.entries.get(spot).is_some_and(is_over))
            .cloned()
            .collect();
        for spot in over {
            self.come_back(&spot, now, Reason::Expired);
        }
    }

    /// The message of a lease that holds at `now`.
    ///
    /// # Errors
    /// `Lost` when the lease is over or unknown.
    pub fn find(&self, now: Timestamp, lease: LeaseId) -> Result<(&Spot, &R), Lost> {
        let spot = self.leased.get(&lease).ok_or(Lost)?;
        let entry = self.entries.get(spot).ok_or(Lost)?;
        match entry.state {
            State::Leased(id, terms) if id == lease && terms.until > now => {
                Ok((spot, &entry.record))
            }
            _ => Err(Lost),
        }
    }

    /// Done with; the message stays until those before it in its partition are done, too. Telling twice is no error.
    ///
    /// # Errors
    /// `Lost` when the lease is over or unknown.
    pub fn acknowledge(&mut self, now: Timestamp, lease: LeaseId) -> Result<(), Lost> {
        if self.acknowledged.contains(&lease) {
            return Ok(());
        }
        let spot = self.find(now, lease)?.0.clone();
        self.entry(&spot).state = State::Done(lease);
        self.leased.remove(&lease);
        self.acknowledged.insert(lease);
        if self.acknowledged.len() > MOST_REMEMBERED {
            self.acknowledged.pop_first();
        }
        Ok(())
    }

    pub fn is_acknowledged(&self, lease: LeaseId) -> bool {
        self.acknowledged.contains(&lease)
    }

    /// The client could not do it: the message comes back after `delay`, or is given up when this was the last attempt.
    ///
    /// # Errors
    /// `Lost` when the lease is over or unknown.
    pub fn refuse(
        &mut self,
        now: Timestamp,
        lease: LeaseId,
        delay: Duration,
        reason: String,
    ) -> Result<Spot, Lost> {
        let spot = self.find(now, lease)?.0.clone();
        self.come_back(&spot, later(now, delay), Reason::Refused(reason));
        Ok(spot)
    }

    /// Gives the lease until `until`.
    ///
    /// # Errors
    /// `Lost` when the lease is over or unknown.
    pub fn extend(
        &mut self,
        now: Timestamp,
        lease: LeaseId,
        until: Timestamp,
    ) -> Result<Spot, Lost> {
        let spot = self.find(now, lease)?.0.clone();
        if let State::Leased(_, terms) = &mut self.entry(&spot).state {
            terms.until = until;
        }
        Ok(spot)
    }

    /// A message that was being settled is done with.
    pub fn finish(&mut self, spot: &Spot) {
        if let Some(entry) = self
            .entries
            .get_mut(spot)
            .filter(|entry| entry.state == State::Settling)
        {
            entry.state = State::Done(0);
        }
    }

    /// Forgets a message and its lease, as if it had never been out.
    pub fn forget(&mut self, spot: &Spot) {
        if let Some(State::Done(lease)) = self.remove(spot) {
            self.acknowledged.remove(&lease);
        }
    }

    /// The cluster knows what became of this message.
    pub fn settled(&mut self, spot: &Spot) {
        self.remove(spot);
    }

    fn remove(&mut self, spot: &Spot) -> Option<State> {
        let entry = self.entries.remove(spot)?;
        self.bytes -= entry.bytes;
        self.waiting.remove(spot);
        if let State::Leased(lease, _) = entry.state {
            self.leased.remove(&lease);
        }
        Some(entry.state)
    }

    /// Forgets the messages that are not to be kept, as after a partition went to another member.
    pub fn retain(&mut self, mut keep: impl FnMut(&Spot, &R) -> bool) {
        let gone = self
            .entries
            .iter()
            .filter(|(spot, entry)| !keep(spot, &entry.record));
        let gone: Vec<Spot> = gone.map(|(spot, _)| spot.clone()).collect();
        gone.iter().for_each(|spot| self.forget(spot));
    }

    /// The last message of each partition up to which all are done with: as far as a group may commit.
    pub fn done(&self) -> Vec<(Spot, R)> {
        let mut done: Vec<(Spot, R)> = Vec::new();
        let mut blocked: Option<(&Arc<str>, i32)> = None;
        for (spot, entry) in &self.entries {
            let partition = (&spot.topic, spot.partition);
            if blocked == Some(partition) {
                continue;
            }
            if !matches!(entry.state, State::Done(_)) {
                blocked = Some(partition);
                continue;
            }
            let follows = done
                .last()
                .is_some_and(|(last, _)| (&last.topic, last.partition) == partition);
            if follows {
                done.pop();
            }
            done.push((spot.clone(), entry.record.clone()));
        }
        done
    }

    /// Forgets everything up to this message in its partition, after the group has committed it.
    pub fn committed(&mut self, up_to: &Spot) {
        let first = Spot {
            offset: i64::MIN,
            ..up_to.clone()
        };
        let range: RangeInclusive<Spot> = first..=up_to.clone();
        let gone: Vec<Spot> = self
            .entries
            .range(range)
            .map(|(spot, _)| spot.clone())
            .collect();
        gone.iter().for_each(|spot| self.settled(spot));
    }

    /// When something happens by itself next: a lease ends, or a message is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let leased = self
            .leased
            .values()
            .filter_map(|spot| self.entries.get(spot));
        let waiting = self
            .waiting
            .iter()
            .filter_map(|spot| self.entries.get(spot));
        let deadlines = leased.chain(waiting).filter_map(|entry| match entry.state {
            State::Leased(_, terms) => Some(terms.until),
            State::Waiting { from, .. } => Some(from),
            State::Settling | State::Done(_) => None,
        });
        deadlines.min()
    }

    fn due(&self, now: Timestamp, wanted: impl Fn(bool) -> bool) -> impl Iterator<Item = &Spot> {
        self.waiting.iter().filter(move |spot| {
            let state = self.entries.get(spot).map(|entry| &entry.state);
            matches!(state, Some(State::Waiting { from, is_last, .. }) if *from <= now && wanted(*is_last))
        })
    }

    fn come_back(&mut self, spot: &Spot, from: Timestamp, reason: Reason) {
        let entry = self.entry(spot);
        if let State::Leased(lease, terms) = entry.state {
            let is_last = entry.attempt >= terms.most_attempts;
            entry.state = State::Waiting {
                from,
                is_last,
                reason,
            };
            self.leased.remove(&lease);
            self.waiting.insert(spot.clone());
        }
    }

    fn lease(&mut self, spot: &Spot, terms: Terms) -> HandedOut<R> {
        self.last += 1;
        let lease = self.last;
        self.waiting.remove(spot);
        self.leased.insert(lease, spot.clone());
        let entry = self.entry(spot);
        entry.state = State::Leased(lease, terms);
        HandedOut {
            lease,
            spot: spot.clone(),
            attempt: entry.attempt,
            until: terms.until,
            record: entry.record.clone(),
        }
    }

    fn entry(&mut self, spot: &Spot) -> &mut Entry<R> {
        self.entries
            .get_mut(spot)
            .expect("the spot was taken from the entries")
    }
}

/// `now` and so much later; the end of time at most.
pub fn later(now: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number")
    }

    fn spot(offset: i64) -> Spot {
        Spot {
            topic: "t".into(),
            partition: 0,
            offset,
        }
    }

    fn terms(until: i64) -> Terms {
        Terms {
            until: at(until),
            most_attempts: 3,
        }
    }

    /// Leases offsets 0 to `count` until second 30; the record is its offset, the lease the offset and one.
    fn leased(count: i64) -> Leases<i64> {
        let mut leases = Leases::default();
        for offset in 0..count {
            leases.hand_out(spot(offset), offset, 10, 1, terms(30));
        }
        leases
    }

    fn again(leases: &mut Leases<i64>, now: i64) -> Vec<(i64, u32)> {
        leases.expire(at(now));
        let handed = leases.hand_out_again(at(now), 100, terms(now + 30));
        handed
            .into_iter()
            .map(|message| (message.record, message.attempt))
            .collect()
    }

    fn done_up_to(leases: &Leases<i64>) -> Option<i64> {
        leases.done().first().map(|(spot, _)| spot.offset)
    }

    #[test]
    fn a_lease_that_ended_is_handed_out_again_with_one_attempt_more() {
        let mut leases = leased(2);
        assert_eq!(again(&mut leases, 29), []);
        leases.acknowledge(at(29), 1).expect("it holds");
        assert_eq!(again(&mut leases, 30), [(1, 2)]);
        assert_eq!(again(&mut leases, 60), [(1, 3)]);
    }

    #[test]
    fn a_lease_that_ended_settles_nothing() {
        let mut leases = leased(1);
        assert_eq!(
            leases.acknowledge(at(30), 1),
            Err(Lost),
            "over, though nobody has noticed"
        );
        assert_eq!(again(&mut leases, 31), [(0, 2)]);
        for lease in [1, 7] {
            assert_eq!(leases.acknowledge(at(32), lease), Err(Lost));
            assert_eq!(
                leases.refuse(at(32), lease, Duration::ZERO, String::new()),
                Err(Lost)
            );
            assert_eq!(leases.extend(at(32), lease, at(99)), Err(Lost));
        }
        assert!(leases.acknowledge(at(32), 2).is_ok(), "the new one does");
    }

    #[test]
    fn an_acknowledgement_may_be_told_twice_unless_its_message_was_taken_away() {
        let mut leases = leased(3);
        for lease in [1, 2, 2] {
            assert_eq!(leases.acknowledge(at(1), lease), Ok(()));
        }
        assert_eq!(
            leases.refuse(at(2), 2, Duration::ZERO, String::new()),
            Err(Lost),
            "it is done with"
        );
        leases.committed(&spot(0));
        assert_eq!(
            leases.acknowledge(at(99), 1),
            Ok(()),
            "also when it is committed"
        );
        leases.retain(|spot, _| spot.offset != 1);
        assert_eq!(leases.acknowledge(at(2), 2), Err(Lost));
    }

    #[test]
    fn a_group_commits_up_to_the_first_message_that_is_not_done() {
        let mut leases = leased(4);
        leases.acknowledge(at(1), 2).expect("it holds");
        assert_eq!(done_up_to(&leases), None);
        leases.acknowledge(at(1), 1).expect("it holds");
        assert_eq!(done_up_to(&leases), Some(1));
        leases.acknowledge(at(1), 4).expect("it holds");
        assert_eq!(done_up_to(&leases), Some(1));
        leases.committed(&spot(1));
        assert_eq!(
            (leases.len(), leases.bytes(), done_up_to(&leases)),
            (2, 20, None)
        );
        leases.acknowledge(at(1), 3).expect("it holds");
        assert_eq!(done_up_to(&leases), Some(3));
    }

    #[test]
    fn partitions_are_done_with_one_by_one() {
        let mut leases = leased(2);
        for partition in [1, 2] {
            let there = Spot {
                partition,
                ..spot(5)
            };
            leases.hand_out(there, 5, 10, 1, terms(30));
        }
        leases.acknowledge(at(1), 1).expect("it holds");
        leases.acknowledge(at(1), 4).expect("it holds");
        let done: Vec<(i32, i64)> = leases
            .done()
            .iter()
            .map(|(spot, _)| (spot.partition, spot.offset))
            .collect();
        assert_eq!(done, [(0, 0), (2, 5)]);
    }

    #[test]
    fn a_refused_message_comes_back_after_its_delay_and_not_before() {
        let mut leases = leased(1);
        let delay = Duration::from_secs(10);
        leases
            .refuse(at(5), 1, delay, "busy".to_owned())
            .expect("it holds");
        assert_eq!(leases.next_deadline(), Some(at(15)));
        assert_eq!(again(&mut leases, 14), []);
        assert_eq!(again(&mut leases, 15), [(0, 2)]);
    }

    #[test]
    fn an_extended_lease_holds_longer() {
        let mut leases = leased(1);
        leases.extend(at(20), 1, at(50)).expect("it holds");
        assert_eq!(again(&mut leases, 49), []);
        assert_eq!(again(&mut leases, 50), [(0, 2)]);
    }

    #[test]
    fn the_last_attempt_is_given_up_with_its_reason() {
        let mut leases = leased(1);
        assert_eq!(again(&mut leases, 30), [(0, 2)]);
        assert_eq!(again(&mut leases, 60), [(0, 3)]);
        leases
            .refuse(at(70), 3, Duration::ZERO, "poison".to_owned())
            .expect("it holds");
        assert_eq!(again(&mut leases, 70), [], "not a fourth time");
        let given_up = leases.give_up(at(70));
        assert_eq!(
            (given_up[0].attempts, &given_up[0].reason),
            (3, &Reason::Refused("poison".to_owned()))
        );
        assert!(leases.give_up(at(70)).is_empty(), "somebody is at it");
        leases.retry(&spot(0), at(75), Reason::Expired, true);
        assert!(leases.give_up(at(74)).is_empty());
        assert_eq!(leases.give_up(at(75)).len(), 1);
        leases.finish(&spot(0));
        assert_eq!(done_up_to(&leases), Some(0));
    }

    #[test]
    fn a_message_that_is_handed_out_anew_is_forgotten_first() {
        let mut leases = leased(2);
        leases.acknowledge(at(1), 1).expect("it holds");
        leases.hand_out(spot(0), 0, 10, 1, terms(30));
        assert_eq!(done_up_to(&leases), None);
        assert_eq!(leases.acknowledge(at(1), 1), Err(Lost));
        leases.retain(|spot, _| spot.offset == 1);
        assert_eq!((leases.len(), leases.bytes()), (1, 10));
        assert_eq!(leases.acknowledge(at(1), 3), Err(Lost));
    }
}
