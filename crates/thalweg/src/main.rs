//! The `thalweg` command.

mod cli;
mod commands;
mod config;
mod exit;
mod flights;
mod output;
mod progress;
mod records;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
