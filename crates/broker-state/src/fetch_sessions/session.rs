//! One fetch session: its partitions in the order in which they are looked at, and what the client knows of each.

use std::collections::{BTreeMap, HashMap};

use super::{FetchPartition, PartitionFetch, PartitionOutcome};
use crate::step::Millis;

/// What no partition has: the next answer is news whatever it is.
const UNKNOWN: i64 = -1;

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub uses_topic_ids: bool,
    /// The epoch that the next request must have.
    pub epoch: i32,
    pub created: Millis,
    pub last_used: Millis,
    /// The place of each partition in `in_order`.
    places: HashMap<FetchPartition, u64>,
    in_order: BTreeMap<u64, Remembered>,
    next_place: u64,
}

#[derive(Clone, Debug)]
struct Remembered {
    partition: FetchPartition,
    fetch: PartitionFetch,
    /// What the client was told last.
    high_watermark: i64,
    log_start_offset: i64,
}

impl Session {
    pub fn new(uses_topic_ids: bool, epoch: i32, now: Millis) -> Self {
        Self {
            uses_topic_ids,
            epoch,
            created: now,
            last_used: now,
            places: HashMap::new(),
            in_order: BTreeMap::new(),
            next_place: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.in_order.len()
    }

    /// Adds a partition behind the others, or changes what is wanted of it.
    pub fn want(&mut self, partition: FetchPartition, fetch: PartitionFetch) {
        if let Some(place) = self.places.get(&partition) {
            self.in_order
                .get_mut(place)
                .expect("every place is taken")
                .fetch = fetch;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(partition.clone(), place);
        let remembered = Remembered {
            partition,
            fetch,
            high_watermark: UNKNOWN,
            log_start_offset: UNKNOWN,
        };
        self.in_order.insert(place, remembered);
    }

    pub fn forget(&mut self, partition: &FetchPartition) {
        if let Some(place) = self.places.remove(partition) {
            self.in_order.remove(&place);
        }
    }

    /// All partitions, in the order in which they are looked at.
    pub fn wanted(&self) -> Vec<(FetchPartition, PartitionFetch)> {
        self.in_order
            .values()
            .map(|remembered| (remembered.partition.clone(), remembered.fetch))
            .collect()
    }

    /// Whether the client does not know this yet.
    fn is_news(&self, partition: &FetchPartition, outcome: &PartitionOutcome) -> bool {
        let remembered = self
            .places
            .get(partition)
            .and_then(|place| self.in_order.get(place));
        remembered.is_some_and(|remembered| remembered.is_news(outcome))
    }

    /// Whether the outcome is part of the response; what is told is remembered, and a partition with data goes to
    /// the end, so that the bytes of the next response go to others first.
    pub fn answer(&mut self, partition: &FetchPartition, outcome: &PartitionOutcome) -> bool {
        let is_news = self.is_news(partition, outcome);
        if is_news {
            self.remember(partition, outcome);
            if outcome.has_records {
                self.move_to_end(partition);
            }
        }
        is_news
    }

    /// Notes what the client is told. After an error it is told again once there is none.
    pub fn remember(&mut self, partition: &FetchPartition, outcome: &PartitionOutcome) {
        let Some(remembered) = self
            .places
            .get(partition)
            .and_then(|place| self.in_order.get_mut(place))
        else {
            return;
        };
        remembered.high_watermark = if outcome.has_error {
            UNKNOWN
        } else {
            outcome.high_watermark
        };
        remembered.log_start_offset = outcome.log_start_offset;
    }

    fn move_to_end(&mut self, partition: &FetchPartition) {
        let place = self
            .places
            .get_mut(partition)
            .expect("a partition that is answered has a place");
        let remembered = self.in_order.remove(place).expect("every place is taken");
        *place = self.next_place;
        self.in_order.insert(*place, remembered);
        self.next_place += 1;
    }
}

impl Remembered {
    fn is_news(&self, outcome: &PartitionOutcome) -> bool {
        outcome.has_records
            || outcome.has_error
            || self.high_watermark != outcome.high_watermark
            || self.log_start_offset != outcome.log_start_offset
    }
}
