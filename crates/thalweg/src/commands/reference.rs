//! `thalweg reference DIR` (hidden): writes `cli.md` and `config.md` from the command line and the settings table, and the HTTP API's
//! OpenAPI document with a Postman collection and a `.http` file made from it.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use clap::{Arg, Command};

use crate::config::file::{BROKER_TABLE, QUEUE_MODE, QUEUE_MODE_FLAGS};
use crate::config::kafka::{KAFKA_TABLE, PROPERTIES};
use crate::config::keys::{KEYS, Scope};
use crate::exit::{CommandError, Exit};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write to
    folder: PathBuf,
}

const NOTE: &str = "<!-- Written by `thalweg reference docs/reference`; a test compares. -->\n\n";

pub fn run(args: &Args) -> Result<(), CommandError> {
    fs::create_dir_all(&args.folder)?;
    fs::write(args.folder.join("cli.md"), cli_page())?;
    fs::write(args.folder.join("config.md"), config_page())?;
    for (name, text) in gateway::reference() {
        fs::write(args.folder.join(name), text)?;
    }
    Ok(())
}

fn cli_page() -> String {
    let mut command = crate::cli::command();
    command.build();
    let mut page = format!("{NOTE}# Command line\n\n");
    let _ = writeln!(
        page,
        "Every flag can be given as an environment variable: `--kafka-port` is `THALWEG_KAFKA_PORT`. The settings of \
         [config.md](config.md) can also stand in `thalweg.toml`. Flag > environment > file > default. Data goes to standard \
         output, everything else to standard error.\n"
    );
    page.push_str("## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in Exit::ALL {
        let _ = writeln!(page, "| {} | {meaning} |", exit as u8);
    }
    page.push_str("\n## Everywhere\n\n");
    table(
        &mut page,
        command
            .get_arguments()
            .filter(|argument| argument.is_global_set()),
    );
    for subcommand in visible(&command) {
        write_command(&mut page, "thalweg", subcommand);
    }
    page
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|subcommand| !subcommand.is_hide_set() && subcommand.get_name() != "help")
}

fn write_command(page: &mut String, parent: &str, command: &Command) {
    let name = format!("{parent} {}", command.get_name());
    if command.has_subcommands() {
        visible(command).for_each(|subcommand| write_command(page, &name, subcommand));
        return;
    }
    let positionals: String = command
        .get_positionals()
        .map(|argument| format!(" {}", placeholder(argument)))
        .collect();
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let _ = writeln!(page, "\n## `{name}{positionals}`\n\n{about}.\n");
    let everywhere = ["config", "output", "log", "log_format", "help", "version"];
    let own = |argument: &&Arg| !everywhere.contains(&argument.get_id().as_str());
    table(page, command.get_arguments().filter(own));
}

fn table<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let rows: Vec<String> = arguments.map(row).collect();
    if rows.is_empty() {
        return;
    }
    page.push_str("| argument | what it does |\n|---|---|\n");
    rows.iter().for_each(|row| page.push_str(row));
}

fn row(argument: &Arg) -> String {
    let mut name = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (_, None) => placeholder(argument),
    };
    if argument.get_long().is_some() && argument.get_action().takes_values() {
        let _ = write!(name, " {}", placeholder(argument));
    }
    let mut help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let _ = write!(help, "; one of {}", values.join(", "));
    }
    if argument.get_action().takes_values()
        && let Some(default) = argument.get_default_values().first()
    {
        let _ = write!(help, " [default: {}]", default.to_string_lossy());
    }
    format!("| `{name}` | {} |\n", help.replace('|', "\\|"))
}

fn placeholder(argument: &Arg) -> String {
    let name = argument
        .get_value_names()
        .and_then(|names| names.first())
        .map(ToString::to_string);
    let name = name.unwrap_or_else(|| argument.get_id().to_string().to_uppercase());
    match (argument.get_long(), argument.is_required_set()) {
        (None, false) => format!("[{name}]"),
        (None, true) => format!("<{name}>"),
        (Some(_), _) => name,
    }
}

fn config_page() -> String {
    let mut page = format!("{NOTE}# Configuration\n\n");
    let _ = writeln!(
        page,
        "`thalweg.toml` in the current folder or `/etc/thalweg/thalweg.toml`, or the file named by `--config`. Flag > environment > \
         file > default; `thalweg config show --origin` tells which one won, `thalweg config validate` checks the file. An unknown \
         key is an error with its line and a suggestion.\n"
    );
    page.push_str("| key | flag | environment | default | what it is | used by |\n|---|---|---|---|---|---|\n");
    for key in KEYS {
        let default = if key.default.is_empty() {
            "—".to_owned()
        } else {
            format!("`{}`", key.default)
        };
        let used_by = match key.scope {
            Scope::Any => "every command",
            Scope::Server => "dev, start",
            Scope::Client => "commands that talk to a cluster",
        };
        let _ = writeln!(
            page,
            "| `{}` | `{}` | `{}` | {default} | {} | {used_by} |",
            key.name,
            key.flag(),
            key.variable(),
            key.doc
        );
    }
    let _ = write!(
        page,
        "\n## `[{BROKER_TABLE}]`\n\nBroker settings under Kafka's own names; on the command line `--set NAME=VALUE`.\n\n\
         ```toml\nkafka_port = 9092\ndata = \"/var/lib/thalweg\"\n\n[{BROKER_TABLE}]\nnum.partitions = 3\n\
         log.retention.hours = 72\n```\n"
    );
    kafka_section(&mut page);
    mode_section(&mut page);
    page
}

fn kafka_section(page: &mut String) {
    let _ = write!(
        page,
        "\n## `[{KAFKA_TABLE}]`\n\nThe Kafka cluster of the commands, and of `dev` and `start` in the modes kafka and hybrid, under Kafka's own names. The variable \
         wins over the file. A secret can also be given as a file, by the key with `_file` or the variable with `_FILE` behind it; \
         it is never printed. How to get there from a Java client's settings: [secure-clusters.md](../secure-clusters.md).\n\n\
         | key | environment | what it is |\n|---|---|---|\n"
    );
    for property in PROPERTIES {
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {} |",
            property.name, property.variable, property.doc
        );
    }
}

fn mode_section(page: &mut String) {
    let _ = write!(
        page,
        "\n## `[{QUEUE_MODE}]`\n\nThe documents' way to say `mode`; a flag that is not given is false, and any other combination is refused.\n\n\
         | mode | {} |\n|---|---|---|---|\n| In-Memory Only | true | false | false |\n| Kafka Only | false | true | false |\n\
         | Hybrid | true | true | true |\n\nThe documents' JSON is read too, `-c appsettings.json`: its sections `{QUEUE_MODE}` and `Kafka` \
         (`BootstrapServers`, `SecurityProtocol`, `SaslMechanism`, `SaslUsername`, `SaslPassword`); a .NET service's other sections are passed over.\n",
        QUEUE_MODE_FLAGS.join(" | ")
    );
}
