//! Why a broker does not start: what, where, and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use log::LogError;
use thiserror::Error;

use crate::journal::ReplayError;

#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}{}", if source.kind() == io::ErrorKind::AddrInUse { "; choose another port, or 0 for any" } else { "" })]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("no address to listen on was given")]
    NoAddress,
    #[error("cannot use {}: {source}; name a directory that this user can write", path.display())]
    DataDirectory { path: PathBuf, source: io::Error },
    #[error("{} is in use by {}; stop it, or choose another data directory", path.display(), holder.map_or("another process".to_owned(), |id| format!("process {id}")))]
    DataLocked { path: PathBuf, holder: Option<u32> },
    #[error("{} names no cluster.id; it is not a data directory of this program", path.display())]
    Identity { path: PathBuf },
    #[error("cannot read the state in {what}: {source}")]
    Log { what: String, source: LogError },
    #[error("the state in {what} cannot be understood: {reason}")]
    State { what: String, reason: String },
    #[error("the broker's settings cannot be used: {reason}")]
    Config { reason: String },
    #[error(
        "refusing to listen on {address} without authentication: anyone who can reach it could read and write every topic; listen on 127.0.0.1 or ::1"
    )]
    OpenToNetwork { address: SocketAddr },
    #[error("cannot gather randomness from the system: {reason}")]
    Randomness { reason: String },
}

impl StartError {
    /// A journal that cannot be replayed.
    pub(crate) fn replay(what: &str, error: ReplayError) -> Self {
        let what = what.to_owned();
        match error {
            ReplayError::Log(source) => Self::Log { what, source },
            ReplayError::Record { .. } | ReplayError::Lost { .. } => Self::State {
                what,
                reason: error.to_string(),
            },
        }
    }
}
