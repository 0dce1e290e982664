//! What follows from an API key: header versions, version checks. The enum itself is generated.

use crate::ApiKey;
use crate::reader::{DecodeError, DecodeErrorKind};

impl ApiKey {
    /// Whether `version` has compact lengths and tagged fields (KIP-482).
    pub const fn is_flexible(self, version: i16) -> bool {
        match self.first_flexible() {
            Some(first) => version >= first,
            None => false,
        }
    }

    /// The version of the request header: 2 (tagged fields) where the request is flexible, else 1.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response header: 1 (tagged fields) where the response is flexible, else 0.
    ///
    /// An ApiVersions response always has header 0, so that a client reads it before it knows the broker. Source: KIP-511.
    pub const fn response_header_version(self, version: i16) -> i16 {
        match self {
            ApiKey::ApiVersions => 0,
            _ if self.is_flexible(version) => 1,
            _ => 0,
        }
    }

    pub(crate) fn check_version(self, version: i16) -> Result<(), DecodeError> {
        if self.versions().contains(&version) {
            return Ok(());
        }
        Err(DecodeError {
            offset: 0,
            kind: DecodeErrorKind::UnsupportedVersion { key: self, version },
        })
    }
}

impl TryFrom<i16> for ApiKey {
    type Error = DecodeError;

    fn try_from(number: i16) -> Result<ApiKey, DecodeError> {
        ApiKey::from_number(number).ok_or(DecodeError {
            offset: 0,
            kind: DecodeErrorKind::UnknownApiKey { number },
        })
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

impl std::fmt::Display for crate::ErrorCode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.name(), self.message())
    }
}
