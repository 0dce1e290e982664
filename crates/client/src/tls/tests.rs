//! TLS against a peer with certificates made here: what is accepted, what is refused and in which words.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wire::ApiKey;

use super::*;
use crate::scripted_broker::certificates::{Certified, Host, authority};
use crate::scripted_broker::{Answer, start, start_with};
use crate::{Cluster, Connection, Secret, Security, SecurityProtocol, Store};

const HERE: Host<'static> = Host::Ip("127.0.0.1");

fn over_tls(address: &str, tls: Tls) -> Cluster {
    Cluster::new(address)
        .with_timeout(Duration::from_secs(5))
        .with_security(Security {
            protocol: SecurityProtocol::Ssl,
            tls,
            sasl: None,
        })
}

fn trusting(trust: Store) -> Tls {
    Tls {
        trust: Some(trust),
        ..Tls::default()
    }
}

async fn broker(certified: &Certified, clients: Option<&Certified>) -> String {
    let acceptor = certified.acceptor(clients);
    start_with(Some(acceptor), |asked, address| {
        asked.answer_basics(address)
    })
    .await
}

async fn refusal(cluster: &Cluster) -> String {
    let error = cluster.admin().await.err().expect("it is refused");
    error.to_string()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn pem(certificates: &Path, key: Option<&Path>, password: Option<&str>) -> Store {
    Store::Pem {
        certificates: certificates.to_owned(),
        key: key.map(Path::to_owned),
        key_password: password.map(Secret::new),
    }
}

#[tokio::test]
async fn a_broker_is_trusted_by_its_authority_in_pem_or_pkcs12() {
    // E-051
    let folder = folder();
    let ours = authority();
    let address = broker(&ours.sign(&HERE, 1), None).await;
    for trust in [
        ours.pem_trust(folder.path()),
        ours.pkcs12_trust(folder.path()),
    ] {
        let cluster = over_tls(&address, trusting(trust));
        let mut admin = cluster.admin().await.expect("it is trusted");
        admin.refresh().await.expect("it works");
    }
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let folder = folder();
    let address = broker(&authority().sign(&HERE, 1), None).await;
    let trust = authority().pem_trust(folder.path());
    let refused = refusal(&over_tls(&address, trusting(trust))).await;
    assert!(
        refused.contains("certificate is signed by an unknown authority"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_store_of_ours_is_trusted_in_place_of_the_systems_not_beside_it() {
    let address = broker(&authority().sign(&HERE, 1), None).await;
    let refused = refusal(&over_tls(&address, Tls::default())).await;
    assert!(refused.contains("unknown authority"), "{refused}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_unless_that_is_switched_off() {
    let folder = folder();
    let ours = authority();
    for host in [Host::Name("elsewhere.example"), Host::Ip("127.0.0.2")] {
        let address = broker(&ours.sign(&host, 1), None).await;
        let mut tls = trusting(ours.pem_trust(folder.path()));
        let refused = refusal(&over_tls(&address, tls.clone())).await;
        assert!(
            refused.contains("is for another host than 127.0.0.1"),
            "{refused}"
        );
        tls.check_hostname = false;
        over_tls(&address, tls).admin().await.expect("not checked");
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let folder = folder();
    let ours = authority();
    let address = broker(&ours.sign(&HERE, 0), None).await;
    let trust = ours.pem_trust(folder.path());
    let refused = refusal(&over_tls(&address, trusting(trust))).await;
    assert!(refused.ends_with("certificate has expired"), "{refused}");
}

#[tokio::test]
async fn a_broker_that_asks_for_a_certificate_gets_ours() {
    // E-051
    let folder = folder();
    let ours = authority();
    let address = broker(&ours.sign(&HERE, 1), Some(&ours)).await;
    let client = ours.sign(&Host::Name("client"), 1);
    for identity in [
        client.pkcs12_identity(folder.path()),
        client.pem_identity(folder.path(), "changeit"),
    ] {
        let mut tls = trusting(ours.pem_trust(folder.path()));
        tls.identity = Some(identity);
        over_tls(&address, tls).admin().await.expect("it is known");
    }
}

#[tokio::test]
async fn without_a_certificate_of_ours_the_refusal_says_what_is_missing() {
    let folder = folder();
    let ours = authority();
    let address = broker(&ours.sign(&HERE, 1), Some(&ours)).await;
    let mut tls = trusting(ours.pem_trust(folder.path()));
    let refused = refusal(&over_tls(&address, tls.clone())).await;
    assert!(refused.ends_with("give a key store"), "{refused}");
    let stranger = authority().sign(&Host::Name("client"), 1);
    tls.identity = Some(stranger.pkcs12_identity(folder.path()));
    let refused = refusal(&over_tls(&address, tls)).await;
    assert!(
        refused.contains("does not accept the client certificate"),
        "{refused}"
    );
}

#[tokio::test]
async fn tls_to_a_plain_port_is_told() {
    let address = start(|asked, address| asked.answer_basics(address)).await;
    let refused = refusal(&over_tls(&address, Tls::default())).await;
    assert!(refused.ends_with("the port may not want TLS"), "{refused}");
}

#[tokio::test]
async fn tls_to_a_port_of_another_protocol_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the client comes");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").await
    });
    let refused = refusal(&over_tls(&address, Tls::default())).await;
    assert!(
        refused.ends_with("the port does not speak TLS"),
        "{refused}"
    );
}

#[tokio::test]
async fn plain_text_to_a_tls_port_is_told() {
    let address = broker(&authority().sign(&HERE, 1), None).await;
    let refused = refusal(&Cluster::new(&address)).await;
    assert!(
        refused.ends_with("wants TLS") || refused.ends_with("may want TLS"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_broker_that_closes_a_session_without_a_word_may_want_sasl() {
    let folder = folder();
    let ours = authority();
    let acceptor = ours.sign(&HERE, 1).acceptor(None);
    let address = start_with(Some(acceptor), |asked, address| match asked.key {
        ApiKey::ApiVersions => asked.answer_basics(address),
        _ => Answer::Close,
    })
    .await;
    let trust = ours.pem_trust(folder.path());
    let refused = refusal(&over_tls(&address, trusting(trust))).await;
    assert!(
        refused.ends_with("closed before an answer came; the listener may want SASL"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_port_that_closes_without_a_word_may_not_want_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the client comes");
        let mut greeting = [0; 16 * 1024];
        let _ = stream.read(&mut greeting).await;
    });
    let refused = refusal(&over_tls(&address, Tls::default())).await;
    assert!(refused.ends_with("the port may not want TLS"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let cluster = over_tls(&address, Tls::default());
    let error = Connection::open(&address, &cluster).await.err();
    let error = error.expect("nobody answers").to_string();
    assert!(error.contains("no answer within 5.0 s"), "{error}");
}

#[test]
fn stores_that_cannot_be_used_say_why() {
    let folder = folder();
    let ours = authority().sign(&Host::Name("client"), 1);
    let Store::Pem {
        certificates, key, ..
    } = ours.pem_identity(folder.path(), "changeit")
    else {
        unreachable!("it is PEM");
    };
    let key = key.as_deref();
    let Store::Pkcs12 { file, .. } = ours.pkcs12_identity(folder.path()) else {
        unreachable!("it is PKCS#12");
    };
    let pkcs12 = |file: &Path, password: &str| Store::Pkcs12 {
        file: file.to_owned(),
        password: Secret::new(password),
    };
    let missing = folder.path().join("missing");
    let jks = folder.path().join("old.jks");
    std::fs::write(&jks, [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]).expect("written");
    for (store, expected) in [
        (pem(&missing, None, None), "No such file"),
        (pem(&certificates, None, None), "no private key is in it"),
        (pem(&certificates, key, None), "give its password"),
        (
            pem(&certificates, key, Some("wrong")),
            "the password of the private key is wrong",
        ),
        (pem(&file, key, None), "no certificate is in it"),
        (pkcs12(&certificates, "changeit"), "it is no PKCS#12 store"),
        (pkcs12(&file, "wrong"), "the password of the store is wrong"),
        (pkcs12(&jks, "changeit"), "it is a JKS store"),
    ] {
        let refused = stores::identity(&store).err().expect("it is refused");
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let folder = folder();
    let other = folder.path().join("other");
    std::fs::create_dir(&other).expect("a folder");
    let Store::Pem { certificates, .. } = authority().pem_identity(folder.path(), "a") else {
        unreachable!("it is PEM");
    };
    let Store::Pem { key, .. } = authority().pem_identity(&other, "a") else {
        unreachable!("it is PEM");
    };
    let store = pem(&certificates, key.as_deref(), Some("a"));
    let refused = identity_as_pem(&store).expect_err("it is refused");
    assert!(
        refused
            .to_string()
            .contains("belongs to another certificate"),
        "{refused}"
    );
}

#[test]
fn a_store_as_pem_is_the_same_store() {
    let folder = folder();
    let ours = authority();
    let text = trust_as_pem(&ours.pkcs12_trust(folder.path())).expect("PEM");
    let Store::Pem { certificates, .. } = ours.pem_trust(folder.path()) else {
        unreachable!("it is PEM");
    };
    let direct = std::fs::read_to_string(certificates).expect("it is there");
    assert_eq!(text, direct);
}
