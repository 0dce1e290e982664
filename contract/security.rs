//! The encrypted ways into Apache Kafka: every mechanism, both kinds of stores, and whom we turn away or are turned away by.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use client::{
    Cluster, ErrorKind, Sasl, Secret, Security, SecurityProtocol, Store, Tls, TokenSource,
};

use crate::certificates::STORE_PASSWORD;
use crate::kafka::{Kafka, Listener, PASSWORD, USER};
use crate::subject::{Subject, cluster, contract};
use crate::traffic::{produce_values, read_all};

contract! {
    KAFKA:
        every_mechanism_works_over_tls,
        a_pkcs12_trust_store_is_as_good_as_pem,
        a_wrong_password_is_denied,
        an_unknown_user_is_denied,
        a_broker_of_another_authority_is_not_trusted,
        a_broker_by_another_name_is_refused_unless_names_are_not_checked,
        a_client_certificate_opens_the_door_that_asks_for_one,
}

fn pem(file: &Path) -> Store {
    Store::Pem {
        certificates: file.to_owned(),
        key: None,
        key_password: None,
    }
}

fn pkcs12(file: &Path) -> Store {
    Store::Pkcs12 {
        file: file.to_owned(),
        password: Secret::new(STORE_PASSWORD),
    }
}

fn trusting(trust: Store) -> Tls {
    Tls {
        trust: Some(trust),
        ..Tls::default()
    }
}

fn kafka(subject: &Subject) -> &Kafka {
    subject.kafka.as_deref().expect("these tests run on Kafka")
}

/// The cluster by SASL_SSL.
fn by_sasl(kafka: &Kafka, sasl: Sasl, tls: Tls) -> Cluster {
    cluster(&kafka.bootstrap_by(Listener::SaslSsl)).with_security(Security {
        protocol: SecurityProtocol::SaslSsl,
        tls,
        sasl: Some(sasl),
    })
}

/// The cluster by TLS alone.
fn by_tls(kafka: &Kafka, listener: Listener, tls: Tls) -> Cluster {
    cluster(&kafka.bootstrap_by(listener)).with_security(Security {
        protocol: SecurityProtocol::Ssl,
        tls,
        sasl: None,
    })
}

/// The cluster with these credentials over TLS, for tests of users and what they may do.
pub fn with_credentials(subject: &Subject, sasl: Sasl) -> Cluster {
    let kafka = kafka(subject);
    by_sasl(kafka, sasl, trusting(pem(&kafka.certificates.authority)))
}

fn scram(password: &str) -> Sasl {
    Sasl::ScramSha512 {
        username: USER.to_owned(),
        password: Secret::new(password),
    }
}

/// Our own connections and librdkafka both get in: an admin request, a record written and read.
async fn works(subject: &Subject, cluster: &Cluster, what: &str) {
    let topic = subject.topic("secured", 1).await;
    let mut admin = cluster
        .admin()
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    admin
        .topic(&topic)
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    produce_values(cluster, &topic, 0, &[what]);
    let seen = read_all(cluster, &topic, 1);
    assert_eq!(seen[0].value, what);
}

async fn every_mechanism_works_over_tls(subject: &Subject) {
    let kafka = kafka(subject);
    let credentials = || (USER.to_owned(), Secret::new(PASSWORD));
    let folder = crate::repository::scratch("contract-token").expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, unsecured_token()).expect("a file can be written");
    let (username, password) = credentials();
    let plain = Sasl::Plain { username, password };
    let (username, password) = credentials();
    let sha256 = Sasl::ScramSha256 { username, password };
    for sasl in [
        plain,
        sha256,
        scram(PASSWORD),
        Sasl::OAuthBearer(TokenSource::File(token)),
    ] {
        let mechanism = sasl.mechanism();
        let cluster = by_sasl(kafka, sasl, trusting(pem(&kafka.certificates.authority)));
        works(subject, &cluster, mechanism).await;
    }
}

/// A JSON Web Token without a signature, as Kafka's default validator takes it: good for an hour.
fn unsecured_token() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let claims = format!(
        "{{\"sub\":\"{USER}\",\"iat\":{now},\"exp\":{}}}",
        now + 3600
    );
    format!(
        "{}.{}.",
        base64_url(b"{\"alg\":\"none\"}"),
        base64_url(claims.as_bytes())
    )
}

/// Base64 for addresses, without padding.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let encode = |chunk: &[u8]| {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        let digits =
            (0..=chunk.len()).map(move |place| ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]);
        digits.map(char::from).collect::<String>()
    };
    bytes.chunks(3).map(encode).collect()
}

async fn a_pkcs12_trust_store_is_as_good_as_pem(subject: &Subject) {
    let kafka = kafka(subject);
    let trust = trusting(pkcs12(&kafka.certificates.authority_p12));
    works(subject, &by_sasl(kafka, scram(PASSWORD), trust), "PKCS#12").await;
}

async fn a_wrong_password_is_denied(subject: &Subject) {
    let kafka = kafka(subject);
    let trust = trusting(pem(&kafka.certificates.authority));
    let cluster = by_sasl(kafka, scram("not-the-secret"), trust);
    let denied = cluster
        .admin()
        .await
        .err()
        .expect("it is the wrong password");
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
    assert!(!denied.to_string().contains("not-the-secret"), "{denied}");
}

async fn an_unknown_user_is_denied(subject: &Subject) {
    let kafka = kafka(subject);
    for mallory in [
        Sasl::Plain {
            username: "mallory".to_owned(),
            password: Secret::new(PASSWORD),
        },
        Sasl::ScramSha256 {
            username: "mallory".to_owned(),
            password: Secret::new(PASSWORD),
        },
    ] {
        let mechanism = mallory.mechanism();
        let cluster = by_sasl(kafka, mallory, trusting(pem(&kafka.certificates.authority)));
        let denied = cluster.admin().await.err().expect("nobody knows mallory");
        assert_eq!(denied.kind(), ErrorKind::Denied, "{mechanism}: {denied}");
    }
}

async fn a_broker_of_another_authority_is_not_trusted(subject: &Subject) {
    let kafka = kafka(subject);
    let cluster = by_sasl(
        kafka,
        scram(PASSWORD),
        trusting(pem(&kafka.certificates.stranger)),
    );
    let refused = cluster
        .admin()
        .await
        .err()
        .expect("the stranger signed nothing");
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

async fn a_broker_by_another_name_is_refused_unless_names_are_not_checked(subject: &Subject) {
    let kafka = kafka(subject);
    let mut tls = trusting(pem(&kafka.certificates.authority));
    let strict = by_tls(kafka, Listener::Misnamed, tls.clone());
    let refused = strict
        .admin()
        .await
        .err()
        .expect("the certificate is for another host");
    assert!(refused.to_string().contains("certificate"), "{refused}");
    tls.check_hostname = false;
    works(
        subject,
        &by_tls(kafka, Listener::Misnamed, tls),
        "unchecked",
    )
    .await;
}

async fn a_client_certificate_opens_the_door_that_asks_for_one(subject: &Subject) {
    let kafka = kafka(subject);
    let certificates = &kafka.certificates;
    let anonymous = trusting(pem(&certificates.authority));
    let refused = by_tls(kafka, Listener::Ssl, anonymous.clone())
        .admin()
        .await;
    assert!(refused.is_err(), "it shows no certificate");
    for (identity, what) in [
        (pem(&certificates.client), "PEM"),
        (pkcs12(&certificates.client_p12), "PKCS#12"),
    ] {
        let tls = Tls {
            identity: Some(identity),
            ..anonymous.clone()
        };
        works(subject, &by_tls(kafka, Listener::Ssl, tls), what).await;
    }
}
