//! `thalweg config show|validate`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::Context;
use crate::config::flags::{ClientFlags, Given, ServerFlags};
use crate::exit::CommandError;
use crate::output::{Column, write_table};

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Print every setting with its value
    Show(ShowArgs),
    /// Check the configuration file
    Validate(ValidateArgs),
}

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Also print where each value comes from: flag, environment, file and line, or default
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    server: ServerFlags,
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    server: ServerFlags,
    #[command(flatten)]
    client: ClientFlags,
}

impl Verb {
    pub fn given(&self) -> Given {
        match self {
            Verb::Show(args) => args.server.0.clone().and(&args.client.0),
            Verb::Validate(args) => args.server.0.clone().and(&args.client.0),
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    value: &'a str,
    origin: String,
}

#[derive(Serialize)]
struct Validated {
    file: Option<String>,
    valid: bool,
}

/// Loading checked everything already: what is left is to print.
pub fn run(context: &Context, verb: &Verb) -> Result<(), CommandError> {
    match verb {
        Verb::Show(args) => show(context, args.origin),
        Verb::Validate(_) => validate(context),
    }
}

fn show(context: &Context, with_origin: bool) -> Result<(), CommandError> {
    let all = context.settings.all();
    let shown: BTreeMap<&str, Shown<'_>> = all
        .iter()
        .map(|(name, setting)| {
            let shown = Shown {
                value: &setting.value,
                origin: setting.origin.to_string(),
            };
            (name.as_str(), shown)
        })
        .collect();
    context.output.one(&shown, "thalweg.toml", |out| {
        let columns = [
            Column("setting", false),
            Column("value", false),
            Column("from", false),
        ];
        let width = if with_origin { 3 } else { 2 };
        let rows = all.iter().map(|(name, setting)| {
            let value = match setting.value.as_str() {
                "" => "—".to_owned(),
                value => value.to_owned(),
            };
            let mut row = vec![name.clone(), value, setting.origin.to_string()];
            row.truncate(width);
            row
        });
        write_table(out, &columns[..width], rows)
    })
}

fn validate(context: &Context) -> Result<(), CommandError> {
    let file = context
        .settings
        .file
        .as_ref()
        .map(|path| path.display().to_string());
    let validated = Validated {
        file: file.clone(),
        valid: true,
    };
    context.output.one(&validated, "valid", |out| match &file {
        Some(file) => writeln!(out, "{file} is valid"),
        None => writeln!(
            out,
            "no configuration file; flags, environment and defaults are valid"
        ),
    })
}
