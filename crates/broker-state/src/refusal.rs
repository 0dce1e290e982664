//! A refusal: what a client asked for cannot be, with the Kafka error code and the sentence that says why.
//!
//! Refusals are values, not failures: nothing changed, nothing is logged, the request that asked is answered.

use thiserror::Error;
use wire::ErrorCode;

/// Why a request, or one part of it, is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refusal {
    pub error: ErrorCode,
    pub message: String,
}

impl Refusal {
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
        }
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }
}
