//! A disk that fails the way disks fail, reproducibly: the same seed and the same calls give the same faults.
//!
//! What a power cut leaves of a file: its content at the last `sync`, plus for every sector any number of the writes since then
//! (none, some, all; each sector for itself, so a write may be torn and a later one may survive an earlier one), cut or
//! lengthened with zeros to any of the lengths the file had meanwhile. What it leaves of a directory: its names at the last
//! `sync_dir`, plus any subset of the changes since then. Handles from before the cut are dead.
//!
//! A sector is 512 or 4,096 bytes, drawn anew at each cut. A `sync` that fails loses what it should have written although reads
//! still show it, as Linux does; a write that fails has written any part.

mod contents;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile};
use contents::{Change, File, NameChange, Names, Random};

/// What an injected fault answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device reports an error (`EIO`).
    DeviceError,
    /// The device is full (`ENOSPC`). Only operations that need space fail with it.
    NoSpace,
}

/// A simulated disk. Clones share their content.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: Random,
    boot: u64,
    files: BTreeMap<u64, File>,
    next_file: u64,
    live: Names,
    durable: Names,
    unsynced_names: Vec<NameChange>,
    operations: u64,
    planned: Option<(u64, Fault)>,
    fault_chance: u64,
    uncached_chance: u64,
}

impl SimDisk {
    /// An empty disk whose faults are drawn from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        let state = State {
            random: Random(seed),
            boot: 0,
            files: BTreeMap::new(),
            next_file: 0,
            live: Names::default(),
            durable: Names::default(),
            unsynced_names: Vec::new(),
            operations: 0,
            planned: None,
            fault_chance: 0,
            uncached_chance: 0,
        };
        SimDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The disk as the log takes it.
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Cuts the power and brings the machine back: what was not synced is kept, lost or torn, and open handles are dead.
    pub fn power_cut(&self) {
        self.state.lock().power_cut();
    }

    /// Ends the process without a power cut: everything written stays, synced or not, and open handles are dead.
    pub fn kill(&self) {
        self.state.lock().boot += 1;
    }

    /// Makes the `nth` operation from now (counted from 1; reads do not count) fail once.
    pub fn fail_nth(&self, nth: u64, fault: Fault) {
        let mut state = self.state.lock();
        state.planned = Some((state.operations + nth, fault));
    }

    /// Makes each operation but reads fail with this chance, in operations out of 10,000; 0 ends it.
    pub fn fail_randomly(&self, chance: u64) {
        self.state.lock().fault_chance = chance;
    }

    /// Makes `read_at_if_cached` find nothing cached with this chance, in reads out of 10,000.
    pub fn miss_cache_randomly(&self, chance: u64) {
        self.state.lock().uncached_chance = chance;
    }

    /// How many operations (reads not counted) the disk has seen.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Changes stored bytes behind everybody's back, durably: `change` gets the content of the file.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let id = state.live.files[path];
        let file = state.files.get_mut(&id).expect("a name belongs to a file");
        change(&mut file.live);
        file.durable = file.live.clone();
        file.unsynced.clear();
    }

    /// The content of a file as reads see it now.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let id = state.live.files.get(path)?;
        Some(state.files[id].live.clone())
    }
}

impl State {
    /// Counts an operation and decides whether it fails.
    fn fault(&mut self, needs_space: bool) -> io::Result<()> {
        self.operations += 1;
        let planned = self
            .planned
            .filter(|(nth, _)| *nth == self.operations)
            .map(|(_, fault)| fault);
        let drawn = (self.random.below(10_000) < self.fault_chance).then(|| {
            if self.random.below(2) == 0 {
                Fault::DeviceError
            } else {
                Fault::NoSpace
            }
        });
        match planned.or(drawn) {
            Some(Fault::NoSpace) if needs_space => Err(rustix::io::Errno::NOSPC.into()),
            Some(Fault::DeviceError) => Err(rustix::io::Errno::IO.into()),
            _ => Ok(()),
        }
    }

    fn change_name(&mut self, change: NameChange) {
        self.live.apply(&change);
        self.unsynced_names
            .retain_mut(|earlier| earlier.follow(&change));
        self.unsynced_names.push(change);
    }

    fn power_cut(&mut self) {
        self.boot += 1;
        let sector = if self.random.below(2) == 0 { 512 } else { 4096 };
        for file in self.files.values_mut() {
            file.lose_power(sector, &mut self.random);
        }
        // A name that was not given up cannot have been taken by another directory.
        let mut not_given_up: Vec<PathBuf> = Vec::new();
        for change in std::mem::take(&mut self.unsynced_names) {
            let mut taken = not_given_up.iter();
            let is_possible = !taken.any(|path| change.path().starts_with(path));
            if is_possible && self.random.below(2) == 0 {
                self.durable.apply(&change);
            } else {
                not_given_up.extend(change.given_up().map(Path::to_owned));
            }
        }
        self.durable.drop_orphans();
        self.live = self.durable.clone();
        let named: BTreeSet<u64> = self.live.files.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        let file = *state.live.files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile {
            state: Arc::clone(&self.state),
            file,
            boot: state.boot,
        }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.fault(true)?;
        if path
            .parent()
            .is_some_and(|dir| !state.live.has_directory(dir))
        {
            return Err(ErrorKind::NotFound.into());
        }
        let known = state.live.files.get(path).copied();
        let file = known.unwrap_or(state.next_file);
        if known.is_none() {
            state.next_file += 1;
            state.files.insert(file, File::default());
            state.change_name(NameChange::File {
                path: path.to_owned(),
                file,
            });
        } else if let Some(content) = state.files.get_mut(&file) {
            content.live.clear();
            content.unsynced.push(Change::Length(0));
        }
        Ok(Arc::new(SimFile {
            state: Arc::clone(&self.state),
            file,
            boot: state.boot,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        if !state.live.has_directory(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let files = state.live.files.keys().map(|path| (path, false));
        let directories = state.live.directories.iter().map(|path| (path, true));
        let mut entries = Vec::new();
        for (path, is_directory) in files
            .chain(directories)
            .filter(|(path, _)| path.parent() == Some(dir))
        {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                entries.push(DirEntry {
                    name: name.to_owned(),
                    is_directory,
                });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.fault(true)?;
        let missing: Vec<PathBuf> = dir
            .ancestors()
            .filter(|dir| !state.live.has_directory(dir))
            .map(Path::to_owned)
            .collect();
        for path in missing.into_iter().rev() {
            state.change_name(NameChange::Directory { path });
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.fault(false)?;
        if !state.live.files.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Removed {
            path: path.to_owned(),
        });
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.fault(false)?;
        if !state.live.directories.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Removed {
            path: dir.to_owned(),
        });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.fault(false)?;
        let file = state.live.files.get(from).copied();
        if file.is_none() && !state.live.directories.contains(from) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Renamed {
            from: from.to_owned(),
            to: to.to_owned(),
            file,
        });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.fault(false)?;
        let (synced, rest) = std::mem::take(&mut state.unsynced_names)
            .into_iter()
            // A journaling file system has also written down that another directory has given up this name.
            .partition(|change| {
                let given_up = change.given_up();
                change.is_in(dir) || given_up.is_some_and(|path| dir.starts_with(path))
            });
        state.unsynced_names = rest;
        let synced: Vec<NameChange> = synced;
        for change in &synced {
            state.durable.apply(change);
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        Ok(state.live.files.contains_key(path) || state.live.directories.contains(path))
    }
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    file: u64,
    boot: u64,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        if state.boot != self.boot {
            return Err(io::Error::other(
                "the machine went down since this file was opened",
            ));
        }
        act(&mut state, self.file)
    }
}

impl State {
    fn file(&mut self, file: u64) -> &mut File {
        self.files
            .get_mut(&file)
            .expect("files live until a power cut, handles not longer")
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        self.with(|state, file| {
            let mut bytes: Vec<u8> = slices
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            let outcome = state.fault(true);
            if outcome.is_err() {
                let written = state.random.below(bytes.len() as u64 + 1);
                bytes.truncate(written as usize);
            }
            state.file(file).write(position as usize, bytes);
            outcome
        })
    }

    fn read_at(&self, position: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        self.with(|state, file| {
            let content = &state.file(file).live;
            let start = usize::try_from(position)
                .unwrap_or(usize::MAX)
                .min(content.len());
            let end = start.saturating_add(length).min(content.len());
            into.extend_from_slice(&content[start..end]);
            Ok(end - start)
        })
    }

    fn read_at_if_cached(
        &self,
        position: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        let misses =
            self.with(|state, _| Ok(state.random.below(10_000) < state.uncached_chance))?;
        if misses {
            Ok(None)
        } else {
            self.read_at(position, length, into).map(Some)
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, file| {
            let outcome = state.fault(true);
            match outcome {
                Ok(()) => state.file(file).sync(),
                // The kernel drops what it could not write and reports it once: a second sync succeeds and saves nothing.
                Err(_) => state.file(file).unsynced.clear(),
            }
            outcome
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state, file| Ok(state.file(file).live.len() as u64))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(|state, file| {
            state.fault(true)?;
            let file = state.file(file);
            contents::set_length(&mut file.live, length as usize);
            file.unsynced.push(Change::Length(length as usize));
            Ok(())
        })
    }
}
