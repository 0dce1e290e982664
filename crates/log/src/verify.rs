//! The deep check: reads everything that is visible, every checksum and every index entry. For `doctor` and for tests.

use std::path::PathBuf;

use crate::error::LogError;
use crate::index::{OffsetEntry, TimeEntry};
use crate::offset::Offset;
use crate::scan::LogBytes;
use crate::segment::{MaxTimestamp, Segment};
use crate::transactions::{AbortedTransaction, OpenTransactions};
use crate::view::PartitionView;

/// Something in a partition's files that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in the log file; for an index, where it points.
    pub position: u64,
    /// What is wrong.
    pub detail: String,
}

impl PartitionView {
    /// Checks all visible batches and all index entries that point at them. Reads the whole log, so it takes its time.
    ///
    /// # Errors
    /// `Io` when a file cannot be read. What is read and wrong is a finding.
    pub fn verify(&self) -> Result<Vec<Finding>, LogError> {
        let mut findings = Vec::new();
        let mut open = OpenTransactions::default();
        for segment in self.segments.iter() {
            let visible = self.visible_bytes(segment);
            let end = segment
                .sealed()
                .map_or(self.high_watermark, |sealed| sealed.end_offset);
            Check::new(segment, visible, end)?.run(&mut open, &mut findings)?;
        }
        Ok(findings)
    }
}

/// A walk over one segment beside its indexes.
struct Check<'a> {
    segment: &'a Segment,
    visible: u64,
    end: Offset,
    index: std::vec::IntoIter<OffsetEntry>,
    due: Option<OffsetEntry>,
    time_index: Vec<TimeEntry>,
    maxima: Vec<MaxTimestamp>,
    aborted: Vec<AbortedTransaction>,
}

impl<'a> Check<'a> {
    fn new(segment: &'a Segment, visible: u64, end: Offset) -> Result<Self, LogError> {
        let mut index = segment.index.all()?.into_iter();
        let due = index.next();
        Ok(Check {
            segment,
            visible,
            end,
            index,
            due,
            time_index: segment.time_index.all()?,
            maxima: Vec::new(),
            aborted: Vec::new(),
        })
    }

    fn run(
        mut self,
        open: &mut OpenTransactions,
        findings: &mut Vec<Finding>,
    ) -> Result<(), LogError> {
        let mut file = LogBytes::new(self.segment.log.as_ref(), &self.segment.path, self.visible);
        let (mut position, mut expected) = (0, self.segment.base_offset);
        while position < self.visible {
            if let Some(header) = file.good_batch(position, expected, self.segment.base_offset)? {
                let last_offset = Offset(header.last_offset());
                self.check_index(position, last_offset, findings);
                self.note_maximum(header.max_timestamp, last_offset);
                let marker = file.marker(position, &header)?;
                let base_offset = Offset(header.base_offset);
                self.aborted
                    .extend(open.apply(&header, marker, base_offset));
                position += header.total_length() as u64;
                expected = last_offset.next();
                continue;
            }
            let path = self.segment.path.clone();
            let detail = format!("no good batch begins here, where offset {expected} should be");
            findings.push(Finding {
                path,
                position,
                detail,
            });
            let Some((next, offset)) =
                file.next_good_batch(position, expected, self.segment.base_offset)?
            else {
                break;
            };
            (position, expected) = (next, offset);
        }
        if expected > self.end {
            let detail = format!(
                "the batches go on to offset {expected}, but the segment ends at {}",
                self.end
            );
            findings.push(Finding {
                path: self.segment.path.clone(),
                position,
                detail,
            });
        }
        self.check_time_index(findings);
        self.check_transactions(findings)
    }

    /// Each abort marker of a transaction has an entry, and it begins no later than what is left of the transaction.
    fn check_transactions(&self, findings: &mut Vec<Finding>) -> Result<(), LogError> {
        let index = &self.segment.transactions;
        let entries = index.all()?;
        for aborted in &self.aborted {
            let is_there = entries.iter().any(|entry| {
                (entry.producer_id, entry.last_offset) == (aborted.producer_id, aborted.last_offset)
                    && entry.first_offset <= aborted.first_offset
            });
            if !is_there {
                let detail = format!(
                    "producer {} aborted what begins at offset {}, and no entry says so",
                    aborted.producer_id, aborted.first_offset
                );
                findings.push(Finding {
                    path: index.path().to_owned(),
                    position: 0,
                    detail,
                });
            }
        }
        Ok(())
    }

    /// An entry of the offset index names the last offset of the batch at its position.
    fn check_index(&mut self, position: u64, last_offset: Offset, findings: &mut Vec<Finding>) {
        while let Some(entry) = self
            .due
            .filter(|entry| u64::from(entry.position) <= position)
        {
            let is_right = u64::from(entry.position) == position
                && self.segment.base_offset + i64::from(entry.relative_offset) == last_offset;
            if !is_right {
                let detail = format!(
                    "no batch with last offset {} begins here",
                    self.segment.base_offset + i64::from(entry.relative_offset)
                );
                findings.push(Finding {
                    path: self.segment.index.path().to_owned(),
                    position: entry.position.into(),
                    detail,
                });
            }
            self.due = self.index.next();
        }
    }

    fn note_maximum(&mut self, timestamp: i64, offset: Offset) {
        if self
            .maxima
            .last()
            .is_none_or(|last| timestamp > last.timestamp)
        {
            self.maxima.push(MaxTimestamp { timestamp, offset });
        }
    }

    fn has_maximum(&self, wanted: MaxTimestamp) -> bool {
        self.maxima
            .binary_search_by_key(&wanted.timestamp, |max| max.timestamp)
            .is_ok_and(|at| self.maxima[at] == wanted)
    }

    /// An entry of the time index names a timestamp that was the largest when it came, and the batch it came with.
    fn check_time_index(&self, findings: &mut Vec<Finding>) {
        for entry in &self.time_index {
            let offset = self.segment.base_offset + i64::from(entry.relative_offset);
            let is_visible = self
                .maxima
                .last()
                .is_some_and(|last| entry.timestamp <= last.timestamp);
            if is_visible
                && !self.has_maximum(MaxTimestamp {
                    timestamp: entry.timestamp,
                    offset,
                })
            {
                let detail = format!(
                    "timestamp {} is not the largest up to offset {offset}",
                    entry.timestamp
                );
                findings.push(Finding {
                    path: self.segment.time_index.path().to_owned(),
                    position: 0,
                    detail,
                });
            }
        }
    }
}
