//! Proving who we are on a connection: SaslHandshake v1, then SaslAuthenticate until the mechanism is done.
//!
//! What it keeps true: an exchange ends after the few messages that its mechanism has, whatever the broker sends, and a
//! broker that must know the password (SCRAM) has shown that it does. Called by `connection` before anything else is asked,
//! and again before the session ends (KIP-368).

mod scram;
#[cfg(test)]
mod tests;
mod tokens;

use std::time::Duration;

use openssl::base64;
use openssl::hash::MessageDigest;
use openssl::rand::rand_bytes;
use wire::{ErrorCode, sasl_authenticate, sasl_handshake};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::security::{Sasl, refuse};
pub(crate) use scram::salted_password;
pub(crate) use tokens::Token;

/// Randomness in a SCRAM nonce; Kafka's own clients take 130 bits.
const NONCE_BYTES: usize = 24;

/// A failed OAUTHBEARER exchange is ended by this (RFC 7628, 3.2.3); the broker answers with its error then.
const GIVE_UP: &[u8] = b"\x01";

/// What a mechanism does next.
enum Step {
    Send(Vec<u8>),
    Done,
}

/// The client's side of one exchange.
enum Exchange {
    /// One message was everything: PLAIN, and OAUTHBEARER when the broker is content.
    Told {
        mechanism: &'static str,
    },
    /// OAUTHBEARER was refused with this reason; the broker still has to answer with its error.
    GaveUp(String),
    Scram(Box<scram::Client>),
}

/// Authenticates and gives the time until the broker wants it again, if it does.
///
/// # Errors
/// `Refused` with SASL_AUTHENTICATION_FAILED, UNSUPPORTED_SASL_MECHANISM or ILLEGAL_SASL_STATE, in words;
/// `Protocol` when the broker does not follow the mechanism or does not know the password itself.
pub(crate) async fn authenticate(
    connection: &mut Connection,
    sasl: &Sasl,
) -> Result<Option<Duration>, ClientError> {
    choose_mechanism(connection, sasl.mechanism()).await?;
    let (mut exchange, mut message) = begin(sasl)?;
    loop {
        let (challenge, lifetime) = send(connection, sasl, &message, &exchange).await?;
        let next = tokio::task::spawn_blocking(move || {
            // Salting a password takes milliseconds, so that guessing takes years.
            let step = exchange.next(&challenge);
            (exchange, step)
        });
        let (moved, step) = next
            .await
            .map_err(|_| refuse("the authentication was interrupted"))?;
        exchange = moved;
        match step.map_err(|reason| protocol(connection, reason))? {
            Step::Send(bytes) => message = bytes,
            Step::Done => return Ok(lifetime),
        }
    }
}

async fn choose_mechanism(
    connection: &mut Connection,
    mechanism: &'static str,
) -> Result<(), ClientError> {
    let reply = connection
        .request(&sasl_handshake::Request { mechanism })
        .await?;
    let answer = reply.read()?;
    let message = match ErrorCode::from_code(answer.error_code) {
        Some(ErrorCode::UnsupportedSaslMechanism) => Some(format!(
            "the broker offers {}",
            answer.mechanisms.join(", ")
        )),
        Some(ErrorCode::IllegalSaslState) => Some(
            "this listener does not authenticate; choose PLAINTEXT or SSL, or another port".into(),
        ),
        _ => None,
    };
    if answer.error_code == 0 {
        return Ok(());
    }
    let what = format!("asking {} for {mechanism}", connection.address());
    Err(ClientError::refused_by_number(
        what,
        answer.error_code,
        message.as_deref(),
    ))
}

/// Sends one message of the exchange; gives the broker's and the session's lifetime.
async fn send(
    connection: &mut Connection,
    sasl: &Sasl,
    message: &[u8],
    exchange: &Exchange,
) -> Result<(Vec<u8>, Option<Duration>), ClientError> {
    let request = sasl_authenticate::Request {
        auth_bytes: message,
    };
    let reply = connection.request(&request).await?;
    let answer = reply.read()?;
    if answer.error_code != 0 {
        let who = sasl
            .credentials()
            .map(|(username, _)| format!("as {username} "))
            .unwrap_or_default();
        let what = format!(
            "authenticating {who}with {} at {}",
            sasl.mechanism(),
            connection.address()
        );
        let told = match exchange {
            Exchange::GaveUp(reason) => Some(reason.as_str()),
            _ => answer.error_message.as_deref(),
        };
        return Err(ClientError::refused_by_number(
            what,
            answer.error_code,
            told,
        ));
    }
    let lifetime = u64::try_from(answer.session_lifetime_ms)
        .ok()
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis);
    Ok((answer.auth_bytes.to_vec(), lifetime))
}

fn protocol(connection: &Connection, reason: String) -> ClientError {
    ClientError::Protocol {
        address: connection.address().to_owned(),
        reason,
    }
}

/// The exchange and its first message.
fn begin(sasl: &Sasl) -> Result<(Exchange, Vec<u8>), ClientError> {
    let mechanism = sasl.mechanism();
    let told = Exchange::Told { mechanism };
    match sasl {
        Sasl::Plain { username, password } => {
            let message = format!("\0{username}\0{}", password.reveal());
            Ok((told, message.into_bytes()))
        }
        Sasl::ScramSha256 { username, password } => Ok(begin_scram(
            MessageDigest::sha256(),
            username,
            password.reveal(),
        )?),
        Sasl::ScramSha512 { username, password } => Ok(begin_scram(
            MessageDigest::sha512(),
            username,
            password.reveal(),
        )?),
        Sasl::OAuthBearer(source) => {
            let token = Token::read(source)?;
            let message = format!("n,,\x01auth=Bearer {}\x01\x01", token.secret().reveal());
            Ok((told, message.into_bytes()))
        }
    }
}

fn begin_scram(
    hash: MessageDigest,
    username: &str,
    password: &str,
) -> Result<(Exchange, Vec<u8>), ClientError> {
    let mut nonce = [0; NONCE_BYTES];
    rand_bytes(&mut nonce).map_err(|_| refuse("no randomness for a nonce"))?;
    let client = scram::Client::new(hash, username, password, &base64::encode_block(&nonce));
    let message = client.first_message().into_bytes();
    Ok((Exchange::Scram(Box::new(client)), message))
}

impl Exchange {
    /// What follows the broker's `challenge`.
    ///
    /// # Errors
    /// What is wrong with the challenge, in words.
    fn next(&mut self, challenge: &[u8]) -> Result<Step, String> {
        match self {
            Exchange::Told { .. } if challenge.is_empty() => Ok(Step::Done),
            Exchange::Told {
                mechanism: "OAUTHBEARER",
            } => {
                let reason = tokens::refusal(challenge);
                *self = Exchange::GaveUp(reason);
                Ok(Step::Send(GIVE_UP.to_vec()))
            }
            Exchange::Told { mechanism } => Err(format!(
                "it asks for more after the one message of {mechanism}"
            )),
            Exchange::GaveUp(reason) => Err(format!("it refused a token and went on: {reason}")),
            Exchange::Scram(client) => client.next(challenge),
        }
    }
}
