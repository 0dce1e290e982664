//! What finding one's way through a log file needs to know of a record batch: where it begins and ends, in offsets and bytes.
//! Everything else about batches is `wire::records`.

use wire::records::{BATCH_OVERHEAD, BatchHeader};

use crate::offset::Offset;

/// Bytes of a batch before its records.
pub(crate) const HEADER: usize = BATCH_OVERHEAD;

/// A batch header at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: i64,
    /// The whole batch in bytes.
    pub(crate) size: u64,
}

impl Glance {
    /// Reads the header at the start of `bytes`; `None` if there is too little of it or it cannot be that of a v2 batch.
    pub(crate) fn at(bytes: &[u8]) -> Option<Glance> {
        let header = BatchHeader::decode(bytes).ok()?;
        let is_sane = header.last_offset_delta >= 0
            && (0..=i64::MAX - i64::from(i32::MAX)).contains(&header.base_offset);
        is_sane.then(|| Glance::of(&header))
    }

    pub(crate) fn of(header: &BatchHeader) -> Glance {
        Glance {
            base_offset: Offset(header.base_offset),
            last_offset: Offset(header.last_offset()),
            max_timestamp: header.max_timestamp,
            size: header.total_length() as u64,
        }
    }
}

/// How many bytes at the start of `bytes` are whole batches in order whose base offsets lie before `end`, and the offset after them.
pub(crate) fn whole_batches(bytes: &[u8], end: Offset) -> Option<(usize, Offset)> {
    let mut found: Option<(usize, Offset)> = None;
    loop {
        let (at, next) = found.unwrap_or((0, Offset::ZERO));
        match Glance::at(&bytes[at..]) {
            Some(batch)
                if batch.base_offset >= next
                    && batch.base_offset < end
                    && batch.size <= (bytes.len() - at) as u64 =>
            {
                found = Some((at + batch.size as usize, batch.last_offset.next()));
            }
            _ => return found,
        }
    }
}
