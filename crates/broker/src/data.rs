//! The data directory of a broker: its lock, its identity, where its partitions are.
//!
//! ```text
//! <data>/.lock                     held while a broker runs; holds its process id
//! <data>/meta.properties           cluster.id, node.id, version: Kafka's file
//! <data>/<topic>-<partition>/      a partition, as Kafka lays it out
//! <data>/__cluster_metadata-0/     topics and settings, the controller's log
//! <data>/__consumer_offsets-0/     groups and their offsets, the coordinator's log
//! <data>/__transaction_state-0/    transactions, the transaction coordinator's log
//! <data>/__share_group_state-0/    what share groups have done with their records
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{Disk, FileDisk, MemoryDisk};
use rustix::fs::FlockOperation;

use crate::error::StartError;
use crate::settings::Storage;

/// An open data directory. It stays locked until this and every thread that keeps the lock have ended.
pub struct Data {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    is_in_memory: bool,
    lock: Option<Arc<File>>,
}

impl Data {
    /// Opens or creates the directory and locks it against other processes.
    ///
    /// # Errors
    /// `DataDirectory` when it cannot be created or written, `DataLocked` when a broker runs on it.
    pub fn open(storage: &Storage, disk: Option<Arc<dyn Disk>>) -> Result<Self, StartError> {
        match storage {
            Storage::Memory => Ok(Self {
                disk: disk.unwrap_or_else(|| Arc::new(MemoryDisk::default())),
                root: PathBuf::from("/memory"),
                is_in_memory: true,
                lock: None,
            }),
            Storage::Directory(root) => {
                let failed = |source| StartError::DataDirectory {
                    path: root.clone(),
                    source,
                };
                std::fs::create_dir_all(root).map_err(failed)?;
                let root = root.canonicalize().map_err(failed)?;
                let lock = lock(&root)?;
                let disk = disk.unwrap_or_else(|| Arc::new(FileDisk));
                Ok(Self {
                    disk,
                    root,
                    is_in_memory: false,
                    lock: Some(Arc::new(lock)),
                })
            }
        }
    }

    /// The lock on the directory, for those who must keep it; none in memory.
    pub fn lock(&self) -> Option<Arc<File>> {
        self.lock.clone()
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn partition_directory(&self, topic: &str, index: i32) -> PathBuf {
        self.root.join(format!("{topic}-{index}"))
    }

    /// What clients are told of it.
    pub fn name(&self) -> String {
        if self.is_in_memory {
            "memory".to_owned()
        } else {
            self.root.display().to_string()
        }
    }

    /// Bytes of the disk in all, and those that can still be written; none in memory.
    pub fn space(&self) -> Option<(i64, i64)> {
        if self.is_in_memory {
            return None;
        }
        let stat = rustix::fs::statvfs(&self.root).ok()?;
        let bytes =
            |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
        Some((bytes(stat.f_blocks), bytes(stat.f_bavail)))
    }

    /// Removes what deletions that a crash cut short left behind.
    pub fn remove_leftovers(&self) {
        match log::remove_leftover_partitions(&self.disk, &self.root) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed the directories of deleted partitions"),
            Err(error) => {
                tracing::warn!(%error, "directories of deleted partitions are still there")
            }
        }
    }

    /// The id of this cluster, made with `entropy` at the first start and kept from then on.
    ///
    /// # Errors
    /// `DataDirectory` when it cannot be read or written; `Identity` when the file is not ours, `Config` when it is another node's.
    pub fn cluster_id(&self, entropy: [u8; 16], node_id: i32) -> Result<String, StartError> {
        let path = self.root.join("meta.properties");
        let failed = |source| StartError::DataDirectory {
            path: path.clone(),
            source,
        };
        if let Some(text) = self.disk.read_small(&path, 64 << 10).map_err(failed)? {
            let text = String::from_utf8_lossy(&text);
            let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
            if let Some(written) = line("node.id=").filter(|id| id.trim() != node_id.to_string()) {
                return Err(StartError::Config {
                    reason: format!(
                        "node.id is {node_id}, but {} was written by node {written}",
                        path.display()
                    ),
                });
            }
            return line("cluster.id=")
                .map(|id| id.trim().to_owned())
                .ok_or_else(|| StartError::Identity { path: path.clone() });
        }
        let id = wire::Uuid(entropy).to_string();
        let text = format!("version=1\ncluster.id={id}\nnode.id={node_id}\n");
        self.disk.create_dir_all(&self.root).map_err(failed)?;
        self.disk
            .write_small_atomically(&path, text.as_bytes())
            .map_err(failed)?;
        Ok(id)
    }
}

/// Takes the lock file, or names the process that holds it.
fn lock(root: &Path) -> Result<File, StartError> {
    let path = root.join(".lock");
    let failed = |source| StartError::DataDirectory {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        // Without a readable id the error is as clear, only shorter.
        let _ = file.read_to_string(&mut holder);
        return Err(StartError::DataLocked {
            path: root.to_owned(),
            holder: holder.trim().parse().ok(),
        });
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}
