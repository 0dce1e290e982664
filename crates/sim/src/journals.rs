//! The machines over their journals: random commands, a crash at any disk operation, a replay.
//!
//! The broker's `Journal` runs here as it is; what the owners do around it (make the records of a step durable, then answer) is
//! played by `groups`, `cluster`, `transactions` (with a shard for what producers write) and `share`.

mod cluster;
mod groups;
mod members;
mod share;
mod transactions;

use std::path::PathBuf;
use std::sync::Arc;

use broker::{Entry, Journal, SyncPool};
use log::{Fault, LogError};

use crate::dice::Dice;
use crate::invariant::invariant;
use crate::rig::{Rig, Sabotage};
use crate::{Reached, story};

pub use cluster::run as run_cluster;
pub use groups::run as run_groups;
pub use share::run as run_share;
pub use transactions::run as run_transactions;

const DATA: &str = "data";
/// A start that fails because the disk does is tried again this often; then the disk is mended.
const FAULTY_STARTS: usize = 4;

/// A journal on a disk that fails.
struct Store {
    dice: Dice,
    rig: Rig,
    sabotage: Sabotage,
    directory: PathBuf,
    journal: Option<Journal>,
    now_ms: i64,
    /// No faults: what is under way is to come to its end.
    is_calm: bool,
    reached: Reached,
}

impl Store {
    fn new(seed: u64, sabotage: Sabotage, name: &str) -> Self {
        Self {
            dice: Dice::new(seed),
            rig: Rig::new(seed, sabotage),
            sabotage,
            directory: format!("{DATA}/{name}-0").into(),
            journal: None,
            now_ms: 1_700_000_000_000,
            is_calm: false,
            reached: Reached::default(),
        }
    }

    /// Makes the records of a step durable; now and then rewrites the journal as well. An error ends the process.
    fn append(
        &mut self,
        entries: Vec<Entry>,
        whole_state: impl FnOnce() -> Vec<Entry>,
    ) -> Result<(), LogError> {
        self.reached.steps += 1;
        self.plan_fault(40, 8);
        let rewrites = self.dice.one_in(25);
        let journal = self.journal.as_mut().expect("it is open between crashes");
        let mut outcome = match entries.is_empty() {
            true => Ok(()),
            false => journal.append(entries, self.now_ms),
        };
        if outcome.is_ok() && rewrites {
            story::tell("  the journal is rewritten".to_owned());
            outcome = journal.rewrite(whole_state(), self.now_ms);
        }
        self.rig.mend();
        if let Err(error) = &outcome {
            self.reached.failed_steps += 1;
            story::tell(format!("  the step fails: {error}"));
        }
        outcome
    }

    fn plan_fault(&mut self, chances: usize, operations: usize) {
        if self.is_calm {
            return;
        }
        let nth = 1 + self.dice.below(operations) as u64;
        match self.dice.below(chances) {
            0 => self.rig.fail_at(nth, Fault::DeviceError),
            1 => self.rig.fail_at(nth, Fault::NoSpace),
            2 => return self.rig.stop_at(nth),
            _ => return,
        }
        story::tell(format!("  the disk fails at operation {nth}"));
    }

    /// Ends the process, or the machine with it.
    fn crash(&mut self) {
        self.journal = None;
        if self.dice.one_in(3) {
            story::tell("Kill".to_owned());
            self.reached.kills += 1;
            self.rig.sim().kill();
        } else {
            story::tell("PowerCut".to_owned());
            self.reached.power_cuts += 1;
            self.rig.sim().power_cut();
        }
    }

    /// Opens the journal and gives its records to the machine that `fresh` makes, until a start succeeds.
    fn open<M>(
        &mut self,
        fresh: impl Fn() -> M,
        apply: impl Fn(&mut M, Option<&[u8]>, Option<&[u8]>) -> Result<(), String>,
    ) -> M {
        let mut faults = FAULTY_STARTS;
        loop {
            faults = faults.saturating_sub(1);
            if faults > 0 {
                self.plan_fault(9, 12);
            }
            let mut machine = fresh();
            let mut number = 0;
            let forgets = self.sabotage == Sabotage::ForgetfulReplay;
            let opened = self.open_once(|key, value| {
                number += 1;
                match forgets && number % 7 == 0 {
                    true => Ok(()),
                    false => apply(&mut machine, key, value),
                }
            });
            self.rig.mend();
            match opened {
                Ok(journal) => {
                    story::tell(format!("  {number} records are replayed"));
                    self.journal = Some(journal);
                    return machine;
                }
                Err(error) => {
                    story::tell(format!("  the start fails: {error}"));
                    invariant!(
                        RecoveryFindsNoDamage,
                        faults > 0,
                        "the start fails: {error}"
                    );
                    self.crash();
                }
            }
        }
    }

    fn open_once(
        &self,
        apply: impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Result<(), String>,
    ) -> Result<Journal, String> {
        let disk = self.rig.shared();
        disk.create_dir_all(DATA.as_ref())
            .and_then(|()| disk.sync_dir("".as_ref()))
            .map_err(|error| error.to_string())?;
        let (directory, syncs) = (self.directory.clone(), Arc::new(SyncPool::new(0)));
        Journal::open(disk, directory, syncs, self.now_ms, apply).map_err(|error| error.to_string())
    }

    /// A clean stop.
    fn close(&mut self) {
        story::tell("close".to_owned());
        let journal = self.journal.take().expect("it is open between crashes");
        journal.close().expect("the disk is mended");
        self.crash();
    }
}
