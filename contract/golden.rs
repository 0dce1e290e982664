//! Golden conversations: requests and the answers that they must get, in `golden/*.json`, with placeholders for what differs
//! from run to run. The format is described in `README.md`; a test runs one with [`check`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::http::{Answer, Http};
use crate::subject::Kind;

/// How long a step with `"eventually": true` may take.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// A file's content.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    /// What it shows, with the ledger's rows.
    #[allow(dead_code)]
    about: String,
    steps: Vec<Step>,
}

/// One request and what must come back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Method and path, as in `POST /api/topics`.
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    /// Asked again until the answer is right: for what happens in its own time.
    #[serde(default)]
    eventually: bool,
    #[serde(flatten)]
    expected: Expected,
    /// Where one kind of subject answers differently.
    embedded: Option<Expected>,
    kafka: Option<Expected>,
    hybrid: Option<Expected>,
}

#[derive(Debug, Clone, Deserialize)]
struct Expected {
    status: Option<u16>,
    /// Absent: only the status is compared.
    answer: Option<Value>,
}

/// What placeholders stand for: given by the test, or captured from an answer by `<id:name>`.
type Names = BTreeMap<String, String>;

/// Goes through the conversation in `golden/{file}` and panics at the first step whose answer is not as written.
pub fn check(kind: Kind, http: &Http, file: &str, names: &[(&str, &str)]) {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../contract/golden"
    ));
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let conversation: Conversation =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut known: Names = names
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    for (number, step) in conversation.steps.iter().enumerate() {
        if let Err(reason) = step.run(kind, http, &mut known) {
            panic!("{file}, step {}, {}: {reason}", number + 1, step.request);
        }
    }
}

impl Step {
    fn run(&self, kind: Kind, http: &Http, names: &mut Names) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(http, names)?;
            match self.expected(kind).compare(&answer, names) {
                Err(_) if self.eventually && Instant::now() < deadline => std::thread::sleep(PAUSE),
                outcome => return outcome,
            }
        }
    }

    fn ask(&self, http: &Http, names: &Names) -> Result<Answer, String> {
        let (method, path) = self
            .request
            .split_once(' ')
            .ok_or("`request` is `METHOD /path`")?;
        let body = self
            .body
            .as_ref()
            .map(|body| fill(body, names).to_string())
            .unwrap_or_default();
        let mut headers: Vec<(&str, &str)> = Vec::new();
        if self.body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        Ok(http.request(method, &fill_text(path, names), &headers, body.as_bytes()))
    }

    fn expected(&self, kind: Kind) -> Expected {
        let own = match kind {
            Kind::Embedded => &self.embedded,
            Kind::Kafka => &self.kafka,
            Kind::Hybrid => &self.hybrid,
        };
        let own = own.as_ref();
        Expected {
            status: own.and_then(|own| own.status).or(self.expected.status),
            answer: own
                .and_then(|own| own.answer.clone())
                .or(self.expected.answer.clone()),
        }
    }
}

impl Expected {
    /// Compares, and takes up what placeholders capture.
    fn compare(&self, answer: &Answer, names: &mut Names) -> Result<(), String> {
        let whole = || String::from_utf8_lossy(&answer.body).into_owned();
        let status = self.status.unwrap_or(200);
        if answer.status != status {
            return Err(format!(
                "status {}, expected {status}: {}",
                answer.status,
                whole()
            ));
        }
        let Some(expected) = &self.answer else {
            return Ok(());
        };
        let given: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("no JSON ({error}): {}", whole()))?;
        let mut differences = Vec::new();
        compare(&fill(expected, names), &given, "", names, &mut differences);
        match differences.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{}\nthe answer was {}",
                differences.join("\n"),
                whole()
            )),
        }
    }
}

/// Compares JSON with a template; every difference is told with its path.
pub fn compare(
    expected: &Value,
    given: &Value,
    at: &str,
    names: &mut Names,
    differences: &mut Vec<String>,
) {
    match (expected, given) {
        (Value::Object(expected), Value::Object(given)) => {
            compare_objects(expected, given, at, names, differences)
        }
        (Value::Array(expected), Value::Array(given)) if expected.len() == given.len() => {
            for (index, (expected, given)) in expected.iter().zip(given).enumerate() {
                compare(
                    expected,
                    given,
                    &format!("{at}/{index}"),
                    names,
                    differences,
                );
            }
        }
        (Value::String(template), given) if stands_for(template, given, names) => {}
        (expected, given) if expected == given => {}
        (expected, given) => differences.push(format!("at {at}/: {given}, expected {expected}")),
    }
}

fn compare_objects(
    expected: &Map<String, Value>,
    given: &Map<String, Value>,
    at: &str,
    names: &mut Names,
    differences: &mut Vec<String>,
) {
    for (key, expected) in expected {
        match given.get(key) {
            Some(given) => compare(expected, given, &format!("{at}/{key}"), names, differences),
            None => differences.push(format!("at {at}/: no field {key}")),
        }
    }
    for key in given.keys().filter(|key| !expected.contains_key(*key)) {
        differences.push(format!("at {at}/: a field {key} that was not expected"));
    }
}

/// Whether `given` is what a string template stands for: `<number>`, `<bool>`, `<array>`, `<object>` and `<any>` alone stand for
/// such a value; in a text, `<id>`, `<time>`, `<number>` and `<text>` stand for a part of it.
fn stands_for(template: &str, given: &Value, names: &mut Names) -> bool {
    let alone = template
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    let (kind, name) = split_name(alone.unwrap_or_default());
    let matches = match (kind, given) {
        ("any", _)
        | ("bool", Value::Bool(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_)) => true,
        ("number", Value::Number(_)) => true,
        (_, Value::String(given)) => return matches_text(template, given, names),
        _ => false,
    };
    if let (true, Some(name)) = (matches, name) {
        names.insert(name.to_owned(), given.to_string());
    }
    matches
}

fn split_name(placeholder: &str) -> (&str, Option<&str>) {
    match placeholder.split_once(':') {
        Some((kind, name)) => (kind, Some(name)),
        None => (placeholder, None),
    }
}

/// Matches a text against literals and placeholders in turn; a placeholder reaches to the next occurrence of the literal behind it.
fn matches_text(template: &str, given: &str, names: &mut Names) -> bool {
    let Some((literal, rest)) = template.split_once('<') else {
        return template == given;
    };
    let (Some((placeholder, rest)), Some(given)) =
        (rest.split_once('>'), given.strip_prefix(literal))
    else {
        return template == given;
    };
    let next = rest.split('<').next().unwrap_or_default();
    let end = match next {
        "" => Some(given.len()),
        next => given.find(next),
    };
    let Some((value, behind)) = end.and_then(|end| given.split_at_checked(end)) else {
        return false;
    };
    let (kind, name) = split_name(placeholder);
    if !is_of_kind(kind, value) || !matches_text(rest, behind, names) {
        return false;
    }
    if let Some(name) = name {
        names.insert(name.to_owned(), value.to_owned());
    }
    true
}

fn is_of_kind(kind: &str, value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match kind {
        "any" | "text" => true,
        "id" => !value.is_empty() && value.bytes().all(is_plain),
        "number" => value.parse::<f64>().is_ok(),
        // RFC 3339: 2026-01-31T12:00:00, a fraction, and Z or an offset.
        "time" => {
            let (date, time) = value.split_once('T').unwrap_or_default();
            let digits = |text: &str, separator: char| {
                text.split(separator)
                    .all(|part| part.parse::<u32>().is_ok())
            };
            date.len() == 10
                && digits(date, '-')
                && time.len() >= 8
                && time.is_char_boundary(8)
                && digits(&time[..8], ':')
        }
        _ => false,
    }
}

/// The value with every `{name}` replaced by what it stands for; what is no name stays.
fn fill(value: &Value, names: &Names) -> Value {
    match value {
        Value::String(text) => Value::String(fill_text(text, names)),
        Value::Array(values) => values.iter().map(|value| fill(value, names)).collect(),
        Value::Object(fields) => {
            let filled = fields
                .iter()
                .map(|(key, value)| (fill_text(key, names), fill(value, names)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

fn fill_text(text: &str, names: &Names) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}
