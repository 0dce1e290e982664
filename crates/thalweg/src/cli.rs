//! The command line: what there is, and how a command gets its settings, its runtime and its exit code.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use client::Cluster;
use tokio::runtime::{Builder, Runtime};

use crate::commands;
use crate::config::Settings;
use crate::config::flags::{AnyFlags, ClientFlags, Given};
use crate::exit::CommandError;
use crate::output::{Format, Output};

/// A Kafka-compatible event-streaming broker in one binary, and the tools for any Kafka cluster.
#[derive(Debug, Parser)]
#[command(
    name = "thalweg",
    version,
    propagate_version = false,
    arg_required_else_help = true,
    after_help = "Every flag can be given as THALWEG_<FLAG> too, as in THALWEG_KAFKA=b1:9092, and the lasting ones in thalweg.toml \
                  (see `thalweg config show --origin`). Data goes to standard output, everything else to standard error."
)]
pub struct Cli {
    /// The configuration file; without it ./thalweg.toml or /etc/thalweg/thalweg.toml, if there is one
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Everywhere"
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    any: AnyFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the platform on this machine; nothing to configure
    Dev(commands::dev::Args),
    /// Start the platform as a service
    Start(commands::dev::Args),
    /// Stream a real public data set through the broker and check what comes out
    Demo(commands::demo::Args),
    /// Send records from standard input to a topic
    Produce(commands::produce::Args),
    /// Print the records of a topic
    Consume(commands::consume::Args),
    /// List, create, describe, alter and delete topics
    #[command(subcommand)]
    Topic(commands::topic::Verb),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand)]
    Group(commands::group::Verb),
    /// Guided runs that show what topics, keys, order, groups and offsets do, and check it
    #[command(subcommand)]
    Lab(commands::lab::Verb),
    /// Measure a cluster: throughput and latency
    #[command(subcommand)]
    Bench(commands::bench::Verb),
    /// Check this machine and the way to the broker; says how to fix what is wrong
    Doctor(commands::doctor::Args),
    /// Show and check the configuration
    #[command(subcommand)]
    Config(commands::config::Verb),
    /// Print a completion script for a shell
    Completion(commands::completion::Args),
    /// Print the version
    Version,
    /// Write the reference pages (for maintainers)
    #[command(hide = true)]
    Reference(commands::reference::Args),
}

/// What every command gets.
pub struct Context {
    pub settings: Settings,
    cluster: Cluster,
    pub output: Output,
}

impl Context {
    /// The cluster that `--kafka` or the table `[kafka]` names.
    pub fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }
}

/// The whole command line with an environment variable for every flag.
pub fn command() -> clap::Command {
    with_variables(Cli::command())
}

fn with_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let Some(long) = argument.get_long().map(str::to_owned) else {
                return argument;
            };
            if argument.get_env().is_some() || matches!(long.as_str(), "help" | "version") {
                return argument;
            }
            let variable = format!("THALWEG_{}", long.replace('-', "_").to_uppercase());
            let argument = argument.env(variable).hide_env(true);
            match argument.get_action() {
                ArgAction::SetTrue => argument.value_parser(FalseyValueParser::new()),
                _ => argument,
            }
        })
        .mut_subcommands(with_variables)
}

/// Parses the command line, runs the command, reports its error.
pub fn main() -> ExitCode {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        // clap prints help and versions to standard output with code 0, errors to standard error with code 2.
        Err(error) => error.exit(),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

fn run(cli: Cli) -> Result<(), CommandError> {
    let Cli {
        config,
        any,
        command,
    } = cli;
    let context = |given: &Given| {
        let settings = Settings::load(config.as_deref(), &any.0.clone().and(given))?;
        let format: Format = settings
            .text("output")
            .parse()
            .map_err(CommandError::Usage)?;
        start_logging(&settings)?;
        let cluster = settings.cluster().map_err(CommandError::Usage)?;
        Ok::<Context, CommandError>(Context {
            settings,
            cluster,
            output: Output { format },
        })
    };
    let client = |flags: &ClientFlags| context(&flags.0);
    match command {
        Command::Dev(args) => commands::dev::run(&context(&args.given())?, &args, true),
        Command::Start(args) => commands::dev::run(&context(&args.given())?, &args, false),
        Command::Demo(args) => {
            client_runtime()?.block_on(commands::demo::run(&client(&args.client)?, &args))
        }
        Command::Produce(args) => {
            client_runtime()?.block_on(commands::produce::run(&client(&args.client)?, args))
        }
        Command::Consume(args) => {
            client_runtime()?.block_on(commands::consume::run(&client(&args.client)?, args))
        }
        Command::Topic(verb) => {
            client_runtime()?.block_on(commands::topic::run(&client(verb.client())?, verb))
        }
        Command::Group(verb) => {
            client_runtime()?.block_on(commands::group::run(&client(verb.client())?, verb))
        }
        // A run blocks and has a runtime of its own.
        Command::Lab(verb) => commands::lab::run(&client(verb.client())?, &verb),
        Command::Bench(verb) => {
            client_runtime()?.block_on(commands::bench::run(&client(verb.client())?, verb))
        }
        Command::Doctor(args) => {
            let given = args.server.0.clone().and(&args.client.0);
            client_runtime()?.block_on(commands::doctor::run(&context(&given)?, &args))
        }
        Command::Config(verb) => commands::config::run(&context(&verb.given())?, &verb),
        Command::Completion(args) => commands::completion::run(&args),
        Command::Version => commands::version::run(&context(&Given::default())?),
        Command::Reference(args) => commands::reference::run(&args),
    }
}

/// One worker beside the main thread: it hears signals while the main thread polls librdkafka.
fn client_runtime() -> Result<Runtime, CommandError> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

fn start_logging(settings: &Settings) -> Result<(), CommandError> {
    use tracing_subscriber::EnvFilter;
    let filter = settings.text("log");
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| CommandError::Usage(format!("--log {filter}: {error}")))?;
    let json = match settings.text("log_format") {
        "json" => true,
        "text" => false,
        _ => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(crate::output::may_colour());
    // A second start only happens in tests; the first one stays.
    let _ = match json {
        true => builder.json().try_init(),
        false => builder.try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Cli, clap::Error> {
        parse(words.split(' ').map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                if let Some(long) = argument.get_long()
                    && !matches!(long, "help" | "version")
                {
                    let expected = format!("THALWEG_{}", long.replace('-', "_").to_uppercase());
                    let variable = argument.get_env().and_then(|name| name.to_str());
                    assert_eq!(variable, Some(expected.as_str()));
                }
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&command());
    }

    #[test]
    fn a_mistyped_subcommand_gets_a_suggestion() {
        let error = parse_words("thalweg prodce t").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("'produce'"), "{error}");
    }

    #[test]
    fn a_flag_is_remembered_as_one() {
        let cli = parse_words("thalweg topic list --kafka b:1 -o json").expect("valid");
        let Command::Topic(verb) = cli.command else {
            panic!("a topic command")
        };
        assert_eq!(verb.client().0.values["kafka"].value, "b:1");
        assert_eq!(
            verb.client().0.values["kafka"].origin.to_string(),
            "flag --kafka"
        );
        assert_eq!(cli.any.0.values["output"].value, "json");
    }

    #[test]
    fn relative_places_may_begin_with_a_minus() {
        assert!(parse_words("thalweg consume t --from -50 -n 3").is_ok());
        assert!(parse_words("thalweg consume t --from newest").is_err());
    }
}
