//! Tokens of OAUTHBEARER (RFC 7628): where they are read, until when they hold, and what a broker's refusal says.
//!
//! The claims of a token are looked at only to know when to read it again; whether it is genuine is the broker's business.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, SystemTime};

use openssl::base64;
use serde_json::Value;

use crate::error::ClientError;
use crate::security::{Secret, TokenSource, refuse};

/// The longest token; Kafka's brokers take far less in one request header.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// A token that does not tell when it ends is read again after this.
const LIFETIME_OF_AN_OPAQUE_TOKEN: Duration = Duration::from_secs(300);

/// A token with what it says about itself.
pub(crate) struct Token {
    secret: Secret,
    claims: Option<Value>,
}

impl Token {
    /// Reads the token anew.
    ///
    /// # Errors
    /// `Client` when there is none, or it is no token at all.
    pub(crate) fn read(source: &TokenSource) -> Result<Token, ClientError> {
        let (place, text) = match source {
            TokenSource::File(path) => {
                let mut text = String::new();
                let read = File::open(path)
                    .and_then(|file| file.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text));
                let place = path.display().to_string();
                read.map_err(|error| refuse(format!("the token in {place}: {error}")))?;
                (place, text)
            }
            TokenSource::Environment(name) => {
                let text = std::env::var(name)
                    .map_err(|_| refuse(format!("no token in the environment as {name}")))?;
                (name.clone(), text)
            }
        };
        Token::from_text(&text).map_err(|problem| refuse(format!("the token in {place} {problem}")))
    }

    fn from_text(text: &str) -> Result<Token, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty");
        }
        if text.len() as u64 > MAX_TOKEN_BYTES {
            return Err("is longer than 64 KiB");
        }
        // RFC 6750: anything else would end the message of the mechanism early.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !text.bytes().all(is_token) {
            return Err("has characters that no bearer token has");
        }
        Ok(Token {
            secret: Secret::new(text),
            claims: claims(text),
        })
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Whom the token is for, as it says itself.
    pub(crate) fn subject(&self) -> &str {
        let subject = self.claims.as_ref().and_then(|claims| claims.get("sub"));
        subject.and_then(Value::as_str).unwrap_or("thalweg")
    }

    /// When it ends, in milliseconds since 1970; one that does not tell is given some minutes from `now`.
    pub(crate) fn expires_ms(&self, now: SystemTime) -> i64 {
        let told = self.claims.as_ref().and_then(|claims| claims.get("exp"));
        if let Some(seconds) = told.and_then(Value::as_f64) {
            return (seconds * 1000.0) as i64;
        }
        let end = now + LIFETIME_OF_AN_OPAQUE_TOKEN;
        let since = end.duration_since(SystemTime::UNIX_EPOCH);
        i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The claims of a JSON web token; nothing for an opaque one.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    let mut payload = payload.replace('-', "+").replace('_', "/");
    while payload.len() % 4 != 0 {
        payload.push('=');
    }
    let bytes = base64::decode_block(&payload).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The broker's reason for not accepting a token: the JSON of RFC 7628, 3.2.2, or what it is instead.
pub(super) fn refusal(challenge: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(challenge).ok();
    let status = parsed.as_ref().and_then(|value| value.get("status"));
    match status.and_then(Value::as_str) {
        Some(status) => format!("the broker does not accept the token: {status}"),
        None => "the broker does not accept the token".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> String {
        let encode = |text: &str| {
            let text = base64::encode_block(text.as_bytes());
            text.replace('+', "-")
                .replace('/', "_")
                .trim_end_matches('=')
                .to_owned()
        };
        format!("{}.{}.c2ln", encode("{\"alg\":\"RS256\"}"), encode(payload))
    }

    #[test]
    fn a_json_web_token_tells_whose_it_is_and_when_it_ends() {
        let token = Token::from_text(&jwt("{\"sub\":\"orders\",\"exp\":1700000000}\u{7f}"));
        assert_eq!(token.expect("a token").subject(), "thalweg", "no JSON");
        let token = Token::from_text(&jwt("{\"sub\":\"orders\",\"exp\":1700000000}"));
        let token = token.expect("a token");
        assert_eq!(token.subject(), "orders");
        assert_eq!(token.expires_ms(SystemTime::UNIX_EPOCH), 1_700_000_000_000);
    }

    #[test]
    fn an_opaque_token_is_read_again_after_minutes() {
        let token = Token::from_text("abc123\n").expect("a token");
        assert_eq!(token.secret().reveal(), "abc123");
        assert_eq!(token.expires_ms(SystemTime::UNIX_EPOCH), 300_000);
    }

    #[test]
    fn what_is_no_token_is_refused_without_showing_it() {
        for text in ["", " \n", "two words", "with\u{1}control"] {
            assert!(Token::from_text(text).is_err(), "{text:?}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "very secret").expect("it is written");
        let error = Token::read(&TokenSource::File(file))
            .err()
            .expect("refused");
        assert!(!error.to_string().contains("very secret"), "{error}");
    }

    #[test]
    fn a_file_that_is_renewed_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let source = TokenSource::File(file.clone());
        assert!(Token::read(&source).is_err(), "there is none yet");
        for text in ["first", "second"] {
            std::fs::write(&file, text).expect("it is written");
            let token = Token::read(&source).expect("a token");
            assert_eq!(token.secret().reveal(), text);
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_status() {
        let told = refusal(b"{\"status\":\"invalid_token\"}");
        assert!(told.ends_with("invalid_token"), "{told}");
        assert!(refusal(b"\xff").ends_with("does not accept the token"));
    }
}
