//! What the broker owes: every acknowledgement, every commit and everything a reader saw, kept across all rounds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::transfers;

/// A broken log breaks many promises; the first ones tell.
const MOST_TOLD: u64 = 30;

/// Records of one producer in one partition are numbered 0, 1, 2, …
pub type Stream = (u32, i32);

#[derive(Default)]
pub struct Ledger {
    books: Mutex<Books>,
    transfers: Mutex<transfers::Books>,
}

#[derive(Default)]
pub struct Books {
    /// How many records of each stream were ever sent, and how many acknowledged.
    pub sent: BTreeMap<Stream, u64>,
    pub acknowledged: BTreeMap<Stream, u64>,
    /// How many of each stream the log had when it was last read.
    pub found: BTreeMap<Stream, u64>,
    /// By partition: the offset after the last record that a group member was given.
    pub seen: BTreeMap<i32, i64>,
    /// By group and partition: the last acknowledged commit, and the largest ever attempted.
    pub committed: BTreeMap<(String, i32), i64>,
    pub attempted: BTreeMap<(String, i32), i64>,
    /// By partition: where reading goes on.
    pub position: BTreeMap<i32, i64>,
    commits: u64,
    violations: u64,
}

impl Ledger {
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn transfers(&self) -> MutexGuard<'_, transfers::Books> {
        self.transfers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn violation(&self, text: String) {
        let mut books = self.books();
        books.violations += 1;
        if books.violations <= MOST_TOLD {
            println!("VIOLATION {text}");
        }
    }

    pub fn violations(&self) -> u64 {
        self.books().violations
    }

    pub fn acknowledged(&self) -> u64 {
        self.books().acknowledged.values().sum()
    }

    pub fn commits(&self) -> u64 {
        self.books().commits
    }

    pub fn note_sent(&self, stream: Stream, count: u64) {
        *self.books().sent.entry(stream).or_default() += count;
    }

    pub fn note_acknowledged(&self, stream: Stream, count: u64) {
        *self.books().acknowledged.entry(stream).or_default() += count;
    }

    pub fn note_seen(&self, partition: i32, end: i64) {
        let mut books = self.books();
        let seen = books.seen.entry(partition).or_default();
        *seen = end.max(*seen);
    }

    pub fn note_attempt(&self, group: &str, partition: i32, offset: i64) {
        let mut books = self.books();
        let attempted = books
            .attempted
            .entry((group.to_owned(), partition))
            .or_insert(-1);
        *attempted = offset.max(*attempted);
    }

    pub fn note_committed(&self, group: &str, partition: i32, offset: i64) {
        let mut books = self.books();
        books
            .committed
            .insert((group.to_owned(), partition), offset);
        books.commits += 1;
    }

    /// After a restart: the committed offset is the last acknowledged one, or one in doubt that came after it.
    pub fn check_commit(&self, group: &str, partition: i32, found: i64) {
        let key = (group.to_owned(), partition);
        let (owed, attempted) = {
            let books = self.books();
            (
                books.committed.get(&key).copied(),
                books.attempted.get(&key).copied().unwrap_or(-1),
            )
        };
        if owed.is_some_and(|owed| found < owed) {
            self.violation(format!("group {group}, partition {partition}: offset {found} after a restart, {owed:?} was acknowledged"));
        } else if found > attempted {
            self.violation(format!("group {group}, partition {partition}: offset {found}, the largest ever sent is {attempted}"));
        }
    }

    /// After reading everything: what each stream has, between acknowledged and sent.
    pub fn check_found(&self) {
        let mut wrong = Vec::new();
        {
            let books = self.books();
            for (stream, sent) in &books.sent {
                let found = books.found.get(stream).copied().unwrap_or_default();
                let owed = books.acknowledged.get(stream).copied().unwrap_or_default();
                if found < owed {
                    wrong.push(format!(
                        "producer {}, partition {}: {owed} acknowledged, {found} there",
                        stream.0, stream.1
                    ));
                } else if found > *sent {
                    wrong.push(format!(
                        "producer {}, partition {}: {sent} sent, {found} there",
                        stream.0, stream.1
                    ));
                }
            }
        }
        wrong.into_iter().for_each(|text| self.violation(text));
    }

    /// At the end, when nothing is in doubt: everything sent is there.
    pub fn expect_settled(&self) {
        let wrong = {
            let books = self.books();
            books.sent != books.found
        };
        if wrong {
            self.violation("after everything in doubt was sent again, the log does not hold exactly what was sent".to_owned());
        }
    }
}
