//! The log of one partition: the owner's side. One thread appends, writes, publishes and maintains; readers take views.
//!
//! ```text
//! append → write → unsynced_files, synced by the caller → mark_synced → publish      every step
//! checkpoint, apply_retention                                                        now and then
//! ```
//! What it keeps true: offsets are dense in the order of appends; readers see nothing beyond what was published; a checkpoint
//! claims nothing that is not synced; the files are Kafka's. It has no clock: times come in as arguments.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::append::Waiting;
use crate::checkpoint::CheckpointFile;
use crate::cursors::Cursors;
use crate::disk::{Disk, DiskFile, Space};
use crate::epochs::{self, Epochs};
use crate::error::{Context, LogError};
use crate::offset::{ByteCount, Offset};
use crate::segment::{Progress, Segment};
use crate::settings::LogSettings;
use crate::transactions::{OpenTransactions, last_stable_offset};
use crate::view::{PartitionView, SharedView, Visible};

/// A durable log of record batches in one directory.
#[derive(Debug)]
pub struct PartitionLog {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) settings: LogSettings,

    /// In order; the last one is active.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) progress: Progress,
    pub(crate) segment_created_ms: i64,
    pub(crate) sealed_bytes: ByteCount,
    /// Bytes of the segments that were deleted since the log was opened.
    pub(crate) deleted_bytes: ByteCount,
    pub(crate) log_start: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) leader_epoch: i32,
    pub(crate) epochs: Epochs,
    /// As of the last appended batch.
    pub(crate) transactions: OpenTransactions,

    pub(crate) waiting: Vec<Waiting>,
    /// Ends of writes that are not published yet: a handful, since each step publishes.
    pub(crate) boundaries: VecDeque<Boundary>,
    pub(crate) high_watermark: Offset,
    /// As `Boundary::first_unstable`, at the high watermark.
    pub(crate) first_unstable: Option<Offset>,
    /// As `Boundary::appended_bytes`, at the high watermark.
    pub(crate) visible_bytes: ByteCount,
    pub(crate) shared: Arc<SharedView>,

    pub(crate) unsynced: Vec<Arc<Segment>>,
    pub(crate) being_synced: Vec<Arc<Segment>>,
    /// Segments other than the active one whose indexes were written since the last checkpoint.
    pub(crate) unsynced_indexes: Vec<Arc<Segment>>,
    pub(crate) are_names_unsynced: bool,
    pub(crate) synced_end: Offset,

    pub(crate) checkpoint_file: Arc<Mutex<CheckpointFile>>,
    /// The end of the log at the last finished checkpoint; -1 if it may not be relied on.
    pub(crate) checkpointed_end: Offset,
    pub(crate) bytes_since_checkpoint: u64,
    /// The base offset of the segment in which the finished checkpoint lies, -1 for none: what lies before may be compacted.
    pub(crate) checkpointed_segment: Offset,
    /// Everything before it is compacted.
    pub(crate) compacted_end: Offset,
    /// While a compaction is under way no segment is deleted.
    pub(crate) is_compacting: bool,
    /// As `is_compacting`, while segments are being deleted.
    pub(crate) is_trimming: bool,
    pub(crate) is_halted: bool,
}

/// The end of a write: a place where the high watermark may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundary {
    pub(crate) end_offset: Offset,
    /// The bytes of the log up to here, deleted segments included: deleting changes it not.
    pub(crate) appended_bytes: ByteCount,
    pub(crate) visible: Visible,
    /// The first offset of the earliest transaction that is open here.
    pub(crate) first_unstable: Option<Offset>,
}

/// What recovery found: a log begins with it.
pub(crate) struct Start {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) progress: Progress,
    pub(crate) log_start: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) epochs: Epochs,
    pub(crate) transactions: OpenTransactions,
    pub(crate) unsynced: Vec<Arc<Segment>>,
    pub(crate) unsynced_indexes: Vec<Arc<Segment>>,
    pub(crate) are_names_unsynced: bool,
    pub(crate) scanned_bytes: u64,
    pub(crate) checkpointed_end: Offset,
    pub(crate) checkpointed_segment: Offset,
}

impl Start {
    fn sealed_bytes(&self) -> u64 {
        let sealed = self.segments.iter().filter_map(|segment| segment.sealed());
        sealed.map(|sealed| sealed.size).sum()
    }

    /// What readers see first: everything that was recovered.
    fn view(&self, settings: &LogSettings) -> PartitionView {
        let active = self
            .segments
            .last()
            .expect("recovery makes an active segment");
        PartitionView {
            log_start: self.log_start,
            high_watermark: self.next_offset,
            last_stable_offset: last_stable_offset(
                self.next_offset,
                self.transactions.first(),
                self.log_start,
            ),
            leader_epoch: self.epochs.latest().unwrap_or(0),
            size_bytes: ByteCount(self.sealed_bytes()) + ByteCount(self.progress.position),
            visible: Visible {
                segment: active.base_offset,
                position: self.progress.position,
                max: self.progress.max,
            },
            segments: self.segments.as_slice().into(),
            skips_damage: settings.skips_damage,
            epochs: Arc::new(self.epochs.clone()),
            cursors: Arc::default(),
        }
    }
}

impl PartitionLog {
    /// A log on recovered files. Everything in them is visible.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        settings: LogSettings,
        now_ms: i64,
        file: CheckpointFile,
        start: Start,
    ) -> Self {
        let sealed = start.sealed_bytes();
        let view = start.view(&settings);
        let first_unstable = start.transactions.first();
        let compacted_end = file.compacted_end();
        PartitionLog {
            disk,
            dir,
            settings,
            segments: start.segments,
            progress: start.progress,
            segment_created_ms: now_ms,
            sealed_bytes: ByteCount(sealed),
            deleted_bytes: ByteCount::ZERO,
            visible_bytes: ByteCount(sealed) + ByteCount(start.progress.position),
            log_start: start.log_start,
            next_offset: start.next_offset,
            leader_epoch: view.leader_epoch,
            epochs: start.epochs,
            transactions: start.transactions,
            waiting: Vec::new(),
            boundaries: VecDeque::new(),
            high_watermark: start.next_offset,
            first_unstable,
            shared: Arc::new(SharedView::new(view)),
            unsynced: start.unsynced,
            being_synced: Vec::new(),
            unsynced_indexes: start.unsynced_indexes,
            are_names_unsynced: start.are_names_unsynced,
            synced_end: start.next_offset,
            checkpoint_file: Arc::new(Mutex::new(file)),
            checkpointed_end: start.checkpointed_end,
            bytes_since_checkpoint: start.scanned_bytes,
            checkpointed_segment: start.checkpointed_segment,
            compacted_end,
            is_compacting: false,
            is_trimming: false,
            is_halted: false,
        }
    }

    /// The directory of the partition.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings in force.
    pub fn settings(&self) -> &LogSettings {
        &self.settings
    }

    /// Takes new settings; they apply from the next append or maintenance on.
    pub fn update_settings(&mut self, settings: LogSettings) {
        let skips_damage = settings.skips_damage;
        self.settings = settings;
        self.shared.change(|view| view.skips_damage = skips_damage);
    }

    /// The first offset that is kept.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset that the next appended record gets.
    pub fn end_offset(&self) -> Offset {
        self.next_offset
    }

    /// The offset after the last published record.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The offset that readers of committed records stop at.
    pub fn last_stable_offset(&self) -> Offset {
        last_stable_offset(self.high_watermark, self.first_unstable, self.log_start)
    }

    /// The offset after the last record that is known to be synced.
    pub fn synced_end(&self) -> Offset {
        self.synced_end
    }

    /// The bytes of all log files, published or not.
    pub fn size_bytes(&self) -> ByteCount {
        self.sealed_bytes + ByteCount(self.progress.position)
    }

    /// The epoch that new batches are stamped with.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Stamps batches that are appended from now on with a later epoch, and notes where it begins. An earlier one changes nothing.
    ///
    /// # Errors
    /// `Io` when the note cannot be written.
    pub fn set_leader_epoch(&mut self, epoch: i32) -> Result<(), LogError> {
        if !self.epochs.begin(epoch, self.next_offset) {
            return Ok(());
        }
        self.leader_epoch = epoch;
        self.write_epochs()?;
        let epochs = Arc::new(self.epochs.clone());
        self.shared.change(|view| {
            view.epochs = epochs;
            view.leader_epoch = epoch;
        });
        Ok(())
    }

    /// Not synced: the batches carry their epochs, and recovery compares.
    pub(crate) fn write_epochs(&self) -> Result<(), LogError> {
        let path = self.dir.join(epochs::FILE_NAME);
        let file = self.disk.create(&path).context("create", &path)?;
        file.write_at(0, &[IoSlice::new(self.epochs.encode().as_bytes())])
            .context("write", &path)
    }

    /// The files that must be synced before what was written may be visible (with durability `sync`), directories included.
    /// Sync them in any order and in parallel, then call [`PartitionLog::mark_synced`].
    pub fn unsynced_files(&mut self) -> Vec<Arc<dyn DiskFile>> {
        let mut files = Vec::with_capacity(1);
        self.collect_unsynced(&mut files);
        files
    }

    /// As [`PartitionLog::unsynced_files`], for many logs into one list.
    pub fn collect_unsynced(&mut self, files: &mut Vec<Arc<dyn DiskFile>>) {
        files.extend(self.unsynced.iter().map(|segment| Arc::clone(&segment.log)));
        self.being_synced.append(&mut self.unsynced);
        if std::mem::take(&mut self.are_names_unsynced) {
            for dir in directories_of(&self.dir) {
                files.push(Arc::new(DirectorySync {
                    disk: Arc::clone(&self.disk),
                    dir,
                }));
            }
        }
    }

    /// Takes no more writes, because a sync of what [`PartitionLog::unsynced_files`] gave has failed.
    ///
    /// What the failure may have lost is written again, so that the next process, which still reads it, can sync it in earnest.
    pub fn sync_failed(&mut self) {
        self.is_halted = true;
        let unsynced = self.being_synced.iter().chain(&self.unsynced);
        unsynced.for_each(|segment| segment.write_again());
    }

    /// Notes that everything written before `end` is synced.
    pub fn mark_synced(&mut self, end: Offset) {
        self.synced_end = self.synced_end.max(end);
        if self.synced_end >= self.written_end() {
            self.being_synced.clear();
        }
    }

    /// Makes records visible to readers up to the end of a write, at most `high_watermark`. It never goes back.
    ///
    /// # Panics
    /// When nothing was written up to there: visible records exist.
    pub fn publish(&mut self, high_watermark: Offset) {
        assert!(
            high_watermark <= self.written_end(),
            "what is visible was written"
        );
        let mut reached = None;
        while self
            .boundaries
            .front()
            .is_some_and(|boundary| boundary.end_offset <= high_watermark)
        {
            reached = self.boundaries.pop_front();
        }
        let Some(boundary) = reached else { return };
        self.high_watermark = boundary.end_offset;
        self.first_unstable = boundary.first_unstable;
        self.visible_bytes = boundary.appended_bytes;
        let last_stable_offset = self.last_stable_offset();
        let size_bytes = ByteCount(self.visible_bytes.0 - self.deleted_bytes.0);
        self.shared.change(|view| {
            view.high_watermark = boundary.end_offset;
            view.last_stable_offset = last_stable_offset;
            view.size_bytes = size_bytes;
            view.visible = boundary.visible;
        });
    }

    /// Where readers on any thread find the latest published view.
    pub fn shared_view(&self) -> Arc<SharedView> {
        Arc::clone(&self.shared)
    }

    /// Goes on where another log of this directory has stopped: its readers find what this log publishes.
    ///
    /// # Errors
    /// `Corrupt` when they have seen more than there is: nothing is taken over then.
    pub fn continue_view(&mut self, earlier: Arc<SharedView>) -> Result<(), LogError> {
        let seen = earlier.high_watermark();
        if seen > self.high_watermark {
            return Err(LogError::Corrupt {
                path: self.dir.clone(),
                position: self.progress.position,
                offset: self.high_watermark,
                detail: format!("readers have seen records up to offset {seen}"),
            });
        }
        earlier.store(self.shared.load());
        self.shared = earlier;
        Ok(())
    }

    /// The room on the disk of this log; `None` where nobody can tell.
    pub fn space(&self) -> Option<Space> {
        self.disk.space(&self.dir).ok().flatten()
    }

    /// The latest published view.
    pub fn view(&self) -> PartitionView {
        self.shared.load()
    }

    /// The offset after the last record that is in the file: appended ones may still wait.
    pub(crate) fn written_end(&self) -> Offset {
        self.waiting
            .first()
            .map_or(self.next_offset, Waiting::base_offset)
    }

    pub(crate) fn active(&self) -> &Arc<Segment> {
        self.segments
            .last()
            .expect("a log always has an active segment")
    }

    /// The end of what is written, as readers find it.
    pub(crate) fn visible_end(&self) -> Visible {
        Visible {
            segment: self.active().base_offset,
            position: self.progress.position,
            max: self.progress.max,
        }
    }

    pub(crate) fn mark_unsynced(&mut self, segment: &Arc<Segment>) {
        if !self
            .unsynced
            .iter()
            .any(|known| known.base_offset == segment.base_offset)
        {
            self.unsynced.push(Arc::clone(segment));
        }
    }

    /// Tells readers of a segment that began or went, and of the log start.
    pub(crate) fn publish_segments(&self) {
        let cursors = self.shared.load().cursors;
        self.publish_segments_with(cursors);
    }

    /// As `publish_segments`, and what was remembered of places is replaced in the same moment.
    pub(crate) fn publish_segments_with(&self, cursors: Arc<Cursors>) {
        let segments: Arc<[Arc<Segment>]> = self.segments.as_slice().into();
        let log_start = self.log_start;
        let last_stable_offset = self.last_stable_offset();
        let size_bytes = ByteCount(self.visible_bytes.0 - self.deleted_bytes.0);
        let view = self.shared.load();
        self.shared.store(PartitionView {
            segments,
            log_start,
            last_stable_offset,
            size_bytes,
            cursors,
            ..view
        });
    }
}

/// The directory of a partition and its parent, which holds its name.
pub(crate) fn directories_of(dir: &Path) -> [PathBuf; 2] {
    [
        dir.to_owned(),
        dir.parent().unwrap_or(Path::new(".")).to_owned(),
    ]
}

/// A directory among files to sync: names that were created are made durable together with bytes.
#[derive(Debug)]
struct DirectorySync {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl DiskFile for DirectorySync {
    fn sync(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)
    }

    fn write_at(&self, _: u64, _: &[IoSlice<'_>]) -> io::Result<()> {
        Err(io::ErrorKind::IsADirectory.into())
    }

    fn read_at(&self, _: u64, _: usize, _: &mut Vec<u8>) -> io::Result<usize> {
        Err(io::ErrorKind::IsADirectory.into())
    }

    fn read_at_if_cached(&self, _: u64, _: usize, _: &mut Vec<u8>) -> io::Result<Option<usize>> {
        Err(io::ErrorKind::IsADirectory.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::IsADirectory.into())
    }
}
