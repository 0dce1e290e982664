//! `uniform`: everybody gets as many partitions as everybody else, give or take one, and keeps what it had.
//!
//! With the same topics for all, a quota says what each must give up and may take. With different topics, what is free
//! goes to its least loaded subscriber, then each topic's partitions move from its most to its least loaded subscriber
//! until no move makes the two more equal.

use std::collections::{BTreeMap, BTreeSet};

use wire::Uuid;

use super::{Subscriber, Targets};
use crate::groups::consumer::state::Partitions;

/// How often all topics are looked through again because something moved.
const MAX_ROUNDS: usize = 16;

pub(super) fn assign(subscribers: &[Subscriber<'_>], partitions: impl Fn(Uuid) -> i32) -> Targets {
    let Some(first) = subscribers.first() else {
        return Targets::new();
    };
    if subscribers
        .iter()
        .all(|subscriber| subscriber.topics == first.topics)
    {
        same_topics(subscribers, &first.topics, partitions)
    } else {
        different_topics(subscribers, partitions)
    }
}

/// What a subscriber keeps of its target: partitions that exist, of topics that it wants, and nobody else's.
fn kept(
    subscriber: &Subscriber<'_>,
    partitions: &impl Fn(Uuid) -> i32,
    free: &mut BTreeSet<(Uuid, i32)>,
) -> Partitions {
    let mut kept = Partitions::new();
    for (topic, owned) in subscriber.target.into_iter().flatten() {
        if !subscriber.topics.contains(topic) {
            continue;
        }
        for &partition in owned.range(..partitions(*topic)) {
            if free.remove(&(*topic, partition)) {
                kept.entry(*topic).or_default().insert(partition);
            }
        }
    }
    kept
}

fn all_partitions<'a>(
    topics: impl IntoIterator<Item = &'a Uuid>,
    partitions: &impl Fn(Uuid) -> i32,
) -> BTreeSet<(Uuid, i32)> {
    let topics = topics.into_iter();
    topics
        .flat_map(|topic| (0..partitions(*topic)).map(move |p| (*topic, p)))
        .collect()
}

fn same_topics(
    subscribers: &[Subscriber<'_>],
    topics: &BTreeSet<Uuid>,
    partitions: impl Fn(Uuid) -> i32,
) -> Targets {
    let mut free = all_partitions(topics, &partitions);
    let quota = free.len() / subscribers.len();
    let mut extras = free.len() % subscribers.len();
    let mut targets: Vec<Partitions> = subscribers
        .iter()
        .map(|s| kept(s, &partitions, &mut free))
        .collect();
    // Those who have one more than the quota keep it, as long as there are such places.
    let mut places = Vec::with_capacity(subscribers.len());
    for target in &targets {
        let has_extra = extras > 0 && count(target) > quota;
        extras -= usize::from(has_extra);
        places.push(quota + usize::from(has_extra));
    }
    // The places that are left go to those who have nothing more to give up.
    for (place, target) in places.iter_mut().zip(&targets) {
        if extras > 0 && *place == quota && count(target) <= quota {
            *place += 1;
            extras -= 1;
        }
    }
    for (target, place) in targets.iter_mut().zip(&places) {
        while count(target) > *place {
            free.insert(take_last(target));
        }
    }
    let mut free = free.into_iter();
    for (target, place) in targets.iter_mut().zip(&places) {
        let missing = place.saturating_sub(count(target));
        for (topic, partition) in free.by_ref().take(missing) {
            target.entry(topic).or_default().insert(partition);
        }
    }
    let ids = subscribers.iter().map(|subscriber| subscriber.id.clone());
    ids.zip(targets).collect()
}

fn count(target: &Partitions) -> usize {
    target.values().map(BTreeSet::len).sum()
}

fn take_last(target: &mut Partitions) -> (Uuid, i32) {
    let mut entry = target.last_entry().expect("there is more than the quota");
    let topic = *entry.key();
    let partition = entry
        .get_mut()
        .pop_last()
        .expect("no topic is left without partitions");
    if entry.get().is_empty() {
        entry.remove();
    }
    (topic, partition)
}

/// Who has what while topics are balanced one by one; members are numbers.
struct Balance {
    loads: Vec<usize>,
    owned: BTreeMap<Uuid, BTreeMap<usize, BTreeSet<i32>>>,
}

impl Balance {
    fn give(&mut self, topic: Uuid, partition: i32, member: usize) {
        let owners = self.owned.entry(topic).or_default();
        owners.entry(member).or_default().insert(partition);
        self.loads[member] += 1;
    }

    /// Gives free partitions to whoever of the subscribers has the least.
    fn give_to_least(&mut self, topic: Uuid, free: &[i32], subscribers: &[usize]) {
        let mut by_load: BTreeSet<(usize, usize)> = subscribers
            .iter()
            .map(|member| (self.loads[*member], *member))
            .collect();
        for &partition in free {
            let (load, member) = by_load.pop_first().expect("the topic has a subscriber");
            self.give(topic, partition, member);
            by_load.insert((load + 1, member));
        }
    }

    /// Moves partitions of one topic until its subscribers are even; says whether any moved.
    fn even_out(&mut self, topic: Uuid, subscribers: &[usize]) -> bool {
        let mut by_load: BTreeSet<(usize, usize)> = subscribers
            .iter()
            .map(|member| (self.loads[*member], *member))
            .collect();
        let mut has_moved = false;
        loop {
            let owners = self.owned.entry(topic).or_default();
            let most = by_load
                .iter()
                .rev()
                .find(|(_, member)| owners.contains_key(member));
            let (Some(&most), Some(&least)) = (most, by_load.first()) else {
                return has_moved;
            };
            if most.0 <= least.0 + 1 {
                return has_moved;
            }
            let partitions = owners.get_mut(&most.1).expect("it owns some of the topic");
            let partition = partitions.pop_last().expect("owners own something");
            if partitions.is_empty() {
                owners.remove(&most.1);
            }
            self.loads[most.1] -= 1;
            self.give(topic, partition, least.1);
            by_load.remove(&most);
            by_load.remove(&least);
            by_load.insert((most.0 - 1, most.1));
            by_load.insert((least.0 + 1, least.1));
            has_moved = true;
        }
    }
}

fn different_topics(subscribers: &[Subscriber<'_>], partitions: impl Fn(Uuid) -> i32) -> Targets {
    let mut by_topic: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (member, subscriber) in subscribers.iter().enumerate() {
        for topic in &subscriber.topics {
            by_topic.entry(*topic).or_default().push(member);
        }
    }
    let mut free = all_partitions(by_topic.keys(), &partitions);
    let mut balance = Balance {
        loads: vec![0; subscribers.len()],
        owned: BTreeMap::new(),
    };
    for (member, subscriber) in subscribers.iter().enumerate() {
        for (topic, owned) in kept(subscriber, &partitions, &mut free) {
            owned
                .into_iter()
                .for_each(|partition| balance.give(topic, partition, member));
        }
    }
    // Topics with many partitions for few subscribers first: they leave the least choice.
    let mut order: Vec<(Uuid, &[usize])> = by_topic
        .iter()
        .map(|(topic, members)| (*topic, members.as_slice()))
        .collect();
    order.sort_by(|(a, a_members), (b, b_members)| {
        let weight = |topic: Uuid, others: usize| partitions(topic) as u64 * others as u64;
        let by_weight = weight(*b, a_members.len()).cmp(&weight(*a, b_members.len()));
        by_weight
            .then(a_members.len().cmp(&b_members.len()))
            .then(a.cmp(b))
    });
    for (topic, members) in &order {
        let free: Vec<i32> = free
            .range((*topic, 0)..=(*topic, i32::MAX))
            .map(|(_, p)| *p)
            .collect();
        balance.give_to_least(*topic, &free, members);
    }
    for _ in 0..MAX_ROUNDS {
        let mut has_moved = false;
        for (topic, members) in &order {
            has_moved |= balance.even_out(*topic, members);
        }
        if !has_moved {
            break;
        }
    }
    targets_of(subscribers, balance)
}

fn targets_of(subscribers: &[Subscriber<'_>], balance: Balance) -> Targets {
    let mut targets: Targets = subscribers
        .iter()
        .map(|subscriber| (subscriber.id.clone(), Partitions::new()))
        .collect();
    for (topic, owners) in balance.owned {
        for (member, partitions) in owners {
            let target = targets
                .get_mut(subscribers[member].id)
                .expect("every subscriber has a target");
            target.insert(topic, partitions);
        }
    }
    targets
}
