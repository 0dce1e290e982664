//! A blocking Kafka connection over `wire`: one request after the other, or several sent before their replies are read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use wire::{ApiKey, ErrorCode, Reader, Request, RequestHeader, ResponseHeader};

/// A broker that is killed closes its sockets at once; this is for one that hangs, and longer than a rebalance takes.
const PATIENCE: Duration = Duration::from_secs(20);
const LARGEST_FRAME: usize = 64 << 20;

/// Why a call brought no answer. During a cut that is expected; the load stops and the oracle looks.
#[derive(Debug)]
pub enum Failure {
    /// The connection ended, as it does in a power cut.
    Gone(std::io::Error),
    /// The answer has an error code that a client would retry.
    Retriable(ErrorCode),
    /// The answer makes no sense, or has an error code that must not be.
    Wrong(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                Failure::Wrong(format!("no answer within {} s", PATIENCE.as_secs()))
            }
            _ => Failure::Gone(error),
        }
    }
}

impl From<wire::DecodeError> for Failure {
    fn from(error: wire::DecodeError) -> Self {
        Failure::Wrong(format!("an answer that cannot be read: {error}"))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Gone(error) => write!(formatter, "the connection ended: {error}"),
            Failure::Retriable(code) => write!(formatter, "{}", code.name()),
            Failure::Wrong(text) => write!(formatter, "{text}"),
        }
    }
}

/// A code that does not exist counts as the one for everything unexpected.
pub fn error_of(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)
}

/// Turns an error code of an answer into a failure.
pub fn accept(code: i16, what: &str) -> Result<(), Failure> {
    match error_of(code) {
        ErrorCode::None => Ok(()),
        code if code.is_retriable() => Err(Failure::Retriable(code)),
        code => Err(Failure::Wrong(format!(
            "{what} was answered with {}",
            code.name()
        ))),
    }
}

pub struct Connection {
    stream: TcpStream,
    sent: i32,
}

/// A response frame; the body begins after the header.
pub struct Reply {
    frame: Vec<u8>,
    body: usize,
    pub correlation_id: i32,
}

impl Reply {
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.frame[self.body..])
    }
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Connection, Failure> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { stream, sent: 0 })
    }

    /// Sends without waiting; the correlation id of the reply to come.
    pub fn send<'q, R: Request<'q>>(&mut self, version: i16, request: &R) -> Result<i32, Failure> {
        self.sent += 1;
        let header = RequestHeader {
            api_key: R::KEY as i16,
            api_version: version,
            correlation_id: self.sent,
            client_id: Some("powercut"),
        };
        self.stream
            .write_all(&wire::encode_request(&header, request))?;
        Ok(self.sent)
    }

    /// The next reply, which answers a request of this key and version.
    pub fn receive(&mut self, key: ApiKey, version: i16) -> Result<Reply, Failure> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = u32::from_be_bytes(size) as usize;
        if size > LARGEST_FRAME {
            return Err(Failure::Wrong(format!("a frame of {size} bytes")));
        }
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame)?;
        let mut reader = Reader::new(&frame);
        let header = ResponseHeader::decode(&mut reader, key, version)?;
        let body = frame.len() - reader.remaining();
        Ok(Reply {
            body,
            correlation_id: header.correlation_id,
            frame,
        })
    }

    /// Sends and waits.
    pub fn call<'q, R: Request<'q>>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<Reply, Failure> {
        let expected = self.send(version, request)?;
        let reply = self.receive(R::KEY, version)?;
        if reply.correlation_id != expected {
            return Err(Failure::Wrong(format!(
                "an answer to {}, asked {expected}",
                reply.correlation_id
            )));
        }
        Ok(reply)
    }

    /// Whether Metadata names a broker.
    pub fn has_brokers(&mut self) -> bool {
        const VERSION: i16 = 9;
        let request = wire::metadata::Request {
            topics: Some(Vec::new()),
            ..Default::default()
        };
        let Ok(reply) = self.call(VERSION, &request) else {
            return false;
        };
        wire::metadata::Response::decode(&mut reply.reader(), VERSION)
            .is_ok_and(|response| !response.brokers.is_empty())
    }
}
