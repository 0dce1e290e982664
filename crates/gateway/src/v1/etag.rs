//! `ETag` and `If-Match`: a change is made only to the state that the client has seen.
//!
//! Between the check and the change somebody else may be faster by a moment: Kafka has no conditional change of settings. What a
//! person read a minute ago is never overwritten unseen, which is what this is for.

use axum::http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::problem::{PRECONDITION_FAILED, Problem};

/// The tag of a state: the same for the same state in every process.
pub fn of(state: &impl Serialize) -> HeaderValue {
    let json = serde_json::to_vec(state).expect("what is answered is JSON");
    let hash = Sha256::digest(&json);
    let digits: String = hash[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::try_from(format!("\"{digits}\"")).expect("hex digits are plain text")
}

/// # Errors
/// `precondition-failed` when the client saw another state than `current`; without `If-Match` nothing is asked.
pub fn check(headers: &HeaderMap, current: &HeaderValue) -> Result<(), Problem> {
    let Some(wanted) = headers.get(header::IF_MATCH) else {
        return Ok(());
    };
    let current = current.to_str().unwrap_or_default();
    let wanted = wanted.to_str().unwrap_or_default();
    let matches = wanted
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag == current);
    match matches {
        true => Ok(()),
        false => {
            let detail = format!("If-Match names {wanted}, but the ETag is {current} now");
            Err(Problem::new(PRECONDITION_FAILED, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_that_was_seen_matches() {
        let (seen, now) = (of(&["a"]), of(&["b"]));
        let mut headers = HeaderMap::new();
        assert!(check(&headers, &now).is_ok());
        headers.insert(header::IF_MATCH, seen.clone());
        assert!(check(&headers, &now).is_err());
        assert!(check(&headers, &seen).is_ok());
        headers.insert(header::IF_MATCH, HeaderValue::from_static("*"));
        assert!(check(&headers, &now).is_ok());
    }
}
