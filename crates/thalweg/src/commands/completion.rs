//! `thalweg completion`: a script for the shell, as in `thalweg completion bash > /etc/bash_completion.d/thalweg`.

use std::io;

use clap_complete::Shell;

use crate::exit::CommandError;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::cli::command(),
        "thalweg",
        &mut script,
    );
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(())
}
