//! Random histories with crashes, against a plain model of what each record may still see.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use AcknowledgeType::{Accept, Gap, Reject, Release, Renew};

const MEMBERS: [&str; 3] = ["a", "b", "c"];
const LIMIT: i16 = 4;

#[derive(Clone, Debug)]
enum Step {
    Fetch {
        member: usize,
        most: i64,
        is_strict: bool,
    },
    /// Answers for the nth range that the member has.
    Answer {
        member: usize,
        range: usize,
        part: (i64, i64),
        kind: AcknowledgeType,
    },
    Leave(usize),
    Pass(i64),
    Produce(i64),
    Retention(i64),
    Crash,
    Arrive,
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..MEMBERS.len();
    let kinds = prop::sample::select(vec![
        Accept, Accept, Accept, Release, Release, Reject, Gap, Renew,
    ]);
    prop_oneof![
        5 => (member.clone(), 1..40i64, any::<bool>())
            .prop_map(|(member, most, is_strict)| Step::Fetch { member, most, is_strict }),
        6 => (member.clone(), 0..8usize, (0..6i64, 0..20i64), kinds)
            .prop_map(|(member, range, part, kind)| Step::Answer { member, range, part, kind }),
        1 => member.prop_map(Step::Leave),
        2 => (1..40_000i64).prop_map(Step::Pass),
        2 => (1..30i64).prop_map(Step::Produce),
        1 => (0..60i64).prop_map(Step::Retention),
        1 => Just(Step::Crash),
        1 => Just(Step::Arrive),
    ]
}

/// What the outside knows of each record.
#[derive(Default)]
struct Model {
    /// Records that nobody may see again.
    done: BTreeSet<i64>,
    /// Who has a record, and since when it does not any more.
    owner: BTreeMap<i64, (usize, i64)>,
    /// Deliveries since the last crash, which may forget the one that was under way.
    deliveries: BTreeMap<i64, i16>,
}

struct Story {
    rig: Rig,
    model: Model,
    letters: Vec<DeadLetters>,
}

impl Story {
    fn new(has_dead_letter_topic: bool) -> Self {
        let mut rig = Rig::new(40, 7);
        rig.settings.max_record_locks = 50;
        rig.settings.delivery_count_limit = LIMIT;
        rig.settings.has_dead_letter_topic = has_dead_letter_topic;
        Self {
            rig,
            model: Model::default(),
            letters: Vec::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Fetch {
                member,
                most,
                is_strict,
            } => self.fetch(member, most, is_strict),
            Step::Answer {
                member,
                range,
                part,
                kind,
            } => self.answer(member, range, part, kind),
            Step::Leave(member) => {
                self.rig.release_member(MEMBERS[member]);
                self.model.owner.retain(|_, (owner, _)| *owner != member);
            }
            Step::Pass(millis) => {
                self.rig.pass(millis);
                let now = self.rig.now.0;
                self.model.owner.retain(|_, (_, until)| *until > now);
            }
            Step::Produce(records) => self.rig.end += records,
            Step::Retention(to) => {
                self.rig.log_start = self.rig.log_start.max(to.min(self.rig.end))
            }
            Step::Crash => {
                self.rig.restart();
                self.letters.clear();
                self.model.owner.clear();
            }
            Step::Arrive => {
                for letters in std::mem::take(&mut self.letters) {
                    let DeadLetters {
                        key, first, last, ..
                    } = letters;
                    self.rig.ask(Command::DeadLettersDone { key, first, last });
                }
            }
        }
        self.letters.extend(self.rig.machine.take_dead_letters());
        self.rig.check_replay();
    }

    fn fetch(&mut self, member: usize, most: i64, is_strict: bool) {
        let until = self.rig.now.0 + 30_000;
        for acquired in self.rig.fetch_as(MEMBERS[member], most, is_strict) {
            for offset in acquired.first..=acquired.last {
                assert!(!self.model.done.contains(&offset), "{offset} is done");
                let before = self.model.owner.insert(offset, (member, until));
                assert_eq!(before, None, "{offset} has an owner");
                assert!(
                    acquired.count <= LIMIT,
                    "{offset} came {} times",
                    acquired.count
                );
                *self.model.deliveries.entry(offset).or_default() = acquired.count;
            }
        }
    }

    fn answer(
        &mut self,
        member: usize,
        range: usize,
        (skip, size): (i64, i64),
        kind: AcknowledgeType,
    ) {
        let mine = |(_, (owner, _)): &(&i64, &(usize, i64))| *owner == member;
        let offsets: Vec<i64> = self
            .model
            .owner
            .iter()
            .filter(mine)
            .map(|(o, _)| *o)
            .collect();
        let Some(&first) = offsets.get(range * 3) else {
            return;
        };
        let (first, last) = (first + skip, first + skip + size);
        let answer = self.rig.acknowledge(MEMBERS[member], first, last, kind);
        let start = self.rig.start_offset();
        if answer.is_err() {
            let is_right = |offset: i64| offset < start || offsets.binary_search(&offset).is_ok();
            let are_mine = (first..=last).all(is_right);
            assert!(!are_mine, "{first}–{last} was refused: {answer:?}");
            return;
        }
        for offset in first..=last {
            let Some((owner, _)) = self.model.owner.get(&offset).copied() else {
                continue;
            };
            if owner != member {
                continue;
            }
            let is_last = self.model.deliveries[&offset] >= LIMIT;
            match kind {
                Renew => {
                    let until = self.rig.now.0 + 30_000;
                    self.model.owner.insert(offset, (member, until));
                    continue;
                }
                Release if !is_last => {}
                _ => {
                    self.model.done.insert(offset);
                }
            }
            self.model.owner.remove(&offset);
        }
    }

    /// Whatever has happened, a member that works on all it gets comes to the end.
    fn finish(mut self) {
        self.run(&Step::Crash);
        for _ in 0..10_000 {
            self.run(&Step::Arrive);
            let (plan, planned) = self.rig.plan();
            let Planned::Read(_) = planned else {
                assert_eq!(
                    planned,
                    Planned::Nothing,
                    "there is more to read, and nobody reads"
                );
                break;
            };
            let (topic_id, partition) = (TOPIC, 0);
            let group = Rig::group();
            let partitions = vec![(topic_id, partition)];
            self.rig.ask(Command::Abandon {
                group,
                plan,
                partitions,
            });
            for acquired in self.rig.fetch_as("a", 100, false) {
                for offset in acquired.first..=acquired.last {
                    assert!(!self.model.done.contains(&offset), "{offset} is done");
                    self.model.done.insert(offset);
                }
                let answer = self.rig.accept("a", acquired.first, acquired.last);
                assert_eq!(answer, Ok(()));
            }
        }
        assert_eq!(
            self.rig.start_offset(),
            self.rig.end.max(self.rig.log_start)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_worked_on_and_none_twice(
        has_dead_letter_topic in any::<bool>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut story = Story::new(has_dead_letter_topic);
        for step in &steps {
            story.run(step);
        }
        story.finish();
    }
}
