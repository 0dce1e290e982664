//! A journal with transactions: what is appended is read back in its order and with its frame, also after a rewriting.

use std::path::PathBuf;
use std::sync::Arc;

use broker::{FramedEntry, Journal, Replayed, SyncPool};
use broker_state::producer_ids::ProducerIdentity;
use log::{ByteCount, Isolation, MemoryDisk};
use wire::records::{EndTransactionMarker, scan_batches};

const NOW: i64 = 1_000_000;

fn producer(producer_id: i64) -> ProducerIdentity {
    ProducerIdentity {
        producer_id,
        producer_epoch: 3,
    }
}

fn plain(key: &str) -> FramedEntry {
    FramedEntry::Plain((Some(key.into()), Some(b"value".to_vec())))
}

fn pending(producer_id: i64, key: &str) -> FramedEntry {
    let entry = (Some(key.into()), Some(b"value".to_vec()));
    FramedEntry::Transactional(producer(producer_id), entry)
}

fn end(producer_id: i64, is_commit: bool) -> FramedEntry {
    let marker = EndTransactionMarker {
        is_commit,
        coordinator_epoch: 5,
    };
    FramedEntry::Marker(producer(producer_id), marker)
}

fn open(disk: &Arc<MemoryDisk>) -> (Journal, Vec<FramedEntry>) {
    let mut read = Vec::new();
    let apply = |replayed: Replayed<'_>| {
        read.push(match replayed {
            Replayed::Record {
                producer,
                key,
                value,
            } => {
                let entry = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
                match producer {
                    Some(producer) => FramedEntry::Transactional(producer, entry),
                    None => FramedEntry::Plain(entry),
                }
            }
            Replayed::Marker(producer, marker) => FramedEntry::Marker(producer, marker),
        });
        Ok(())
    };
    let syncs = Arc::new(SyncPool::new(1));
    let disk = Arc::clone(disk) as Arc<dyn log::Disk>;
    let journal = Journal::open_framed(disk, PathBuf::from("/journal-0"), syncs, NOW, apply);
    (journal.expect("a journal"), read)
}

fn mixed() -> Vec<FramedEntry> {
    vec![
        plain("a"),
        pending(7, "b"),
        pending(7, "c"),
        pending(8, "d"),
        plain("e"),
        end(7, true),
        plain("f"),
        end(8, false),
    ]
}

#[test]
fn what_is_appended_is_read_back_with_its_frame() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut journal, read) = open(&disk);
    assert!(read.is_empty());
    journal.append(mixed(), NOW).expect("appended");
    journal.append([plain("g")], NOW).expect("appended");
    drop(journal);
    let mut expected = mixed();
    expected.push(plain("g"));
    assert_eq!(open(&disk).1, expected);
}

#[test]
fn each_producer_has_batches_of_its_own() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut journal, _) = open(&disk);
    journal.append(mixed(), NOW).expect("appended");
    let view = journal.shared_view().load();
    let plan = view.plan_read(
        view.log_start,
        ByteCount(1 << 20),
        Isolation::ReadUncommitted,
    );
    let batches = plan.expect("a plan").execute().expect("batches");
    let headers = batches.iter().flat_map(|bytes| scan_batches(bytes));
    let frames = headers.map(|batch| {
        let (header, _) = batch.expect("a whole batch");
        let is_transactional = header.is_transactional();
        (
            header.producer_id,
            header.record_count,
            is_transactional,
            header.is_control(),
        )
    });
    let expected = [
        (-1, 1, false, false),
        (7, 2, true, false),
        (8, 1, true, false),
        (-1, 1, false, false),
        (7, 1, true, true),
        (-1, 1, false, false),
        (8, 1, true, true),
    ];
    assert_eq!(frames.collect::<Vec<_>>(), expected);
}

#[test]
fn a_rewriting_keeps_what_is_pending() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut journal, _) = open(&disk);
    journal.append(mixed(), NOW).expect("appended");
    let state = vec![plain("a"), pending(9, "b")];
    journal.rewrite(state.clone(), NOW).expect("rewritten");
    journal.append([end(9, true)], NOW).expect("appended");
    drop(journal);
    let mut expected = state;
    expected.push(end(9, true));
    assert_eq!(open(&disk).1, expected);
}

#[test]
fn a_journal_without_transactions_does_not_take_a_marker() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut journal, _) = open(&disk);
    journal.append([end(7, true)], NOW).expect("appended");
    drop(journal);
    let syncs = Arc::new(SyncPool::new(1));
    let disk = Arc::clone(&disk) as Arc<dyn log::Disk>;
    let refused = Journal::open(disk, PathBuf::from("/journal-0"), syncs, NOW, |_, _| Ok(()));
    assert!(refused.is_err());
}
