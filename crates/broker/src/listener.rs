//! Accepts connections and counts them against the limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker_state::quotas::QuotaKey;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::addresses::Place;
use crate::connection::Connection;
use crate::core::Core;

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 1024;

/// Opens a listening socket; an IPv6 socket takes IPv6 only, so that both can have the same port.
///
/// # Errors
/// Whatever the system says, such as an address in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the broker stops.
pub async fn accept(listener: TcpListener, core: Arc<Core>) {
    let mut stopped = std::pin::pin!(core.stopped());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                admit(stream, peer, &core);
                let wait = core.throttling.accepted(core.now_ms());
                if !wait.is_zero() {
                    // Those who want to connect meanwhile wait with the kernel (KIP-612).
                    tokio::time::sleep(wait).await;
                }
            }
            Err(error) => {
                // Out of file descriptors, most often: other connections go on, this one is tried again.
                tracing::warn!(%error, "cannot accept a connection; raise the open-file limit if this repeats");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, core: &Arc<Core>) {
    let Ok(permit) = Arc::clone(&core.connections).try_acquire_owned() else {
        core.metrics.connections_refused.inc();
        tracing::debug!(%peer, limit = core.limits.connections, "refused a connection: the limit is reached");
        return;
    };
    let Some(place) = core.addresses.admit(peer.ip()) else {
        core.metrics.connections_refused.inc();
        tracing::debug!(%peer, "refused a connection: its address has as many as it may (max.connections.per.ip)");
        return;
    };
    let image = core.image();
    let wait = core
        .throttling
        .connect(core.now_ms(), image.quotas(), peer.ip());
    if !wait.is_zero() {
        core.metrics
            .throttled(QuotaKey::ConnectionCreationRate, wait);
        tokio::spawn(turn_away(stream, wait, (permit, place), Arc::clone(core)));
        return;
    }
    match Connection::new(stream, peer, Arc::clone(core)) {
        Ok(connection) => {
            tokio::spawn(async move {
                connection.run().await;
                drop((permit, place));
            });
        }
        Err(error) => tracing::debug!(%peer, %error, "a connection went away before it was served"),
    }
}

/// Keeps a connection beyond its address's quota open, without a word, for as long as the address must wait; a client
/// that were closed at once would come back at once (KIP-612).
async fn turn_away(
    stream: TcpStream,
    wait: Duration,
    counted: (OwnedSemaphorePermit, Place),
    core: Arc<Core>,
) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = core.stopped() => {}
    }
    drop((stream, counted));
}
