//! One configuration key: its type, its default, which values it takes, and how a text becomes such a value.
//!
//! Error texts follow Kafka's, which tools show and users search for.
//! Source: org.apache.kafka.common.config.ConfigDef (behaviour, checked against Kafka 4.3).

use thiserror::Error;
use wire::ErrorCode;

use super::group_config::ShareOffsetReset;
use crate::refusal::Refusal;
use crate::topics::check_name;

/// The longest value that Kafka stores.
pub const MAX_VALUE_BYTES: usize = i16::MAX as usize;

/// The type of a key's value, with the number that DescribeConfigs uses for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl ConfigType {
    pub fn id(self) -> i8 {
        self as i8
    }

    fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// Which values of its type a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Anything,
    AtLeast(i64),
    Between(i64, i64),
    /// A range, or one value outside of it that means "the default".
    BetweenOr(i64, i64, i64),
    /// A number from 0 to 1.
    Fraction,
    OneOf(&'static [&'static str]),
    /// A list whose members are all among these.
    ListOf(&'static [&'static str]),
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
    /// `latest`, `earliest`, or `by_duration:` and an ISO 8601 duration.
    OffsetReset,
    /// Empty, or the name of a topic that is not internal.
    DeadLetterTopic,
}

/// Whether a key can be changed while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Only by restarting with another value.
    ReadOnly,
    Dynamic,
}

/// A configuration key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfigKey {
    pub name: &'static str,
    pub kind: ConfigType,
    /// `None`: no value unless one is set.
    pub default: Option<&'static str>,
    pub rule: Rule,
    pub update: Update,
    pub documentation: &'static str,
}

/// Why a configuration cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("Unknown {level} config name: {name}{}", did_you_mean(.suggestion))]
    UnknownKey {
        level: &'static str,
        name: String,
        suggestion: Option<&'static str>,
    },
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    InvalidValue {
        name: String,
        value: String,
        reason: String,
    },
    #[error("Configuration '{name}' values must not be empty.")]
    EmptyMember { name: String },
    #[error(
        "The configuration value of {name} cannot be added because it exceeds the maximum value size of {MAX_VALUE_BYTES} bytes."
    )]
    TooLong { name: String },
    #[error("{0}")]
    Conflict(String),
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Refusal::new(ErrorCode::InvalidConfig, error.to_string())
    }
}

impl ConfigKey {
    /// The value in the form in which it is stored, compared and shown; equal values have equal forms.
    ///
    /// # Errors
    /// When the text is not of the key's type or the key does not take the value.
    pub fn canonical(&self, text: &str) -> Result<String, ConfigError> {
        if text.len() > MAX_VALUE_BYTES {
            return Err(ConfigError::TooLong {
                name: self.name.to_owned(),
            });
        }
        let trimmed = text.trim();
        match self.kind {
            ConfigType::Boolean => self.canonical_boolean(text, trimmed),
            ConfigType::Int => {
                self.canonical_integer(text, trimmed, i64::from(i32::MIN), i64::from(i32::MAX))
            }
            ConfigType::Short => {
                self.canonical_integer(text, trimmed, i64::from(i16::MIN), i64::from(i16::MAX))
            }
            ConfigType::Long => self.canonical_integer(text, trimmed, i64::MIN, i64::MAX),
            ConfigType::Double => self.canonical_double(text, trimmed),
            ConfigType::List => self.canonical_list(text, trimmed),
            ConfigType::String | ConfigType::Class | ConfigType::Password => {
                self.canonical_string(text, trimmed)
            }
        }
    }

    /// Whether its value must never be shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == ConfigType::Password
    }

    fn invalid(&self, text: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::InvalidValue {
            name: self.name.to_owned(),
            value: text.to_owned(),
            reason: reason.into(),
        }
    }

    fn canonical_boolean(&self, text: &str, trimmed: &str) -> Result<String, ConfigError> {
        let word = ["true", "false"]
            .into_iter()
            .find(|word| trimmed.eq_ignore_ascii_case(word))
            .ok_or_else(|| self.invalid(text, "Expected value to be either true or false"))?;
        match self.rule {
            Rule::OneOf(words) if !words.contains(&word) => {
                let reason = format!("only {} can be chosen here", words.join(", "));
                Err(self.invalid(text, reason))
            }
            _ => Ok(word.to_owned()),
        }
    }

    fn canonical_integer(
        &self,
        text: &str,
        trimmed: &str,
        least: i64,
        most: i64,
    ) -> Result<String, ConfigError> {
        let value = trimmed
            .parse::<i64>()
            .ok()
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| {
                self.invalid(text, format!("Not a number of type {}", self.kind.name()))
            })?;
        match self.rule {
            Rule::AtLeast(least) | Rule::Between(least, _) if value < least => {
                Err(self.invalid(trimmed, format!("Value must be at least {least}")))
            }
            Rule::Between(_, most) if value > most => {
                Err(self.invalid(trimmed, format!("Value must be no more than {most}")))
            }
            Rule::BetweenOr(least, most, or) if value != or && !(least..=most).contains(&value) => {
                Err(self.invalid(
                    trimmed,
                    format!("Value must be between {least} and {most} or equal to {or}"),
                ))
            }
            _ => Ok(value.to_string()),
        }
    }

    fn canonical_double(&self, text: &str, trimmed: &str) -> Result<String, ConfigError> {
        let value = trimmed
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .ok_or_else(|| {
                self.invalid(text, format!("Not a number of type {}", self.kind.name()))
            })?;
        match self.rule {
            Rule::Fraction if value < 0.0 => Err(self.invalid(trimmed, "Value must be at least 0")),
            Rule::Fraction if value > 1.0 => {
                Err(self.invalid(trimmed, "Value must be no more than 1"))
            }
            _ => Ok(format!("{value:?}")),
        }
    }

    fn canonical_string(&self, text: &str, trimmed: &str) -> Result<String, ConfigError> {
        match self.rule {
            Rule::OneOf(words) if !words.contains(&trimmed) => {
                Err(self.invalid(text, format!("String must be one of: {}", words.join(", "))))
            }
            Rule::OffsetReset if ShareOffsetReset::parse(trimmed).is_none() => {
                let form = "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.";
                let reason = format!(
                    "Invalid value `{text}` for configuration {}. {form}",
                    self.name
                );
                Err(self.invalid(text, reason))
            }
            Rule::DeadLetterTopic if trimmed.starts_with("__") => Err(self.invalid(
                text,
                format!("{}: DLQ topic name must not start with '__'", self.name),
            )),
            Rule::DeadLetterTopic if !trimmed.is_empty() => match check_name(trimmed) {
                Ok(()) => Ok(trimmed.to_owned()),
                Err(refusal) => Err(self.invalid(text, refusal.message)),
            },
            _ => Ok(trimmed.to_owned()),
        }
    }

    fn canonical_list(&self, text: &str, trimmed: &str) -> Result<String, ConfigError> {
        let mut members: Vec<&str> = Vec::new();
        for member in trimmed
            .split(',')
            .map(str::trim)
            .filter(|_| !trimmed.is_empty())
        {
            match self.rule {
                Rule::ListOf(_) if member.is_empty() => {
                    return Err(ConfigError::EmptyMember {
                        name: self.name.to_owned(),
                    });
                }
                Rule::ListOf(words) if !words.contains(&member) => {
                    return Err(self.invalid(
                        member,
                        format!("String must be one of: {}", words.join(", ")),
                    ));
                }
                Rule::ThrottledReplicas if !is_throttled_replica(member) => {
                    return Err(self.not_replicas(text));
                }
                _ if members.contains(&member) => {}
                _ => members.push(member),
            }
        }
        if self.rule == Rule::ThrottledReplicas && members.len() > 1 && members.contains(&"*") {
            return Err(self.not_replicas(text));
        }
        Ok(members.join(","))
    }

    fn not_replicas(&self, text: &str) -> ConfigError {
        let form = "[partitionId]:[brokerId],[partitionId]:[brokerId],...";
        let reason = format!(
            "{} must be the literal '*' or a list of replicas in the following format: {form}",
            self.name
        );
        self.invalid(text, reason)
    }
}

fn is_throttled_replica(member: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    member == "*"
        || member
            .split_once(':')
            .is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

/// The known name that is most like `name`, when one is close enough to be a slip of the hand.
pub(super) fn suggest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    if name.len() > 100 {
        return None;
    }
    let allowed = (name.len() / 4).clamp(1, 3);
    known
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= allowed)
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many bytes must be inserted, removed or replaced to turn one name into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
