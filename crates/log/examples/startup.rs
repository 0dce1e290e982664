//! How long many partitions take to open: `cargo run --release -p thalweg-log --example startup -- DIR [PARTITIONS] [MEBIBYTES EACH]`.
//! Opens them after a clean stop and after a kill with 256 KiB in each since its checkpoint, from one and from eight threads.

use std::path::{Path, PathBuf};
use std::time::Instant;

use thalweg_log::{FileDisk, LogSettings, PartitionLog, Recovery};
use wire::records::{BatchBuilder, CheckedBatch, Compression};

const TAIL: u64 = 256 << 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let base = PathBuf::from(arguments.next().ok_or("give a directory to write to")?);
    let partitions: usize = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let mebibytes: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let dirs: Vec<PathBuf> = (0..partitions)
        .map(|number| base.join(format!("orders-{number}")))
        .collect();
    for dir in &dirs {
        let mut log = open(dir)?.0;
        fill(&mut log, mebibytes << 20)?;
        log.close(Vec::new())?;
    }
    for threads in [1, 8] {
        measure("after a clean stop", threads, &dirs)?;
        for dir in &dirs {
            let mut log = open(dir)?.0;
            let size = log.size_bytes().0;
            fill(&mut log, size + TAIL)?;
        }
        measure("after a kill", threads, &dirs)?;
        dirs.iter().try_for_each(|dir| {
            open(dir)?
                .0
                .close(Vec::new())
                .map_err(Box::<dyn std::error::Error>::from)
        })?;
    }
    Ok(())
}

fn open(dir: &Path) -> Result<(PartitionLog, Recovery), thalweg_log::LogError> {
    PartitionLog::open(
        FileDisk::shared(),
        dir,
        LogSettings::default(),
        0,
        &mut |_| {},
    )
}

fn fill(log: &mut PartitionLog, upto: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = BatchBuilder::new(1_700_000_000_000);
    while builder.size() < 64 << 10 {
        builder.push(1_700_000_000_000, None, Some(&[0x5A; 92]), &[]);
    }
    let batch = CheckedBatch::check(builder.build(Compression::None), usize::MAX)?;
    while log.size_bytes().0 < upto {
        log.append(&batch, 0);
        log.write()?;
        log.publish(log.end_offset());
    }
    Ok(())
}

fn measure(what: &str, threads: usize, dirs: &[PathBuf]) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let opened: Vec<Vec<(PartitionLog, Recovery)>> = std::thread::scope(|scope| {
        let share = dirs.len().div_ceil(threads);
        let workers: Vec<_> = dirs
            .chunks(share)
            .map(|dirs| {
                scope.spawn(move || {
                    dirs.iter()
                        .map(|dir| open(dir))
                        .collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("opening does not panic"))
            .collect::<Result<_, _>>()
    })?;
    let elapsed = started.elapsed();
    let scanned: u64 = opened
        .iter()
        .flatten()
        .map(|(_, recovery)| recovery.scanned_bytes)
        .sum();
    println!(
        "{what:20} {:5} partitions, {threads} threads: {elapsed:9.1?}, {} MiB scanned",
        dirs.len(),
        scanned >> 20
    );
    Ok(())
}
