//! `thalweg topic …`.

use super::{topic_alter, topic_create, topic_delete, topic_describe, topic_list, topic_provision};
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List topics with their records and sizes
    List(topic_list::Args),
    /// Create a topic
    Create(topic_create::Args),
    /// Show a topic's partitions and settings
    Describe(topic_describe::Args),
    /// Change a topic's settings or give it more partitions
    Alter(topic_alter::Args),
    /// Delete topics with their records
    Delete(topic_delete::Args),
    /// Create the topics of a manifest that are missing, and tell where the others differ from it
    Provision(topic_provision::Args),
}

impl Verb {
    pub fn client(&self) -> &ClientFlags {
        match self {
            Verb::List(args) => &args.client,
            Verb::Create(args) => &args.client,
            Verb::Describe(args) => &args.client,
            Verb::Alter(args) => &args.client,
            Verb::Delete(args) => &args.client,
            Verb::Provision(args) => &args.client,
        }
    }
}

pub async fn run(context: &Context, verb: Verb) -> Result<(), CommandError> {
    match verb {
        Verb::List(args) => topic_list::run(context, &args).await,
        Verb::Create(args) => topic_create::run(context, &args).await,
        Verb::Describe(args) => topic_describe::run(context, &args).await,
        Verb::Alter(args) => topic_alter::run(context, &args).await,
        Verb::Delete(args) => topic_delete::run(context, &args).await,
        Verb::Provision(args) => topic_provision::run(context, &args).await,
    }
}
