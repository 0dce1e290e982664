//! What a simulated disk holds, live and durable, and what a power cut makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::disk::memory::moved;

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) files: BTreeMap<PathBuf, u64>,
    pub(super) directories: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    File {
        path: PathBuf,
        file: u64,
    },
    Directory {
        path: PathBuf,
    },
    Removed {
        path: PathBuf,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
        file: Option<u64>,
    },
}

impl Names {
    pub(super) fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::File { path, file } => {
                self.files.insert(path.clone(), *file);
            }
            NameChange::Directory { path } => {
                self.directories.insert(path.clone());
            }
            NameChange::Removed { path } => {
                self.files.retain(|name, _| !name.starts_with(path));
                self.directories.retain(|name| !name.starts_with(path));
            }
            NameChange::Renamed {
                from,
                to,
                file: Some(file),
            } => {
                self.files.remove(from);
                self.files.insert(to.clone(), *file);
            }
            NameChange::Renamed {
                from,
                to,
                file: None,
            } => {
                self.files = std::mem::take(&mut self.files)
                    .into_iter()
                    .map(|(name, file)| (moved(name, from, to), file))
                    .collect();
                self.directories = std::mem::take(&mut self.directories)
                    .into_iter()
                    .map(|name| moved(name, from, to))
                    .collect();
            }
        }
    }

    /// A name in a directory that was lost is lost with it.
    pub(super) fn drop_orphans(&mut self) {
        let known = self.directories.clone();
        let reachable = |path: &Path| {
            path.ancestors().skip(1).all(|dir| {
                dir.as_os_str().is_empty() || dir == Path::new("/") || known.contains(dir)
            })
        };
        self.directories.retain(|path| reachable(path));
        self.files.retain(|path, _| reachable(path));
    }

    pub(super) fn has_directory(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || dir == Path::new("/") || self.directories.contains(dir)
    }
}

impl NameChange {
    /// The name that the change is about; of a renaming the new one.
    pub(super) fn path(&self) -> &Path {
        let (NameChange::File { path, .. }
        | NameChange::Directory { path }
        | NameChange::Removed { path }
        | NameChange::Renamed { to: path, .. }) = self;
        path
    }

    pub(super) fn is_in(&self, dir: &Path) -> bool {
        self.path().parent() == Some(dir)
    }

    /// The name that is free after this change.
    pub(super) fn given_up(&self) -> Option<&Path> {
        match self {
            NameChange::Removed { path } | NameChange::Renamed { from: path, .. } => Some(path),
            NameChange::File { .. } | NameChange::Directory { .. } => None,
        }
    }

    /// What later happens to the directory in which this name is: names belong to a directory and not to its path, so they go
    /// where it goes, and never into one that takes its name. False when the directory goes for good.
    pub(super) fn follow(&mut self, later: &NameChange) -> bool {
        match later {
            NameChange::Removed { path } => self.path() == path || !self.path().starts_with(path),
            NameChange::Renamed {
                from,
                to,
                file: None,
            } => {
                self.rename_within(from, to);
                true
            }
            _ => true,
        }
    }

    fn rename_within(&mut self, before: &Path, after: &Path) {
        let rename = |path: &mut PathBuf| *path = moved(std::mem::take(path), before, after);
        match self {
            NameChange::File { path, .. }
            | NameChange::Directory { path }
            | NameChange::Removed { path } => rename(path),
            NameChange::Renamed { from, to, .. } => {
                rename(from);
                rename(to);
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
}

#[derive(Debug)]
pub(super) enum Change {
    Bytes { position: usize, bytes: Vec<u8> },
    Length(usize),
}

impl File {
    pub(super) fn write(&mut self, position: usize, bytes: Vec<u8>) {
        apply_bytes(&mut self.live, position, &bytes);
        self.unsynced.push(Change::Bytes { position, bytes });
    }

    /// Makes the changes since the last sync durable, and no others: what a failed sync lost stays lost.
    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Bytes { position, bytes } => {
                    apply_bytes(&mut self.durable, position, &bytes)
                }
                Change::Length(length) => set_length(&mut self.durable, length),
            }
        }
    }

    /// Replaces the content by one that a power cut may leave.
    pub(super) fn lose_power(&mut self, sector: usize, random: &mut Random) {
        let changes = std::mem::take(&mut self.unsynced);
        if changes.is_empty() {
            // A sync that failed may have lost what reads show.
            self.live.clone_from(&self.durable);
            return;
        }
        let mut lengths = vec![self.durable.len()];
        let mut length = self.durable.len();
        for change in &changes {
            length = match change {
                Change::Bytes { position, bytes } => length.max(position + bytes.len()),
                Change::Length(length) => *length,
            };
            lengths.push(length);
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut content = self.durable.clone();
        set_length(&mut content, longest);
        for start in (0..longest).step_by(sector) {
            let end = (start + sector).min(longest);
            let touching: Vec<&Change> = changes
                .iter()
                .filter(|change| change.touches(start, end))
                .collect();
            if touching.is_empty() {
                continue;
            }
            let kept = random.below(touching.len() as u64 + 1) as usize;
            for change in &touching[..kept] {
                change.apply_within(&mut content, start, end);
            }
        }
        content.truncate(lengths[random.below(lengths.len() as u64) as usize]);
        self.durable = content;
        self.live = self.durable.clone();
    }
}

impl Change {
    pub(super) fn touches(&self, start: usize, end: usize) -> bool {
        match self {
            Change::Bytes { position, bytes } => *position < end && position + bytes.len() > start,
            Change::Length(length) => *length < end,
        }
    }

    pub(super) fn apply_within(&self, content: &mut [u8], start: usize, end: usize) {
        match self {
            Change::Bytes { position, bytes } => {
                let (from, to) = (start.max(*position), end.min(position + bytes.len()));
                content[from..to].copy_from_slice(&bytes[from - position..to - position]);
            }
            Change::Length(length) => content[start.max(*length)..end].fill(0),
        }
    }
}

/// As `Vec::resize` with zeros, and fast without optimization too: a checkpoint file is long and sparse.
pub(super) fn set_length(content: &mut Vec<u8>, length: usize) {
    match length.checked_sub(content.len()) {
        Some(more) => content.extend_from_slice(&vec![0; more]),
        None => content.truncate(length),
    }
}

pub(super) fn apply_bytes(content: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if content.len() < position + bytes.len() {
        set_length(content, position + bytes.len());
    }
    content[position..position + bytes.len()].copy_from_slice(bytes);
}

/// SplitMix64: enough to draw faults, and the same everywhere.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
