//! `thalweg group …`.

use client::groups::Group;
use client::{Admin, ErrorKind};

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

/// The group; one of the newer types, which DescribeGroups does not know, comes without members and with its type.
pub async fn find(admin: &mut Admin, name: &str) -> Result<(Group, Option<String>), CommandError> {
    let error = match admin.group(name).await {
        Ok(group) => return Ok((group, None)),
        Err(error) if error.kind() == ErrorKind::NotFound => error,
        Err(error) => return Err(error.into()),
    };
    let listed = admin
        .groups()
        .await?
        .into_iter()
        .find(|group| group.name == name);
    let Some(listed) = listed else {
        return Err(error.into());
    };
    let group = Group {
        name: listed.name,
        state: listed.state,
        coordinator: admin.coordinator(name).await?,
        ..Group::default()
    };
    Ok((group, Some(listed.kind)))
}
