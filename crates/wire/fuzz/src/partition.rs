//! A partition's directory with damaged files: segments, indexes, transaction indexes, epochs, checkpoint.
//!
//! Opening and reading must not panic, and the log must take records again, which are there at the next start.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use thalweg_log::{ByteCount, Disk, Isolation, LogError, LogSettings, MemoryDisk, PartitionLog};
use wire::records::{
    BatchBuilder, CheckedBatch, Compression, EndTransactionMarker, scan_batches, verify_crc,
};

const DIRECTORY: &str = "data/orders-0";
const NOW: i64 = 1_700_000_000_000;

/// Each five bytes are one damage to one file: which, what, where (two), with what. Then the log is opened, read and written.
pub fn damaged_partition(bytes: &[u8]) {
    let disk = whole();
    for damage in bytes.chunks_exact(5).take(64) {
        let [file, kind, place @ .., with] = damage else {
            return;
        };
        let place = u64::from(u16::from_le_bytes([place[0], place[1]]));
        harm(&disk, usize::from(*file), *kind, place, *with)
            .expect("a disk in memory does not fail");
    }
    let Ok(mut log) = open(&disk) else {
        return;
    };
    read(&log);
    let end = log.end_offset();
    log.append(&batch(77, false), NOW);
    step(&mut log);
    assert_eq!(log.high_watermark(), end.next());
    drop(log);
    let log = open(&disk).expect("what was recovered opens again");
    assert_eq!(log.end_offset(), end.next());
}

fn open(disk: &Arc<dyn Disk>) -> Result<PartitionLog, LogError> {
    let settings = LogSettings {
        segment_bytes: ByteCount(700),
        index_interval_bytes: ByteCount(64),
        ..LogSettings::default()
    };
    let replay = &mut |_: thalweg_log::Replay<'_>| ();
    PartitionLog::open(Arc::clone(disk), DIRECTORY, settings, NOW, replay).map(|(log, _)| log)
}

/// A disk with a good partition. It is made once, and copied.
fn whole() -> Arc<dyn Disk> {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let disk = MemoryDisk::shared();
        fill(&disk);
        let names = disk.list(Path::new(DIRECTORY)).expect("it was just filled");
        let read = |entry: thalweg_log::DirEntry| {
            let path = Path::new(DIRECTORY).join(entry.name);
            let content = disk.read_small(&path, usize::MAX).ok().flatten();
            (path, content.expect("a disk in memory does not fail"))
        };
        names.into_iter().map(read).collect()
    });
    let disk = MemoryDisk::shared();
    disk.create_dir_all(Path::new(DIRECTORY))
        .expect("a disk in memory does not fail");
    for (path, content) in files {
        let file = disk.create(path).expect("a disk in memory does not fail");
        file.write_at(0, &[IoSlice::new(content)])
            .expect("a disk in memory does not fail");
    }
    disk
}

/// Some segments, an aborted transaction, an open one, two epochs, a checkpoint in the middle.
fn fill(disk: &Arc<dyn Disk>) {
    let mut log = open(disk).expect("an empty directory opens");
    for number in 0..20 {
        match number {
            4 => log.append(&batch(9, true), NOW),
            11 => log.append(&marker(9), NOW),
            15 => log.append(&batch(10, true), NOW),
            _ => log.append(&batch(number, false), NOW + number),
        };
        step(&mut log);
        if number == 12 {
            log.set_leader_epoch(3)
                .expect("a disk in memory does not fail");
            log.checkpoint(vec![1; 40])
                .expect("a disk in memory does not fail");
        }
    }
}

fn step(log: &mut PartitionLog) {
    log.write().expect("a disk in memory does not fail");
    let _ = log.unsynced_files();
    log.mark_synced(log.end_offset());
    log.publish(log.end_offset());
}

fn batch(number: i64, is_transactional: bool) -> CheckedBatch {
    let mut builder = BatchBuilder::new(NOW + number);
    if is_transactional {
        builder = builder.producer(number, 0, 0).transactional();
    }
    builder.push(NOW + number, Some(b"key"), Some(&[7; 30]), &[]);
    checked(builder.build(Compression::None))
}

fn marker(producer_id: i64) -> CheckedBatch {
    let marker = EndTransactionMarker {
        is_commit: false,
        coordinator_epoch: 0,
    };
    checked(marker.batch(producer_id, 0, NOW))
}

fn checked(batch: bytes::Bytes) -> CheckedBatch {
    CheckedBatch::check(batch, 1 << 20).expect("it was just built")
}

fn harm(disk: &Arc<dyn Disk>, file: usize, kind: u8, place: u64, with: u8) -> std::io::Result<()> {
    let names = disk.list(Path::new(DIRECTORY))?;
    let Some(entry) = names.get(file % names.len().max(1)) else {
        return Ok(());
    };
    let path = PathBuf::from(DIRECTORY).join(&entry.name);
    let content = disk.open(&path)?;
    let length = content.len()?;
    let place = place % length.max(1);
    match kind % 6 {
        0 | 1 => content.write_at(place, &[IoSlice::new(&[with])]),
        2 => content.set_len(place),
        3 => content.set_len(length + u64::from(with)),
        4 => content.write_at(length, &[IoSlice::new(&vec![with; place as usize + 1])]),
        _ => disk.remove_file(&path),
    }
}

/// What lies behind the checkpoint is taken as it is, so it may be damaged: readers check, and nothing here may panic or go on for ever.
fn read(log: &PartitionLog) {
    let view = log.view();
    let mut next = view.log_start;
    while next < view.high_watermark {
        let plan = view.plan_read(next, ByteCount(200), Isolation::ReadCommitted);
        let Ok(parts) = plan.and_then(|plan| plan.execute()) else {
            break;
        };
        let before = next;
        for part in parts {
            for (header, batch) in scan_batches(&part).flatten() {
                let _ = verify_crc(batch);
                next = thalweg_log::Offset(header.last_offset().saturating_add(1));
            }
        }
        if next <= before {
            break;
        }
    }
    let _ = view.aborted_transactions(view.log_start, view.high_watermark);
}
