//! The two kinds of number that a log counts in: positions in the stream of records, and bytes.
//! They never mix: an offset plus a count of records is an offset, a byte count plus a byte count is a byte count.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// The position of a record in its partition, counted from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of a partition that has lost nothing to retention yet.
    pub const ZERO: Offset = Offset(0);

    /// The offset after this one.
    pub fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl Add<i64> for Offset {
    type Output = Offset;

    fn add(self, records: i64) -> Offset {
        Offset(self.0 + records)
    }
}

impl Sub<Offset> for Offset {
    type Output = i64;

    fn sub(self, earlier: Offset) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of bytes, in memory or in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(pub u64);

impl ByteCount {
    /// Nothing at all.
    pub const ZERO: ByteCount = ByteCount(0);

    /// `count` × 1,024 bytes.
    pub const fn kibibytes(count: u64) -> ByteCount {
        ByteCount(count << 10)
    }

    /// `count` × 1,048,576 bytes.
    pub const fn mebibytes(count: u64) -> ByteCount {
        ByteCount(count << 20)
    }

    /// The count as a length in memory; a count beyond the address space saturates.
    pub fn as_length(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Add for ByteCount {
    type Output = ByteCount;

    fn add(self, other: ByteCount) -> ByteCount {
        ByteCount(self.0 + other.0)
    }
}

impl AddAssign for ByteCount {
    fn add_assign(&mut self, other: ByteCount) {
        self.0 += other.0;
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}
