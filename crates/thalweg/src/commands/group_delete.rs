//! `thalweg group delete`: groups without members, with their offsets.

use serde::Serialize;

use super::confirm;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The names of the groups
    #[arg(required = true)]
    names: Vec<String>,
    /// Delete without asking
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Serialize)]
struct Deleted<'a> {
    groups: &'a [String],
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let names = args.names.join(", ");
    for name in &args.names {
        admin.find_group(name).await?;
    }
    confirm(
        &format!("Delete {names} and the offsets it committed?"),
        args.yes,
    )?;
    for name in &args.names {
        admin.delete_group(name).await?;
    }
    let deleted = Deleted {
        groups: &args.names,
    };
    context.output.one(&deleted, &args.names.join("\n"), |out| {
        writeln!(out, "deleted {names}")
    })
}
