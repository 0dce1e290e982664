//! Topics and groups from their creation to their end, with the exit codes that scripts see.

mod common;

use common::{Server, eventually, run, thalweg};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON on standard output")
}

#[test]
fn a_topic_lives_from_create_to_delete() {
    let server = Server::start();
    let created = json(&server.ok(
        &[
            "topic",
            "create",
            "orders",
            "-p",
            "3",
            "--set",
            "retention.ms=1000000",
            "-o",
            "json",
        ],
        "",
    ));
    assert_eq!(created["partitions"], 3);
    assert_eq!(server.run(&["topic", "create", "orders"], "").code, 6);
    assert_eq!(
        server
            .run(&["topic", "create", "orders", "--if-not-exists"], "")
            .code,
        0
    );

    server.ok(
        &[
            "topic",
            "alter",
            "orders",
            "--partitions",
            "5",
            "--unset",
            "retention.ms",
        ],
        "",
    );
    let described = json(&server.ok(&["topic", "describe", "orders", "-o", "json"], ""));
    assert_eq!(described["partitions"].as_array().map(Vec::len), Some(5));
    let retention = described["configs"]
        .as_array()
        .expect("settings")
        .iter()
        .find(|config| config["name"] == "retention.ms");
    assert_eq!(retention.expect("retention.ms")["source"], "default");

    let refused = server.run(&["topic", "delete", "orders"], "");
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .stderr
            .contains("Delete orders with 0 records? Add --yes"),
        "{}",
        refused.stderr
    );
    server.ok(&["topic", "delete", "orders", "--yes"], "");
    assert_eq!(server.run(&["topic", "describe", "orders"], "").code, 3);
    assert_eq!(server.run(&["consume", "orders"], "").code, 3);
}

#[test]
fn a_topic_that_is_not_created_on_first_use_is_not_found() {
    let server = Server::start_with(&["--ephemeral", "--set", "auto.create.topics.enable=false"]);
    let ended = server.run(&["produce", "t"], "a\n");
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("thalweg topic create t"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let server = Server::start();
    server.ok(&["topic", "create", "t", "--dry-run"], "");
    assert_eq!(server.ok(&["topic", "list", "-o", "name"], ""), "");
    server.ok(&["topic", "create", "t"], "");
    server.ok(
        &["topic", "alter", "t", "--partitions", "2", "--dry-run"],
        "",
    );
    server.ok(&["topic", "delete", "t", "--dry-run"], "");
    assert_eq!(
        server.ok(&["topic", "list", "-o", "template={name} {partitions}"], ""),
        "t 1\n"
    );
}

#[test]
fn a_group_is_listed_reset_and_deleted() {
    let server = Server::start();
    server.ok(&["produce", "t"], "a\nb\nc\n");
    assert_eq!(
        server.ok(&["consume", "t", "-g", "g", "-n", "2"], ""),
        "a\nb\n"
    );
    let described = json(&server.ok(&["group", "describe", "g", "-o", "json"], ""));
    assert_eq!(
        (&described["lag"], &described["partitions"][0]["committed"]),
        (&1.into(), &2.into())
    );
    assert!(
        described["lag_seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds < 60.0),
        "{described}"
    );

    let preview = json(&server.ok(
        &["group", "reset", "g", "--to", "earliest", "-o", "json"],
        "",
    ));
    assert_eq!(preview["applied"], false);
    assert_eq!(
        (
            &preview["partitions"][0]["before"],
            &preview["partitions"][0]["after"]
        ),
        (&2.into(), &0.into())
    );
    assert_eq!(server.ok(&["consume", "t", "-g", "g", "-e"], ""), "c\n");
    server.ok(&["group", "reset", "g", "--to", "-2", "--yes"], "");
    assert_eq!(server.ok(&["consume", "t", "-g", "g", "-e"], ""), "b\nc\n");

    assert_eq!(server.ok(&["group", "list", "-o", "name"], ""), "g\n");
    assert_eq!(server.run(&["group", "delete", "g"], "").code, 2);
    server.ok(&["group", "delete", "g", "--yes"], "");
    assert_eq!(server.run(&["group", "describe", "g"], "").code, 3);
}

#[test]
fn a_group_with_members_is_described_and_not_moved() {
    let server = Server::start();
    server.ok(&["produce", "t"], "a\n");
    let mut member = thalweg(&["consume", "t", "-g", "g", "--kafka", server.kafka()]);
    let mut member = member
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the binary");
    let described = eventually("the member's assignment", || {
        let described = json(
            &server
                .run(&["group", "describe", "g", "-o", "json"], "")
                .stdout_or("{}"),
        );
        (described["members"][0]["partitions"]["t"] == serde_json::json!([0])).then_some(described)
    });
    assert_eq!(described["state"], "Stable");
    assert_eq!(described["partitions"][0]["member"], "thalweg");
    let refused = server.run(
        &[
            "group", "reset", "g", "--to", "earliest", "--topic", "t", "--yes",
        ],
        "",
    );
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert_eq!(server.run(&["group", "delete", "g", "--yes"], "").code, 6);
    member.kill().expect("the member is ours");
    member.wait().expect("a child can be waited for");
}

#[test]
fn nobody_there_is_code_5() {
    let ended = run(
        &mut thalweg(&["topic", "list", "--kafka", "127.0.0.1:1"]),
        "",
    );
    assert_eq!(ended.code, 5);
    assert!(
        ended
            .stderr
            .contains("no broker answers at 127.0.0.1:1: connection refused"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("thalweg dev"), "{}", ended.stderr);
}

#[test]
fn a_bench_reports_what_it_measured() {
    let server = Server::start();
    let produced = json(&server.ok(
        &[
            "bench",
            "produce",
            "-n",
            "2000",
            "--partitions",
            "2",
            "-o",
            "json",
        ],
        "",
    ));
    assert_eq!(
        (&produced["records"], &produced["failed"]),
        (&2000.into(), &0.into())
    );
    assert!(
        produced["latency_ms"]["p99"]
            .as_f64()
            .is_some_and(|ms| ms > 0.0),
        "{produced}"
    );
    let consumed = json(&server.ok(&["bench", "consume", "-o", "json"], ""));
    assert_eq!(
        (&consumed["records"], &consumed["bytes"]),
        (&2000.into(), &200_000.into())
    );
    let e2e = [
        "bench",
        "e2e",
        "--topic",
        "e2e",
        "-n",
        "200",
        "--warm-up",
        "50",
        "-o",
        "json",
    ];
    assert_eq!(json(&server.ok(&e2e, ""))["records"], 200);
}

#[test]
fn doctor_finds_the_broker_and_its_advertised_address() {
    let server = Server::start();
    let report = json(&server.ok(&["doctor", "--quick", "-o", "json"], ""));
    assert_eq!(report["healthy"], true);
    let checks: Vec<&str> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|finding| finding["check"].as_str())
        .collect();
    assert_eq!(checks, ["broker", "advertised"]);

    let lost = Server::start_with(&["--ephemeral", "--advertised", "127.0.0.1:1"]);
    let ended = lost.run(&["doctor", "--quick"], "");
    assert_eq!(ended.code, 1);
    assert!(
        ended.stdout.contains("✗ advertised")
            && ended.stdout.contains("fix: start it with --advertised"),
        "{}",
        ended.stdout
    );
}

impl common::Ended {
    /// What was printed, or `other` when the command failed.
    fn stdout_or(&self, other: &str) -> String {
        if self.code == 0 {
            self.stdout.clone()
        } else {
            other.to_owned()
        }
    }
}
