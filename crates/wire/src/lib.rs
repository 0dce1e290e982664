//! Kafka protocol: frames, headers, error codes, record batches read in place, messages generated from our own definitions.
//!
//! What it keeps true: no bytes of the network make it panic, and none make it allocate more than a small multiple of
//! what was received (`Reader`) or of the limit it was given (`records::decompress`). It knows no sockets, no files, no clock.
//!
//! - [`ApiKey`] and one module per key ([`produce`], [`fetch`], …), generated from `messages/` by `cargo xtask generate`.
//! - [`Reader`] and [`Writer`]: the primitive types. Requests borrow from the frame; responses become [`Segment`]s.
//! - [`RequestPrefix`], [`RequestHeader`], [`encode_request`], [`encode_response`]: frames.
//! - [`records`]: record batches, format v2.

mod api_key;
mod float64;
mod frame;
mod generated;
mod murmur;
mod reader;
pub mod records;
mod uuid;
mod writer;

pub use float64::Float64;
pub use frame::{
    Request, RequestHeader, RequestPrefix, Response, ResponseHeader, encode_request,
    encode_response,
};
pub use generated::*;
pub use murmur::{murmur2, partition_for_key};
pub use reader::{DecodeError, DecodeErrorKind, Reader};
pub use uuid::Uuid;
pub use writer::{Records, Segment, Writer};
