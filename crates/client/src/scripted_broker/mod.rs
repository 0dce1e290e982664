//! For the tests of this crate: a peer that speaks Kafka's frames and answers each request as a closure decides.

pub(crate) mod certificates;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::ssl::{Ssl, SslAcceptor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_openssl::SslStream;
use wire::{ApiKey, ErrorCode, Reader, RequestHeader, Segment, api_versions, metadata};

const MAX_FRAME_BYTES: u32 = 1024 * 1024;

/// A request as it came.
pub(crate) struct Asked {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    pub(crate) key: ApiKey,
    version: i16,
    correlation_id: i32,
    body: Vec<u8>,
}

/// What a script does with a request.
pub(crate) enum Answer {
    Frame(Vec<u8>),
    /// The connection stays and nothing comes.
    Silence,
    Close,
}

impl Asked {
    fn of(connection: usize, frame: &[u8]) -> Asked {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).expect("a request header");
        Asked {
            connection,
            key: ApiKey::try_from(header.api_key).expect("a key"),
            version: header.api_version,
            correlation_id: header.correlation_id,
            body: frame[frame.len() - reader.remaining()..].to_vec(),
        }
    }

    /// The request as a message.
    pub(crate) fn read<'a, Q: wire::Request<'a>>(&'a self) -> Q {
        Q::decode(&mut Reader::new(&self.body), self.version).expect("a whole request")
    }

    pub(crate) fn answer<'a, R: wire::Response<'a>>(&self, response: &R) -> Answer {
        let segments = wire::encode_response(self.key, self.version, self.correlation_id, response);
        let frame = segments.iter().flat_map(|segment| match segment {
            Segment::Bytes(bytes) => bytes.to_vec(),
            Segment::External { .. } => unreachable!("no file is involved"),
        });
        Answer::Frame(frame.collect())
    }

    fn one_broker<'a>(&'a self, address: &'a str) -> metadata::Response<'a> {
        let (host, port) = address.split_once(':').expect("host:port");
        let request: metadata::Request<'a> = self.read();
        let asked = request.topics.into_iter().flatten();
        metadata::Response {
            brokers: vec![metadata::Broker {
                node_id: 1,
                host: host.into(),
                port: port.parse().expect("a port"),
                rack: None,
            }],
            topics: asked
                .map(|topic| metadata::Topic {
                    error_code: ErrorCode::UnknownTopicOrPartition as i16,
                    name: topic.name.map(Into::into),
                    ..metadata::Topic::default()
                })
                .collect(),
            ..metadata::Response::default()
        }
    }

    /// ApiVersions, and Metadata with one broker at `address` that has no topics; nothing else.
    pub(crate) fn answer_basics(&self, address: &str) -> Answer {
        match self.key {
            ApiKey::ApiVersions => self.answer(&all_versions()),
            ApiKey::Metadata => self.answer(&self.one_broker(address)),
            _ => Answer::Close,
        }
    }
}

/// All that `wire` knows but telemetry, which librdkafka would begin at once.
fn all_versions() -> api_versions::Response<'static> {
    let known = (0..=i16::from(u8::MAX)).filter_map(|number| ApiKey::try_from(number).ok());
    let known = known.filter(|key| *key != ApiKey::GetTelemetrySubscriptions);
    api_versions::Response {
        api_keys: known
            .map(|key| api_versions::ApiVersion {
                api_key: key as i16,
                min_version: *key.versions().start(),
                max_version: *key.versions().end(),
            })
            .collect(),
        ..api_versions::Response::default()
    }
}

/// Listens on a free port and runs `script`, which is also told the address; gives the address.
pub(crate) async fn start(
    script: impl Fn(&Asked, &str) -> Answer + Send + Sync + 'static,
) -> String {
    start_with(None, script).await
}

/// Like [`start`], within TLS.
pub(crate) async fn start_with(
    acceptor: Option<SslAcceptor>,
    script: impl Fn(&Asked, &str) -> Answer + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let script = Arc::new(script);
    let own_address = address.clone();
    tokio::spawn(async move {
        let connections = AtomicUsize::new(0);
        while let Ok((stream, _)) = listener.accept().await {
            let connection = connections.fetch_add(1, Ordering::Relaxed);
            let script = Arc::clone(&script);
            let address = own_address.clone();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let script = |asked: &Asked| script(asked, &address);
                let Some(acceptor) = acceptor else {
                    return serve(stream, connection, script).await;
                };
                let session = Ssl::new(acceptor.context()).expect("a session");
                let mut stream = SslStream::new(session, stream).expect("a session");
                if Pin::new(&mut stream).accept().await.is_ok() {
                    serve(stream, connection, script).await;
                }
            });
        }
    });
    address
}

/// Answers the requests of one connection until it ends.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    script: impl Fn(&Asked) -> Answer,
) {
    while let Ok(size) = stream.read_u32().await {
        // Brokers close what begins with anything but a frame, as a TLS greeting does.
        if size > MAX_FRAME_BYTES {
            return;
        }
        let mut frame = vec![0; size as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        match script(&Asked::of(connection, &frame)) {
            Answer::Frame(frame) if stream.write_all(&frame).await.is_ok() => {}
            Answer::Silence => {}
            _ => return,
        }
    }
}
