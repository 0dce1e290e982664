//! From TOML to a [`Manifest`]. Every refusal comes with the byte where it stands, so that the caller can tell the line; a key
//! that is not known is refused with the one that was probably meant, for a setting that is silently ignored is found too late.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::manifest::{KeyKind, Manifest, TopicSpec};

/// The byte where it stands, and why it is refused.
type Refusal = (usize, String);
type Value<'a> = Spanned<DeValue<'a>>;

const MANIFEST_KEYS: [&str; 2] = ["profile", "topic"];
const TOPIC_KEYS: [&str; 7] = [
    "name",
    "partitions",
    "replication_factor",
    "configs",
    "key",
    "purpose",
    "learning_goal",
];

/// Kafka takes no longer name for a topic.
const MAX_NAME: usize = 249;
/// More topics than any manifest that people write, fewer than would keep a cluster busy for minutes.
const MAX_TOPICS: usize = 1_000;

pub(super) fn manifest(text: &str) -> Result<Manifest, Refusal> {
    let document = DeTable::parse(text).map_err(|problem| {
        let at = problem.span().map_or(0, |span| span.start);
        (at, problem.message().trim().to_owned())
    })?;
    let document = document.get_ref();
    refuse_unknown(document, &MANIFEST_KEYS)?;
    let profile = match document.get("profile") {
        Some(value) => text_of(value, "profile")?,
        None => "custom".to_owned(),
    };
    let mut topics = Vec::new();
    if let Some(value) = document.get("topic") {
        let start = value.span().start;
        let DeValue::Array(tables) = value.get_ref() else {
            return Err((start, "topics are written as [[topic]]".to_owned()));
        };
        if tables.len() > MAX_TOPICS {
            let reason = format!("{} topics; the limit is {MAX_TOPICS}", tables.len());
            return Err((start, reason));
        }
        for table in tables.iter() {
            topics.push(topic(table)?);
        }
        refuse_twice(tables.iter().zip(&topics))?;
    }
    if topics.is_empty() {
        let reason = "no topics; write one as [[topic]] with name and partitions";
        return Err((0, reason.to_owned()));
    }
    Ok(Manifest { profile, topics })
}

fn topic(value: &Value<'_>) -> Result<TopicSpec, Refusal> {
    let start = value.span().start;
    let Some(table) = value.get_ref().as_table() else {
        return Err((start, "a topic is a table; write [[topic]]".to_owned()));
    };
    refuse_unknown(table, &TOPIC_KEYS)?;
    let required = |name: &str| {
        table
            .get(name)
            .ok_or_else(|| (start, format!("a topic without `{name}`")))
    };
    let optional_text = |name: &str| match table.get(name) {
        Some(value) => text_of(value, name),
        None => Ok(String::new()),
    };
    Ok(TopicSpec {
        name: topic_name(required("name")?)?,
        partitions: number(required("partitions")?, "partitions")?,
        replication_factor: table
            .get("replication_factor")
            .map(|value| number(value, "replication_factor"))
            .transpose()?,
        configs: match table.get("configs") {
            Some(value) => configs(value)?,
            None => BTreeMap::new(),
        },
        key: match table.get("key") {
            Some(value) => key(value)?,
            None => KeyKind::Null,
        },
        purpose: optional_text("purpose")?,
        learning_goal: optional_text("learning_goal")?,
    })
}

fn topic_name(value: &Value<'_>) -> Result<String, Refusal> {
    let name = text_of(value, "name")?;
    let is_legal = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if name.is_empty()
        || name.len() > MAX_NAME
        || !name.chars().all(is_legal)
        || matches!(&*name, "." | "..")
    {
        let reason =
            format!("`{name}` is no name of a topic; use 1 to {MAX_NAME} of a-z A-Z 0-9 . _ -");
        return Err((value.span().start, reason));
    }
    Ok(name)
}

/// A number that counts something: at least 1, and within its type.
fn number<N: TryFrom<i64>>(value: &Value<'_>, name: &str) -> Result<N, Refusal> {
    let refusal = |reason: String| (value.span().start, format!("{name}: {reason}"));
    let DeValue::Integer(integer) = value.get_ref() else {
        return Err(refusal("a whole number is expected".to_owned()));
    };
    i64::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .filter(|number| *number >= 1)
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| refusal(format!("{} is not possible", integer.as_str())))
}

/// One name of a field, or several of which a record has one.
fn key(value: &Value<'_>) -> Result<KeyKind, Refusal> {
    let fields = match value.get_ref() {
        DeValue::Array(names) => names
            .iter()
            .map(|name| text_of(name, "key"))
            .collect::<Result<_, _>>()?,
        _ => vec![text_of(value, "key")?],
    };
    Ok(KeyKind::Fields(fields))
}

/// Settings under Kafka's names. TOML reads `retention.ms = 1` as a table in a table; they are put together again.
fn configs(value: &Value<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let Some(table) = value.get_ref().as_table() else {
        let reason = "configs: a table is expected; write [topic.configs]";
        return Err((value.span().start, reason.to_owned()));
    };
    let mut configs = BTreeMap::new();
    collect_configs("", table, &mut configs)?;
    Ok(configs)
}

fn collect_configs(
    prefix: &str,
    table: &DeTable<'_>,
    configs: &mut BTreeMap<String, String>,
) -> Result<(), Refusal> {
    for (name, value) in table {
        let full = match prefix {
            "" => name.get_ref().to_string(),
            prefix => format!("{prefix}.{}", name.get_ref()),
        };
        let text = match value.get_ref() {
            DeValue::Table(inner) => {
                collect_configs(&full, inner, configs)?;
                continue;
            }
            DeValue::String(text) => text.to_string(),
            // Kafka's numbers are decimal, however TOML lets them be written.
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| {
                    (
                        value.span().start,
                        format!("{full}: the number is out of range"),
                    )
                })?
                .to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            other => {
                let reason = format!("{full}: {} is no setting's value", other.type_str());
                return Err((value.span().start, reason));
            }
        };
        configs.insert(full, text);
    }
    Ok(())
}

fn text_of(value: &Value<'_>, name: &str) -> Result<String, Refusal> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        _ => Err((value.span().start, format!("{name}: text is expected"))),
    }
}

fn refuse_unknown(table: &DeTable<'_>, known: &[&str]) -> Result<(), Refusal> {
    for name in table.keys() {
        let text = name.get_ref().as_ref();
        if !known.contains(&text) {
            let hint = hint(text, known.iter().copied(), "the keys here are");
            return Err((name.span().start, format!("unknown key `{text}`; {hint}")));
        }
    }
    Ok(())
}

fn refuse_twice<'a>(
    topics: impl Iterator<Item = (&'a Value<'a>, &'a TopicSpec)>,
) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for (value, topic) in topics {
        if !seen.insert(topic.name.as_str()) {
            let reason = format!("topic `{}` is there twice", topic.name);
            return Err((value.span().start, reason));
        }
    }
    Ok(())
}

/// What was probably meant, at most a third of the letters away, or all there is.
pub(super) fn hint<'a>(
    word: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    introduction: &str,
) -> String {
    let limit = (word.chars().count() / 3).max(1);
    let nearest = known
        .clone()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, meant)) => format!("did you mean `{meant}`?"),
        None => format!("{introduction} {}", known.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Manifest::parse("t.toml", text)
            .expect_err("a refusal")
            .to_string()
    }

    #[test]
    fn settings_are_read_in_either_spelling() {
        let text = "[[topic]]\nname = \"a.b\"\npartitions = 0x10\nkey = [\"x\", \"y\"]\n[topic.configs]\n\
                    retention.ms = 60_000\n\"cleanup.policy\" = \"compact\"\npreallocate = true\nmin.cleanable.dirty.ratio = 0.25\n";
        let manifest = Manifest::parse("t.toml", text).expect("a valid manifest");
        assert_eq!(manifest.profile, "custom");
        let topic = &manifest.topics[0];
        assert_eq!((topic.partitions, topic.replication_factor), (16, None));
        assert_eq!(topic.key.to_string(), "x or y");
        let configs: Vec<String> = topic
            .configs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            configs,
            [
                "cleanup.policy=compact",
                "min.cleanable.dirty.ratio=0.25",
                "preallocate=true",
                "retention.ms=60000"
            ]
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
        assert_eq!(
            refused("[[topic]]\nname = \"a\"\npartitons = 3\n"),
            "t.toml:3: unknown key `partitons`; did you mean `partitions`?"
        );
        assert_eq!(
            refused("colour = 1\n"),
            "t.toml:1: unknown key `colour`; the keys here are profile, topic"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        let topic = |rest: &str| refused(&format!("[[topic]]\nname = \"a\"\n{rest}"));
        for (found, expected) in [
            (refused(""), "t.toml:1: no topics; "),
            (refused("x = "), "t.toml:1: "),
            (
                refused("topic = 1"),
                "t.toml:1: topics are written as [[topic]]",
            ),
            (
                refused("[[topic]]\npartitions = 1\n"),
                "t.toml:1: a topic without `name`",
            ),
            (
                refused("[[topic]]\nname = \"a/b\"\npartitions = 1"),
                "t.toml:2: `a/b` is no name of a topic",
            ),
            (topic(""), "t.toml:1: a topic without `partitions`"),
            (
                topic("partitions = 0"),
                "t.toml:3: partitions: 0 is not possible",
            ),
            (
                topic("partitions = \"3\""),
                "t.toml:3: partitions: a whole number is expected",
            ),
            (
                topic("partitions = 1\nreplication_factor = 40000"),
                "t.toml:4: replication_factor: 40000 is not possible",
            ),
            (
                topic("partitions = 1\nconfigs = 1"),
                "t.toml:4: configs: a table is expected",
            ),
            (
                topic("partitions = 1\nconfigs = { a = [1] }"),
                "t.toml:4: a: array is no setting's value",
            ),
            (
                topic("partitions = 1\n[[topic]]\nname = \"a\"\npartitions = 1"),
                "t.toml:4: topic `a` is there twice",
            ),
        ] {
            assert!(found.starts_with(expected), "{found}\nexpected {expected}");
        }
    }
}
