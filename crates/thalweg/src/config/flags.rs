//! The settings table as clap arguments: one flag per setting, its environment variable, and where a value was given.

use std::collections::BTreeMap;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::keys::{KEYS, Key, Kind, Scope};
use super::{Origin, Setting};

/// What flags and environment gave, by setting.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub values: BTreeMap<&'static str, Setting>,
    /// The assignments of `--set`, in order.
    pub broker: Vec<(String, Origin)>,
}

impl Given {
    /// Both together; no setting is in two scopes.
    pub fn and(mut self, other: &Given) -> Given {
        self.values.extend(other.values.clone());
        self.broker.extend(other.broker.clone());
        self
    }
}

macro_rules! flags_of_scope {
    ($(#[$doc:meta])* $name:ident, $scope:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct $name(pub Given);

        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                augment(command, $scope)
            }
            fn augment_args_for_update(command: Command) -> Command {
                augment(command, $scope)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok($name(collect(matches, $scope)))
            }
            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = collect(matches, $scope);
                Ok(())
            }
        }
    };
}

flags_of_scope!(
    /// Flags of every command.
    AnyFlags,
    Scope::Any
);
flags_of_scope!(
    /// Flags of commands that start the broker.
    ServerFlags,
    Scope::Server
);
flags_of_scope!(
    /// Flags of commands that talk to a cluster.
    ClientFlags,
    Scope::Client
);

const SET: &str = "set";

fn augment(command: Command, scope: Scope) -> Command {
    let heading = match scope {
        Scope::Any => "Everywhere",
        Scope::Server => "Broker",
        Scope::Client => "Cluster",
    };
    let command = KEYS
        .iter()
        .filter(|key| key.scope == scope)
        .fold(command, |command, key| {
            command.arg(
                argument(key)
                    .global(scope != Scope::Server)
                    .help_heading(heading),
            )
        });
    if scope != Scope::Server {
        return command;
    }
    let set = Arg::new(SET)
        .long(SET)
        .value_name("NAME=VALUE")
        .action(ArgAction::Append)
        .value_delimiter(';')
        .help_heading(heading)
        .help("A broker setting by its Kafka name, as in the table [broker]; may be repeated, or several with ; between them");
    command.arg(set)
}

fn argument(key: &'static Key) -> Arg {
    let mut argument = Arg::new(key.name)
        .long(key.name.replace('_', "-"))
        .env(key.variable())
        .hide_env(true)
        .help(match key.default {
            "" | "false" => key.doc.to_owned(),
            default => format!("{} [default: {default}]", key.doc),
        });
    if let Some(short) = key.short {
        argument = argument.short(short);
    }
    if key.kind == Kind::Switch {
        return argument
            .action(ArgAction::SetTrue)
            .value_parser(FalseyValueParser::new());
    }
    argument
        .value_name(key.placeholder)
        .value_parser(move |text: &str| key.check(text).map(|()| text.to_owned()))
}

fn collect(matches: &ArgMatches, scope: Scope) -> Given {
    let mut given = Given::default();
    for key in KEYS.iter().filter(|key| key.scope == scope) {
        let origin = match matches.value_source(key.name) {
            Some(ValueSource::CommandLine) => Origin::Flag(key.flag()),
            Some(ValueSource::EnvVariable) => Origin::Environment(key.variable()),
            _ => continue,
        };
        let value = match key.kind {
            Kind::Switch => matches.get_flag(key.name).to_string(),
            _ => matches
                .get_one::<String>(key.name)
                .cloned()
                .unwrap_or_default(),
        };
        given.values.insert(key.name, Setting { value, origin });
    }
    if scope == Scope::Server {
        let origin = match matches.value_source(SET) {
            Some(ValueSource::EnvVariable) => Origin::Environment("THALWEG_SET".to_owned()),
            _ => Origin::Flag("--set".to_owned()),
        };
        let assignments = matches.get_many::<String>(SET).into_iter().flatten();
        given.broker = assignments
            .map(|text| (text.clone(), origin.clone()))
            .collect();
    }
    given
}
