//! The last offset of each key in the part of a log that is being compacted, in a fixed amount of memory.
//!
//! Keys are known by the first 128 bits of their SHA-256, so a key of any length takes 24 bytes. Two keys with the same hash would
//! cost the older one its records. Among five million keys, what the default buffer holds, the odds are below 1 in 10^25, and no
//! client can make two such keys on purpose, as it could with the MD5 that Kafka uses here.
//!
//! ```text
//! a slot:  two words of hash, and the offset plus one; 0 is an empty slot
//! ```
//! Slots are probed one after another from where the first word points. Nothing is ever removed.

use sha2::{Digest, Sha256};

use crate::offset::{ByteCount, Offset};

const WORDS: usize = 3;
/// Bytes of a slot.
const SLOT: u64 = 8 * WORDS as u64;
/// The share of slots that may be used is at most this, so that a probe ends soon.
const MOST_LOAD: f64 = 0.95;

/// Key → last offset.
#[derive(Debug)]
pub(super) struct OffsetMap {
    words: Vec<u64>,
    used: usize,
    most: usize,
    /// The last offset up to which every record is in the map.
    latest: Offset,
}

impl OffsetMap {
    /// An empty map in at most `memory`, of which the share `load` is used; less memory when there are at most `records`.
    pub(super) fn new(memory: ByteCount, load: f64, records: u64) -> OffsetMap {
        let load = load.clamp(0.01, MOST_LOAD);
        let affordable = (memory.0 / SLOT).max(2);
        let wanted = ((records as f64 / load) as u64).saturating_add(2);
        let slots = usize::try_from(affordable.min(wanted)).unwrap_or(usize::MAX / WORDS);
        OffsetMap {
            words: vec![0; slots * WORDS],
            used: 0,
            most: ((slots as f64 * load) as usize).max(1),
            latest: Offset(-1),
        }
    }

    /// Notes that the key's last record has this offset; `false` when a new key has no room any more.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = hash(key);
        let at = self.slot(hash);
        if self.words[at + 2] == 0 {
            if self.used >= self.most {
                return false;
            }
            self.used += 1;
        }
        self.words[at..at + WORDS].copy_from_slice(&[hash[0], hash[1], offset.0 as u64 + 1]);
        true
    }

    /// The last offset of a key; none when it is not in the map.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let at = self.slot(hash(key));
        self.words[at + 2]
            .checked_sub(1)
            .map(|offset| Offset(offset as i64))
    }

    /// Notes that every record up to `offset` is in the map.
    pub(super) fn reach(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    pub(super) fn latest(&self) -> Offset {
        self.latest
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Where the slot of a hash begins: its own, or the empty one in which it would be.
    fn slot(&self, hash: [u64; 2]) -> usize {
        let slots = self.words.len() / WORDS;
        let mut slot = ((u128::from(hash[0]) * slots as u128) >> 64) as usize;
        loop {
            let at = slot * WORDS;
            // At most `MOST_LOAD` of the slots are used, so this ends.
            if self.words[at + 2] == 0 || self.words[at..at + 2] == hash {
                return at;
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
    }
}

fn hash(key: &[u8]) -> [u64; 2] {
    let digest = Sha256::digest(key);
    let word = |at: usize| u64::from_be_bytes(digest[at..at + 8].try_into().expect("eight bytes"));
    [word(0), word(8)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_last_offset_of_each_key_is_found() {
        let mut map = OffsetMap::new(ByteCount::kibibytes(64), 0.9, u64::MAX);
        let mut expected = HashMap::new();
        for offset in 0..4_000_i64 {
            let key = (offset * offset % 1_999).to_string();
            assert!(map.put(key.as_bytes(), Offset(offset)));
            expected.insert(key, Offset(offset));
        }
        for (key, offset) in &expected {
            assert_eq!(map.get(key.as_bytes()), Some(*offset));
        }
        assert_eq!(map.len(), expected.len());
        assert_eq!(map.get(b"never written"), None);
    }

    #[test]
    fn a_full_map_takes_no_new_key_and_still_knows_the_others() {
        let mut map = OffsetMap::new(ByteCount(24 * 10), 0.5, u64::MAX);
        let taken = (0..10_u8)
            .take_while(|key| map.put(&[*key], Offset(i64::from(*key))))
            .count();
        assert_eq!(taken, 5);
        assert!(map.put(&[4], Offset(40)));
        assert_eq!(map.get(&[4]), Some(Offset(40)));
        assert_eq!(map.get(&[5]), None);
    }

    #[test]
    fn few_records_take_little_memory() {
        let map = OffsetMap::new(ByteCount::mebibytes(128), 0.9, 100);
        assert!(map.words.len() < 400);
    }
}
