//! The steps of opening: list, drop what is left over, open each segment (`segments`), settle the end, and hand over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CorruptStretch, LostData, Recovery, Replay};
use crate::checkpoint::{self, Checkpoint, CheckpointFile};
use crate::compaction;
use crate::disk::Disk;
use crate::epochs::{self, Epochs};
use crate::error::{Context, LogError};
use crate::offset::Offset;
use crate::partition::{PartitionLog, Start, directories_of};
use crate::remains::DELETED;
use crate::scan::Tail;
use crate::segment::{CorruptRange, Progress, Segment, log_path, parse_name};
use crate::settings::{Durability, LogSettings};
use crate::transaction_index;
use crate::transactions::OpenTransactions;

/// The work of opening, step by step.
pub(super) struct Opening {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) settings: LogSettings,
    pub(super) names: Vec<String>,
    /// Base offsets of the segments there are.
    pub(super) bases: Vec<Offset>,
    pub(super) segments: Vec<Segment>,
    /// Indexes into `segments` of those that were scanned or changed.
    pub(super) scanned: Vec<usize>,
    /// How far the last of `segments` goes, and what follows there that is no batch.
    pub(super) progress: Progress,
    pub(super) next_offset: Offset,
    pub(super) tail: Option<Tail>,
    /// How many of `segments` lie before the checkpoint's.
    pub(super) taken: usize,
    /// For each of `segments`, how far it goes.
    pub(super) ends: Vec<(Progress, Offset)>,
    /// Indexes into `segments` of those whose index files were written to.
    pub(super) reindexed: Vec<usize>,
    /// Those whose indexes the checkpoint in force takes for good and that were made anew.
    pub(super) rebuilt: Vec<usize>,
    pub(super) epochs: Epochs,
    pub(super) have_epochs_changed: bool,
    /// The segment in which the checkpoint in force lies; -1 for none.
    pub(super) checkpointed_segment: Offset,
    /// Those that are open behind the last batch that was looked at.
    pub(super) transactions: OpenTransactions,
    /// Whether a transaction index was not as the checkpoint says.
    pub(super) are_transactions_rebuilt: bool,
    pub(super) recovery: Recovery,
}

impl Opening {
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        settings: LogSettings,
    ) -> Result<Opening, LogError> {
        if !disk.exists(&dir).context("look for", &dir)? {
            disk.create_dir_all(&dir).context("create", &dir)?;
        }
        let mut names = files_in(&disk, &dir)?;
        let (removed_files, have_changed) = compaction::settle_interrupted(&disk, &dir, &names)?;
        if have_changed {
            names = files_in(&disk, &dir)?;
        }
        let bases = names
            .iter()
            .filter_map(|name| parse_name(name))
            .filter(|(_, kind)| *kind == "log")
            .map(|(base, _)| base)
            .collect();
        let mut opening = Opening {
            disk,
            dir,
            settings,
            names,
            bases,
            segments: Vec::new(),
            scanned: Vec::new(),
            progress: Progress::START,
            next_offset: Offset::ZERO,
            tail: None,
            taken: 0,
            ends: Vec::new(),
            reindexed: Vec::new(),
            rebuilt: Vec::new(),
            epochs: Epochs::default(),
            have_epochs_changed: false,
            transactions: OpenTransactions::default(),
            are_transactions_rebuilt: false,
            checkpointed_segment: Offset(-1),
            recovery: Recovery {
                removed_files,
                ..Recovery::default()
            },
        };
        opening.remove_leftovers()?;
        Ok(opening)
    }

    /// Files whose deletion or writing a crash interrupted, and indexes without their log.
    fn remove_leftovers(&mut self) -> Result<(), LogError> {
        for name in std::mem::take(&mut self.names) {
            let is_orphan = parse_name(&name).is_some_and(|(base, kind)| {
                matches!(kind, "index" | "timeindex" | transaction_index::EXTENSION)
                    && !self.bases.contains(&base)
            });
            if name.ends_with(DELETED) || name.ends_with(".tmp") || is_orphan {
                self.remove(&self.dir.join(&name))?;
                self.recovery.removed_files += 1;
            } else {
                self.names.push(name);
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), LogError> {
        self.disk.remove_file(path).context("remove", path)
    }

    /// The checkpoint to start from. One that claims more than there is gives way to a scan of everything, and is reported.
    pub(super) fn load_checkpoint(&mut self) -> Result<(CheckpointFile, Checkpoint), LogError> {
        let exists = self.names.iter().any(|name| name == checkpoint::FILE_NAME);
        let (mut file, found) = CheckpointFile::load(&self.disk, &self.dir, exists)?;
        let Some(checkpoint) = found else {
            return Ok((file, Checkpoint::unknown(Offset::ZERO)));
        };
        self.recovery.lost = self.lost_since(&checkpoint)?;
        if self.recovery.lost.is_none() {
            self.checkpointed_segment = checkpoint.segment;
            return Ok((file, checkpoint));
        }
        file.reset_compacted_end();
        let unknown = Checkpoint::unknown(checkpoint.log_start);
        file.write(&unknown)?;
        Ok((file, unknown))
    }

    fn lost_since(&self, checkpoint: &Checkpoint) -> Result<Option<LostData>, LogError> {
        let is_all_deleted = checkpoint.log_start >= checkpoint.next_offset;
        if !checkpoint.has_recovery_point() || is_all_deleted {
            return Ok(None);
        }
        let path = log_path(&self.dir, checkpoint.segment);
        let found_bytes = if self.bases.contains(&checkpoint.segment) {
            let file = self.disk.open(&path).context("open", &path)?;
            file.len().context("measure", &path)?
        } else if self
            .bases
            .iter()
            .any(|base| *base >= checkpoint.next_offset)
            || checkpoint.progress.position == 0
        {
            // Retention took the segment after the checkpoint; what came later is there and will be scanned.
            return Ok(None);
        } else {
            0
        };
        let expected_bytes = checkpoint.progress.position;
        let expected_end = checkpoint.next_offset;
        Ok((found_bytes < expected_bytes).then_some(LostData {
            path,
            expected_bytes,
            found_bytes,
            expected_end,
        }))
    }

    /// Removes segments that lie wholly before the log start: a deletion that a crash interrupted.
    pub(super) fn drop_before(&mut self, checkpoint: &Checkpoint) -> Result<(), LogError> {
        while let Some(base) = self.bases.first().copied() {
            // Segments before the checkpoint's end where that begins, whatever the names after them are.
            let ends_at_checkpoint =
                base < checkpoint.segment && checkpoint.segment <= checkpoint.log_start;
            let ends_at_next = self
                .bases
                .get(1)
                .is_some_and(|next| *next <= checkpoint.log_start);
            if !ends_at_checkpoint && !ends_at_next {
                break;
            }
            self.bases.remove(0);
            self.remove_segment_files(base)?;
        }
        Ok(())
    }

    fn remove_segment_files(&mut self, base: Offset) -> Result<(), LogError> {
        let of_segment: Vec<String> = self
            .names
            .iter()
            .filter(|name| parse_name(name).is_some_and(|(of, _)| of == base))
            .cloned()
            .collect();
        for name in of_segment {
            self.remove(&self.dir.join(&name))?;
            self.names.retain(|known| *known != name);
            self.recovery.removed_files += 1;
        }
        Ok(())
    }

    pub(super) fn load_epochs(&mut self) -> Result<(), LogError> {
        if self.names.iter().any(|name| name == epochs::FILE_NAME) {
            let path = self.dir.join(epochs::FILE_NAME);
            let content = self
                .disk
                .read_small(&path, epochs::FILE_LIMIT)
                .context("read", &path)?;
            // It summarizes the batches and is not synced, so after a power cut it may be anything.
            let text = content.and_then(|content| String::from_utf8(content).ok());
            self.epochs = text
                .and_then(|text| Epochs::decode(&text))
                .unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn open_segments(
        &mut self,
        checkpoint: &Checkpoint,
        replay: &mut dyn FnMut(Replay<'_>),
    ) -> Result<(), LogError> {
        let bases = self.bases.clone();
        for (number, base) in bases.iter().enumerate() {
            let next_base = bases.get(number + 1).copied();
            if checkpoint.has_recovery_point() && *base < checkpoint.segment {
                self.taken += 1;
                self.take_segment(
                    *base,
                    next_base.unwrap_or(checkpoint.next_offset),
                    checkpoint,
                )?;
            } else if checkpoint.has_recovery_point() && *base == checkpoint.segment {
                self.continue_segment(checkpoint, replay)?;
            } else {
                self.scan_segment(*base, replay)?;
            }
            let ends_here = self.settle_tail(next_base)?;
            self.ends.push((self.progress, self.next_offset));
            if ends_here {
                self.remove_later(&bases[number + 1..])?;
                break;
            }
        }
        self.drop_empty_end()?;
        self.seal_all()
    }

    /// Removes an empty last segment that does not continue the one before it: what lay between was never synced.
    ///
    /// Readers would wait in that gap for ever. With durability `sync` there is none, since segments are synced before the next one.
    fn drop_empty_end(&mut self) -> Result<(), LogError> {
        while let [.., before, last] = self.ends.as_slice() {
            let base = self.segments[self.ends.len() - 1].base_offset;
            let is_gap =
                last.0.position == 0 && before.1 < base && self.ends.len() - 2 >= self.taken;
            if !is_gap || self.settings.durability == Durability::Sync {
                break;
            }
            self.ends.pop();
            self.segments.pop();
            self.remove_segment_files(base)?;
        }
        let count = self.segments.len();
        self.scanned.retain(|number| *number < count);
        self.reindexed.retain(|number| *number < count);
        self.rebuilt.retain(|number| *number < count);
        Ok(())
    }

    /// Ends all segments but the last, which is the one that the log goes on with.
    fn seal_all(&mut self) -> Result<(), LogError> {
        for (pair, (progress, _)) in self.segments.windows(2).zip(&self.ends) {
            pair[0].seal(progress, pair[1].base_offset)?;
        }
        // Sealing may have written the last entry of a time index that the checkpoint does not claim.
        let later = self.taken..self.segments.len().saturating_sub(1);
        self.reindexed
            .extend(later.filter(|number| !self.scanned.contains(number)));
        if let Some((progress, next_offset)) = self.ends.last() {
            self.progress = *progress;
            self.next_offset = *next_offset;
        }
        Ok(())
    }

    /// Deals with the bytes after the last good batch of the segment just read. Tells whether the log ends here.
    ///
    /// With durability `sync` a segment is synced before the next one begins, so what looks torn before another segment is damage.
    fn settle_tail(&mut self, next_base: Option<Offset>) -> Result<bool, LogError> {
        let overlaps = next_base.is_some_and(|next_base| next_base < self.next_offset);
        let Some(tail) = self.tail.take() else {
            return Ok(overlaps);
        };
        let is_cut = next_base.is_none()
            || overlaps
            || (tail.is_torn && self.settings.durability != Durability::Sync);
        match next_base.filter(|_| !is_cut) {
            Some(next_base) => self.set_aside(tail, next_base),
            None => {
                let segment = self.segments.last().expect("the segment was just scanned");
                segment
                    .log
                    .set_len(self.progress.position)
                    .context("cut", &segment.path)?;
                self.recovery.truncated_bytes += tail.length;
            }
        }
        Ok(is_cut)
    }

    /// Keeps the bytes after the last good batch as damage.
    pub(super) fn set_aside(&mut self, tail: Tail, next_offset: Offset) {
        let segment = self
            .segments
            .last_mut()
            .expect("the segment was just scanned");
        let (start, end) = (self.progress.position, self.progress.position + tail.length);
        segment.corrupt.push(CorruptRange {
            start,
            end,
            first_offset: self.next_offset,
            next_offset,
        });
        self.progress.position = end;
        self.next_offset = next_offset;
    }

    /// Segments after a cut: nothing in them can follow what was lost.
    fn remove_later(&mut self, later: &[Offset]) -> Result<(), LogError> {
        for base in later {
            let path = log_path(&self.dir, *base);
            let length = self
                .disk
                .open(&path)
                .and_then(|file| file.len())
                .context("measure", &path)?;
            self.recovery.truncated_bytes += length;
            self.remove_segment_files(*base)?;
        }
        Ok(())
    }

    /// Makes what was found durable and visible, and hands it over.
    pub(super) fn finish(
        mut self,
        checkpoint_file: CheckpointFile,
        log_start: Offset,
        now_ms: i64,
    ) -> Result<(PartitionLog, Recovery), LogError> {
        self.settle_start(log_start)?;
        let log_start = log_start.max(self.segments[0].base_offset);
        self.settle_epochs(log_start);
        self.report_damage();
        let is_unchanged = self.scanned.is_empty()
            && self.reindexed.is_empty()
            && !self.are_transactions_rebuilt
            && self.recovery.truncated_bytes == 0;
        // A cut is synced whatever the durability: else a power cut may bring back what was cut, under what is written there next.
        let has_cut = self.recovery.truncated_bytes > 0;
        let is_synced = has_cut || (self.settings.durability == Durability::Sync && !is_unchanged);
        if is_synced {
            self.sync()?;
        }
        self.sync_rebuilt()?;
        // A log start within a segment, too, may be what a killed process has written and not synced.
        if !is_unchanged || log_start > self.segments[0].base_offset {
            checkpoint_file.sync()?;
        }
        let segments: Vec<Arc<Segment>> = self.segments.into_iter().map(Arc::new).collect();
        let pick = |numbers: &[usize]| {
            numbers
                .iter()
                .map(|number| Arc::clone(&segments[*number]))
                .collect()
        };
        let start = Start {
            unsynced: if is_synced {
                Vec::new()
            } else {
                pick(&self.scanned)
            },
            unsynced_indexes: pick(&self.reindexed),
            are_names_unsynced: !is_synced,
            segments,
            progress: self.progress,
            log_start,
            next_offset: self.next_offset,
            epochs: self.epochs,
            transactions: self.transactions,
            scanned_bytes: self.recovery.scanned_bytes,
            checkpointed_end: if is_unchanged {
                self.next_offset
            } else {
                Offset(-1)
            },
            checkpointed_segment: self.checkpointed_segment,
        };
        let log = PartitionLog::start(
            self.disk,
            self.dir,
            self.settings,
            now_ms,
            checkpoint_file,
            start,
        );
        if self.have_epochs_changed {
            log.write_epochs()?;
        }
        Ok((log, self.recovery))
    }

    /// Sees to it that there is an active segment, and that the log does not end before it starts.
    fn settle_start(&mut self, log_start: Offset) -> Result<(), LogError> {
        if self.next_offset < log_start {
            for base in std::mem::take(&mut self.bases) {
                self.remove_segment_files(base)?;
            }
            self.segments.clear();
            self.scanned.clear();
            self.reindexed.clear();
            self.rebuilt.clear();
        }
        if self.segments.is_empty() {
            // Offsets that were given out are not given out again, even when their records are gone.
            let lost_end = self
                .recovery
                .lost
                .as_ref()
                .map_or(Offset::ZERO, |lost| lost.expected_end);
            self.next_offset = self.next_offset.max(log_start).max(lost_end);
            self.progress = Progress::START;
            let segment = Segment::create(&self.disk, &self.dir, self.next_offset)?;
            if self.settings.preallocate {
                // Room that the disk cannot reserve is looked for when it is needed.
                let _ = segment.log.reserve(self.settings.segment_bytes.0);
            }
            self.segments.push(segment);
        }
        Ok(())
    }

    fn settle_epochs(&mut self, log_start: Offset) {
        self.have_epochs_changed |= self.epochs.cut(self.next_offset);
        if self.epochs.latest().is_none() {
            self.have_epochs_changed |= self.epochs.begin(0, log_start);
        }
    }

    fn report_damage(&mut self) {
        for segment in &self.segments {
            for range in &segment.corrupt {
                self.recovery.corrupt.push(CorruptStretch {
                    path: segment.path.clone(),
                    position: range.start,
                    length: range.end - range.start,
                    first_offset: range.first_offset,
                    next_offset: range.next_offset,
                });
            }
        }
    }

    /// The next start believes what the checkpoint says of these indexes, so they must be as good as it says.
    fn sync_rebuilt(&self) -> Result<(), LogError> {
        for number in &self.rebuilt {
            self.segments[*number].flush_indexes()?;
            self.segments[*number].sync_indexes()?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        for number in &self.scanned {
            let segment = &self.segments[*number];
            segment.sync_log()?;
        }
        directories_of(&self.dir)
            .iter()
            .try_for_each(|dir| self.disk.sync_dir(dir).context("sync", dir))
    }
}

fn files_in(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Vec<String>, LogError> {
    let entries = disk.list(dir).context("list", dir)?;
    let files = entries.into_iter().filter(|entry| !entry.is_directory);
    Ok(files.map(|entry| entry.name).collect())
}
