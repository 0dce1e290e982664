//! What a topic may be called, and which topics are the broker's own.
//!
//! Source: org.apache.kafka.common.internals.Topic (behaviour).

use wire::ErrorCode;

use crate::refusal::Refusal;

/// The longest name: with `-` and a partition number it still is a file name.
pub const MAX_NAME_BYTES: usize = 249;

pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
pub const TRANSACTION_STATE: &str = "__transaction_state";
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// Reserved: the log of this machine's records.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether the broker keeps its own state in the topic of this name.
pub fn is_internal(name: &str) -> bool {
    matches!(
        name,
        CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE
    )
}

/// Checks that a topic may be called so.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION`, with Kafka's reason.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." => "'.' is not allowed".to_owned(),
        ".." => "'..' is not allowed".to_owned(),
        _ if name.len() > MAX_NAME_BYTES => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_NAME_BYTES}")
        }
        _ if !name.bytes().all(is_legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(
        ErrorCode::InvalidTopicException,
        format!("Topic name is invalid: {reason}"),
    ))
}

/// Checks that a client may append to the topic of this name. Kafka lets nobody but `__admin_client` write to its
/// own topics: a foreign record in them would be taken for group or transaction state.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION`.
pub fn check_client_append(name: &str, client_id: Option<&str>) -> Result<(), Refusal> {
    if is_internal(name) && client_id != Some("__admin_client") {
        let message = format!("Cannot append to internal topic {name}");
        return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
    }
    Ok(())
}

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The form in which two names that differ in `.` and `_` only are the same, or `None` for a name without either:
/// metrics show both characters as `_`, so such names would be mixed up.
pub(super) fn collision_form(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
