//! Goes from batch to batch through a segment, reading headers only: how readers find what the sparse index does not name.

use crate::access::{self, Access, Stop};
use crate::batch::{Glance, HEADER};
use crate::offset::Offset;
use crate::segment::{CorruptRange, Segment};

/// Headers are read this much at a time, so that small batches need no read each.
const WINDOW: usize = 4096;

/// A walk over the batches of a segment.
pub(crate) struct Walk<'a> {
    segment: &'a Segment,
    position: u64,
    visible: u64,
    access: Access,
    window: Vec<u8>,
    window_at: u64,
}

/// What a walk meets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Batch {
        position: u64,
        batch: Glance,
    },
    /// A stretch that recovery set aside.
    Damage(CorruptRange),
}

impl<'a> Walk<'a> {
    /// A walk from a batch at `position` up to what is visible.
    pub(crate) fn new(
        segment: &'a Segment,
        position: u64,
        visible: u64,
        access: Access,
    ) -> Walk<'a> {
        Walk {
            segment,
            position,
            visible,
            access,
            window: Vec::new(),
            window_at: position,
        }
    }

    /// The next step, or `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` when something else than a batch follows.
    pub(crate) fn step(&mut self) -> Result<Option<Step>, Stop> {
        let position = self.position;
        if position >= self.visible {
            return Ok(None);
        }
        if let Some(damage) = self
            .segment
            .damage_after(position)
            .filter(|damage| damage.start <= position)
        {
            self.position = damage.end;
            return Ok(Some(Step::Damage(*damage)));
        }
        let batch = Glance::at(self.header(position)?).ok_or_else(|| {
            self.segment
                .corrupt_error(position, self.segment.base_offset, "no batch begins here")
        })?;
        self.position += batch.size;
        Ok(Some(Step::Batch { position, batch }))
    }

    fn header(&mut self, position: u64) -> Result<&[u8], Stop> {
        let is_inside = position >= self.window_at
            && position + HEADER as u64 <= self.window_at + self.window.len() as u64;
        if !is_inside {
            self.window = access::read(
                self.segment.log.as_ref(),
                &self.segment.path,
                position,
                WINDOW,
                self.access,
            )?;
            self.window_at = position;
        }
        Ok(&self.window[(position - self.window_at) as usize..])
    }
}

/// The position of the first batch of a segment whose last offset is at least `offset`; `None` if there is none before `visible`.
///
/// # Errors
/// `Corrupt` when the offset lies in damage.
pub(crate) fn find_batch(
    segment: &Segment,
    offset: Offset,
    visible: u64,
    access: Access,
) -> Result<Option<u64>, Stop> {
    find(segment, offset, visible, access, false)
}

/// As `find_batch`, but an offset in damage gives the first batch behind it.
pub(crate) fn find_batch_past_damage(
    segment: &Segment,
    offset: Offset,
    visible: u64,
    access: Access,
) -> Result<Option<u64>, Stop> {
    find(segment, offset, visible, access, true)
}

fn find(
    segment: &Segment,
    offset: Offset,
    visible: u64,
    access: Access,
    skips_damage: bool,
) -> Result<Option<u64>, Stop> {
    let start = indexed_position(segment, offset, visible, access)?;
    let mut walk = Walk::new(segment, start, visible, access);
    while let Some(step) = walk.step()? {
        match step {
            Step::Batch { position, batch } if batch.last_offset >= offset => {
                return Ok(Some(position));
            }
            Step::Damage(damage) if offset < damage.next_offset && !skips_damage => {
                return Err(segment
                    .corrupt_error(
                        damage.start,
                        damage.first_offset,
                        "recovery found damage here",
                    )
                    .into());
            }
            _ => {}
        }
    }
    Ok(None)
}

/// A position from which a walk finds the offset. An index entry that does not point at its batch is worth nothing, and neither is
/// an index file that is gone, cut short or unreadable: the batches are all there, a walk from the first one only takes longer.
fn indexed_position(
    segment: &Segment,
    offset: Offset,
    visible: u64,
    access: Access,
) -> Result<u64, Stop> {
    if offset <= segment.base_offset {
        return Ok(0);
    }
    let entry = match segment
        .index
        .floor(segment.relative_at_most(offset), access)
    {
        Err(Stop::Failed(_)) => return Ok(0),
        entry => entry?,
    };
    let Some(entry) = entry.filter(|entry| u64::from(entry.position) < visible) else {
        return Ok(0);
    };
    let position = u64::from(entry.position);
    let head = access::read(
        segment.log.as_ref(),
        &segment.path,
        position,
        HEADER,
        access,
    )?;
    let is_there = Glance::at(&head).is_some_and(|batch| {
        batch.last_offset - segment.base_offset == i64::from(entry.relative_offset)
    });
    Ok(if is_there { position } else { 0 })
}
