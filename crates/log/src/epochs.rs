//! The leader epochs of a partition and where each begins, in Kafka's file `leader-epoch-checkpoint`:
//!
//! ```text
//! 0            version
//! 2            number of entries
//! 0 0          epoch, offset of its first record
//! 5 4711
//! ```
//! Batches carry their epoch, so the file is a summary and is rewritten whenever an epoch begins.

use std::fmt::Write;

use crate::offset::Offset;

pub(crate) const FILE_NAME: &str = "leader-epoch-checkpoint";

/// Far more epochs than a broker starts in its life.
pub(crate) const FILE_LIMIT: usize = 4 << 20;

/// Epochs in ascending order, each with the offset of its first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<(i32, Offset)>);

impl Epochs {
    pub(crate) fn latest(&self) -> Option<i32> {
        self.0.last().map(|(epoch, _)| *epoch)
    }

    /// Begins an epoch at an offset; `false` when it had begun before.
    pub(crate) fn begin(&mut self, epoch: i32, at: Offset) -> bool {
        if epoch < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        // An epoch in which nothing was appended leaves no trace.
        self.0.retain(|(_, start)| *start < at);
        self.0.push((epoch, at));
        true
    }

    /// Forgets what lies after the end of the log.
    pub(crate) fn cut(&mut self, end: Offset) -> bool {
        let before = self.0.len();
        self.0.retain(|(_, start)| *start <= end);
        self.0.len() < before
    }

    /// The largest epoch up to `epoch`, and the offset after its last record; `None` if no such epoch is known.
    pub(crate) fn end_of(&self, epoch: i32, log_end: Offset) -> Option<(i32, Offset)> {
        let after = self.0.partition_point(|(known, _)| *known <= epoch);
        let (found, _) = self.0.get(after.checked_sub(1)?)?;
        Some((
            *found,
            self.0.get(after).map_or(log_end, |(_, start)| *start),
        ))
    }

    pub(crate) fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.0.len());
        for (epoch, start) in &self.0 {
            writeln!(text, "{epoch} {start}").expect("a string takes what is written to it");
        }
        text
    }

    /// Reads the file's text; `None` if it is not of this form.
    pub(crate) fn decode(text: &str) -> Option<Epochs> {
        let mut lines = text.lines();
        if lines.next()?.trim() != "0" {
            return None;
        }
        let count: usize = lines.next()?.trim().parse().ok()?;
        let mut epochs = Epochs::default();
        for line in lines {
            let (epoch, start) = line.trim().split_once(' ')?;
            epochs
                .begin(epoch.parse().ok()?, Offset(start.parse().ok()?))
                .then_some(())?;
        }
        (epochs.0.len() == count).then_some(epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> Epochs {
        Epochs(vec![(0, Offset(0)), (2, Offset(10)), (5, Offset(40))])
    }

    #[test]
    fn the_file_is_kafkas() {
        assert_eq!(epochs().encode(), "0\n3\n0 0\n2 10\n5 40\n");
        assert_eq!(Epochs::decode("0\n3\n0 0\n2 10\n5 40\n"), Some(epochs()));
        assert_eq!(Epochs::decode("0\n3\n0 0\n"), None);
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let log_end = Offset(55);
        assert_eq!(epochs().end_of(0, log_end), Some((0, Offset(10))));
        assert_eq!(epochs().end_of(3, log_end), Some((2, Offset(40))));
        assert_eq!(epochs().end_of(5, log_end), Some((5, Offset(55))));
        assert_eq!(Epochs::default().end_of(5, log_end), None);
    }

    #[test]
    fn an_epoch_without_records_is_replaced() {
        let mut epochs = epochs();
        assert!(epochs.begin(6, Offset(40)));
        assert_eq!(epochs.latest(), Some(6));
        assert_eq!(epochs.end_of(5, Offset(55)), Some((2, Offset(40))));
    }
}
