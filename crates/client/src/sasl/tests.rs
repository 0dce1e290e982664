//! SASL against a peer that plays the broker's part, well and badly.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use wire::ApiKey;

use super::*;
use crate::scripted_broker::certificates::{Host, authority};
use crate::scripted_broker::{Answer, Asked, start, start_with};
use crate::{
    Cluster, ErrorKind, OutgoingRecord, Secret, Security, SecurityProtocol, Tls, TokenSource,
};

const PASSWORD: &str = "pencil";
const SALT: &[u8] = b"sixteen of salt!";

fn cluster(address: &str, sasl: Sasl) -> Cluster {
    Cluster::new(address)
        .with_timeout(Duration::from_secs(5))
        .with_security(Security {
            protocol: SecurityProtocol::SaslPlaintext,
            tls: Tls::default(),
            sasl: Some(sasl),
        })
}

fn plain(password: &str) -> Sasl {
    Sasl::Plain {
        username: "alice".to_owned(),
        password: Secret::new(password),
    }
}

fn scram(password: &str) -> [Sasl; 2] {
    let (username, password) = ("alice".to_owned(), Secret::new(password));
    [
        Sasl::ScramSha256 {
            username: username.clone(),
            password: password.clone(),
        },
        Sasl::ScramSha512 { username, password },
    ]
}

/// Offers every mechanism; `token` decides what follows each message of one.
fn script(
    token: impl Fn(&Asked, &[u8]) -> sasl_authenticate::Response<'static> + Send + Sync + 'static,
) -> impl Fn(&Asked, &str) -> Answer + Send + Sync + 'static {
    move |asked, address| match asked.key {
        ApiKey::SaslHandshake => asked.answer(&sasl_handshake::Response::default()),
        ApiKey::SaslAuthenticate => {
            let request: sasl_authenticate::Request<'_> = asked.read();
            asked.answer(&token(asked, request.auth_bytes))
        }
        _ => asked.answer_basics(address),
    }
}

fn says(bytes: impl Into<Vec<u8>>) -> sasl_authenticate::Response<'static> {
    sasl_authenticate::Response {
        auth_bytes: bytes.into().into(),
        ..sasl_authenticate::Response::default()
    }
}

fn refuses(message: &'static str) -> sasl_authenticate::Response<'static> {
    sasl_authenticate::Response {
        error_code: ErrorCode::SaslAuthenticationFailed as i16,
        error_message: Some(message.into()),
        ..sasl_authenticate::Response::default()
    }
}

fn checks_plain(_: &Asked, message: &[u8]) -> sasl_authenticate::Response<'static> {
    match message == b"\0alice\0pencil" {
        true => says(""),
        false => refuses("Authentication failed: Invalid username or password"),
    }
}

/// The broker's side of SCRAM, which signs with `known` in place of the password.
fn checks_scram(
    hash: MessageDigest,
    known: &'static str,
) -> impl Fn(&Asked, &[u8]) -> sasl_authenticate::Response<'static> {
    let firsts: Mutex<HashMap<usize, (String, String)>> = Mutex::default();
    move |asked, message| {
        let message = std::str::from_utf8(message).expect("text");
        let mut firsts = firsts.lock().expect("not poisoned");
        if let Some(bare) = message.strip_prefix("n,,") {
            let nonce = bare.split_once("r=").expect("a nonce").1;
            let salt = base64::encode_block(SALT);
            let first = format!("r={nonce}and-more,s={salt},i=4096");
            firsts.insert(asked.connection, (bare.to_owned(), first.clone()));
            return says(first);
        }
        let (bare, first) = &firsts[&asked.connection];
        let (without_proof, _) = message.split_once(",p=").expect("a proof");
        let salted = salted_password(hash, known, SALT, 4096).expect("salted");
        let server_key = scram::hmac(hash, &salted, b"Server Key").expect("a key");
        let signed = format!("{bare},{first},{without_proof}");
        let signature = scram::hmac(hash, &server_key, signed.as_bytes()).expect("signed");
        says(format!("v={}", base64::encode_block(&signature)))
    }
}

async fn refusal(cluster: &Cluster) -> ClientError {
    cluster.admin().await.err().expect("it is refused")
}

#[tokio::test]
async fn plain_credentials_are_accepted_and_wrong_ones_denied() {
    //
    let address = start(script(checks_plain)).await;
    let mut admin = cluster(&address, plain(PASSWORD))
        .admin()
        .await
        .expect("known");
    admin.refresh().await.expect("it works");
    let error = refusal(&cluster(&address, plain("wrong"))).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    let expected = format!(
        "authenticating as alice with PLAIN at {address}: Authentication failed: Invalid username or password (SASL_AUTHENTICATION_FAILED)"
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn scram_proves_the_password_in_both_directions() {
    // E-050
    let hashes = [MessageDigest::sha256(), MessageDigest::sha512()];
    for (sasl, hash) in scram(PASSWORD).into_iter().zip(hashes) {
        let address = start(script(checks_scram(hash, PASSWORD))).await;
        cluster(&address, sasl.clone())
            .admin()
            .await
            .expect("known");
        let address = start(script(checks_scram(hash, "another"))).await;
        let error = refusal(&cluster(&address, sasl)).await;
        assert!(
            error
                .to_string()
                .contains("does not know the password itself"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_mechanism_that_the_broker_lacks_is_told_with_those_it_has() {
    let address = start(|asked, address| match asked.key {
        ApiKey::SaslHandshake => asked.answer(&sasl_handshake::Response {
            error_code: ErrorCode::UnsupportedSaslMechanism as i16,
            mechanisms: vec!["PLAIN".into(), "OAUTHBEARER".into()],
        }),
        _ => asked.answer_basics(address),
    })
    .await;
    let [sasl, _] = scram(PASSWORD);
    let error = refusal(&cluster(&address, sasl)).await.to_string();
    assert!(
        error.contains("the broker offers PLAIN, OAUTHBEARER"),
        "{error}"
    );
}

#[tokio::test]
async fn a_listener_without_sasl_is_told() {
    let address = start(|asked, address| match asked.key {
        ApiKey::SaslHandshake => asked.answer(&sasl_handshake::Response {
            error_code: ErrorCode::IllegalSaslState as i16,
            mechanisms: Vec::new(),
        }),
        _ => asked.answer_basics(address),
    })
    .await;
    let error = refusal(&cluster(&address, plain(PASSWORD)))
        .await
        .to_string();
    assert!(
        error.contains("this listener does not authenticate"),
        "{error}"
    );
}

#[tokio::test]
async fn an_exchange_that_is_cut_off_is_no_success() {
    let answered = AtomicUsize::new(0);
    let script = move |asked: &Asked, address: &str| match asked.key {
        ApiKey::SaslHandshake => asked.answer(&sasl_handshake::Response::default()),
        ApiKey::SaslAuthenticate if answered.fetch_add(1, Ordering::Relaxed) == 0 => {
            checks_first(asked)
        }
        ApiKey::SaslAuthenticate => Answer::Close,
        _ => asked.answer_basics(address),
    };
    let address = start(script).await;
    let [sasl, _] = scram(PASSWORD);
    let error = refusal(&cluster(&address, sasl)).await;
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

fn checks_first(asked: &Asked) -> Answer {
    let request: sasl_authenticate::Request<'_> = asked.read();
    let answer = checks_scram(MessageDigest::sha256(), PASSWORD)(asked, request.auth_bytes);
    asked.answer(&answer)
}

#[tokio::test]
async fn an_empty_answer_in_place_of_a_signature_is_no_success() {
    let address = start(script(|_, _| says(""))).await;
    for sasl in scram(PASSWORD) {
        let error = refusal(&cluster(&address, sasl)).await;
        assert!(error.to_string().contains("malformed"), "{error}");
    }
}

#[tokio::test]
async fn challenges_without_end_are_refused() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let address = start(script(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        says("more")
    }))
    .await;
    let [sasl, _] = scram(PASSWORD);
    for sasl in [plain(PASSWORD), sasl, bearer().1] {
        let error = refusal(&cluster(&address, sasl)).await;
        assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1 + 1 + 2);
}

fn bearer() -> (tempfile::TempDir, Sasl) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "abc123\n").expect("it is written");
    (folder, Sasl::OAuthBearer(TokenSource::File(file)))
}

#[tokio::test]
async fn a_bearer_token_is_sent_and_its_refusal_told() {
    let address = start(script(|_, message| match message {
        b"n,,\x01auth=Bearer abc123\x01\x01" => says(""),
        _ => refuses("unexpected"),
    }))
    .await;
    let (_folder, sasl) = bearer();
    cluster(&address, sasl.clone())
        .admin()
        .await
        .expect("known");

    let address = start(script(|_, message| match message {
        GIVE_UP => refuses("{\"status\":\"invalid_token\"}"),
        _ => says("{\"status\":\"invalid_token\"}"),
    }))
    .await;
    let error = refusal(&cluster(&address, sasl)).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(
        error
            .to_string()
            .contains("does not accept the token: invalid_token"),
        "{error}"
    );
}

#[tokio::test]
async fn a_session_is_renewed_on_its_connection_before_it_ends() {
    let exchanges = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&exchanges);
    let address = start(script(move |asked, message| {
        assert_eq!(asked.connection, 0, "one connection is enough");
        counter.fetch_add(1, Ordering::Relaxed);
        let mut answer = checks_plain(asked, message);
        answer.session_lifetime_ms = 60_000;
        answer
    }))
    .await;
    let mut admin = cluster(&address, plain(PASSWORD))
        .admin()
        .await
        .expect("known");
    admin.refresh().await.expect("it works");
    assert_eq!(exchanges.load(Ordering::Relaxed), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(55)).await;
    tokio::time::resume();
    admin.refresh().await.expect("it works");
    admin.refresh().await.expect("it works");
    assert_eq!(exchanges.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn librdkafka_is_told_the_same_stores_and_credentials() {
    // A-012, E-050, E-051
    let folder = tempfile::tempdir().expect("a folder");
    let ours = authority();
    let acceptor = ours.sign(&Host::Ip("127.0.0.1"), 1).acceptor(Some(&ours));
    let address = start_with(Some(acceptor), script(checks_plain)).await;
    let tls = Tls {
        trust: Some(ours.pkcs12_trust(folder.path())),
        identity: Some(
            ours.sign(&Host::Name("client"), 1)
                .pkcs12_identity(folder.path()),
        ),
        ..Tls::default()
    };
    for (password, expected) in [
        (PASSWORD, ErrorKind::NotFound),
        ("wrong", ErrorKind::Denied),
    ] {
        let cluster = Cluster::new(&address).with_security(Security {
            protocol: SecurityProtocol::SaslSsl,
            tls: tls.clone(),
            sasl: Some(plain(password)),
        });
        assert_eq!(outcome_of_a_send(&cluster).await, Some(expected));
    }
}

/// The kind of error of a record to a topic that the peer, which has none, does not know.
async fn outcome_of_a_send(cluster: &Cluster) -> Option<ErrorKind> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let properties = [
        ("message.timeout.ms", "3000"),
        ("topic.metadata.propagation.max.ms", "100"),
    ];
    let producer = cluster.producer(&properties, move |delivery| {
        let _ = sender.send(delivery.error.map(|error| error.kind()));
    });
    let producer = producer.expect("the stores are accepted");
    let record = OutgoingRecord {
        topic: "orders",
        value: Some(b"1"),
        ..OutgoingRecord::default()
    };
    producer.send(&record, 0).expect("it is queued");
    receiver.recv().await.expect("it comes back")
}
