//! TLS to a broker, by the OpenSSL that librdkafka is built with: one library, one set of stores and rules for both ways to a cluster.
//!
//! What it keeps true: a session is used only after the broker's certificate was checked, against the given authorities
//! alone when some are given, and against the host's name unless that was switched off. Called by `connection`.

mod stores;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, SslConnector, SslMethod, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::error::ClientError;
use crate::security::{Tls, refuse};
pub(crate) use stores::{identity_as_pem, trust_as_pem};

/// Reads the stores and makes what opens sessions.
///
/// # Errors
/// `Client` when a store cannot be read or holds nothing usable.
pub(crate) fn connector(tls: &Tls) -> Result<SslConnector, ClientError> {
    let trusted = match &tls.trust {
        Some(store) => stores::trust(store)?,
        None => stores::trust_of_the_system()?,
    };
    let identity = tls.identity.as_ref().map(stores::identity).transpose()?;
    build(&trusted, identity)
        .map_err(|error| refuse(format!("setting up TLS: {}", first_reason(&error))))
}

fn build(trusted: &[X509], identity: Option<stores::Identity>) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    // A store of its own: the builder's also trusts what the environment names.
    let mut store = X509StoreBuilder::new()?;
    for certificate in trusted {
        store.add_cert(certificate.clone())?;
    }
    builder.set_cert_store(store.build());
    if let Some(identity) = identity {
        builder.set_certificate(&identity.certificate)?;
        builder.set_private_key(&identity.key)?;
        for certificate in identity.chain {
            builder.add_extra_chain_cert(certificate)?;
        }
    }
    Ok(builder.build())
}

/// Opens a session over `stream` to the broker known as `host`.
///
/// # Errors
/// In words for people: what is wrong with the certificate, or that the port speaks something else.
pub(crate) async fn handshake(
    connector: &SslConnector,
    check_hostname: bool,
    host: &str,
    stream: TcpStream,
) -> Result<SslStream<TcpStream>, String> {
    let session = connector
        .configure()
        .map(|configuration| configuration.verify_hostname(check_hostname))
        .and_then(|configuration| configuration.into_ssl(host));
    let mut stream = session
        .and_then(|session| SslStream::new(session, stream))
        .map_err(|error| first_reason(&error))?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(error) => Err(handshake_reason(&error, &stream, host)),
    }
}

fn handshake_reason(
    error: &openssl::ssl::Error,
    stream: &SslStream<TcpStream>,
    host: &str,
) -> String {
    let verdict = stream.ssl().verify_result().as_raw();
    if verdict != 0 {
        return certificate_reason(verdict, host, stream.ssl().verify_result().error_string());
    }
    let closed = error.code() == ErrorCode::ZERO_RETURN
        || error.code() == ErrorCode::SYSCALL
        || error.io_error().is_some()
        || is_cut_off(error);
    if closed {
        return "the connection was closed during the TLS handshake; the port may not want TLS"
            .to_owned();
    }
    match error.ssl_error() {
        Some(stack) => alert_reason(&first_reason(stack)),
        None => error.to_string(),
    }
}

/// Why a certificate was not accepted, by OpenSSL's number.
fn certificate_reason(verdict: i32, host: &str, words: &str) -> String {
    match verdict {
        2 | 7 | 18..=21 => format!(
            "the broker's certificate is signed by an unknown authority ({words}); give its certificate as trust store"
        ),
        62 | 64 => format!(
            "the broker's certificate is for another host than {host}; connect by a name that is in it"
        ),
        9 => "the broker's certificate is not valid yet; compare the clocks".to_owned(),
        10 => "the broker's certificate has expired".to_owned(),
        _ => format!("the broker's certificate is not accepted: {words}"),
    }
}

/// What the other end meant by ending the session.
fn alert_reason(reason: &str) -> String {
    let about_us = "tlsv13 alert certificate required";
    if reason.contains("wrong version number") || reason.contains("packet length too long") {
        return "the port does not speak TLS".to_owned();
    }
    if reason == about_us || reason.contains("peer did not return a certificate") {
        return "the broker asks for a client certificate; give a key store".to_owned();
    }
    if reason.contains("alert unknown ca") || reason.contains("alert bad certificate") {
        return format!("the broker does not accept the client certificate ({reason})");
    }
    format!("TLS: {reason}")
}

/// What an error of an open session means, when it comes from TLS: brokers refuse a client certificate only after the handshake.
pub(crate) fn session_reason(error: &io::Error) -> Option<String> {
    let stack = inner(error)?.ssl_error()?;
    Some(alert_reason(&first_reason(stack)))
}

/// Whether the connection ended without a word of TLS about it, as when a broker just closes it.
pub(crate) fn was_cut_off(error: &io::Error) -> bool {
    inner(error).is_some_and(is_cut_off)
}

fn inner(error: &io::Error) -> Option<&openssl::ssl::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_cut_off(error: &openssl::ssl::Error) -> bool {
    let stack = error.ssl_error();
    stack.is_some_and(|stack| first_reason(stack).contains("unexpected eof"))
}

fn first_reason(stack: &ErrorStack) -> String {
    stack
        .errors()
        .iter()
        .find_map(|error| error.reason())
        .unwrap_or("an error that OpenSSL does not explain")
        .to_owned()
}
