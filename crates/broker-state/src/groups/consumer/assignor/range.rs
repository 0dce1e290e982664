//! `range`: each topic is cut into as many ranges as it has subscribers, in the same order for all topics.
//!
//! Subscribers to the same topics get the same partition numbers of all of them, which joins need. Static members come
//! first, by instance id, so that a restart under a new member id moves nothing.

use std::collections::BTreeMap;

use wire::Uuid;

use super::{Subscriber, Targets};
use crate::groups::consumer::state::Partitions;

/// How far the partitions of a topic have been given out.
struct Cut {
    partitions: i32,
    subscribers: i32,
    served: i32,
}

impl Cut {
    /// The next range; the first subscribers get one more where it does not come out even.
    fn next(&mut self) -> std::ops::Range<i32> {
        let (each, more) = (
            self.partitions / self.subscribers,
            self.partitions % self.subscribers,
        );
        let start = self.served * each + self.served.min(more);
        let end = start + each + i32::from(self.served < more);
        self.served += 1;
        start..end
    }
}

pub(super) fn assign(subscribers: &[Subscriber<'_>], partitions: impl Fn(Uuid) -> i32) -> Targets {
    let mut cuts: BTreeMap<Uuid, Cut> = BTreeMap::new();
    for topic in subscribers.iter().flat_map(|subscriber| &subscriber.topics) {
        let cut = cuts.entry(*topic).or_insert_with(|| Cut {
            partitions: partitions(*topic),
            subscribers: 0,
            served: 0,
        });
        cut.subscribers += 1;
    }
    let mut order: Vec<&Subscriber<'_>> = subscribers.iter().collect();
    order.sort_by_key(|subscriber| {
        let instance = subscriber.instance_id;
        (instance.is_none(), instance, subscriber.id)
    });
    let mut targets = Targets::new();
    for subscriber in order {
        let mut target = Partitions::new();
        for topic in &subscriber.topics {
            let range = cuts.get_mut(topic).expect("every topic was cut").next();
            if !range.is_empty() {
                target.insert(*topic, range.collect());
            }
        }
        targets.insert(subscriber.id.clone(), target);
    }
    targets
}
