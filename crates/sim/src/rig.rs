//! The disk of a simulation: a `SimDisk` whose power can go at any single operation, and that can be made to break its promises.
//!
//! The promises are broken by [`Sabotage`], to show that the invariants notice.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use log::{DirEntry, Disk, DiskFile, Fault, SimDisk};

/// A deliberate mistake in what a simulation runs, or in what it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    #[default]
    None,
    /// The disk says that it has synced a file, and has not.
    LyingSync,
    /// The same, while nobody waits for acknowledgements: only readers can notice.
    LyingSyncUnacknowledged,
    /// A whole batch vanishes from the middle of a log file at a restart.
    CutOutBatch,
    /// A byte of a batch in the middle of a log file is another one after a restart.
    FlippedByte,
    /// A batch that nobody has sent is at the end of a log file after a restart.
    InventedBatch,
    /// An answer is lost.
    LostAnswer,
    /// Recovery, or a reader of a compacted log, does not see every batch or record.
    ForgetfulReplay,
    /// Clients send batches again without saying so.
    AnonymousRetries,
    /// Duplicates are answered with the offset behind the first one.
    WrongFirstOffset,
    /// Events reach a shard that does not own the partition.
    WrongShard,
    /// Log starts go back at a restart: the disk loses the checkpoint.
    LostCheckpoint,
    /// The coordinator is told that markers are written, and they are not.
    LostMarker,
    /// One partition is told another end of a transaction than the others.
    WrongOutcome,
    /// The present producer asks where a former one was meant to.
    PresentAsFormer,
    /// Two instances of a producer hear the same answer.
    TwinInstances,
    /// A record that a member has is taken for free.
    EarlyRelease,
    /// Dead letters are thrown away.
    LostLetters,
}

/// A simulated disk with a switch.
#[derive(Clone, Debug)]
pub struct Rig {
    disk: SimDisk,
    sabotage: Sabotage,
    switch: Arc<Switch>,
}

#[derive(Debug)]
struct Switch {
    /// Operations until the power goes; negative while it stays.
    left: AtomicI64,
    syncs: AtomicU64,
}

impl Rig {
    pub fn new(seed: u64, sabotage: Sabotage) -> Self {
        let switch = Switch {
            left: AtomicI64::new(-1),
            syncs: AtomicU64::new(0),
        };
        Self {
            disk: SimDisk::new(seed),
            sabotage,
            switch: Arc::new(switch),
        }
    }

    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    pub fn sim(&self) -> &SimDisk {
        &self.disk
    }

    /// Lets the machine stop before its `nth` operation from now on: that one and all later ones fail without effect.
    pub fn stop_at(&self, nth: u64) {
        self.switch.left.store(nth as i64, Ordering::Relaxed);
    }

    /// Lets the `nth` operation fail as a disk fails.
    pub fn fail_at(&self, nth: u64, fault: Fault) {
        self.disk.fail_nth(nth, fault);
    }

    /// Takes planned faults back.
    pub fn mend(&self) {
        self.switch.left.store(-1, Ordering::Relaxed);
        self.disk.fail_nth(u64::MAX / 2, Fault::DeviceError);
    }

    /// Counts an operation and fails it once the machine has stopped.
    fn operate(&self) -> io::Result<()> {
        let left = self.switch.left.load(Ordering::Relaxed);
        match left {
            ..0 => Ok(()),
            0 | 1 => {
                self.switch.left.store(0, Ordering::Relaxed);
                Err(io::Error::other("the machine has stopped"))
            }
            _ => {
                self.switch.left.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn lies(&self) -> bool {
        matches!(
            self.sabotage,
            Sabotage::LyingSync | Sabotage::LyingSyncUnacknowledged
        )
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(RigFile {
            rig: self.clone(),
            file,
        })
    }
}

impl Disk for Rig {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.disk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.operate()?;
        Ok(self.wrap(self.disk.create(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.operate()?;
        self.disk.create_dir_all(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operate()?;
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.operate()?;
        self.disk.remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate()?;
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate()?;
        self.disk.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
}

#[derive(Debug)]
struct RigFile {
    rig: Rig,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for RigFile {
    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        self.rig.operate()?;
        self.file.write_at(position, slices)
    }

    fn read_at(&self, position: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        self.file.read_at(position, length, into)
    }

    fn read_at_if_cached(
        &self,
        position: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        self.file.read_at_if_cached(position, length, into)
    }

    fn sync(&self) -> io::Result<()> {
        self.rig.operate()?;
        if self.rig.lies() && self.rig.switch.syncs.fetch_add(1, Ordering::Relaxed) % 4 == 3 {
            return Ok(());
        }
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.rig.operate()?;
        self.file.set_len(length)
    }
}
