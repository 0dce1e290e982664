//! Random commits in and outside of transactions, compared with a list of what was said and when.

use broker_state::groups::*;
use broker_state::producer_ids::ProducerIdentity;
use broker_state::step::{Millis, RequestId};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Commit {
        producer: Option<i64>,
        partition: i32,
    },
    End {
        producer: i64,
        is_commit: bool,
    },
    Forget {
        partition: i32,
    },
    Restart,
    Rewrite,
}

fn act() -> impl Strategy<Value = Act> {
    let producer = prop::option::weighted(0.7, 1_i64..4);
    prop_oneof![
        6 => (producer, 0..2).prop_map(|(producer, partition)| Act::Commit { producer, partition }),
        3 => (1_i64..4, any::<bool>()).prop_map(|(producer, is_commit)| Act::End { producer, is_commit }),
        1 => (0..2).prop_map(|partition| Act::Forget { partition }),
        1 => Just(Act::Restart),
        1 => Just(Act::Rewrite),
    ]
}

/// What was said of one partition, in order: the offset, and whose open transaction it belongs to.
type Said = Vec<(i64, Option<i64>)>;

struct World {
    groups: Groups,
    log: Vec<Record>,
    said: [Said; 2],
    next: u64,
}

fn identity(producer_id: i64) -> ProducerIdentity {
    ProducerIdentity {
        producer_id,
        producer_epoch: 0,
    }
}

fn loaded(records: &[Record]) -> Groups {
    let mut groups = Groups::new(GroupSettings::default());
    records.iter().for_each(|record| groups.apply(record));
    groups.loaded(Millis(1_000));
    groups
}

impl World {
    fn ask(&mut self, command: Command) -> Reply {
        self.next += 1;
        let mut effects = GroupEffects::new();
        let request = RequestId(self.next);
        self.groups
            .handle(Millis(1_000), request, command, &mut effects);
        self.log.extend(effects.records);
        let (_, reply) = effects.replies.pop().expect("an answer at once");
        reply
    }

    fn commit(&mut self, producer: Option<i64>, partition: i32) {
        let offset = self.next as i64;
        let commit = CommitOffsets {
            group: "g".into(),
            member_id: MemberId::default(),
            instance_id: None,
            generation: Generation::NONE,
            retention: None,
            knows_member_epochs: true,
            topics: vec![CommitTopic {
                topic: "t".into(),
                topic_id: wire::Uuid::ZERO,
                partitions: vec![CommitPartition {
                    partition,
                    offset,
                    leader_epoch: -1,
                    metadata: None,
                }],
            }],
        };
        self.ask(match producer.map(identity) {
            Some(producer) => Command::CommitOffsetsInTransaction { producer, commit },
            None => Command::CommitOffsets(commit),
        });
        let said = &mut self.said[partition as usize];
        said.retain(|(_, of)| producer.is_none() || *of != producer);
        said.push((offset, producer));
    }

    fn end(&mut self, producer: i64, is_commit: bool) {
        self.ask(Command::EndTransaction {
            producer: identity(producer),
            coordinator_epoch: 0,
            is_commit,
        });
        for said in &mut self.said {
            if is_commit {
                let theirs = said.iter_mut().filter(|(_, of)| *of == Some(producer));
                theirs.for_each(|(_, of)| *of = None);
            } else {
                said.retain(|(_, of)| *of != Some(producer));
            }
        }
    }

    fn run(&mut self, act: Act) {
        match act {
            Act::Commit {
                producer,
                partition,
            } => self.commit(producer, partition),
            Act::End {
                producer,
                is_commit,
            } => self.end(producer, is_commit),
            Act::Forget { partition } => {
                self.ask(Command::DeleteOffsets(DeleteOffsets {
                    group: "g".into(),
                    topics: vec![("t".into(), vec![partition])],
                }));
                self.said[partition as usize].clear();
            }
            Act::Restart => self.groups = loaded(&self.log),
            Act::Rewrite => {
                self.log = self.groups.snapshot_records().collect();
                self.groups = loaded(&self.log);
            }
        }
    }

    fn check(&self) {
        let durable = self.groups.durable();
        let group = durable.get("g");
        for (partition, said) in (0..).zip(&self.said) {
            let counts = said.iter().rev().find(|(_, of)| of.is_none());
            let found = group.and_then(|group| group.offset("t", partition));
            let expected = counts.map(|(offset, _)| *offset);
            assert_eq!(
                found.map(|found| found.offset),
                expected,
                "TheLastCommitCounts"
            );
            let is_open = said.iter().any(|(_, of)| of.is_some());
            let is_unstable = group.is_some_and(|group| group.is_unstable("t", partition));
            assert_eq!(is_unstable, is_open, "OpenTransactionsAreKnown");
        }
        assert_eq!(loaded(&self.log).durable(), durable, "ReplayEqualsLive");
        let copy: Vec<Record> = self.groups.snapshot_records().collect();
        assert_eq!(loaded(&copy).durable(), durable, "SnapshotEqualsLive");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_last_commit_that_counts_is_found_whatever_ends_when(acts in prop::collection::vec(act(), 1..50)) {
        let mut world = World {
            groups: loaded(&[]),
            log: Vec::new(),
            said: Default::default(),
            next: 0,
        };
        for act in acts {
            world.run(act);
            world.check();
        }
    }
}
