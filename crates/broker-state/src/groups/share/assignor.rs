//! Who works on which partitions: Kafka's `simple` assignor for share groups.
//!
//! Every partition is worked on by somebody, by several when there are more members than partitions; the load is
//! balanced, and members keep what they have as far as that allows. Members with the same subscription share all of
//! its partitions as one pool; with different subscriptions each topic is a pool of its own.

use std::collections::{BTreeMap, BTreeSet};

use wire::Uuid;

use super::state::ShareMember;
use crate::groups::consumer::Partitions;
use crate::groups::ids::MemberId;
use crate::groups::topics::TopicsImage;

pub(super) type Targets = BTreeMap<MemberId, Partitions>;

/// The targets of all members.
pub(super) fn assign(
    members: &BTreeMap<MemberId, ShareMember>,
    before: &Targets,
    topics: &TopicsImage,
) -> Targets {
    let mut targets: Targets = members
        .keys()
        .map(|id| (id.clone(), Partitions::new()))
        .collect();
    let mut subscriptions = members.values().map(|member| &member.topics);
    let Some(first) = subscriptions.next() else {
        return targets;
    };
    let all: BTreeSet<_> = members.values().flat_map(|member| &member.topics).collect();
    let partitions_of = |name: &&crate::groups::TopicName| -> Vec<(Uuid, i32)> {
        let topic = topics.get(name.as_str()).into_iter();
        topic
            .flat_map(|topic| (0..topic.partitions).map(|partition| (topic.id, partition)))
            .collect()
    };
    if subscriptions.all(|subscription| subscription == first) {
        let pool: Vec<_> = all.iter().flat_map(partitions_of).collect();
        let ids: Vec<&MemberId> = members.keys().collect();
        Pool::new(&pool, &ids, before).fill(&mut targets);
        return targets;
    }
    for topic in &all {
        let subscribers = members
            .iter()
            .filter(|(_, member)| member.topics.contains(topic.as_str()));
        let ids: Vec<&MemberId> = subscribers.map(|(id, _)| id).collect();
        Pool::new(&partitions_of(topic), &ids, before).fill(&mut targets);
    }
    targets
}

/// Partitions and the members who work on them.
struct Pool<'a> {
    members: &'a [&'a MemberId],
    partitions: &'a [(Uuid, i32)],
    /// How many members a partition has at most.
    sharing: usize,
    /// How many partitions each member gets.
    wanted: Vec<usize>,
    /// Members of each partition, partitions of each member, by their places.
    workers: Vec<BTreeSet<usize>>,
    loads: Vec<usize>,
}

impl<'a> Pool<'a> {
    fn new(partitions: &'a [(Uuid, i32)], members: &'a [&'a MemberId], before: &Targets) -> Self {
        let sharing = members.len().div_ceil(partitions.len().max(1));
        let places = sharing * partitions.len();
        // Places are dealt out evenly, the remainder over all members rather than to the first ones.
        let upto = |member: usize| (member * places).div_ceil(members.len().max(1));
        let mut pool = Self {
            members,
            partitions,
            sharing,
            wanted: (0..members.len()).map(|m| upto(m + 1) - upto(m)).collect(),
            workers: vec![BTreeSet::new(); partitions.len()],
            loads: vec![0; members.len()],
        };
        pool.keep(before);
        pool
    }

    /// Leaves members what they had, as far as it is their share.
    fn keep(&mut self, before: &Targets) {
        for (place, (topic, partition)) in self.partitions.iter().enumerate() {
            for (member, id) in self.members.iter().enumerate() {
                let had = before.get(*id).and_then(|had| had.get(topic));
                let had = had.is_some_and(|had| had.contains(partition));
                if had && self.loads[member] < self.wanted[member] {
                    self.give(place, member);
                }
            }
        }
    }

    fn give(&mut self, place: usize, member: usize) -> bool {
        if self.workers[place].len() >= self.sharing {
            return false;
        }
        let is_new = self.workers[place].insert(member);
        self.loads[member] += usize::from(is_new);
        is_new
    }

    fn fill(mut self, targets: &mut Targets) {
        // Partitions without anybody come first: all of them must be worked on.
        for goal in 1..=self.sharing {
            let mut next = 0;
            for place in 0..self.partitions.len() {
                for _ in 0..self.members.len() {
                    if self.workers[place].len() >= goal {
                        break;
                    }
                    let member = next % self.members.len();
                    next += 1;
                    if self.loads[member] < self.wanted[member] {
                        self.give(place, member);
                    }
                }
            }
        }
        for (place, workers) in self.workers.iter().enumerate() {
            let (topic, partition) = self.partitions[place];
            for &member in workers {
                let target = targets.entry(self.members[member].clone()).or_default();
                target.entry(topic).or_default().insert(partition);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::TopicName;
    use crate::groups::topics::TopicImage;

    fn image(topics: &[(&str, i32)]) -> TopicsImage {
        let image = |(index, (name, partitions)): (usize, &(&str, i32))| {
            let id = Uuid([index as u8 + 1; 16]);
            let partitions = *partitions;
            (TopicName::from(*name), TopicImage { id, partitions })
        };
        topics.iter().enumerate().map(image).collect()
    }

    fn members(of: &[(&str, &[&str])]) -> BTreeMap<MemberId, ShareMember> {
        let member = |(id, topics): &(&str, &[&str])| {
            let topics = topics.iter().map(|topic| TopicName::from(*topic)).collect();
            let member = ShareMember {
                topics,
                ..ShareMember::default()
            };
            (MemberId::from(*id), member)
        };
        of.iter().map(member).collect()
    }

    fn loads(targets: &Targets) -> Vec<usize> {
        let load = |target: &Partitions| target.values().map(BTreeSet::len).sum();
        targets.values().map(load).collect()
    }

    fn covered(targets: &Targets) -> BTreeSet<(Uuid, i32)> {
        let all = targets.values().flatten();
        all.flat_map(|(topic, partitions)| partitions.iter().map(|p| (*topic, *p)))
            .collect()
    }

    #[test]
    fn a_single_member_gets_everything() {
        let targets = assign(
            &members(&[("a", &["t", "u"])]),
            &Targets::new(),
            &image(&[("t", 3), ("u", 2)]),
        );
        assert_eq!(loads(&targets), [5]);
    }

    #[test]
    fn more_members_than_partitions_share_them_evenly() {
        let ids: Vec<String> = (0..7).map(|n| format!("m{n}")).collect();
        let of: Vec<(&str, &[&str])> = ids.iter().map(|id| (id.as_str(), &["t"][..])).collect();
        let targets = assign(&members(&of), &Targets::new(), &image(&[("t", 3)]));
        assert!(loads(&targets).iter().all(|load| (1..=2).contains(load)));
        assert_eq!(covered(&targets).len(), 3);
    }

    #[test]
    fn members_keep_what_they_have_when_another_one_comes() {
        let topics = image(&[("t", 4)]);
        let before = assign(
            &members(&[("a", &["t"]), ("b", &["t"])]),
            &Targets::new(),
            &topics,
        );
        let all = members(&[("a", &["t"]), ("b", &["t"]), ("c", &["t"])]);
        let after = assign(&all, &before, &topics);
        assert_eq!(covered(&after).len(), 4);
        assert_eq!(loads(&after).iter().sum::<usize>(), 4);
        for (id, target) in &before {
            for (topic, partitions) in &after[id] {
                assert!(
                    partitions.is_subset(&target[topic]),
                    "{id} got something new"
                );
            }
        }
    }

    #[test]
    fn different_subscriptions_cover_all_topics_and_nobody_gets_what_it_did_not_ask_for() {
        let topics = image(&[("t", 3), ("u", 3)]);
        let all = members(&[("a", &["t"]), ("b", &["u"]), ("c", &["t", "u"])]);
        let targets = assign(&all, &Targets::new(), &topics);
        assert_eq!(covered(&targets).len(), 6);
        let u = topics.get("u").expect("it is there").id;
        assert!(!targets[&MemberId::from("a")].contains_key(&u));
    }

    #[test]
    fn every_partition_is_worked_on_whatever_there_was() {
        for partitions in 1..8 {
            let topics = image(&[("t", partitions)]);
            let mut before = Targets::new();
            for count in [1, 5, 2, 9, 3, 1, 8] {
                let ids: Vec<String> = (0..count).map(|n| format!("m{n}")).collect();
                let of: Vec<(&str, &[&str])> =
                    ids.iter().map(|id| (id.as_str(), &["t"][..])).collect();
                before = assign(&members(&of), &before, &topics);
                assert_eq!(covered(&before).len() as i32, partitions, "{count} members");
            }
        }
    }

    #[test]
    fn topics_that_are_not_there_are_nobodys() {
        let targets = assign(&members(&[("a", &["gone"])]), &Targets::new(), &image(&[]));
        assert_eq!(loads(&targets), [0]);
    }
}
