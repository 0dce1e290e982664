//! Certificates and keys from PEM and PKCS#12 files, the authorities of the system, and both as PEM text for librdkafka.
//!
//! librdkafka reads no PKCS#12 trust store; given the text, it uses exactly what our own connections use.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::pkcs12::{ParsedPkcs12_2, Pkcs12};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::first_reason;
use crate::error::ClientError;
use crate::security::{Secret, Store, refuse};

/// The largest store that is read; the bundle of a whole operating system has a quarter of it.
const MAX_STORE_BYTES: u64 = 1024 * 1024;

/// Where systems keep their certificate authorities; the first that is there is used, as librdkafka does.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/usr/local/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/etc/openssl/certs/ca-certificates.crt",
];

/// Our own certificate, those that lead to its authority, and its key.
pub(super) struct Identity {
    pub(super) certificate: X509,
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
}

/// The authorities in a trust store.
pub(super) fn trust(store: &Store) -> Result<Vec<X509>, ClientError> {
    let (path, certificates) = match store {
        Store::Pem { certificates, .. } => (certificates, pem_certificates(certificates)?),
        Store::Pkcs12 { file, password } => {
            let parsed = pkcs12(file, password)?;
            let others = parsed.ca.into_iter().flatten();
            (file, others.chain(parsed.cert).collect())
        }
    };
    if certificates.is_empty() {
        return Err(about(path, "no certificate is in it"));
    }
    Ok(certificates)
}

/// The authorities that the operating system trusts; none when it has no such file.
pub(super) fn trust_of_the_system() -> Result<Vec<X509>, ClientError> {
    let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|p| p.is_file());
    bundle.map_or_else(|| Ok(Vec::new()), pem_certificates)
}

/// The certificate and key in a key store.
pub(super) fn identity(store: &Store) -> Result<Identity, ClientError> {
    match store {
        Store::Pem {
            certificates,
            key,
            key_password,
        } => {
            let mut chain = pem_certificates(certificates)?;
            if chain.is_empty() {
                return Err(about(certificates, "no certificate is in it"));
            }
            let key = pem_key(key.as_ref().unwrap_or(certificates), key_password.as_ref())?;
            let certificate = chain.remove(0);
            matching(certificates, certificate, chain, key)
        }
        Store::Pkcs12 { file, password } => {
            let ParsedPkcs12_2 { pkey, cert, ca } = pkcs12(file, password)?;
            let (Some(key), Some(certificate)) = (pkey, cert) else {
                return Err(about(file, "no certificate with a private key is in it"));
            };
            let chain = ca.into_iter().flatten().collect();
            matching(file, certificate, chain, key)
        }
    }
}

fn matching(
    path: &Path,
    certificate: X509,
    chain: Vec<X509>,
    key: PKey<Private>,
) -> Result<Identity, ClientError> {
    let own = certificate.public_key().map_err(|e| broken(path, &e))?;
    if !own.public_eq(&key) {
        let reason = "the private key belongs to another certificate than the first one";
        return Err(about(path, reason));
    }
    Ok(Identity {
        certificate,
        chain,
        key,
    })
}

/// A trust store as PEM text.
pub(crate) fn trust_as_pem(store: &Store) -> Result<String, ClientError> {
    text_of(&trust(store)?)
}

/// A key store as PEM text: the certificates, our own first, and the key, no longer encrypted.
pub(crate) fn identity_as_pem(store: &Store) -> Result<(String, Secret), ClientError> {
    let identity = identity(store)?;
    let key = identity
        .key
        .private_key_to_pem_pkcs8()
        .map_err(unwritable)?;
    let certificates = [vec![identity.certificate], identity.chain].concat();
    let key = String::from_utf8_lossy(&key).into_owned();
    Ok((text_of(&certificates)?, Secret::new(key)))
}

fn text_of(certificates: &[X509]) -> Result<String, ClientError> {
    let mut text = String::new();
    for certificate in certificates {
        let pem = certificate.to_pem().map_err(unwritable)?;
        text.push_str(&String::from_utf8_lossy(&pem));
    }
    Ok(text)
}

fn unwritable(error: ErrorStack) -> ClientError {
    refuse(format!("writing a store as PEM: {}", first_reason(&error)))
}

fn pem_certificates(path: &Path) -> Result<Vec<X509>, ClientError> {
    X509::stack_from_pem(&read(path)?).map_err(|error| broken(path, &error))
}

fn pem_key(path: &Path, password: Option<&Secret>) -> Result<PKey<Private>, ClientError> {
    let pem = read(path)?;
    let text = String::from_utf8_lossy(&pem);
    if !text.contains("PRIVATE KEY-----") {
        return Err(about(path, "no private key is in it"));
    }
    if text.contains("ENCRYPTED") && password.is_none() {
        return Err(about(
            path,
            "the private key is encrypted; give its password",
        ));
    }
    let password = password.map_or("", Secret::reveal).as_bytes();
    // Given no callback, OpenSSL would ask on the terminal.
    let key = PKey::private_key_from_pem_callback(&pem, |buffer| {
        let length = password.len().min(buffer.len());
        buffer[..length].copy_from_slice(&password[..length]);
        Ok(length)
    });
    key.map_err(|error| match text.contains("ENCRYPTED") {
        true => about(path, "the password of the private key is wrong"),
        false => broken(path, &error),
    })
}

fn pkcs12(path: &Path, password: &Secret) -> Result<ParsedPkcs12_2, ClientError> {
    let bytes = read(path)?;
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        let reason =
            "it is a JKS store; convert it with `keytool -importkeystore -deststoretype pkcs12`";
        return Err(about(path, reason));
    }
    let store = Pkcs12::from_der(&bytes)
        .map_err(|_| about(path, "it is no PKCS#12 store; PEM files are given as such"))?;
    if password.reveal().contains('\0') {
        return Err(about(path, "its password contains a null character"));
    }
    store.parse2(password.reveal()).map_err(|error| {
        let reasons: Vec<_> = error.errors().iter().filter_map(|e| e.reason()).collect();
        let is_about = |word: &str| reasons.iter().any(|reason| reason.contains(word));
        if is_about("mac verify failure") {
            return about(path, "the password of the store is wrong");
        }
        if is_about("unsupported") {
            let reason = "it is encrypted in a way that OpenSSL 3 no longer reads; write it anew with a JDK of this decade or `openssl pkcs12`";
            return about(path, reason);
        }
        broken(path, &error)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_STORE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| about(path, &error.to_string()))?;
    if bytes.len() as u64 > MAX_STORE_BYTES {
        return Err(about(path, "it is larger than 1 MiB, so it is no store"));
    }
    Ok(bytes)
}

fn about(path: &Path, reason: &str) -> ClientError {
    refuse(format!("{}: {reason}", path.display()))
}

fn broken(path: &Path, error: &ErrorStack) -> ClientError {
    about(path, &first_reason(error))
}
