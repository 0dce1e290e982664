//! How a read may behave towards the device, and the one way in which this crate reads its files.

use std::path::Path;

use crate::disk::DiskFile;
use crate::error::{Context, LogError};

/// Whether a read may wait for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Wait if need be.
    Blocking,
    /// Give up rather than wait.
    CachedOnly,
}

/// Why a read gave nothing.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes are not in memory and the access was `CachedOnly`.
    WouldBlock,
    /// The read failed, or found damage.
    Failed(LogError),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Stop {
        Stop::Failed(error)
    }
}

impl Stop {
    /// The error of an access that was allowed to block.
    pub(crate) fn into_error(self) -> LogError {
        match self {
            Stop::Failed(error) => error,
            Stop::WouldBlock => unreachable!("a blocking access does not give up"),
        }
    }
}

/// Reads up to `length` bytes; fewer only at the end of the file.
pub(crate) fn read(
    file: &dyn DiskFile,
    path: &Path,
    position: u64,
    length: usize,
    access: Access,
) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    match access {
        Access::Blocking => {
            file.read_at(position, length, &mut bytes)
                .context("read", path)?;
        }
        Access::CachedOnly => {
            file.read_at_if_cached(position, length, &mut bytes)
                .context("read", path)?
                .ok_or(Stop::WouldBlock)?;
        }
    }
    Ok(bytes)
}
