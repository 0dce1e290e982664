//! Which partition a record goes to: by its key as Kafka's clients do, or, without a key, by one of three policies under honest names.
//!
//! librdkafka has its own partitioner; this one is for callers that choose the partition themselves. Randomness is passed in once
//! and stretched from there, so the same seed gives the same partitions.

use std::str::FromStr;

/// Where records without a key go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NullKeys {
    /// One partition until so many bytes went there, then another one: whole batches, and over time all partitions alike (KIP-480).
    Sticky { batch_bytes: usize },
    /// Each record to the next partition.
    RoundRobin,
    /// Each record to a partition drawn anew.
    Random,
}

/// Java's default `batch.size`.
const BATCH_BYTES: usize = 16_384;

impl NullKeys {
    /// The names of the policies.
    pub const NAMES: [&'static str; 3] = ["sticky", "round_robin", "random"];

    pub fn name(self) -> &'static str {
        match self {
            NullKeys::Sticky { .. } => "sticky",
            NullKeys::RoundRobin => "round_robin",
            NullKeys::Random => "random",
        }
    }
}

impl Default for NullKeys {
    fn default() -> NullKeys {
        NullKeys::Sticky {
            batch_bytes: BATCH_BYTES,
        }
    }
}

impl FromStr for NullKeys {
    type Err = String;

    fn from_str(name: &str) -> Result<NullKeys, String> {
        match name {
            "sticky" => Ok(NullKeys::default()),
            "round_robin" => Ok(NullKeys::RoundRobin),
            "random" => Ok(NullKeys::Random),
            _ => Err(format!(
                "`{name}` is no partitioner; use {}",
                NullKeys::NAMES.join(", ")
            )),
        }
    }
}

/// Chooses partitions, one record after the other.
#[derive(Debug, Clone)]
pub struct Partitioner {
    null_keys: NullKeys,
    random: u64,
    /// Where the last record without a key went.
    current: Option<i32>,
    bytes_there: usize,
}

impl Partitioner {
    pub fn new(null_keys: NullKeys, seed: u64) -> Partitioner {
        Partitioner {
            null_keys,
            random: seed,
            current: None,
            bytes_there: 0,
        }
    }

    /// The partition of the next record, of `bytes` in key and value, in a topic of `partitions`.
    ///
    /// # Panics
    /// When `partitions` is not positive; a topic has at least one.
    pub fn partition(&mut self, key: Option<&[u8]>, bytes: usize, partitions: i32) -> i32 {
        if let Some(key) = key {
            return wire::partition_for_key(key, partitions);
        }
        // A topic may have changed since: a partition that is gone is no place to go on from.
        let current = self.current.filter(|current| *current < partitions);
        let chosen = match self.null_keys {
            NullKeys::Sticky { batch_bytes } => self.stick(current, batch_bytes, bytes, partitions),
            NullKeys::RoundRobin => current.map_or(0, |current| (current + 1) % partitions),
            NullKeys::Random => self.draw(partitions),
        };
        self.current = Some(chosen);
        chosen
    }

    fn stick(
        &mut self,
        current: Option<i32>,
        batch_bytes: usize,
        bytes: usize,
        partitions: i32,
    ) -> i32 {
        let is_full = self.bytes_there >= batch_bytes;
        let chosen = match current {
            Some(current) if !is_full || partitions == 1 => current,
            // One of the others: at least one step on, and never all the way round.
            Some(current) => (current + 1 + self.draw(partitions - 1)) % partitions,
            None => self.draw(partitions),
        };
        if is_full || current.is_none() {
            self.bytes_there = 0;
        }
        self.bytes_there += bytes;
        chosen
    }

    /// A number from 0 to below `limit`, all alike to within one in four billion (SplitMix64).
    fn draw(&mut self, limit: i32) -> i32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let limit = u64::try_from(limit.max(1)).unwrap_or(1);
        i32::try_from(mixed % limit).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::{murmur2, partition_for_key};

    use super::*;

    fn without_keys(null_keys: NullKeys, seed: u64, records: usize) -> Vec<i32> {
        let mut partitioner = Partitioner::new(null_keys, seed);
        (0..records)
            .map(|_| partitioner.partition(None, 100, 3))
            .collect()
    }

    #[test]
    fn the_hash_of_these_keys_has_no_positive_twin() {
        // abs(i32::MIN) is negative, so `abs(hash) % n` names partition -2 of 3; Kafka drops the sign bit.
        for key in ["cee-23qh", "etp-8io8", "iwh-qnrr"] {
            assert_eq!(murmur2(key.as_bytes()), i32::MIN, "{key}");
            assert_eq!(murmur2(key.as_bytes()).wrapping_abs() % 3, -2, "{key}");
            assert_eq!(partition_for_key(key.as_bytes(), 3), 0, "{key}");
        }
        assert_eq!(murmur2(b"21"), -973_932_308);
    }

    #[test]
    fn the_keys_of_the_lab_go_where_kafka_puts_them() {
        // B-045, X-15, X-17
        let placed = |keys: &[&str]| -> Vec<i32> {
            keys.iter()
                .map(|key| partition_for_key(key.as_bytes(), 3))
                .collect()
        };
        assert_eq!(
            placed(&["user-1", "user-2", "user-3", "user-4", "user-8"]),
            [2, 2, 2, 1, 0]
        );
        assert_eq!(
            placed(&["order-100", "order-101", "order-102", "order-105"]),
            [1, 1, 0, 2]
        );
        assert_eq!(placed(&["abc123"]), [2]);
    }

    #[test]
    fn policies_do_what_their_names_say() {
        //
        assert_eq!(
            without_keys(NullKeys::RoundRobin, 7, 7),
            [0, 1, 2, 0, 1, 2, 0]
        );
        let sticky = without_keys(NullKeys::Sticky { batch_bytes: 300 }, 7, 12);
        for batch in sticky.chunks(3) {
            assert!(
                batch.iter().all(|partition| *partition == batch[0]),
                "{sticky:?}"
            );
        }
        for (before, after) in sticky
            .iter()
            .step_by(3)
            .zip(sticky.iter().skip(3).step_by(3))
        {
            assert_ne!(
                before, after,
                "a full batch is followed by another partition"
            );
        }
        let random = without_keys(NullKeys::Random, 7, 3_000);
        for partition in 0..3 {
            let count = random.iter().filter(|chosen| **chosen == partition).count();
            assert!(
                (900..1_100).contains(&count),
                "{count} of 3000 in {partition}"
            );
        }
        assert_eq!(random, without_keys(NullKeys::Random, 7, 3_000));
    }

    #[test]
    fn names_are_read_and_others_refused() {
        for name in NullKeys::NAMES {
            assert_eq!(name.parse::<NullKeys>().map(NullKeys::name), Ok(name));
        }
        let refused = "uniform".parse::<NullKeys>().unwrap_err();
        assert_eq!(
            refused,
            "`uniform` is no partitioner; use sticky, round_robin, random"
        );
        assert_eq!(NullKeys::default().name(), "sticky");
    }

    proptest! {
        // B-030, X-16
        #[test]
        fn a_key_has_one_partition_and_it_is_kafkas(key in proptest::collection::vec(any::<u8>(), 0..64), partitions in 1..1_000i32, seed: u64) {
            let mut partitioner = Partitioner::new(NullKeys::default(), seed);
            let chosen = partitioner.partition(Some(&key), key.len(), partitions);
            // Kafka's `Utils.toPositive(murmur2(key)) % partitions`, in unsigned arithmetic.
            let expected = (murmur2(&key) as u32 & 0x7fff_ffff) % partitions as u32;
            prop_assert_eq!(chosen as u32, expected);
            prop_assert!((0..partitions).contains(&chosen));
            prop_assert_eq!(partitioner.partition(Some(&key), key.len(), partitions), chosen);
        }

        #[test]
        fn a_record_without_a_key_goes_to_a_partition_that_is_there(seed: u64, policy in 0..3usize, sizes in proptest::collection::vec((0..40_000usize, 1..9i32), 1..50)) {
            let null_keys = NullKeys::NAMES[policy].parse().expect("a known name");
            let mut partitioner = Partitioner::new(null_keys, seed);
            for (bytes, partitions) in sizes {
                let chosen = partitioner.partition(None, bytes, partitions);
                prop_assert!((0..partitions).contains(&chosen));
            }
        }
    }
}
