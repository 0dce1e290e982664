//! Records through `produce` and `consume`.

mod common;

use common::Server;

/// The records below are of 1970: any age limit would take them away at once.
fn create_for_old_records(server: &Server, topic: &str) {
    server.ok(&["topic", "create", topic, "--set", "retention.ms=-1"], "");
}

#[test]
fn keys_headers_and_values_come_back_as_json() {
    let server = Server::start();
    server.ok(
        &["produce", "orders", "-K", ":", "-H", "source=test"],
        "a:1\na:{\"n\": 9007199254740993}\n",
    );
    let lines = server.ok(&["consume", "orders", "-e", "-o", "json"], "");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[1].contains(r#""value":{"n": 9007199254740993}"#),
        "{}",
        lines[1]
    );
    let first: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!(first["key"], "a");
    assert_eq!(
        first["headers"],
        serde_json::json!([{"key": "source", "value": "test"}])
    );
    assert_eq!(
        (&first["partition"], &first["offset"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn what_consume_prints_as_json_produce_copies_exactly() {
    let server = Server::start();
    let records = concat!(
        "{\"key\":\"k\",\"value\":\"text\",\"timestamp\":1000,\"headers\":{\"h\":\"1\"}}\n",
        "{\"key\":null,\"value\":null,\"timestamp\":2000}\n",
        "{\"key_base64\":\"/w==\",\"value\":{\"a\": [1, 2.50]},\"timestamp\":\"1970-01-01T00:00:03Z\"}\n",
    );
    for topic in ["one", "two"] {
        create_for_old_records(&server, topic);
    }
    server.ok(&["produce", "one", "-f", "ndjson", "-p", "0"], records);
    let read = |topic: &str| server.ok(&["consume", topic, "-e", "-o", "json"], "");
    let first = read("one");
    server.ok(&["produce", "two", "-f", "ndjson"], &first);
    assert_eq!(
        read("two"),
        first.replace("\"topic\":\"one\"", "\"topic\":\"two\"")
    );
    let times = server.ok(&["consume", "two", "-e", "-f", "%T %k %S\\n"], "");
    assert!(times.starts_with("1000 k 4\n2000  -1\n3000 "), "{times}");
}

#[test]
fn reading_starts_where_from_says() {
    let server = Server::start();
    let records: String = (0..10)
        .map(|n| format!("{{\"value\":\"v{n}\",\"timestamp\":{}}}\n", 1000 * (n + 1)))
        .collect();
    create_for_old_records(&server, "t");
    server.ok(&["produce", "t", "-f", "ndjson"], &records);
    let from = |place: &str| {
        let printed = server.ok(&["consume", "t", "-e", "--from", place], "");
        printed.lines().next().unwrap_or("nothing").to_owned()
    };
    assert_eq!(from("earliest"), "v0");
    assert_eq!(from("-3"), "v7");
    assert_eq!(from("offset:4"), "v4");
    assert_eq!(from("time:5500"), "v5");
    assert_eq!(from("time:1970-01-01T00:00:08Z"), "v7");
    assert_eq!(from("now-1h"), "nothing");
    assert_eq!(from("latest"), "nothing");
    assert_eq!(server.ok(&["consume", "t", "-n", "2"], ""), "v0\nv1\n");
}

#[test]
fn every_codec_is_read_back() {
    let server = Server::start();
    let line = "compressible ".repeat(50);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        server.ok(
            &["produce", codec, "-z", codec, "--acks", "1"],
            &format!("{line}\n"),
        );
        assert_eq!(
            server.ok(&["consume", codec, "-e"], ""),
            format!("{line}\n"),
            "{codec}"
        );
    }
}

#[test]
fn waiting_in_vain_is_code_124() {
    let server = Server::start();
    server.ok(&["topic", "create", "t"], "");
    let ended = server.run(&["consume", "t", "--idle", "200ms"], "");
    assert_eq!(ended.code, 124, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("no record of t within 0.2 s"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_wrong_line_is_named_and_is_code_2() {
    let server = Server::start();
    let ended = server.run(&["produce", "t", "-f", "key:value"], "a:1\nnone\n");
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .stderr
            .contains("line 2: no `:` between key and value"),
        "{}",
        ended.stderr
    );
}
