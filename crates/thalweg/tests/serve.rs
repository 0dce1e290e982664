//! `thalweg dev` as a process: its addresses, its pages, its refusals, its end.

mod common;

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use common::{Server, run, thalweg};
use rustix::process::Signal;

#[test]
fn ready_json_is_one_line_with_addresses_that_work() {
    let server = Server::start();
    let cluster_id = server.ready["cluster_id"].as_str().expect("a cluster id");
    assert_eq!(cluster_id.len(), 22);
    assert_eq!(server.ready["data"], serde_json::Value::Null);
    assert_eq!(server.ready["pid"], server.pid());
    assert!(server.kafka().starts_with("127.0.0.1:"));
    assert_eq!(server.get("/livez"), (200, "ok\n".to_owned()));
    assert_eq!(server.ok(&["topic", "list", "-o", "name"], ""), "");
    let (status, rest) = server.stop();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
}

#[test]
fn every_page_answers() {
    let server = Server::start();
    server.ok(&["produce", "orders", "--acks", "1"], "one\ntwo\n");
    let (status, text) = server.get("/readyz?verbose");
    assert_eq!(
        (status, text.as_str()),
        (200, "[+] broker\n[+] not-stopping\nready\n")
    );
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("thalweg_build_info{version=\""), "{text}");
    let (status, page) = server.get("/");
    assert_eq!(status, 200);
    assert!(
        page.contains(server.kafka()) && page.contains("<code>orders</code>"),
        "{page}"
    );
    assert_eq!(server.get("/nothing").0, 404);
}

#[test]
fn both_signals_drain_and_exit_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start();
        let (status, _) = server.stop_by(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start();
    let address = server.ready["http"]
        .as_str()
        .expect("the HTTP address")
        .replace("http://", "");
    // Half a request: the first signal waits for the other half.
    let mut half = TcpStream::connect(address).expect("HTTP listens");
    half.write_all(b"GET /livez HTTP/1.1\r\n")
        .expect("a request can be begun");
    // Accepted after the half, so the half is there too.
    assert_eq!(server.get("/livez").0, 200);
    server.signal(Signal::TERM);
    server.hear_stopping();
    assert_eq!(server.stop_by(Signal::TERM).0.code(), Some(130));
}

#[test]
fn a_busy_port_that_was_asked_for_is_a_conflict_and_names_the_holder() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    for flag in ["--kafka-port", "--http-port"] {
        let other = if flag == "--kafka-port" {
            "--http-port"
        } else {
            "--kafka-port"
        };
        let ended = run(
            &mut thalweg(&["dev", "--ephemeral", flag, &port, other, "0"]),
            "",
        );
        assert_eq!(ended.code, 6, "{}", ended.stderr);
        assert!(
            ended.stderr.contains(&format!("port {port} is in use")),
            "{}",
            ended.stderr
        );
        assert!(
            ended
                .stderr
                .contains(&format!("process {}", std::process::id())),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn an_address_that_others_reach_is_refused_with_the_reason() {
    let ended = run(
        &mut thalweg(&["dev", "--ephemeral", "--bind", "0.0.0.0"]),
        "",
    );
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("without authentication"),
        "{}",
        ended.stderr
    );
}

#[test]
fn one_process_per_data_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let server = Server::start_with(&["--data", &data]);
    assert_eq!(server.ready["data"], data.as_str());
    let flags = [
        "start",
        "--kafka-port",
        "0",
        "--http-port",
        "0",
        "--data",
        &data,
    ];
    let ended = run(&mut thalweg(&flags), "");
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    assert!(
        ended.stderr.contains(&format!("process {}", server.pid())),
        "{}",
        ended.stderr
    );
}

#[test]
fn records_groups_and_the_cluster_id_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().display().to_string();
    let server = Server::start_with(&["--data", &data]);
    server.ok(&["produce", "orders"], "one\ntwo\n");
    server.ok(&["consume", "orders", "-g", "g", "-n", "1"], "");
    let cluster_id = server.ready["cluster_id"].clone();
    assert!(server.stop().0.success());

    let server = Server::start_with(&["--data", &data]);
    assert_eq!(server.ready["cluster_id"], cluster_id);
    assert_eq!(server.ok(&["consume", "orders", "-e"], ""), "one\ntwo\n");
    assert_eq!(
        server.ok(&["consume", "orders", "-g", "g", "-e"], ""),
        "two\n"
    );
}

#[test]
fn an_ephemeral_broker_touches_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = thalweg(&[
        "dev",
        "--ephemeral",
        "--kafka-port",
        "0",
        "--http-port",
        "x",
    ]);
    run(command.current_dir(folder.path()), "");
    let server = Server::start_with(&[
        "--ephemeral",
        "--data",
        &folder.path().join("data").display().to_string(),
    ]);
    server.ok(&["produce", "orders", "--acks", "1"], "one\n");
    assert!(server.stop().0.success());
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0
    );
}

#[test]
fn broker_settings_come_by_flag() {
    let server = Server::start_with(&["--ephemeral", "--set", "num.partitions=4"]);
    server.ok(&["topic", "create", "orders"], "");
    let listed = server.ok(&["topic", "list", "-o", "template={name} {partitions}"], "");
    assert_eq!(listed, "orders 4\n");
    let ended = run(
        &mut thalweg(&[
            "dev",
            "--ephemeral",
            "--set",
            "num.partitionz=4",
            "--kafka-port",
            "0",
            "--http-port",
            "0",
        ]),
        "",
    );
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains("num.partitionz"), "{}", ended.stderr);
}
