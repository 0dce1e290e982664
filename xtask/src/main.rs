//! Repository tasks: `cargo xtask <task>`. One file or folder per task; nothing here ships with the product.
//!
//! Tasks that need other toolchains (interop, bench) keep what they install in a cache folder outside the
//! repository and leave out, by name, what the machine does not have.

mod bench;
mod check;
mod generate;
mod interop;
mod kafka;
mod page;
mod powercut;
mod probe;
mod process;
mod repository;
mod thalweg;
mod tidy;

use std::process::ExitCode;

/// What a task returns: a message for the person at the terminal when it did not succeed.
type TaskResult = Result<(), String>;

struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> TaskResult,
}

const TASKS: &[Task] = &[
    Task {
        name: "check",
        help: "format, clippy, tidy, tests, simulation seeds: what CI runs",
        run: check::run,
    },
    Task {
        name: "tidy",
        help: "house rules as checks: crate arrows, lengths, headers, links (--update lowers the ratchet)",
        run: tidy::run,
    },
    Task {
        name: "generate",
        help: "writes crates/wire/src/generated from the definitions in crates/wire/messages",
        run: generate::run,
    },
    Task {
        name: "interop",
        help: "real clients against Thalweg (--against kafka checks the scripts); writes docs/compatibility.md",
        run: interop::run,
    },
    Task {
        name: "bench",
        help: "Thalweg and Apache Kafka in turns, by peers' load tools (--quick); rest: the HTTP side; writes docs/benchmarks*.md",
        run: bench::run,
    },
    Task {
        name: "powercut",
        help: "kill -9 under load, restart, and ask whether anything acknowledged is gone",
        run: powercut::run,
    },
    Task {
        name: "page",
        help: "the pages in headless Chromium: looked at, published from, followed live",
        run: page::run,
    },
    Task {
        name: "kafka",
        help: "Apache Kafka on a free port, until stopped: to try a client by hand",
        run: kafka::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map(String::as_str).unwrap_or("help");
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        print_help();
        return if matches!(name, "help" | "--help" | "-h") {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    };
    match (task.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn print_help() {
    eprintln!("cargo xtask <task> [options]\n");
    for task in TASKS {
        eprintln!("  {:<10} {}", task.name, task.help);
    }
}
