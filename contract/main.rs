//! The contract of the platform: the same tests on the embedded broker and on a real Apache Kafka of three brokers.
//!
//! `cargo test -p thalweg --test contract -- kafka::topics::` runs some of them; `README.md` says how to add one. `main` owns
//! everything that is started: it is there from the first test that asks for it until the last one has ended, and no process
//! outlives this one, however it ends.

// What tests are written with; each uses a part of it.
#[allow(dead_code)]
mod certificates;
#[allow(dead_code)]
mod gateway;
mod golden;
#[allow(dead_code)]
mod http;
#[allow(dead_code)]
mod kafka;
mod starter;
#[allow(dead_code)]
mod subject;
#[allow(dead_code)]
mod traffic;
mod world;

// The tests, a file per area; each file's list of tests is added to `TESTS` below.
mod administration;
mod async_clients;
mod drills;
mod gateways;
mod groups;
mod groups_rest;
mod hybrid;
mod idempotency;
mod lab;
mod legacy;
mod queue;
mod records;
mod security;
mod share_groups;
mod topics;
mod transactions;
mod v1;

// How jars are fetched and processes kept is shared with `cargo xtask interop` and `bench`.
#[path = "../xtask/src/kafka/jars.rs"]
#[allow(dead_code)]
mod jars;
#[path = "../xtask/src/probe.rs"]
#[allow(dead_code)]
mod probe;
#[path = "../xtask/src/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../xtask/src/repository.rs"]
#[allow(dead_code)]
mod repository;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use subject::Test;
use world::World;

/// Every file's tests. Those of one subject run in this order, as many at once as `--test-threads` says.
const TESTS: &[&[Test]] = &[
    topics::TESTS,
    records::TESTS,
    groups::TESTS,
    transactions::TESTS,
    async_clients::TESTS,
    administration::TESTS,
    share_groups::TESTS,
    security::TESTS,
    gateways::TESTS,
    lab::TESTS,
    v1::TESTS,
    hybrid::TESTS,
    groups_rest::TESTS,
    queue::TESTS,
    idempotency::TESTS,
    legacy::TESTS,
    drills::TESTS,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let world = match World::new() {
        Ok(world) => Arc::new(world),
        Err(error) => {
            eprintln!("contract: {error}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials(&world));
    world.stop();
    conclusion.exit_code()
}

/// One trial for each test and each subject it is for, all of one subject together.
fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in subject::KINDS {
        let tests = TESTS.iter().flat_map(|tests| tests.iter());
        for test in tests.filter(|test| test.on.kinds.contains(kind)) {
            let world = Arc::clone(world);
            let name = format!("{}::{}::{}", kind.name(), test.module(), test.name);
            trials.push(Trial::ignorable_test(name, move || world.run(*kind, test)));
        }
    }
    trials
}
