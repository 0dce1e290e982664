//! What became of messages that were not published everywhere at the first attempt, so that a second one under the same id does
//! not store them twice. A message of which nobody knows whether it is stored is not sent again under its id.
//!
//! Known to this process for ten minutes and for a bounded number of ids. Decided with the time passed in.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::publish::{BackendResult, Outgoing};

/// How long an id is remembered after its last attempt.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// The most ids; the oldest make room.
const MOST: usize = 10_000;

/// Tells one message from another under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(message: &Outgoing<'_>) -> Fingerprint {
        let mut hash = Sha256::new();
        for part in [
            message.producer,
            message.topic,
            message.key.unwrap_or_default(),
            message.content,
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Fingerprint(hash.finalize().into())
    }
}

/// The attempts of this process.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<String, Known>>);

struct Known {
    fingerprint: Fingerprint,
    results: Vec<BackendResult>,
    is_under_way: bool,
    at: Timestamp,
}

/// Whether an attempt may go ahead.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It may; `earlier` is what the last attempt under this id achieved, empty for the first.
    Begun {
        earlier: Vec<BackendResult>,
    },
    UnderWay,
    /// The last attempt may have stored the message, and may not.
    OfUnknownOutcome {
        reason: String,
    },
    OtherMessage,
}

impl Attempts {
    pub fn begin(&self, id: &str, fingerprint: Fingerprint, now: Timestamp) -> Attempt {
        let mut known = self.0.lock();
        make_room(&mut known, now);
        let Some(found) = known.get_mut(id) else {
            let new = Known {
                fingerprint,
                results: Vec::new(),
                is_under_way: true,
                at: now,
            };
            known.insert(id.to_owned(), new);
            return Attempt::Begun {
                earlier: Vec::new(),
            };
        };
        if found.fingerprint != fingerprint {
            return Attempt::OtherMessage;
        }
        if found.is_under_way {
            return Attempt::UnderWay;
        }
        if let Some(reason) = unknown(&found.results) {
            return Attempt::OfUnknownOutcome { reason };
        }
        found.is_under_way = true;
        Attempt::Begun {
            earlier: found.results.clone(),
        }
    }

    /// Notes what an attempt achieved.
    pub fn note(
        &self,
        id: &str,
        fingerprint: Fingerprint,
        results: Vec<BackendResult>,
        now: Timestamp,
    ) {
        let mut known = self.0.lock();
        make_room(&mut known, now);
        let noted = Known {
            fingerprint,
            results,
            is_under_way: false,
            at: now,
        };
        known.insert(id.to_owned(), noted);
    }

    /// Ends an attempt that has begun, also when it is dropped in the middle: then what was stored before is known, and of a message
    /// that was stored nowhere nothing is.
    pub fn guard<'a>(
        &'a self,
        id: &'a str,
        fingerprint: Fingerprint,
        earlier: Vec<BackendResult>,
        now: Timestamp,
    ) -> AttemptGuard<'a> {
        AttemptGuard {
            attempts: self,
            id,
            fingerprint,
            results: match earlier.iter().any(BackendResult::is_stored) {
                true => earlier,
                false => vec![BackendResult::broken_off()],
            },
            now,
        }
    }
}

/// An attempt under way.
pub struct AttemptGuard<'a> {
    attempts: &'a Attempts,
    id: &'a str,
    fingerprint: Fingerprint,
    results: Vec<BackendResult>,
    now: Timestamp,
}

impl AttemptGuard<'_> {
    pub fn finish(mut self, results: Vec<BackendResult>) {
        self.results = results;
    }
}

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        let results = std::mem::take(&mut self.results);
        self.attempts
            .note(self.id, self.fingerprint, results, self.now);
    }
}

/// Why it is not known whether a message is stored; nothing when it is known.
fn unknown(results: &[BackendResult]) -> Option<String> {
    if results.iter().any(BackendResult::is_stored) {
        return None;
    }
    let uncertain = results.iter().find(|result| result.may_be_stored)?;
    Some(uncertain.error.clone().unwrap_or_default())
}

fn make_room(known: &mut HashMap<String, Known>, now: Timestamp) {
    if known.len() < MOST {
        return;
    }
    let limit = SignedDuration::try_from(REMEMBERED_FOR).expect("ten minutes are a duration");
    known.retain(|_, attempt| attempt.is_under_way || now.duration_since(attempt.at) < limit);
    if known.len() < MOST {
        return;
    }
    // A tenth at once, so that a full table is not searched for every new id.
    let mut times: Vec<Timestamp> = known.values().map(|attempt| attempt.at).collect();
    let (_, oldest, _) = times.select_nth_unstable(MOST / 10);
    let oldest = *oldest;
    known.retain(|_, attempt| attempt.is_under_way || attempt.at > oldest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::publish::BackendStatus;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn fingerprint(content: &str) -> Fingerprint {
        Fingerprint::of(&Outgoing {
            id: "msg-1",
            producer: "order-service",
            topic: "orders",
            content,
            key: None,
            headers: &[],
            at: at(0),
        })
    }

    fn in_memory_only() -> Vec<BackendResult> {
        vec![BackendResult {
            backend: "In-Memory",
            status: BackendStatus::Published,
            partition: Some(0),
            offset: Some(7),
            error: None,
            refused_with: None,
            may_be_stored: false,
        }]
    }

    fn failed(may_be_stored: bool) -> Vec<BackendResult> {
        vec![BackendResult {
            status: BackendStatus::Failed,
            error: Some("no answer came".to_owned()),
            may_be_stored,
            ..in_memory_only().remove(0)
        }]
    }

    #[test]
    fn a_second_attempt_knows_what_the_first_achieved() {
        let attempts = Attempts::default();
        attempts.note("msg-1", fingerprint("x"), in_memory_only(), at(0));
        let begun = attempts.begin("msg-1", fingerprint("x"), at(1));
        let earlier = in_memory_only();
        assert_eq!(begun, Attempt::Begun { earlier });
    }

    #[test]
    fn one_attempt_at_a_time_and_one_message_under_an_id() {
        let attempts = Attempts::default();
        let first = attempts.begin("msg-1", fingerprint("x"), at(0));
        assert_eq!(first, Attempt::Begun { earlier: vec![] });
        assert_eq!(
            attempts.begin("msg-1", fingerprint("x"), at(0)),
            Attempt::UnderWay
        );
        assert_eq!(
            attempts.begin("msg-1", fingerprint("y"), at(0)),
            Attempt::OtherMessage
        );
    }

    #[test]
    fn an_attempt_that_is_given_up_leaves_what_was_known() {
        let attempts = Attempts::default();
        attempts.begin("msg-1", fingerprint("x"), at(0));
        drop(attempts.guard("msg-1", fingerprint("x"), in_memory_only(), at(0)));
        let earlier = in_memory_only();
        assert_eq!(
            attempts.begin("msg-1", fingerprint("x"), at(1)),
            Attempt::Begun { earlier }
        );
    }

    #[test]
    fn a_message_of_unknown_fate_is_not_sent_again_and_one_that_surely_failed_is() {
        //
        let attempts = Attempts::default();
        attempts.note("msg-1", fingerprint("x"), failed(true), at(0));
        let reason = "no answer came".to_owned();
        assert_eq!(
            attempts.begin("msg-1", fingerprint("x"), at(1)),
            Attempt::OfUnknownOutcome { reason }
        );
        attempts.note("msg-2", fingerprint("x"), failed(false), at(0));
        let earlier = failed(false);
        assert_eq!(
            attempts.begin("msg-2", fingerprint("x"), at(1)),
            Attempt::Begun { earlier }
        );
    }

    #[test]
    fn a_first_attempt_that_is_broken_off_leaves_its_message_of_unknown_fate() {
        let attempts = Attempts::default();
        attempts.begin("msg-1", fingerprint("x"), at(0));
        drop(attempts.guard("msg-1", fingerprint("x"), Vec::new(), at(0)));
        assert!(matches!(
            attempts.begin("msg-1", fingerprint("x"), at(1)),
            Attempt::OfUnknownOutcome { .. }
        ));
    }

    #[test]
    fn the_oldest_ids_make_room() {
        let attempts = Attempts::default();
        for index in 0..MOST {
            let second = i64::try_from(index).expect("small");
            attempts.note(
                &format!("msg-{index}"),
                fingerprint("x"),
                vec![],
                at(second / 100),
            );
        }
        attempts.note("msg-new", fingerprint("x"), vec![], at(100));
        let known = attempts.0.lock();
        assert!(known.len() < MOST);
        assert!(!known.contains_key("msg-0"));
        assert!(known.contains_key("msg-9999") && known.contains_key("msg-new"));
    }
}
