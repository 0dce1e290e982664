//! What an append and a read cost on one thread: `cargo run --release -p thalweg-log --example throughput -- [DIR] [MEBIBYTES]`.
//! Without a directory it works in memory. Nothing is synced but where the line says so; CPU time is of the whole process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use thalweg_log::{
    ByteCount, Disk, Durability, FileDisk, Isolation, LogSettings, MemoryDisk, Offset,
    PartitionLog, PartitionView,
};
use wire::records::{BatchBuilder, CheckedBatch, Compression, scan_batches};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments
        .next()
        .filter(|text| text != "-")
        .map(PathBuf::from);
    let mebibytes: u64 = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    let disk: Arc<dyn Disk> = if dir.is_some() {
        FileDisk::shared()
    } else {
        MemoryDisk::shared()
    };
    for (number, size) in [100 << 10, 16 << 10, 1 << 20, 1 << 10]
        .into_iter()
        .enumerate()
    {
        let place = dir
            .clone()
            .unwrap_or_default()
            .join(format!("bench-{number}"));
        let settings = LogSettings {
            durability: Durability::Os,
            ..LogSettings::default()
        };
        let (mut log, _) = PartitionLog::open(Arc::clone(&disk), place, settings, 0, &mut |_| {})?;
        let batch = batch_of(size);
        let bytes = if size == 1 << 10 {
            mebibytes << 18
        } else {
            mebibytes << 20
        };
        measure("append", size, bytes, || append(&mut log, &batch, bytes))?;
        let view = log.view();
        measure("read on, 1 MiB", size, bytes, || read_on(&view))?;
        let reads = 20_000;
        measure(
            "read anywhere, one batch",
            size,
            reads * batch.bytes().len() as u64,
            || read_anywhere(&view, reads),
        )?;
        log.delete()?.purge()?;
    }
    Ok(())
}

/// A batch of about `size` bytes with records of 100 bytes.
fn batch_of(size: usize) -> CheckedBatch {
    let mut builder = BatchBuilder::new(1_700_000_000_000);
    while builder.size() + 100 < size {
        builder.push(1_700_000_000_000, None, Some(&[0x5A; 92]), &[]);
    }
    CheckedBatch::check(builder.build(Compression::None), usize::MAX)
        .expect("a built batch is good")
}

/// Steps of at most 256 KiB or one batch, each one write, as under load.
fn append(
    log: &mut PartitionLog,
    batch: &CheckedBatch,
    bytes: u64,
) -> Result<u64, Box<dyn std::error::Error>> {
    let size = batch.bytes().len() as u64;
    let per_step = ((256 << 10) / size).clamp(1, 64);
    let mut calls = 0;
    while log.size_bytes().0 < bytes {
        for _ in 0..per_step {
            log.append(batch, 0);
        }
        log.write()?;
        log.publish(log.end_offset());
        calls += per_step;
    }
    Ok(calls)
}

fn read_on(view: &PartitionView) -> Result<u64, Box<dyn std::error::Error>> {
    let mut from = view.log_start;
    let mut reads = 0;
    while from < view.high_watermark {
        let plan = view.plan_read(from, ByteCount::mebibytes(1), Isolation::ReadUncommitted)?;
        let read = match plan.execute_if_cached()? {
            Some(read) => read,
            None => plan.execute()?,
        };
        let last = read
            .iter()
            .flat_map(|bytes| scan_batches(bytes))
            .last()
            .ok_or("an empty read")??;
        from = Offset(last.0.last_offset() + 1);
        reads += 1;
    }
    Ok(reads)
}

fn read_anywhere(view: &PartitionView, reads: u64) -> Result<u64, Box<dyn std::error::Error>> {
    let mut state: u64 = 1;
    for _ in 0..reads {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let from = Offset((state >> 16) as i64 % view.high_watermark.0);
        let plan = view.plan_read(from, ByteCount(1), Isolation::ReadUncommitted)?;
        if plan.execute_if_cached()?.is_none() {
            plan.execute()?;
        }
    }
    Ok(reads)
}

fn measure(
    what: &str,
    size: usize,
    bytes: u64,
    work: impl FnOnce() -> Result<u64, Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (started, cpu) = (Instant::now(), cpu_seconds()?);
    let calls = work()?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let gigabytes = bytes as f64 / 1e9;
    println!(
        "{what:24} batch {size:>7}: {:6.2} GB/s, {:5.3} CPU s/GB, {:8.2} µs/call",
        gigabytes / wall,
        cpu / gigabytes,
        cpu * 1e6 / calls as f64
    );
    Ok(())
}

/// User and system time of this process so far, from Linux's accounting in ticks of 10 ms.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
