//! One client connection: reads requests, answers them in the order they came.
//!
//! Produce requests are handed to their shards as they are read and may be under way together; any other
//! request waits until those before it are answered, so a client sees Kafka's order. Reading stops while
//! the memory for requests is used up, and at `Limits::in_flight_per_connection`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use broker_state::share_sessions::ConnectionId;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::ApiKey;

use crate::api::{self, Answer, Call, PendingProduce};
use crate::core::Core;

mod frames;
mod replies;

use frames::{Frame, Frames};

pub struct Connection {
    /// What share sessions end with.
    pub id: ConnectionId,
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub core: Arc<Core>,
    /// Nothing is read from the client until then, by the broker's clock; 0: it is not held back.
    pub held_until_ms: AtomicI64,
    /// Name and version of the client's software, once it has said them (KIP-511).
    pub software: OnceLock<(Box<str>, Box<str>)>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// How long a request may go on once the broker stops.
const GRACE: Duration = Duration::from_secs(1);

/// A produce request whose answer is still to come.
struct Waiting {
    pending: PendingProduce,
    frame: Frame,
    started: Instant,
}

/// Why a connection ends.
enum End {
    /// The client closed it, or the broker stops.
    Closed,
    /// The client sent what cannot be answered.
    Malformed(String),
    Network(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Network(error)
    }
}

impl Connection {
    pub fn new(stream: TcpStream, peer: SocketAddr, core: Arc<Core>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let id = ConnectionId(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        Ok(Self {
            id,
            stream,
            peer,
            local,
            core,
            held_until_ms: AtomicI64::new(0),
            software: OnceLock::new(),
        })
    }

    /// Serves until either side ends the connection.
    pub async fn run(self) {
        self.core.metrics.connections.inc();
        match self.serve().await {
            Ok(()) | Err(End::Closed) => {}
            Err(End::Malformed(reason)) => {
                self.core.metrics.malformed_requests.inc();
                tracing::debug!(peer = %self.peer, reason, "closed a connection");
            }
            Err(End::Network(error)) => {
                tracing::debug!(peer = %self.peer, %error, "a connection broke")
            }
        }
        self.core.share_disconnected(self.id);
        self.core.metrics.connections.dec();
    }

    async fn serve(&self) -> Result<(), End> {
        let mut frames = Frames::new(self);
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let mut stopped = std::pin::pin!(self.core.stopped());
        let mut is_stopping = false;
        loop {
            let is_idle = waiting.is_empty();
            if is_stopping && is_idle {
                return Ok(());
            }
            let held = self.held_for().filter(|_| !is_stopping);
            let may_read = !is_stopping
                && held.is_none()
                && waiting.len() < self.core.limits.in_flight_per_connection;
            tokio::select! {
                biased;
                ready = first_ready(&mut waiting), if !is_idle => {
                    let mut answers = Vec::new();
                    self.finish(ready, &mut answers)?;
                    self.finish_ready(&mut waiting, &mut answers)?;
                    self.write(&answers).await?;
                }
                frame = frames.next(), if may_read => {
                    let Some(frame) = frame? else { return Ok(()) };
                    self.take(frame, &mut waiting).await?;
                }
                () = hold(held), if held.is_some() => {}
                () = &mut stopped, if !is_stopping => is_stopping = true,
            }
        }
    }

    /// Starts a produce request, or answers any other after those before it.
    async fn take(&self, frame: Frame, waiting: &mut VecDeque<Waiting>) -> Result<(), End> {
        self.core
            .metrics
            .request_bytes
            .inc_by(frame.bytes.len() as u64);
        let started = Instant::now();
        let call = Call::parse(&frame.bytes).map_err(End::Malformed)?;
        if call.header.api_key == ApiKey::Produce as i16 {
            let pending = api::produce::start(self, &call)
                .await
                .map_err(End::Malformed)?;
            waiting.push_back(Waiting {
                pending,
                frame,
                started,
            });
            return Ok(());
        }
        let mut answers = Vec::new();
        while !waiting.is_empty() {
            let ready = first_ready(waiting).await;
            self.finish(ready, &mut answers)?;
        }
        self.write(&answers).await?;
        let key = call.header.api_key;
        let answer = tokio::select! {
            answer = Box::pin(api::dispatch(self, &call)) => answer.map_err(End::Malformed)?,
            // A join that waits for others would hold the end up.
            () = self.grace_is_over() => return Err(End::Closed),
        };
        self.write(&[answer]).await?;
        if let Ok(key) = ApiKey::try_from(key) {
            self.core.metrics.request(key, started.elapsed());
        }
        Ok(())
    }

    /// Ends some time after the broker has begun to stop.
    async fn grace_is_over(&self) {
        self.core.stopped().await;
        tokio::time::sleep(GRACE).await;
    }

    /// Adds the answers of all produce requests at the front that are done.
    fn finish_ready(
        &self,
        waiting: &mut VecDeque<Waiting>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), End> {
        while let Some(first) = waiting.front_mut() {
            if !first.pending.is_ready() {
                break;
            }
            let ready = waiting.pop_front().expect("front_mut saw it");
            self.finish(ready, answers)?;
        }
        Ok(())
    }

    fn finish(&self, ready: Waiting, answers: &mut Vec<Answer>) -> Result<(), End> {
        let Waiting {
            pending,
            frame,
            started,
        } = ready;
        let answer = pending.finish(self).ok_or(End::Closed)?;
        drop(frame);
        answers.extend(answer);
        self.core
            .metrics
            .request(ApiKey::Produce, started.elapsed());
        Ok(())
    }

    async fn write(&self, answers: &[Answer]) -> Result<(), End> {
        let parts: Vec<Bytes> = answers
            .iter()
            .flat_map(|answer| answer.parts.iter().cloned())
            .collect();
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        let written = timeout(
            self.core.limits.stall,
            replies::write_all(&self.stream, &self.core, &parts),
        )
        .await;
        written.map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                "the client does not read its answers",
            )
        })??;
        self.core.metrics.response_bytes.inc_by(bytes as u64);
        Ok(())
    }
}

/// Waits as long as the client is held back.
async fn hold(held: Option<Duration>) {
    tokio::time::sleep(held.unwrap_or_default()).await;
}

/// Waits until the first of `waiting` is done and takes it out.
async fn first_ready(waiting: &mut VecDeque<Waiting>) -> Waiting {
    let first = waiting.front_mut().expect("called with something waiting");
    first.pending.ready().await;
    waiting.pop_front().expect("front_mut saw it")
}
