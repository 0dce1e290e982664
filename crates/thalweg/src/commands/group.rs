//! `thalweg group …`.

use super::{group_delete, group_describe, group_list, group_reset};
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List consumer groups
    List(group_list::Args),
    /// Show a group's members, offsets and lag
    Describe(group_describe::Args),
    /// Move a group's offsets; shows before and after, applies with --yes
    Reset(group_reset::Args),
    /// Delete groups with their offsets
    Delete(group_delete::Args),
}

impl Verb {
    pub fn client(&self) -> &ClientFlags {
        match self {
            Verb::List(args) => &args.client,
            Verb::Describe(args) => &args.client,
            Verb::Reset(args) => &args.client,
            Verb::Delete(args) => &args.client,
        }
    }
}

pub async fn run(context: &Context, verb: Verb) -> Result<(), CommandError> {
    match verb {
        Verb::List(args) => group_list::run(context, &args).await,
        Verb::Describe(args) => group_describe::run(context, &args).await,
        Verb::Reset(args) => group_reset::run(context, &args).await,
        Verb::Delete(args) => group_delete::run(context, &args).await,
    }
}
