//! What a member of a group has fetched and not handed out yet, by partition, and where it fetches next; plain data, locked by
//! its owner.
//!
//! Each record is handed out once per assignment: a partition that is taken away and comes back is read again from the group's
//! committed offset, under a new generation, and what was handed out before can no longer be committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::GroupRecord;
use crate::consumer::Position;
use crate::reader::{FetchedPartition, Record};

/// A partition of a topic.
pub(super) type Place = (Arc<str>, i32);

/// Something that holds for a partition as long as its assignment is of this generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Under<T> {
    pub(super) generation: u64,
    pub(super) of: T,
}

/// Offsets by partition.
pub(super) type Offsets = BTreeMap<Place, Under<i64>>;

#[derive(Default)]
pub(super) struct Board {
    shelves: BTreeMap<Place, Shelf>,
    /// Counts assignments of partitions.
    generation: u64,
    /// Which partition is the first to be asked: every take begins after the one before.
    turn: usize,
}

#[derive(Default)]
struct Shelf {
    generation: u64,
    records: VecDeque<Record>,
    /// Where to fetch next, once the group's offset is known.
    next_fetch: Option<i64>,
}

impl Board {
    pub(super) fn assign(&mut self, place: Place) {
        self.generation += 1;
        let shelf = Shelf {
            generation: self.generation,
            ..Shelf::default()
        };
        self.shelves.insert(place, shelf);
    }

    pub(super) fn revoke(&mut self, place: &Place) {
        self.shelves.remove(place);
    }

    pub(super) fn assigned(&self) -> impl Iterator<Item = &Place> {
        self.shelves.keys()
    }

    pub(super) fn has_records(&self) -> bool {
        let mut shelves = self.shelves.values();
        shelves.any(|shelf| !shelf.records.is_empty())
    }

    /// The partitions of which the group's offset is not known yet.
    pub(super) fn to_locate(&self) -> Vec<Under<Place>> {
        let unknown = self.shelves.iter();
        let unknown = unknown.filter(|(_, shelf)| shelf.next_fetch.is_none());
        unknown
            .map(|(place, shelf)| Under {
                generation: shelf.generation,
                of: place.clone(),
            })
            .collect()
    }

    /// Says where a partition is to be fetched next.
    pub(super) fn locate(&mut self, place: &Under<Place>, offset: i64) {
        if let Some(shelf) = self.shelf(&place.of, place.generation) {
            shelf.next_fetch = Some(offset);
        }
    }

    /// Where to fetch next, by topic.
    pub(super) fn to_fetch(&self) -> BTreeMap<Arc<str>, Vec<Under<Position>>> {
        let mut topics: BTreeMap<Arc<str>, Vec<Under<Position>>> = BTreeMap::new();
        for ((topic, partition), shelf) in &self.shelves {
            if let Some(offset) = shelf.next_fetch {
                let of = Position {
                    partition: *partition,
                    offset,
                };
                let generation = shelf.generation;
                let positions = topics.entry(Arc::clone(topic)).or_default();
                positions.push(Under { generation, of });
            }
        }
        topics
    }

    /// Adds what was fetched; of a partition that was taken away meanwhile, or that another fetch has moved on, nothing is added.
    pub(super) fn put(&mut self, topic: &Arc<str>, from: Under<Position>, got: FetchedPartition) {
        let place = (Arc::clone(topic), from.of.partition);
        let Some(shelf) = self.shelf(&place, from.generation) else {
            return;
        };
        if shelf.next_fetch == Some(from.of.offset) {
            shelf.records.extend(got.records);
            shelf.next_fetch = Some(got.next_offset);
        }
    }

    /// Hands out at most `max` records, in order per partition.
    pub(super) fn take(&mut self, max: usize) -> Vec<GroupRecord> {
        let mut taken = Vec::new();
        self.turn = (self.turn + 1) % self.shelves.len().max(1);
        let turn = self.turn;
        let (before, after): (Vec<_>, Vec<_>) = self
            .shelves
            .iter_mut()
            .enumerate()
            .partition(|(index, _)| *index < turn);
        for (_, (place, shelf)) in after.into_iter().chain(before) {
            let count = shelf.records.len().min(max - taken.len());
            taken.extend(shelf.records.drain(..count).map(|record| GroupRecord {
                topic: Arc::clone(&place.0),
                partition: place.1,
                record,
                generation: shelf.generation,
            }));
        }
        taken
    }

    /// Takes records back to where they came from; those of a partition that was taken away are read again anyway.
    pub(super) fn give_back(&mut self, records: &[GroupRecord]) {
        for returned in records {
            let place = (Arc::clone(&returned.topic), returned.partition);
            let Some(shelf) = self.shelf(&place, returned.generation) else {
                continue;
            };
            let offset = returned.record.offset;
            // Given back twice is there once.
            if let Err(index) = shelf.records.binary_search_by_key(&offset, |r| r.offset) {
                shelf.records.insert(index, returned.record.clone());
            }
        }
    }

    /// The first of the partitions that are no longer this member's as they were when their records were handed out.
    pub(super) fn taken_away(&self, offsets: &Offsets) -> Option<Place> {
        let is_gone = |place: &Place, offset: &Under<i64>| {
            let shelf = self.shelves.get(place);
            shelf.is_none_or(|shelf| shelf.generation != offset.generation)
        };
        let mut offsets = offsets.iter();
        offsets
            .find(|(place, offset)| is_gone(place, offset))
            .map(|(place, _)| place.clone())
    }

    fn shelf(&mut self, place: &Place, generation: u64) -> Option<&mut Shelf> {
        let shelf = self.shelves.get_mut(place);
        shelf.filter(|shelf| shelf.generation == generation)
    }
}

/// Where each partition goes on after `records`.
pub(super) fn after(records: &[GroupRecord]) -> Offsets {
    let mut offsets = Offsets::new();
    for given in records {
        let place = (Arc::clone(&given.topic), given.partition);
        let next = Under {
            generation: given.generation,
            of: given.record.offset + 1,
        };
        let highest = offsets.entry(place).or_insert(next);
        // An older generation among them is refused, however high its offsets are.
        highest.generation = highest.generation.min(next.generation);
        highest.of = highest.of.max(next.of);
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> Place {
        ("t".into(), partition)
    }

    /// A board with these partitions, all located at offset 0.
    fn board(partitions: i32) -> Board {
        let mut board = Board::default();
        for partition in 0..partitions {
            assign(&mut board, partition);
        }
        board
    }

    fn assign(board: &mut Board, partition: i32) {
        board.assign(place(partition));
        for unknown in board.to_locate() {
            board.locate(&unknown, 0);
        }
    }

    fn record(offset: i64) -> Record {
        Record {
            offset,
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// What a fetch from there gives: `count` records.
    fn fetched(from: Position, count: i64) -> FetchedPartition {
        let end = from.offset + count;
        FetchedPartition {
            partition: from.partition,
            records: (from.offset..end).map(record).collect(),
            next_offset: end,
            high_watermark: end,
            last_stable_offset: end,
            log_start_offset: 0,
            error: None,
        }
    }

    /// Fetches `count` records of every partition.
    fn fetch(board: &mut Board, count: i64) {
        for (topic, positions) in board.to_fetch() {
            for from in positions {
                board.put(&topic, from, fetched(from.of, count));
            }
        }
    }

    fn offsets(records: &[GroupRecord]) -> Vec<i64> {
        records.iter().map(|given| given.record.offset).collect()
    }

    #[test]
    fn every_partition_has_its_turn_and_keeps_its_order() {
        let mut board = board(3);
        fetch(&mut board, 5);
        fetch(&mut board, 5);
        let first: Vec<i32> = (0..3).map(|_| board.take(1)[0].partition).collect();
        assert_eq!(first, [1, 2, 0]);
        let rest = board.take(100);
        assert_eq!(offsets(&rest[..9]), (1..10).collect::<Vec<i64>>());
        assert_eq!(rest.len(), 27);
        assert!(!board.has_records());
    }

    #[test]
    fn what_is_given_back_comes_first_and_in_order() {
        let mut board = board(1);
        fetch(&mut board, 5);
        let taken = board.take(3);
        board.give_back(&[taken[2].clone(), taken[0].clone(), taken[2].clone()]);
        assert_eq!(offsets(&board.take(10)), [0, 2, 3, 4]);
    }

    #[test]
    fn a_partition_that_was_away_is_another_generation() {
        let mut board = board(2);
        fetch(&mut board, 2);
        let before = board.take(1);
        let partition = before[0].partition;
        let asked = board.to_fetch();
        board.revoke(&place(partition));
        assign(&mut board, partition);
        // The answer to a fetch from before, and what was handed out before, are both of no use now.
        for (topic, positions) in asked {
            for from in positions
                .into_iter()
                .filter(|p| p.of.partition == partition)
            {
                board.put(&topic, from, fetched(from.of, 2));
            }
        }
        board.give_back(&before);
        assert_eq!(board.take(100).len(), 2, "those of the other partition");
        assert_eq!(board.taken_away(&after(&before)), Some(place(partition)));
        fetch(&mut board, 1);
        let again: Vec<GroupRecord> = board.take(100);
        assert_eq!(board.taken_away(&after(&again)), None);
        let mixed = [before, again].concat();
        assert_eq!(board.taken_away(&after(&mixed)), Some(place(partition)));
    }

    #[test]
    fn the_same_fetch_twice_is_put_once() {
        let mut board = board(1);
        let asked = board.to_fetch();
        for _ in 0..2 {
            for (topic, positions) in &asked {
                board.put(topic, positions[0], fetched(positions[0].of, 3));
            }
        }
        assert_eq!(offsets(&board.take(10)), [0, 1, 2]);
    }

    #[test]
    fn a_commit_is_about_the_highest_offset_of_each_partition() {
        let mut board = board(2);
        fetch(&mut board, 3);
        let taken = board.take(5);
        let next = after(&taken);
        let next: Vec<(i32, i64)> = next.iter().map(|(p, offset)| (p.1, offset.of)).collect();
        assert_eq!(next, [(0, 2), (1, 3)]);
    }
}
