//! One connection to one broker: TLS and who we are first, then any request of `wire` at the highest version both know.
//!
//! One request at a time. Frames, waits and answers are bounded; a connection that failed once stays failed. Where the broker
//! wants to know again who we are (KIP-368), that happens before the next request, on the same connection.

use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{self, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use wire::api_versions;
use wire::{ApiKey, ErrorCode, Reader, RequestHeader};

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::sasl;
use crate::security::Secured;
use crate::tls;

/// The largest answer that is read: Metadata of 100,000 partitions stays far below.
const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

/// The version of the first ApiVersions request; every broker since Kafka 2.4 reads it, others answer in v0.
const FIRST_VERSION: i16 = 3;

/// How much of a session's lifetime is used; the broker closes the connection at the whole, and its clock starts earlier.
const USED_LIFETIME: f64 = 0.85;

/// Bytes to a broker and back, with TLS around them or without.
trait Transport: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Transport for T {}

/// A connection after its ApiVersions exchange and, where the cluster's security says so, after authentication.
pub struct Connection {
    stream: Box<dyn Transport>,
    secured: Secured,
    /// When to authenticate again.
    session_ends: Option<Instant>,
    address: String,
    client_id: String,
    limit: Duration,
    correlation_id: i32,
    offered: HashMap<i16, RangeInclusive<i16>>,
    failed: bool,
}

/// An answer; [`Reply::read`] gives it as a message that borrows from here.
pub struct Reply<Q> {
    address: String,
    version: i16,
    body: Bytes,
    request: PhantomData<fn() -> Q>,
}

impl Connection {
    /// Connects to one broker of `cluster` at `host:port`, authenticates and asks which versions it speaks.
    ///
    /// The cluster's time limit bounds each exchange.
    ///
    /// # Errors
    /// `Unreachable` when nothing listens there, does not answer in time or has the wrong certificate, `Protocol` when it is
    /// no Kafka broker, `Refused` when it does not accept the credentials, `Client` when the security settings cannot be used.
    pub async fn open(address: &str, cluster: &Cluster) -> Result<Connection, ClientError> {
        let secured = cluster.secured().clone();
        secured.security().check()?;
        let mut connection = Connection {
            stream: connect(address, &secured, cluster.timeout()).await?,
            secured,
            session_ends: None,
            address: address.to_owned(),
            client_id: cluster.client_id().to_owned(),
            limit: cluster.timeout(),
            correlation_id: 0,
            offered: HashMap::new(),
            failed: false,
        };
        connection.negotiate().await?;
        connection.authenticate().await?;
        Ok(connection)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bounds each exchange from now on: a request that waits at the broker takes longer than the cluster's time limit.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Whether another request can be tried: nothing failed, and the broker has not closed the connection meanwhile.
    pub(crate) fn is_usable(&mut self) -> bool {
        // Between requests nothing comes but the end, so whatever can be read now ends the connection.
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = task::Context::from_waker(Waker::noop());
        !self.failed
            && Pin::new(&mut self.stream)
                .poll_read(&mut context, &mut buffer)
                .is_pending()
    }

    /// The versions of `key` that the broker offers.
    pub fn offered(&self, key: ApiKey) -> Option<RangeInclusive<i16>> {
        self.offered.get(&(key as i16)).cloned()
    }

    /// Sends `request` at the highest version that both sides know.
    pub async fn call<'q, Q: wire::Request<'q>>(
        &mut self,
        request: &Q,
    ) -> Result<Reply<Q>, ClientError> {
        self.call_up_to(request, i16::MAX).await
    }

    /// Like [`Connection::call`], at most at version `highest`: for requests whose later versions ask differently.
    ///
    /// # Errors
    /// `NotOffered` when no version is common, `TimedOut` and `Unreachable` when no answer came.
    pub async fn call_up_to<'q, Q: wire::Request<'q>>(
        &mut self,
        request: &Q,
        highest: i16,
    ) -> Result<Reply<Q>, ClientError> {
        if self.session_ends.is_some_and(|end| Instant::now() >= end) {
            self.authenticate().await?;
        }
        self.request_up_to(request, highest).await
    }

    /// Like [`Connection::call`], for the requests that authentication itself is made of.
    pub(crate) async fn request<'q, Q: wire::Request<'q>>(
        &mut self,
        request: &Q,
    ) -> Result<Reply<Q>, ClientError> {
        self.request_up_to(request, i16::MAX).await
    }

    async fn request_up_to<'q, Q: wire::Request<'q>>(
        &mut self,
        request: &Q,
        highest: i16,
    ) -> Result<Reply<Q>, ClientError> {
        let ours = Q::KEY.versions();
        let version = self
            .offered(Q::KEY)
            .map(|theirs| {
                let top = (*theirs.end()).min(*ours.end()).min(highest);
                let bottom = (*theirs.start()).max(*ours.start());
                bottom..=top
            })
            .filter(|common| !common.is_empty())
            .map(|common| *common.end())
            .ok_or_else(|| ClientError::NotOffered {
                address: self.address.clone(),
                api: Q::KEY.name(),
            })?;
        self.exchange(request, version).await
    }

    async fn negotiate(&mut self) -> Result<(), ClientError> {
        let request = api_versions_request();
        let mut reply = self.exchange(&request, FIRST_VERSION).await?;
        // A broker that does not know the version answers error 35 in v0, whatever was asked.
        let code = reply
            .body
            .first_chunk::<2>()
            .map(|bytes| i16::from_be_bytes(*bytes));
        if code == Some(ErrorCode::UnsupportedVersion as i16) {
            reply = self.exchange(&request, 0).await?;
        }
        let answer = reply.read()?;
        self.offered = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version..=api.max_version))
            .collect();
        Ok(())
    }

    async fn authenticate(&mut self) -> Result<(), ClientError> {
        let secured = self.secured.clone();
        let Some(sasl) = &secured.security().sasl else {
            return Ok(());
        };
        let outcome = sasl::authenticate(self, sasl).await;
        self.failed |= outcome.is_err();
        let lifetime = outcome?;
        self.session_ends = lifetime.map(|whole| Instant::now() + whole.mul_f64(USED_LIFETIME));
        Ok(())
    }

    /// One request and its answer within the limit.
    async fn exchange<'q, Q: wire::Request<'q>>(
        &mut self,
        request: &Q,
        version: i16,
    ) -> Result<Reply<Q>, ClientError> {
        if self.failed {
            return Err(self.unreachable("the connection failed earlier"));
        }
        // Until the answer is whole the stream is in the middle of something and useless for another request.
        self.failed = true;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            api_key: Q::KEY as i16,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(&self.client_id),
        };
        let frame = wire::encode_request(&header, request);
        let limit = self.limit;
        let answer = timeout(limit, round_trip(&mut self.stream, &frame)).await;
        let body = match answer {
            Err(_) => {
                return Err(ClientError::TimedOut {
                    what: format!("{} at {}", Q::KEY.name(), self.address),
                    after: limit,
                });
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(ClientError::Protocol {
                    address: self.address.clone(),
                    reason: error.to_string(),
                });
            }
            Ok(Err(error)) => return Err(self.unreachable(&self.reason(&error))),
            Ok(Ok(body)) => body,
        };
        let body = self.take_header::<Q>(body, version)?;
        self.failed = false;
        Ok(Reply {
            address: self.address.clone(),
            version,
            body,
            request: PhantomData,
        })
    }

    /// Checks the correlation id and takes the response header off.
    fn take_header<'q, Q: wire::Request<'q>>(
        &self,
        body: Vec<u8>,
        version: i16,
    ) -> Result<Bytes, ClientError> {
        let protocol = |reason: String| ClientError::Protocol {
            address: self.address.clone(),
            reason,
        };
        let mut reader = Reader::new(&body);
        let correlation_id = reader.i32().map_err(|error| protocol(error.to_string()))?;
        if correlation_id != self.correlation_id {
            return Err(protocol(format!(
                "answer {correlation_id} to request {}",
                self.correlation_id
            )));
        }
        if Q::KEY.response_header_version(version) >= 1 {
            reader
                .skip_tagged_fields()
                .map_err(|error| protocol(error.to_string()))?;
        }
        let header_length = body.len() - reader.remaining();
        Ok(Bytes::from(body).slice(header_length..))
    }

    /// An I/O error in words; brokers close a connection without one when it begins with something else than they want.
    fn reason(&self, error: &io::Error) -> String {
        if !was_closed(error)
            && let Some(reason) = tls::session_reason(error)
        {
            return reason;
        }
        let protocol = self.secured.security().protocol;
        let hint = match self.correlation_id {
            1 if was_closed(error) && !protocol.encrypts() => "; the port may want TLS",
            2 if was_closed(error) && !protocol.authenticates() => "; the listener may want SASL",
            _ => "",
        };
        format!("{}{hint}", io_reason(error))
    }

    fn unreachable(&self, reason: &str) -> ClientError {
        ClientError::Unreachable {
            address: self.address.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// Who we are, and the question what the broker offers.
pub(crate) fn api_versions_request() -> api_versions::Request<'static> {
    api_versions::Request {
        client_software_name: "thalweg",
        client_software_version: env!("CARGO_PKG_VERSION"),
        ..api_versions::Request::default()
    }
}

/// A TCP connection, within TLS when the protocol encrypts.
async fn connect(
    address: &str,
    secured: &Secured,
    limit: Duration,
) -> Result<Box<dyn Transport>, ClientError> {
    let unreachable = |reason: String| ClientError::Unreachable {
        address: address.to_owned(),
        reason,
    };
    let late = |_| unreachable(format!("no answer within {:.1} s", limit.as_secs_f64()));
    let Some((host, _)) = address.rsplit_once(':') else {
        let reason = "no port in the address; write host:port";
        return Err(unreachable(reason.to_owned()));
    };
    let connector = secured.connector().await?;
    let stream = timeout(limit, TcpStream::connect(address))
        .await
        .map_err(late)?
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| unreachable(io_reason(&error)))?;
    let Some(connector) = connector else {
        return Ok(Box::new(stream));
    };
    let check_hostname = secured.security().tls.check_hostname;
    let host = host.trim_matches(['[', ']']);
    let session = tls::handshake(&connector, check_hostname, host, stream);
    let session = timeout(limit, session).await.map_err(late)?;
    Ok(Box::new(session.map_err(unreachable)?))
}

async fn round_trip(stream: &mut Box<dyn Transport>, frame: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(frame).await?;
    // TLS may keep what is written until it is told that this is all.
    stream.flush().await?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let size = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if size > MAX_FRAME_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            other_protocol(prefix),
        ));
    }
    // Grows with what arrives: a claimed length alone reserves nothing.
    let mut body = Vec::new();
    let read = stream.take(size as u64).read_to_end(&mut body).await?;
    if read < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

/// What speaks there, by the first bytes of an answer that no Kafka broker gives.
fn other_protocol(prefix: [u8; 4]) -> String {
    match prefix {
        [b'H', b'T', b'T', b'P'] => "this is an HTTP port".to_owned(),
        [0x15, 0x03, ..] => "this port wants TLS".to_owned(),
        _ => format!(
            "it announces an answer of {} bytes",
            u32::from_be_bytes(prefix)
        ),
    }
}

/// An I/O error in words, without the number of the operating system.
fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ if was_closed(error) => "the connection was closed before an answer came".to_owned(),
        _ => error.to_string(),
    }
}

fn was_closed(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let closed = matches!(
        error.kind(),
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe
    );
    closed || tls::was_cut_off(error)
}

impl<'q, Q: wire::Request<'q>> Reply<Q> {
    /// The version in which the broker answered.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The answer as a message.
    ///
    /// # Errors
    /// `Protocol` when the bytes are no such message.
    pub fn read(&self) -> Result<Q::Response<'_>, ClientError> {
        let mut reader = Reader::shared(&self.body);
        wire::Response::decode(&mut reader, self.version).map_err(|error| ClientError::Protocol {
            address: self.address.clone(),
            reason: format!("{} v{}: {error}", Q::KEY.name(), self.version),
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use wire::metadata;

    use super::*;

    fn cluster() -> Cluster {
        Cluster::new("").with_timeout(Duration::from_secs(5))
    }

    /// A peer that answers each frame with the next of `answers`, then closes.
    async fn peer(answers: Vec<Vec<u8>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("the client comes");
            for answer in answers {
                let size = stream.read_u32().await.expect("a frame");
                let mut frame = vec![0; size as usize];
                stream.read_exact(&mut frame).await.expect("a whole frame");
                stream.write_all(&answer).await.expect("the client listens");
            }
        });
        address
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len()).expect("a small body");
        [&size.to_be_bytes()[..], body].concat()
    }

    /// ApiVersions in v0: correlation id, error, one key with its versions.
    fn versions(correlation_id: i32, error: i16, key: i16, highest: i16) -> Vec<u8> {
        let mut body = correlation_id.to_be_bytes().to_vec();
        body.extend(error.to_be_bytes());
        body.extend(1i32.to_be_bytes());
        for number in [key, 0, highest] {
            body.extend(number.to_be_bytes());
        }
        framed(&body)
    }

    async fn open(answers: Vec<Vec<u8>>) -> Result<Connection, ClientError> {
        Connection::open(&peer(answers).await, &cluster()).await
    }

    #[tokio::test]
    async fn a_peer_of_another_protocol_is_named() {
        for (answer, expected) in [
            (&b"HTTP/1.1 400 Bad Request"[..], "this is an HTTP port"),
            (&[0x15, 0x03, 0x03, 0x00, 0x02], "this port wants TLS"),
            (
                &[0x7f, 0xff, 0xff, 0xff],
                "it announces an answer of 2147483647 bytes",
            ),
        ] {
            let error = open(vec![answer.to_vec()]).await.err().expect("a refusal");
            assert!(error.to_string().ends_with(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn an_answer_to_another_request_is_refused() {
        let error = open(vec![versions(7, 0, 3, 1)])
            .await
            .err()
            .expect("a refusal");
        assert!(
            error.to_string().ends_with("answer 7 to request 1"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_closed_connection_and_a_torn_answer_are_unreachable() {
        for answers in [vec![], vec![framed(&[0; 8])[..6].to_vec()]] {
            let error = open(answers).await.err().expect("a refusal");
            assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn an_older_broker_is_asked_again_in_its_version() {
        let unsupported = versions(1, 35, 18, 0);
        let mut connection = open(vec![unsupported, versions(2, 0, 3, 1)])
            .await
            .expect("v0 is understood");
        assert_eq!(connection.offered(ApiKey::Metadata), Some(0..=1));
        let request = wire::list_groups::Request::default();
        let error = connection.call(&request).await.err().expect("a refusal");
        assert!(
            matches!(
                error,
                ClientError::NotOffered {
                    api: "ListGroups",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_connection_that_failed_stays_failed() {
        let mut connection = open(vec![versions(1, 35, 18, 0), versions(2, 0, 3, 1)])
            .await
            .expect("v0");
        let request = metadata::Request::default();
        assert!(connection.call(&request).await.is_err(), "the peer closes");
        assert!(!connection.is_usable());
        let error = connection.call(&request).await.err().expect("a refusal");
        assert!(
            error.to_string().ends_with("the connection failed earlier"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_in_time_is_a_time_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let error = Connection::open(&address, &cluster())
            .await
            .err()
            .expect("a refusal");
        assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_address_needs_a_port() {
        let error = Connection::open("localhost", &cluster())
            .await
            .err()
            .expect("a refusal");
        assert!(error.to_string().contains("write host:port"), "{error}");
    }
}
