//! The five tasks of the topic lab on a broker of this process and by the command, and what is left of them: nothing.

mod common;

use std::time::Duration;

use client::{Cluster, ErrorKind};
use common::{Server, run, thalweg};
use lab::{LabReport, Options, Step, Task};
use serde_json::{Value, json};
use thalweg::{Embedded, Settings, embedded};

/// Any number: each test has a broker of its own.
const RANDOM: u64 = 0x0123_4567_89ab_cdef;

fn report(broker: &Embedded, task: Task, options: Options) -> LabReport {
    let cluster = Cluster::new(&broker.bootstrap());
    let mut heard = 0;
    let mut observer = |_: &Step| heard += 1;
    let report = lab::run(task, &cluster, options, &mut observer).expect("the run goes through");
    assert_eq!(report.steps.len(), heard);
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.passed).collect();
    assert!(
        report.passed && failed.is_empty(),
        "{failed:#?}\n{:#?}",
        report.steps
    );
    report
}

fn in_memory(task: Task) -> LabReport {
    let broker = embedded(Settings::in_memory()).expect("a broker in memory");
    report(&broker, task, Options::new(RANDOM))
}

/// Topics that are not internal, and groups.
fn left_behind(broker: &Embedded) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let cluster = Cluster::new(&broker.bootstrap());
        let mut admin = cluster.admin().await.expect("the broker answers");
        let topics = admin.topics().await.expect("a list").into_iter();
        let topics = topics
            .filter(|topic| !topic.is_internal)
            .map(|topic| topic.name);
        let groups = admin.groups().await.expect("a list").into_iter();
        topics.chain(groups.map(|group| group.name)).collect()
    })
}

#[test]
fn topics_shows_the_segments_of_a_log_on_the_disk() {
    // B-017, B-040, X-27
    let folder = tempfile::tempdir().expect("a folder");
    let broker = embedded(Settings::on_disk(folder.path())).expect("a broker on disk");
    let report = report(&broker, Task::Topics, Options::new(RANDOM));
    let segments = &report.steps.last().expect("the segments").data["segments"];
    let bases: Vec<i64> = segments
        .as_array()
        .expect("files were read")
        .iter()
        .map(|segment| segment["base_offset"].as_i64().expect("a number"))
        .collect();
    assert!(
        bases.len() >= 2 && bases[0] == 0 && bases.is_sorted(),
        "{bases:?}"
    );
    assert_eq!(left_behind(&broker), [""; 0]);
}

#[test]
fn topics_judges_by_size_where_files_cannot_be_read() {
    // B-040
    let report = in_memory(Task::Topics);
    let lines = &report.steps.last().expect("the segments").lines;
    assert!(lines[0].contains("cannot be read from here"), "{lines:?}");
    assert!(lines[1].contains("at least 3 segments"), "{lines:?}");
}

#[test]
fn keys_go_where_murmur2_predicts() {
    // B-041, B-045, X-16, X-17, X-18
    let report = in_memory(Task::Keys);
    assert_eq!(
        report.facts["users_by_partition"],
        json!({"0": 1, "1": 2, "2": 7})
    );
    let produced = &report.steps[1];
    assert_eq!(produced.data.as_array().map(Vec::len), Some(30));
    assert_eq!(produced.lines[0], "user-1 -> partition=2 offset=0");
    assert_eq!(report.checks.len(), 8);
}

#[test]
fn ordering_logs_partition_offset_and_key() {
    // B-031, B-032, B-033, B-042
    let report = in_memory(Task::Ordering);
    let orders = &report.steps[0].lines;
    assert!(
        orders.contains(&"partition=1 offset=1 key=order-100 Order shipped".to_owned()),
        "{orders:?}"
    );
    assert_eq!(report.steps[1].data.as_array().map(Vec::len), Some(50));
}

#[test]
fn rebalance_tells_who_had_what_and_when() {
    // B-035, B-043
    let report = in_memory(Task::Rebalance);
    let phases = report.facts["phases"].as_array().expect("phases");
    assert_eq!(phases.len(), 5);
    let of_three = phases[2]["assignment"].as_object().expect("members");
    let shares: Vec<usize> = of_three
        .values()
        .map(|p| p.as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(shares, [1, 1, 1]);
    assert!(
        phases[1]["timeline"]
            .as_array()
            .is_some_and(|changes| !changes.is_empty())
    );
}

#[test]
fn semantics_loses_repeats_or_is_exact() {
    // B-044, X-19
    let broker = embedded(Settings::in_memory()).expect("a broker in memory");
    let report = report(&broker, Task::Semantics, Options::new(RANDOM));
    let count = |lost, repeated, aborted| {
        let exact = 30 - lost - repeated;
        json!({"inputs": 30, "lost": lost, "repeated": repeated, "exact": exact, "aborted": aborted})
    };
    assert_eq!(
        report.facts,
        json!({
            "at_most_once": count(5, 0, 0),
            "at_least_once": count(0, 5, 0),
            "exactly_once": count(0, 0, 5),
        })
    );
    assert_eq!(left_behind(&broker), [""; 0]);
}

#[test]
fn what_is_to_be_kept_is_kept() {
    let broker = embedded(Settings::in_memory()).expect("a broker in memory");
    let keep = Options {
        keep: true,
        ..Options::new(RANDOM)
    };
    report(&broker, Task::Keys, keep);
    assert_eq!(
        left_behind(&broker),
        ["lab-keys-89abcdef", "lab-keys-89abcdef-null-keys"]
    );
}

#[test]
fn a_run_that_is_over_its_time_ends_and_deletes_what_it_made() {
    let broker = embedded(Settings::in_memory()).expect("a broker in memory");
    let cluster = Cluster::new(&broker.bootstrap());
    let short = Options {
        limit: Duration::from_millis(1),
        ..Options::new(RANDOM)
    };
    for task in Task::ALL {
        let error = lab::run(task, &cluster, short, &mut |_| {}).expect_err("too little time");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    assert_eq!(left_behind(&broker), [""; 0]);
}

#[test]
fn the_command_tells_steps_and_checks_or_gives_the_report() {
    let server = Server::start();
    let told = server.ok(&["lab", "keys"], "");
    assert!(told.starts_with("Task 1.2: Producer with Keys\n"), "{told}");
    assert!(
        told.contains("✓ every record is in the partition that murmur2 predicts (30 of 30)"),
        "{told}"
    );
    let report: Value =
        serde_json::from_str(&server.ok(&["lab", "ordering", "-o", "json"], "")).expect("JSON");
    assert_eq!(
        (&report["task"], &report["passed"]),
        (&json!("ordering"), &json!(true))
    );

    assert_eq!(
        server.run(&["lab", "semantics", "--limit", "1ms"], "").code,
        124
    );
    assert_eq!(server.run(&["lab", "offsets"], "").code, 2);
    assert_eq!(
        server
            .run(&["lab", "rebalance", "--consumers", "5"], "")
            .code,
        2
    );
    let nobody = run(&mut thalweg(&["lab", "keys", "--kafka", "127.0.0.1:1"]), "");
    assert_eq!(nobody.code, 5);
}
