//! Where recent reads ended. A consumer continues where it stopped, so that its next read needs neither an index lookup nor a
//! search. Positions in a log file never change, so an entry is never wrong, only forgotten;
//! compaction, which replaces files, begins with new cursors.

use parking_lot::Mutex;

use crate::offset::Offset;

const REMEMBERED: usize = 16;

/// The place of a batch: which segment, and where in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: Offset,
    pub(crate) position: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Cursors {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    places: Vec<(Offset, Place)>,
    oldest: usize,
}

impl Cursors {
    /// Where the batch that begins with this offset is, if a read ended there lately.
    pub(crate) fn find(&self, offset: Offset) -> Option<Place> {
        let recent = self.recent.lock();
        recent
            .places
            .iter()
            .find(|(known, _)| *known == offset)
            .map(|(_, place)| *place)
    }

    pub(crate) fn remember(&self, offset: Offset, place: Place) {
        let mut recent = self.recent.lock();
        if recent.places.iter().any(|(known, _)| *known == offset) {
            return;
        }
        if recent.places.len() < REMEMBERED {
            recent.places.push((offset, place));
        } else {
            let oldest = recent.oldest;
            recent.places[oldest] = (offset, place);
            recent.oldest = (oldest + 1) % REMEMBERED;
        }
    }
}
