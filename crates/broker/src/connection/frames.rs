//! Reads request frames: a four-byte size, then that many bytes. A frame is read only once there is memory for it.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{Connection, End};

/// What is read at a time while no frame is known; most requests fit.
const READ_CHUNK: usize = 4 << 10;
/// The smallest request: key, version, correlation id.
const SMALLEST_FRAME: usize = 8;

/// One request, without its size, and the memory that it is counted with.
pub struct Frame {
    pub bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

/// The frames of one connection. Safe to cancel: what was read is kept.
pub struct Frames<'a> {
    connection: &'a Connection,
    buffer: BytesMut,
    memory: Option<OwnedSemaphorePermit>,
}

impl<'a> Frames<'a> {
    pub fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            buffer: BytesMut::new(),
            memory: None,
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
        self.reserve_memory(size).await;
        let whole = 4 + size;
        // One deadline for the whole frame: a client that trickles its bytes must not hold the memory for ever.
        let read = timeout(limits.stall, self.read_until(whole)).await;
        read.map_err(|_| End::Malformed(format!("a frame of {size} bytes took too long")))??;
        let mut frame = self.buffer.split_to(whole);
        let bytes = frame.split_off(4).freeze();
        let memory = self.memory.take().expect("reserved above");
        Ok(Some(Frame {
            bytes,
            _memory: memory,
        }))
    }

    async fn read_until(&mut self, whole: usize) -> Result<(), End> {
        while self.buffer.len() < whole {
            if self.read(whole - self.buffer.len()).await? == 0 {
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

    async fn reserve_memory(&mut self, size: usize) {
        if self.memory.is_none() {
            let kib = size.div_ceil(1024) as u32;
            let semaphore = Arc::clone(&self.connection.core.request_memory);
            self.memory = Some(
                semaphore
                    .acquire_many_owned(kib)
                    .await
                    .expect("the semaphore is never closed"),
            );
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
