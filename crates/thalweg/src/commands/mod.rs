//! One file per command, `<noun>_<verb>.rs`; what several need is here.

pub mod bench;
mod bench_consume;
mod bench_e2e;
mod bench_produce;
pub mod completion;
pub mod config;
pub mod consume;
pub mod demo;
pub mod dev;
pub mod doctor;
mod doctor_checks;
pub mod group;
mod group_delete;
mod group_describe;
mod group_list;
mod group_reset;
pub mod lab;
pub mod produce;
pub mod reference;
pub mod topic;
mod topic_alter;
mod topic_create;
mod topic_delete;
mod topic_describe;
mod topic_list;
mod topic_provision;
pub mod version;

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{CommandError, Exit};

/// Asks before something that cannot be undone: `--yes` answers, a person at a terminal is asked, a script is refused.
pub fn confirm(question: &str, yes: bool) -> Result<(), CommandError> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let what = format!("{question} Add --yes to do it without asking");
        return Err(CommandError::Usage(what));
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CommandError::new(
            Exit::Error,
            "not done: the answer was no",
        )),
    }
}

/// Becomes true at the first SIGINT or SIGTERM, so that a loop can end well; the second one ends the process.
pub fn interruption() -> Result<Arc<AtomicBool>, CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let flag = Arc::new(AtomicBool::new(false));
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shared = Arc::clone(&flag);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if shared.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        }
    });
    Ok(flag)
}

/// `name=value` as clap reads it.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is no assignment; write NAME=VALUE"))
}
