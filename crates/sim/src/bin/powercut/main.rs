//! The power-cut harness: a server as a real process, killed with SIGKILL under load, restarted on the same folder, round after round.
//!
//! `powercut --rounds N --seed S --port P [--json] -- COMMAND…`, where the command starts a broker on that port and its own folder;
//! `cargo xtask powercut` calls it so. Idempotent producers number their records and send again what was not acknowledged; group
//! members commit offsets. The oracle (`ledger`): no acknowledged record is lost, none doubled or out of order, nothing that a
//! reader saw is gone, no acknowledged offset commit is lost, and transfers between accounts, each a transaction, are whole or not
//! there (`transfers`). The last line printed is a summary in JSON.
//! `powercut scale` is another load (`scale`), `powercut serve` is a server to put there whose unsynced writes are lost with the process (`dropping`).

mod connection;
mod dropping;
mod ledger;
mod load;
mod members;
mod random;
mod scale;
mod serve;
mod server;
mod transfers;
mod verify;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ledger::Ledger;
use random::Random;
use server::Server;

const USAGE: &str = "usage: powercut --rounds N --seed S --port P [--durability D] -- COMMAND…";
/// Every so many rounds everything is read again from the start, not only what is new.
const FULL_READ_EVERY: u32 = 25;

struct Options {
    rounds: u32,
    seed: u64,
    address: SocketAddr,
    /// `thalweg.durability` of the topic; with `os` over a `DroppingDisk` records must be lost, which checks the oracle.
    durability: Option<String>,
    command: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return match serve::serve(&arguments[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        };
    }
    if arguments.first().is_some_and(|first| first == "scale") {
        return match scale::run(&arguments[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        };
    }
    let options = match parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let ledger = Arc::new(Ledger::default());
    let mut restarts = Vec::new();
    if let Err(error) = run(&options, &ledger, &mut restarts) {
        ledger.violation(format!("the run could not go on: {error}"));
    }
    summarize(&options, &ledger, &mut restarts);
    if ledger.violations() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut rounds, mut seed, mut port, mut durability) = (10, 1, 0, None);
    while let Some(flag) = arguments.next() {
        if flag == "--" {
            break;
        }
        let value = arguments.next().ok_or(USAGE)?;
        let number = || value.parse::<u64>().map_err(|_| USAGE.to_owned());
        match flag.as_str() {
            "--rounds" => rounds = u32::try_from(number()?).map_err(|_| USAGE)?,
            "--seed" => seed = number()?,
            "--port" => port = u16::try_from(number()?).map_err(|_| USAGE)?,
            "--durability" => durability = Some(value),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let command: Vec<String> = arguments.collect();
    if command.is_empty() || port == 0 {
        return Err(USAGE.to_owned());
    }
    Ok(Options {
        rounds,
        seed,
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        durability,
        command,
    })
}

fn run(
    options: &Options,
    ledger: &Arc<Ledger>,
    restarts: &mut Vec<Duration>,
) -> Result<(), String> {
    let mut random = Random::new(options.seed);
    let mut load = None;
    for round in 1..=options.rounds {
        if round > 1 && random.one_in(8) {
            Server::start(&options.command)?
                .kill_after(Duration::from_micros(random.below(20_000)));
        }
        let mut server = Server::start(&options.command)?;
        restarts.push(server.wait_until_ready(options.address)?);
        verify::all(options.address, ledger, round % FULL_READ_EVERY == 1)?;
        let load = match &mut load {
            Some(load) => load,
            empty => empty.insert(load::Load::prepare(
                options.address,
                ledger,
                options.durability.as_deref(),
                &mut random,
            )?),
        };
        let running = load.start(random.next());
        std::thread::sleep(Duration::from_millis(20 + random.below(700)));
        server.kill();
        running.join();
        if ledger.violations() > 0 {
            return Err(format!("stopped in round {round}, seed {}", options.seed));
        }
        if round % 10 == 0 || round == options.rounds {
            println!(
                "round {round}: {} records acknowledged, {} commits, {} transfers",
                ledger.acknowledged(),
                ledger.commits(),
                ledger.transfers().committed()
            );
        }
    }
    finish(options, ledger, load, restarts)
}

/// One more start: everything in doubt is sent again, and then the log holds exactly what was ever sent.
fn finish(
    options: &Options,
    ledger: &Arc<Ledger>,
    load: Option<load::Load>,
    restarts: &mut Vec<Duration>,
) -> Result<(), String> {
    let mut server = Server::start(&options.command)?;
    restarts.push(server.wait_until_ready(options.address)?);
    verify::all(options.address, ledger, true)?;
    if let Some(mut load) = load {
        load.settle()?;
        verify::all(options.address, ledger, true)?;
        ledger.expect_settled();
    }
    server.kill();
    Ok(())
}

fn summarize(options: &Options, ledger: &Ledger, restarts: &mut [Duration]) {
    restarts.sort();
    let milliseconds = |at: usize| {
        restarts
            .get(at)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    println!(
        "{{\"rounds\": {}, \"seed\": {}, \"violations\": {}, \"acknowledged\": {}, \"commits\": {}, \"transfers\": {}, \
         \"restart_ms_min\": {:.1}, \"restart_ms_median\": {:.1}, \"restart_ms_max\": {:.1}}}",
        options.rounds,
        options.seed,
        ledger.violations(),
        ledger.acknowledged(),
        ledger.commits(),
        ledger.transfers().committed(),
        milliseconds(0),
        milliseconds(restarts.len() / 2),
        milliseconds(restarts.len().saturating_sub(1)),
    );
}
