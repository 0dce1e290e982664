//! What can go wrong between a client and a cluster: what, where, and of which kind, so that a caller can choose an exit code.

use std::time::Duration;

use wire::ErrorCode;

/// An error of a producer, a consumer or an admin request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    #[error("no broker answers at {address}: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("{what} took longer than {:.1} s", after.as_secs_f64())]
    TimedOut { what: String, after: Duration },
    #[error("{what}: {} ({})", message.as_deref().unwrap_or_else(|| code.message()), code.name())]
    Refused {
        what: String,
        code: ErrorCode,
        message: Option<String>,
    },
    #[error("the broker at {address} offers no version of {api} that this client speaks")]
    NotOffered { address: String, api: &'static str },
    #[error("{address} does not speak the Kafka protocol as expected: {reason}")]
    Protocol { address: String, reason: String },
    /// A bounded queue is full; nothing was taken over, and later there is room again.
    #[error("{what}: {reason}; try again later")]
    Busy { what: String, reason: String },
    #[error("{what}: {reason}")]
    Client { what: String, reason: String },
}

/// The kinds that a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    Denied,
    Conflict,
    Unreachable,
    TimedOut,
    Busy,
    Other,
}

impl ClientError {
    pub(crate) fn refused(
        what: impl Into<String>,
        code: ErrorCode,
        message: Option<&str>,
    ) -> ClientError {
        let message = message
            .filter(|text| !text.is_empty())
            .map(|text| text.trim_end_matches('.').to_owned());
        ClientError::Refused {
            what: what.into(),
            code,
            message,
        }
    }

    /// A refusal by the number of its error code; one that `wire` does not know is told as a number.
    pub(crate) fn refused_by_number(
        what: impl Into<String>,
        number: i16,
        message: Option<&str>,
    ) -> ClientError {
        match ErrorCode::from_code(number) {
            Some(code) => ClientError::refused(what, code, message),
            None => {
                let text = format!("error code {number}");
                let code = ErrorCode::UnknownServerError;
                ClientError::refused(what, code, message.or(Some(&text)))
            }
        }
    }

    /// The Kafka error code, when the broker answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether what was asked for may have been done all the same: no answer came, or one that leaves it open.
    ///
    /// `false` is certain; `true` is not, as when a record waited for a connection until its time was over.
    pub fn may_have_happened(&self) -> bool {
        use ErrorCode as Code;
        match self {
            ClientError::Unreachable { .. }
            | ClientError::TimedOut { .. }
            | ClientError::Protocol { .. } => true,
            ClientError::Refused { code, .. } => matches!(
                code,
                Code::RequestTimedOut
                    | Code::NotEnoughReplicasAfterAppend
                    | Code::NetworkException
                    | Code::UnknownServerError
                    // A record that was sent before its connection broke, and the next one was not let in.
                    | Code::SaslAuthenticationFailed
            ),
            ClientError::NotOffered { .. }
            | ClientError::Busy { .. }
            | ClientError::Client { .. } => false,
        }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            ClientError::Unreachable { .. } => ErrorKind::Unreachable,
            ClientError::TimedOut { .. } => ErrorKind::TimedOut,
            ClientError::Refused { code, .. } => kind_of(*code),
            ClientError::Busy { .. } => ErrorKind::Busy,
            ClientError::NotOffered { .. }
            | ClientError::Protocol { .. }
            | ClientError::Client { .. } => ErrorKind::Other,
        }
    }
}

fn kind_of(code: ErrorCode) -> ErrorKind {
    use ErrorCode as Code;
    match code {
        Code::UnknownTopicOrPartition
        | Code::UnknownTopicId
        | Code::GroupIdNotFound
        | Code::TransactionalIdNotFound
        | Code::ResourceNotFound => ErrorKind::NotFound,
        Code::TopicAlreadyExists
        | Code::NonEmptyGroup
        | Code::GroupSubscribedToTopic
        | Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::RebalanceInProgress => ErrorKind::Conflict,
        Code::RequestTimedOut => ErrorKind::TimedOut,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed => ErrorKind::Denied,
        _ => ErrorKind::Other,
    }
}
