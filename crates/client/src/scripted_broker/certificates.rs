//! Certificates for tests: an authority that signs what a test needs, and the files in which users have such.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use crate::security::{Secret, Store};

static AUTHORITIES: AtomicUsize = AtomicUsize::new(1);

/// A certificate with its key.
pub(crate) struct Certified {
    certificate: X509,
    key: PKey<Private>,
}

/// What a broker's certificate names.
pub(crate) enum Host<'a> {
    Name(&'a str),
    Ip(&'a str),
}

/// A certificate authority of its own.
pub(crate) fn authority() -> Certified {
    let key = new_key();
    // Of two authorities with one name, a certificate's would be found and its signature then be wrong.
    let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
    let name = format!("authority {number}");
    let mut builder = unsigned(&name, &key, 365);
    let constraints = BasicConstraints::new().critical().ca().build();
    builder
        .append_extension(constraints.expect("built"))
        .expect("appended");
    builder
        .set_issuer_name(&common_name(&name))
        .expect("an issuer");
    builder.sign(&key, MessageDigest::sha256()).expect("signed");
    Certified {
        certificate: builder.build(),
        key,
    }
}

fn new_key() -> PKey<Private> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = EcKey::generate(&curve).expect("a key");
    PKey::from_ec_key(key).expect("a key")
}

fn common_name(name: &str) -> openssl::x509::X509Name {
    let mut builder = X509NameBuilder::new().expect("a name");
    builder
        .append_entry_by_text("CN", name)
        .expect("a common name");
    builder.build()
}

fn unsigned(name: &str, key: &PKey<Private>, days: u32) -> X509Builder {
    let mut builder = X509::builder().expect("a builder");
    let serial = BigNum::from_u32(1).and_then(|number| number.to_asn1_integer());
    let start = Asn1Time::from_unix(0).expect("1970");
    let end = match days {
        0 => Asn1Time::from_unix(1).expect("1970"),
        days => Asn1Time::days_from_now(days).expect("later"),
    };
    builder.set_version(2).expect("version 3");
    builder
        .set_serial_number(&serial.expect("a number"))
        .expect("a serial number");
    builder.set_subject_name(&common_name(name)).expect("set");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&start).expect("a start");
    builder.set_not_after(&end).expect("an end");
    builder
}

impl Certified {
    /// A certificate for a broker at `host`, or for a client of that name; `days` of 0 have passed long ago.
    pub(crate) fn sign(&self, host: &Host<'_>, days: u32) -> Certified {
        let key = new_key();
        let mut names = SubjectAlternativeName::new();
        match host {
            Host::Name(host) => names.dns(host),
            Host::Ip(address) => names.ip(address),
        };
        let mut builder = unsigned("signed", &key, days);
        let names = names.build(&builder.x509v3_context(Some(&self.certificate), None));
        builder
            .set_issuer_name(self.certificate.subject_name())
            .expect("an issuer");
        builder
            .append_extension(names.expect("built"))
            .expect("appended");
        builder
            .sign(&self.key, MessageDigest::sha256())
            .expect("signed");
        Certified {
            certificate: builder.build(),
            key,
        }
    }

    /// What a broker with this certificate accepts sessions with; it asks clients for one of `clients` when given.
    pub(crate) fn acceptor(&self, clients: Option<&Certified>) -> SslAcceptor {
        let mut builder =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("a builder");
        builder.set_certificate(&self.certificate).expect("set");
        builder.set_private_key(&self.key).expect("set");
        if let Some(clients) = clients {
            let mut store = X509StoreBuilder::new().expect("a store");
            store.add_cert(clients.certificate.clone()).expect("added");
            builder.set_verify_cert_store(store.build()).expect("set");
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        builder.build()
    }

    /// The certificate alone, as a PEM trust store.
    pub(crate) fn pem_trust(&self, folder: &Path) -> Store {
        Store::Pem {
            certificates: write(
                folder,
                "trust.pem",
                &self.certificate.to_pem().expect("PEM"),
            ),
            key: None,
            key_password: None,
        }
    }

    /// The certificate alone, as a PKCS#12 trust store.
    pub(crate) fn pkcs12_trust(&self, folder: &Path) -> Store {
        let mut authorities = Stack::new().expect("a stack");
        authorities.push(self.certificate.clone()).expect("pushed");
        let mut builder = Pkcs12::builder();
        let store = builder.ca(authorities).build2("changeit");
        let bytes = store.and_then(|store| store.to_der()).expect("DER");
        Store::Pkcs12 {
            file: write(folder, "trust.p12", &bytes),
            password: Secret::new("changeit"),
        }
    }

    /// Certificate and key as a PKCS#12 key store.
    pub(crate) fn pkcs12_identity(&self, folder: &Path) -> Store {
        let mut builder = Pkcs12::builder();
        let builder = builder.cert(&self.certificate).pkey(&self.key);
        let store = builder.build2("changeit");
        let bytes = store.and_then(|store| store.to_der()).expect("DER");
        Store::Pkcs12 {
            file: write(folder, "keys.p12", &bytes),
            password: Secret::new("changeit"),
        }
    }

    /// Certificate and key as PEM files, the key encrypted.
    pub(crate) fn pem_identity(&self, folder: &Path, password: &str) -> Store {
        let certificate = self.certificate.to_pem().expect("PEM");
        let cipher = Cipher::aes_256_cbc();
        let key = self
            .key
            .private_key_to_pem_pkcs8_passphrase(cipher, password.as_bytes())
            .expect("PEM");
        Store::Pem {
            certificates: write(folder, "certificate.pem", &certificate),
            key: Some(write(folder, "key.pem", &key)),
            key_password: Some(Secret::new(password)),
        }
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("it is written");
    path
}
