//! A listener with a limit on open connections: one more waits in the system's queue until another closes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Accepts at most so many connections at a time.
pub struct LimitedListener {
    inner: TcpListener,
    slots: Arc<Semaphore>,
}

/// A connection that gives its slot back when it is dropped.
pub struct LimitedStream {
    inner: TcpStream,
    _slot: OwnedSemaphorePermit,
}

impl LimitedListener {
    pub fn new(inner: TcpListener, most: usize) -> LimitedListener {
        let slots = Arc::new(Semaphore::new(most));
        LimitedListener { inner, slots }
    }
}

impl axum::serve::Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedStream, SocketAddr) {
        let slots = Arc::clone(&self.slots);
        let slot = slots
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        // axum's own accept waits and tries again when the system refuses, as when file handles run out.
        let (inner, address) = axum::serve::Listener::accept(&mut self.inner).await;
        (LimitedStream { inner, _slot: slot }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener;

    use super::*;

    #[tokio::test]
    async fn a_connection_over_the_limit_waits_for_another_to_close() {
        let inner = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = inner.local_addr().expect("bound");
        let mut listener = LimitedListener::new(inner, 1);
        let _one = TcpStream::connect(address)
            .await
            .expect("the queue has room");
        let _two = TcpStream::connect(address)
            .await
            .expect("the queue has room");
        let (first, _) = listener.accept().await;
        let refused = tokio::select! {
            biased;
            _ = listener.accept() => false,
            () = tokio::task::yield_now() => true,
        };
        assert!(refused, "the only slot is taken");
        drop(first);
        let (_second, _) = listener.accept().await;
    }
}
