//! The configuration of a client-metrics resource (type 16, KIP-714): which clients push which of their metrics, and
//! how often. A resource is one subscription.
//!
//! Source: names, defaults, limits and refusals as Kafka 4.3.1 answers them; the sentences are ours. Patterns are
//! regular expressions without backtracking (RE2's), so that no pattern costs more than its length; Kafka's are Java's.

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use wire::ErrorCode;

use super::group_config::Values;
use super::key::{ConfigError, ConfigKey, ConfigType, Rule, Update};
use crate::refusal::Refusal;

/// Memory that one compiled pattern may take.
const MAX_PATTERN_BYTES: usize = 256 << 10;
/// Patterns of one subscription.
const MAX_PATTERNS: usize = 32;
const LEAST_INTERVAL_MS: i64 = 100;
const LONGEST_INTERVAL_MS: i64 = 3_600_000;

/// What a client can be chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    InstanceId,
    ClientId,
    SoftwareName,
    SoftwareVersion,
    SourceAddress,
    SourcePort,
}

/// One condition on a client: the whole text must match.
#[derive(Clone, Debug)]
pub struct ClientMatch {
    pub criterion: Criterion,
    pub pattern: Regex,
}

/// One subscription, resolved from checked values.
#[derive(Clone, Debug)]
pub struct MetricsSubscription {
    /// Prefixes of metric names; `*` alone stands for all.
    pub metrics: Vec<String>,
    pub interval: Duration,
    /// All of them must hold; none: every client.
    pub matches: Vec<ClientMatch>,
}

const fn key(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    documentation: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        kind,
        default: Some(default),
        rule: Rule::Anything,
        update: Update::Dynamic,
        documentation,
    }
}

/// All keys of a client-metrics resource, sorted by name.
pub static CLIENT_METRICS_KEYS: &[ConfigKey] = &[
    key(
        "interval.ms",
        ConfigType::Int,
        "300000",
        "Time between two pushes of a client, from 100 to 3600000.",
    ),
    key(
        "match",
        ConfigType::List,
        "",
        "Which clients are meant, as name=pattern: client_instance_id, client_id, client_software_name, client_software_version, client_source_address, client_source_port.",
    ),
    key(
        "metrics",
        ConfigType::List,
        "",
        "Prefixes of the names of the metrics that clients push; '*' means all.",
    ),
];

/// The key of this name.
///
/// # Errors
/// `UnknownKey`.
pub fn client_metrics_key(name: &str) -> Result<&'static ConfigKey, ConfigError> {
    let found = CLIENT_METRICS_KEYS.iter().find(|key| key.name == name);
    found.ok_or_else(|| ConfigError::UnknownKey {
        level: "client metrics",
        name: name.to_owned(),
        suggestion: None,
    })
}

/// Brings the values of a subscription into canonical form.
///
/// # Errors
/// `INVALID_REQUEST` and `INVALID_CONFIG`, as Kafka answers each.
pub fn check_client_metrics_values(wanted: &Values) -> Result<Values, Refusal> {
    let mut checked = Values::new();
    for (name, value) in wanted {
        let unknown =
            |_| Refusal::invalid_request(format!("Unknown client metrics configuration: {name}"));
        let key = client_metrics_key(name).map_err(unknown)?;
        let value = key.canonical(value)?;
        match name.as_str() {
            "interval.ms" => check_interval(&value)?,
            "match" => drop(parse_matches(&value)?),
            _ => {}
        }
        checked.insert(name.clone(), value);
    }
    Ok(checked)
}

fn check_interval(value: &str) -> Result<(), Refusal> {
    let interval = value.parse::<i64>().expect("a checked integer");
    if (LEAST_INTERVAL_MS..=LONGEST_INTERVAL_MS).contains(&interval) {
        return Ok(());
    }
    Err(Refusal::invalid_request(format!(
        "Invalid value {interval} for interval.ms, interval must be between {LEAST_INTERVAL_MS} and {LONGEST_INTERVAL_MS} (1 hour)"
    )))
}

fn parse_matches(list: &str) -> Result<Vec<ClientMatch>, Refusal> {
    let members: Vec<&str> = list
        .split(',')
        .filter(|member| !member.is_empty())
        .collect();
    if members.len() > MAX_PATTERNS {
        let message = format!(
            "{} client matching patterns, at most {MAX_PATTERNS} are taken",
            members.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    let parse = |member: &&str| {
        let illegal = || {
            let message = format!("Illegal client matching pattern: {member}");
            Refusal::new(ErrorCode::InvalidConfig, message)
        };
        let (name, pattern) = member.split_once('=').ok_or_else(illegal)?;
        let criterion = Criterion::named(name.trim()).ok_or_else(illegal)?;
        let pattern = RegexBuilder::new(&format!("^(?:{})$", pattern.trim()))
            .size_limit(MAX_PATTERN_BYTES)
            .build()
            .map_err(|_| illegal())?;
        Ok(ClientMatch { criterion, pattern })
    };
    members.iter().map(parse).collect()
}

impl Criterion {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "client_instance_id" => Self::InstanceId,
            "client_id" => Self::ClientId,
            "client_software_name" => Self::SoftwareName,
            "client_software_version" => Self::SoftwareVersion,
            "client_source_address" => Self::SourceAddress,
            "client_source_port" => Self::SourcePort,
            _ => return None,
        })
    }
}

impl MetricsSubscription {
    /// What checked values mean.
    ///
    /// # Errors
    /// When the values were not checked, or a pattern is not taken any more.
    pub fn resolve(values: &Values) -> Result<Self, Refusal> {
        let value = |name: &str| values.get(name).map(String::as_str);
        let metrics = value("metrics").unwrap_or_default().split(',');
        let interval = value("interval.ms").and_then(|value| value.parse().ok());
        Ok(Self {
            metrics: metrics
                .filter(|prefix| !prefix.is_empty())
                .map(str::to_owned)
                .collect(),
            interval: Duration::from_millis(interval.unwrap_or(300_000)),
            matches: parse_matches(value("match").unwrap_or_default())?,
        })
    }
}
