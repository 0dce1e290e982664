//! Frames: the size, the header, the message.

use bytes::Bytes;

use crate::ApiKey;
use crate::reader::{DecodeError, Reader};
use crate::writer::{Segment, Writer};

/// A request of one API key, so that callers can be generic over keys.
pub trait Request<'a>: Sized {
    /// The key it is sent under.
    const KEY: ApiKey;
    /// What answers it.
    type Response<'r>: Response<'r>;

    /// Reads the body; the fields that `version` lacks get their defaults.
    fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;

    /// Writes the body, without the fields that `version` lacks.
    fn encode(&self, writer: &mut Writer, version: i16);
}

/// A response of one API key.
pub trait Response<'a>: Sized {
    /// The key of the request it answers.
    const KEY: ApiKey;

    /// Reads the body; the fields that `version` lacks get their defaults.
    fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;

    /// Writes the body, without the fields that `version` lacks.
    fn encode(&self, writer: &mut Writer, version: i16);
}

/// The first eight bytes of every request, readable even when key or version are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPrefix {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
}

impl RequestPrefix {
    /// Reads the prefix. An ApiVersions request of an unknown version must not be read any further (KIP-511).
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(RequestPrefix {
            api_key: reader.i16()?,
            api_version: reader.i16()?,
            correlation_id: reader.i32()?,
        })
    }
}

/// The header of a request, version 1 or 2 by key and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// Reads the header; the client id keeps its two-byte length even in header version 2.
    ///
    /// # Errors
    /// `UnknownApiKey` when the header's form is unknown; [`RequestPrefix`] can be read all the same.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let RequestPrefix {
            api_key,
            api_version,
            correlation_id,
        } = RequestPrefix::decode(reader)?;
        let key = ApiKey::try_from(api_key)?;
        let client_id = reader.nullable_string(false)?;
        if key.is_flexible(api_version) {
            reader.skip_tagged_fields()?;
        }
        Ok(RequestHeader {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }

    /// Writes the header.
    pub fn encode(&self, writer: &mut Writer) {
        writer.i16(self.api_key);
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        writer.nullable_string(self.client_id, false);
        if ApiKey::try_from(self.api_key).is_ok_and(|key| key.is_flexible(self.api_version)) {
            writer.unsigned_varint(0);
        }
    }
}

/// The header of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header that answers a request of `key` and `version`.
    pub fn decode(reader: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let correlation_id = reader.i32()?;
        if key.response_header_version(version) >= 1 {
            reader.skip_tagged_fields()?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    fn encode(self, writer: &mut Writer, key: ApiKey, version: i16) {
        writer.i32(self.correlation_id);
        if key.response_header_version(version) >= 1 {
            writer.unsigned_varint(0);
        }
    }
}

/// A whole request frame: size, header, body in the header's version. The header's key must be `R::KEY`.
pub fn encode_request<'a, R: Request<'a>>(header: &RequestHeader<'_>, request: &R) -> Bytes {
    debug_assert_eq!(
        header.api_key,
        R::KEY as i16,
        "the header names the request"
    );
    let mut writer = Writer::with_capacity(512);
    writer.start_frame();
    header.encode(&mut writer);
    request.encode(&mut writer, header.api_version);
    writer.finish_frame_whole()
}

/// A whole response frame in pieces: size (external pieces included), header, body.
///
/// `version` is the one to answer in; an ApiVersions request of an unknown version is answered in 0. `key` must be `R::KEY`.
pub fn encode_response<'a, R: Response<'a>>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &R,
) -> Vec<Segment> {
    debug_assert_eq!(key, R::KEY, "the response answers a request of its own key");
    let mut writer = Writer::with_capacity(512);
    writer.start_frame();
    ResponseHeader { correlation_id }.encode(&mut writer, key, version);
    response.encode(&mut writer, version);
    writer.finish_frame()
}
