//! Seeded simulation: the log, shards, compaction, and the machines over their journals, on a disk that loses, tears and fails.
//!
//! A simulation is a loop of random events and random crashes, all drawn from one seed, on one thread and without a clock.
//! Beside what it drives it keeps a plain model of what was promised to whom, and after every step it checks:
//!
//! | invariant | what it says |
//! |---|---|
//! | `AckedIsDurable` | what was acknowledged is there after a restart, with its offset and its bytes, as durable as its topic says |
//! | `VisibleIsDurable` | what a reader saw is there after a restart, as durable as its topic says |
//! | `OffsetsAreDense` | batches follow each other without a gap, and every answer names the next offset |
//! | `ReplayEqualsLive` | what a restart makes of the records is what was there before it |
//! | `OneOwnerPerPartition` | only the owner of a partition is asked about it |
//! | `NoDuplicate` | no batch of an idempotent producer is in a log twice |
//! | `DuplicateHasFirstOffset` | a batch sent again is answered with the offset that it got first |
//! | `NothingInvented` | a log holds nothing that was not sent, and nothing of another topic |
//! | `LogStartNeverGoesBack` | what was deleted stays deleted, and only what may go is deleted |
//! | `GenerationsNeverGoBack` | a group's recorded generation only grows |
//! | `EveryRequestIsAnswered` | a step that succeeds answers everything it was asked |
//! | `AllOrNothing` | readers of committed records see a transaction with all that its producer was told is stored, or nothing of it |
//! | `FencedIsRefused` | a producer whose place was taken has nothing added to a transaction |
//! | `OneProducerPerEpoch` | no two instances of a transactional producer are told the same epoch |
//! | `NothingHangs` | once every end is carried out no partition holds its readers of committed records up |
//! | `OneOwnerPerRecord` | a record of a share group is with one member at a time |
//! | `WorkComesToAnEnd` | a member that works on all it gets comes to the end of the partition, dead letters included |
//! | `SameTable` | whoever reads a compacted log into a table gets what was promised, whatever a compaction was cut short by |
//! | `RecoveryFindsNoDamage` | crashes of a disk that keeps its promises are not taken for damage |
//!
//! The binary `sim` runs seeds and tells how to replay one that fails; `Sabotage` shows that each invariant can fail.

mod compactions;
mod dice;
mod invariant;
mod journals;
mod logs;
mod model;
mod rig;
mod sequences;
mod shards;
pub mod story;

pub use rig::Sabotage;

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One partition log.
    Log,
    /// Two shards with some partitions.
    Shard,
    /// Consumer groups over their journal.
    Groups,
    /// Topics, settings and producer ids over their journal.
    Cluster,
    /// The transaction coordinator over its journal, and the partitions that its producers write to.
    Transactions,
    /// Share partitions over their journal.
    Share,
    /// A shard with a compacted partition.
    Compaction,
}

impl Scenario {
    pub const ALL: &[Self] = &[
        Self::Log,
        Self::Shard,
        Self::Groups,
        Self::Cluster,
        Self::Transactions,
        Self::Share,
        Self::Compaction,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Shard => "shard",
            Self::Groups => "groups",
            Self::Cluster => "cluster",
            Self::Transactions => "transactions",
            Self::Share => "share",
            Self::Compaction => "compaction",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

/// How often the interesting things have happened, so that a simulation that only refuses does not pass for a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    pub steps: u64,
    pub acknowledged: u64,
    pub duplicates: u64,
    pub refused: u64,
    pub power_cuts: u64,
    pub kills: u64,
    pub failed_steps: u64,
    pub checkpoints: u64,
    pub deleted_records: u64,
    pub lost_unacknowledged: u64,
    /// Times that a shard found the disk full and went on once there was space.
    pub full_disks: u64,
    /// Compactions that came to their end.
    pub compactions: u64,
}

impl Reached {
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.acknowledged += other.acknowledged;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.failed_steps += other.failed_steps;
        self.checkpoints += other.checkpoints;
        self.deleted_records += other.deleted_records;
        self.lost_unacknowledged += other.lost_unacknowledged;
        self.full_disks += other.full_disks;
        self.compactions += other.compactions;
    }
}

/// Runs one seed of one scenario.
///
/// # Panics
/// When an invariant does not hold; the message begins with its name.
pub fn run(scenario: Scenario, seed: u64, sabotage: Sabotage) -> Reached {
    let name = scenario.name();
    story::begin(format!(
        "cargo run -p sim -- --scenario {name} --seed {seed}"
    ));
    match scenario {
        Scenario::Log => logs::run(seed, sabotage),
        Scenario::Shard => shards::run(seed, sabotage),
        Scenario::Groups => journals::run_groups(seed, sabotage),
        Scenario::Cluster => journals::run_cluster(seed, sabotage),
        Scenario::Transactions => journals::run_transactions(seed, sabotage),
        Scenario::Share => journals::run_share(seed, sabotage),
        Scenario::Compaction => compactions::run(seed, sabotage),
    }
}
