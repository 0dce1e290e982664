//! A read that is decided but not done: what a fetch holds while it gathers partitions, and executes off the shard.
//!
//! Execution reads exactly the wanted bytes when the consumer continues where it stopped, else it first finds its batch: the
//! index gives a place at most `index.interval.bytes` and a batch before it, and a walk over batch headers does the rest. An
//! index is never trusted with more than speed: an entry that does not point at its batch is passed over.

use bytes::Bytes;

use crate::access::{self, Access, Stop};
use crate::batch::{self, Glance, HEADER};
use crate::cursors::Place;
use crate::error::LogError;
use crate::offset::{ByteCount, Offset};
use crate::segment::Segment;
use crate::transactions::AbortedTransaction;
use crate::view::{Isolation, PartitionView};
use crate::walk::{find_batch, find_batch_past_damage};

/// A planned read of one partition. Holds what it needs: segments deleted meanwhile stay readable.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    view: PartitionView,
    from: Offset,
    isolation: Isolation,
    end: Offset,
    limit: usize,
}

/// What a read gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Whole batches in order, beginning with the one that contains the wanted offset; empty only if the plan is.
    pub batches: Vec<Bytes>,
    /// For readers of committed records: the transactions among the batches whose records they must pass over, by first offset.
    pub aborted: Vec<AbortedTransaction>,
}

impl ReadPlan {
    pub(crate) fn new(
        view: PartitionView,
        from: Offset,
        isolation: Isolation,
        limit: ByteCount,
    ) -> ReadPlan {
        ReadPlan {
            end: view.end_for(isolation),
            view,
            from,
            isolation,
            limit: limit.as_length(),
        }
    }

    /// The view that the plan was made of.
    pub fn view(&self) -> &PartitionView {
        &self.view
    }

    /// The offset that the read begins with.
    pub fn from(&self) -> Offset {
        self.from
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.from >= self.end
    }

    /// At least how many bytes lie ahead, at most the limit, judged from memory alone: 0 exactly when the plan is empty, and
    /// close near the end of the log, where a fetch waits for its `min_bytes`. One batch may exceed the limit.
    pub fn len_estimate(&self) -> ByteCount {
        if self.is_empty() {
            return ByteCount::ZERO;
        }
        let view = &self.view;
        let number = view.segment_of(self.from);
        let segment = &view.segments[number];
        let visible = view.visible_bytes(segment);
        let later: u64 = view.segments[number + 1..]
            .iter()
            .map(|segment| view.visible_bytes(segment))
            .sum();
        let ahead = visible.saturating_sub(self.position_at_most(segment, visible)) + later;
        ByteCount(ahead.clamp(1, (self.limit as u64).max(1)))
    }

    /// A position that the wanted batch is not beyond, from memory: where it is, or the end of what is visible.
    fn position_at_most(&self, segment: &Segment, visible: u64) -> u64 {
        if self.from == segment.base_offset {
            return 0;
        }
        if let Some(place) = self
            .view
            .cursors
            .find(self.from)
            .filter(|place| place.segment == segment.base_offset)
        {
            return place.position;
        }
        match segment
            .index
            .floor_in_memory(segment.relative_at_most(self.from))
        {
            Some(entry) => u64::from(entry.position),
            None => segment
                .index
                .first_in_memory()
                .map_or(visible, |entry| u64::from(entry.position)),
        }
    }

    /// Reads, or gives `None` when that would wait for the device.
    ///
    /// # Errors
    /// `Corrupt` when the batch at `from` is damaged, `Io` when the disk fails.
    pub fn read_if_cached(&self) -> Result<Option<Read>, LogError> {
        match self.read_with(Access::CachedOnly) {
            Ok(read) => Ok(Some(read)),
            Err(Stop::WouldBlock) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// As [`ReadPlan::read_if_cached`], without the aborted transactions.
    ///
    /// # Errors
    /// `Corrupt` when the batch at `from` is damaged, `Io` when the disk fails.
    pub fn execute_if_cached(&self) -> Result<Option<Vec<Bytes>>, LogError> {
        Ok(self.read_if_cached()?.map(|read| read.batches))
    }

    /// Reads the batches: whole ones in order, beginning with the one that contains `from`; empty only if the plan is.
    ///
    /// # Errors
    /// `Corrupt` when the batch at `from` is damaged, `Io` when the disk fails.
    pub fn execute(&self) -> Result<Vec<Bytes>, LogError> {
        self.read().map(|read| read.batches)
    }

    /// As [`ReadPlan::execute`], with the aborted transactions.
    ///
    /// # Errors
    /// `Corrupt` when the batch at `from` is damaged, `Io` when the disk fails.
    pub fn read(&self) -> Result<Read, LogError> {
        self.read_with(Access::Blocking).map_err(Stop::into_error)
    }

    fn read_with(&self, access: Access) -> Result<Read, Stop> {
        let Some((batches, next)) = self.execute_with(access)? else {
            return Ok(Read::default());
        };
        let aborted = match self.isolation {
            Isolation::ReadUncommitted => Vec::new(),
            Isolation::ReadCommitted => self.view.aborted_with(self.from, next, access)?,
        };
        Ok(Read {
            batches: vec![batches],
            aborted,
        })
    }

    /// Whole batches, and the offset after them.
    fn execute_with(&self, access: Access) -> Result<Option<(Bytes, Offset)>, Stop> {
        if self.is_empty() {
            return Ok(None);
        }
        let first = self.view.segment_of(self.from);
        for segment in &self.view.segments[first..] {
            let visible = self.view.visible_bytes(segment);
            if let Some(position) = self.locate(segment, visible, access)? {
                return self.read_batches(segment, position, visible, access);
            }
        }
        Ok(None)
    }

    fn locate(&self, segment: &Segment, visible: u64, access: Access) -> Result<Option<u64>, Stop> {
        if let Some(place) = self
            .view
            .cursors
            .find(self.from)
            .filter(|place| place.segment == segment.base_offset)
        {
            return Ok(Some(place.position).filter(|position| *position < visible));
        }
        match self.view.skips_damage {
            true => find_batch_past_damage(segment, self.from, visible, access),
            false => find_batch(segment, self.from, visible, access),
        }
    }

    fn read_batches(
        &self,
        segment: &Segment,
        position: u64,
        visible: u64,
        access: Access,
    ) -> Result<Option<(Bytes, Offset)>, Stop> {
        let upto = segment
            .damage_after(position)
            .map_or(visible, |damage| damage.start.min(visible));
        let available = usize::try_from(upto - position).unwrap_or(usize::MAX);
        let mut bytes = access::read(
            segment.log.as_ref(),
            &segment.path,
            position,
            self.limit.max(HEADER).min(available),
            access,
        )?;
        let first = Glance::at(&bytes).filter(|batch| batch.size <= available as u64);
        let first = first.ok_or_else(|| {
            segment.corrupt_error(position, self.from, "no whole batch begins here")
        })?;
        if first.base_offset >= self.end {
            return Ok(None);
        }
        if first.size > bytes.len() as u64 {
            bytes = access::read(
                segment.log.as_ref(),
                &segment.path,
                position,
                first.size as usize,
                access,
            )?;
        }
        let (length, next) = batch::whole_batches(&bytes, self.end).ok_or_else(|| {
            segment.corrupt_error(position, self.from, "the file ends within this batch")
        })?;
        bytes.truncate(length);
        self.view.cursors.remember(
            next,
            Place {
                segment: segment.base_offset,
                position: position + length as u64,
            },
        );
        Ok(Some((Bytes::from(bytes), next)))
    }
}
