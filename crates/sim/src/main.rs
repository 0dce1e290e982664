//! `sim`: runs seeds of the simulations and tells how to replay one that fails.
//!
//! ```text
//! cargo run -p sim -- --seeds 500                      all scenarios, each with the seeds 0 to 499
//! cargo run -p sim -- --scenario shard --seed 17       one story again, told event by event
//! cargo run -p sim -- --endless                        until one fails; begins behind --seeds
//! ```

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sim::{Reached, Sabotage, Scenario, story};

const USAGE: &str = "usage: sim [--seeds N] [--first N] [--seed N] [--endless] [--scenario log|shard|groups|cluster|transactions|share|compaction] [--quiet]";

struct Arguments {
    first: u64,
    seeds: u64,
    is_endless: bool,
    is_told: bool,
    scenarios: Vec<Scenario>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    // A hook and not `catch_unwind`: release builds abort.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}\n{}", story::last_events());
        std::process::exit(1);
    }));
    if arguments.is_told {
        story::print();
    }
    let end = match arguments.is_endless {
        true => u64::MAX,
        false => arguments.first.saturating_add(arguments.seeds),
    };
    if arguments.is_endless {
        endless(&arguments);
    } else if arguments.is_told {
        // This is the thread that prints its story.
        for scenario in &arguments.scenarios {
            run(*scenario, arguments.first..end);
        }
    } else {
        run_all(&arguments.scenarios, arguments.first..end);
    }
    ExitCode::SUCCESS
}

/// Runs the scenarios, as many at a time as there are processors; each on one thread, which remembers its story.
fn run_all(scenarios: &[Scenario], seeds: Range<u64>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(scenarios.len()) {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(*scenario, seeds.clone());
                }
            });
        }
    });
}

/// Runs seeds of one scenario and says what they reached.
fn run(scenario: Scenario, seeds: Range<u64>) {
    let started = Instant::now();
    let mut reached = Reached::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        reached.add(&sim::run(scenario, seed, Sabotage::None));
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{:8} {count} seeds in {seconds:.1} s ({:.0} per second): {reached:?}",
        scenario.name(),
        count as f64 / seconds
    );
}

fn endless(arguments: &Arguments) {
    const ROUND: u64 = 1_000;
    let mut first = arguments.first;
    loop {
        for scenario in &arguments.scenarios {
            run(*scenario, first..first + ROUND);
        }
        first += ROUND;
    }
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        first: 0,
        seeds: 100,
        is_endless: false,
        is_told: false,
        scenarios: Scenario::ALL.to_vec(),
    };
    while let Some(flag) = given.next() {
        let mut value = || {
            given
                .next()
                .ok_or_else(|| format!("{flag} needs a value\n{USAGE}"))
        };
        match flag.as_str() {
            "--seeds" => arguments.seeds = number(&value()?)?,
            "--first" => arguments.first = number(&value()?)?,
            "--seed" => {
                (arguments.first, arguments.seeds) = (number(&value()?)?, 1);
                arguments.is_told = true;
            }
            "--endless" => arguments.is_endless = true,
            "--quiet" => arguments.is_told = false,
            "--scenario" => {
                let name = value()?;
                let scenario = Scenario::named(&name)
                    .ok_or_else(|| format!("there is no scenario {name}\n{USAGE}"))?;
                arguments.scenarios = vec![scenario];
            }
            _ => return Err(format!("{flag} is not known\n{USAGE}")),
        }
    }
    Ok(arguments)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text} is not a number\n{USAGE}"))
}
