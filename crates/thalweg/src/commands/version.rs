//! `thalweg version`.

use serde::Serialize;

use crate::cli::Context;
use crate::exit::CommandError;

#[derive(Serialize)]
struct Version {
    version: &'static str,
    os: &'static str,
    arch: &'static str,
}

pub fn run(context: &Context) -> Result<(), CommandError> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };
    context.output.one(&version, version.version, |out| {
        writeln!(out, "thalweg {}", version.version)
    })
}
