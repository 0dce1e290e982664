//! Writes answers: all parts of all answers that are ready go out in one vectored write where the socket takes it.

use std::io::{self, IoSlice};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::core::Core;

/// Most parts of one write; the kernel's limit is 1,024.
const MOST_SLICES: usize = 256;

/// While others wait for the memory of answers, a reader that takes nothing for this part of `Limits::stall` is given up.
const PATIENCE: u32 = 12;

/// Writes `parts` in order.
///
/// # Errors
/// What the socket says; a part may then have been written in half. `TimedOut` when the client keeps others from their answers.
pub async fn write_all(stream: &TcpStream, core: &Core, parts: &[Bytes]) -> io::Result<()> {
    let mut first = 0;
    let mut skip = 0;
    while first < parts.len() {
        let slices: Vec<IoSlice<'_>> = parts[first..]
            .iter()
            .take(MOST_SLICES)
            .enumerate()
            .map(|(index, part)| IoSlice::new(if index == 0 { &part[skip..] } else { part }))
            .collect();
        let mut written = match stream.try_write_vectored(&slices) {
            Ok(written) => written + skip,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                writable(stream, core).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        while first < parts.len() && written >= parts[first].len() {
            written -= parts[first].len();
            first += 1;
        }
        skip = written;
    }
    Ok(())
}

/// Waits until the socket takes more.
async fn writable(stream: &TcpStream, core: &Core) -> io::Result<()> {
    let patience = core.limits.stall / PATIENCE;
    loop {
        match timeout(patience, stream.writable()).await {
            Ok(writable) => return writable,
            Err(_) if core.are_answers_short_of_memory() => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(_) => {}
        }
    }
}
