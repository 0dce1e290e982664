//! Reads request frames: a four-byte size, then that many bytes. Bytes are read only once there is memory for them.
//!
//! Memory is taken as the bytes come, so that a client that announces much and sends little holds little. Many half frames could
//! then wait for each other when all memory is used: one frame at a time, which holds `large_frame`, may always be read to its end,
//! in memory that is kept for it.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{Connection, End};
use crate::core::Core;

/// What is read at a time while no frame is known; most requests fit.
const READ_CHUNK: usize = 4 << 10;
/// The smallest request: key, version, correlation id.
const SMALLEST_FRAME: usize = 8;

/// What a frame takes at first when memory is scarce; then it doubles.
const FIRST_KIB: usize = 64;
/// Where this many times a frame is free, the frame gets all of its memory at once.
const PLENTY: usize = 8;

/// One request, without its size, and the memory that it is counted with.
pub struct Frame {
    pub bytes: Bytes,
    _memory: Memory,
}

/// The memory of one frame.
#[derive(Default)]
struct Memory {
    permit: Option<OwnedSemaphorePermit>,
    /// The right to the memory that is kept for one frame, whatever its size.
    whole: Option<OwnedSemaphorePermit>,
}

impl Memory {
    fn kib(&self) -> usize {
        match (&self.whole, &self.permit) {
            (Some(_), _) => usize::MAX,
            (None, Some(permit)) => permit.num_permits(),
            (None, None) => 0,
        }
    }

    /// Waits for more: twice what there is, at most `limit`, or the right to a whole frame.
    async fn grow(&mut self, core: &Core, limit: usize) {
        let is_plenty = core.request_memory.available_permits() / PLENTY >= limit;
        let doubled = (2 * self.kib()).max(FIRST_KIB);
        let wanted = if is_plenty { limit } else { doubled.min(limit) };
        let more = (wanted - self.kib()) as u32;
        let memory = Arc::clone(&core.request_memory);
        if let Ok(permit) = memory.try_acquire_many_owned(more) {
            return self.add(permit);
        }
        let (memory, whole) = (&core.request_memory, &core.large_frame);
        tokio::select! {
            permit = Arc::clone(memory).acquire_many_owned(more) => {
                self.add(permit.expect("the semaphore is never closed"));
            }
            permit = Arc::clone(whole).acquire_owned() => self.whole = permit.ok(),
        }
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(own) => own.merge(permit),
            none => *none = Some(permit),
        }
    }
}

/// The frames of one connection. Safe to cancel: what was read is kept.
pub struct Frames<'a> {
    connection: &'a Connection,
    buffer: BytesMut,
    memory: Memory,
}

impl<'a> Frames<'a> {
    pub fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            buffer: BytesMut::new(),
            memory: Memory::default(),
        }
    }

    /// The next frame; `None` when the client has closed the connection between two frames.
    pub async fn next(&mut self) -> Result<Option<Frame>, End> {
        let limits = &self.connection.core.limits;
        while self.buffer.len() < 4 {
            let read = timeout(limits.idle, self.read(READ_CHUNK)).await;
            let read = read.map_err(|_| End::Closed)??;
            if read == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(End::Malformed("half a frame".to_owned()))
                };
            }
        }
        let size = self.frame_size()?;
        // Waiting for the first of the memory is nobody's fault and has no deadline.
        if self.memory.kib() == 0 {
            self.memory
                .grow(&self.connection.core, size.div_ceil(1024))
                .await;
        }
        let whole = 4 + size;
        // One deadline for the whole frame: a client that trickles its bytes must not hold the memory for ever.
        let read = timeout(limits.stall, self.read_until(whole)).await;
        read.map_err(|_| End::Malformed(format!("a frame of {size} bytes took too long")))??;
        let mut frame = self.buffer.split_to(whole);
        let bytes = frame.split_off(4).freeze();
        let memory = std::mem::take(&mut self.memory);
        Ok(Some(Frame {
            bytes,
            _memory: memory,
        }))
    }

    async fn read_until(&mut self, whole: usize) -> Result<(), End> {
        while self.buffer.len() < whole {
            let counted = self.memory.kib().saturating_mul(1024).saturating_add(4);
            if self.buffer.len() >= counted {
                let limit = (whole - 4).div_ceil(1024);
                self.memory.grow(&self.connection.core, limit).await;
                continue;
            }
            let wanted = whole.min(counted) - self.buffer.len();
            if self.read(wanted).await? == 0 {
                return Err(End::Malformed("half a frame".to_owned()));
            }
        }
        Ok(())
    }

    fn frame_size(&self) -> Result<usize, End> {
        let size = i32::from_be_bytes(self.buffer[..4].try_into().expect("four bytes"));
        let limit = self.connection.core.limits.frame_bytes;
        match usize::try_from(size) {
            Ok(size) if (SMALLEST_FRAME..=limit).contains(&size) => Ok(size),
            _ => Err(End::Malformed(format!(
                "a frame of {size} bytes; the limit is {limit}"
            ))),
        }
    }

    async fn read(&mut self, wanted: usize) -> io::Result<usize> {
        loop {
            // Nothing is held for a connection that has nothing to say.
            self.connection.stream.readable().await?;
            self.buffer.reserve(wanted);
            match self.connection.stream.try_read_buf(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.buffer.is_empty() {
                        self.buffer = BytesMut::new();
                    }
                }
                result => return result,
            }
        }
    }
}
