//! The fields of a JSON body, read as ASP.NET reads them: names in any case, unknown ones ignored, the last of two counts.
//!
//! What is wrong is gathered, so that one answer names every field; [`Fields::finish`] gives it. Texts are borrowed from the body.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// Ids and names are keys and headers of records; Kafka's own names end at 249.
pub const MAX_NAME_LENGTH: usize = 255;

/// The fields of one body; take them, then [`Fields::finish`].
pub struct Fields<'a> {
    found: Found<'a>,
    errors: BTreeMap<String, Vec<String>>,
}

impl<'a> Fields<'a> {
    /// # Errors
    /// `Invalid` when the body is no JSON object.
    pub fn read(body: &'a [u8]) -> Result<Fields<'a>, Refusal> {
        if body.is_empty() {
            return Err(Refusal::invalid(
                "",
                "A non-empty request body is required.",
            ));
        }
        match serde_json::from_slice(body) {
            Ok(found) => Ok(Fields {
                found,
                errors: BTreeMap::new(),
            }),
            Err(error) => Err(Refusal::invalid("$", error.to_string())),
        }
    }

    /// The fields of a body that may be missing altogether.
    ///
    /// # Errors
    /// As [`Fields::read`].
    pub fn read_optional(body: &'a [u8]) -> Result<Fields<'a>, Refusal> {
        match body.is_empty() {
            true => Fields::read(b"{}"),
            false => Fields::read(body),
        }
    }

    /// A text that has to be there and not be empty.
    pub fn required(&mut self, name: &str) -> Cow<'a, str> {
        match self.text(name) {
            Some(text) if !text.is_empty() => text,
            _ => {
                let field = pascal(name);
                // A value of a wrong type has its error already.
                if !self.errors.contains_key(&format!("$.{name}")) {
                    let message = format!("The {field} field is required.");
                    self.refuse(field, message);
                }
                Cow::Borrowed("")
            }
        }
    }

    /// As [`Fields::required`], and of bounded length.
    pub fn required_name(&mut self, name: &str) -> String {
        let text = self.required(name).into_owned();
        self.bounded(name, text)
    }

    /// A name that may be missing, null or empty, all of which mean the same.
    pub fn optional_name(&mut self, name: &str) -> Option<String> {
        let text = self.text(name).filter(|text| !text.is_empty())?;
        Some(self.bounded(name, text.into_owned()))
    }

    /// A text that may be missing or null.
    pub fn text(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.parse::<Text<'a>>(name, "a string").map(|text| text.0)
    }

    /// A whole number, also one in quotes.
    pub fn number(&mut self, name: &str, legal: RangeInclusive<u64>) -> Option<u64> {
        let number = self.parse::<Number>(name, "a whole number")?.0;
        if legal.contains(&number) {
            return Some(number);
        }
        let (field, least, most) = (pascal(name), legal.start(), legal.end());
        let message = format!("The field {field} must be between {least} and {most}.");
        self.refuse(field, message);
        None
    }

    /// An object of texts, in the order in which they are written.
    pub fn texts(&mut self, name: &str) -> Vec<(String, String)> {
        let found = self.parse::<Texts>(name, "an object of strings");
        found.map_or_else(Vec::new, |texts| texts.0)
    }

    /// # Errors
    /// `Invalid` with all that was wrong with the fields taken.
    pub fn finish(self) -> Result<(), Refusal> {
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Invalid(self.errors)),
        }
    }

    fn parse<T: Deserialize<'a>>(&mut self, name: &str, kind: &str) -> Option<T> {
        let raw = self.found.get(name)?;
        match serde_json::from_str(raw.get()) {
            Ok(value) => value,
            Err(_) => {
                let message = format!("The JSON value could not be converted to {kind}.");
                self.refuse(format!("$.{name}"), message);
                None
            }
        }
    }

    fn bounded(&mut self, name: &str, text: String) -> String {
        if text.len() > MAX_NAME_LENGTH {
            let field = pascal(name);
            let message = format!(
                "The field {field} must be a string with a maximum length of {MAX_NAME_LENGTH}."
            );
            self.refuse(field, message);
        }
        text
    }

    fn refuse(&mut self, field: String, message: String) {
        self.errors.entry(field).or_default().push(message);
    }
}

/// The name by which ASP.NET's messages call a field: `topicName` is `TopicName`.
fn pascal(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// Name and value of each field, as written.
struct Found<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Found<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let fields = self.0.iter().rev();
        let mut named = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Found<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor;

        impl<'de> Visitor<'de> for FieldVisitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    fields.push((name.0, value));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(FieldVisitor).map(Found)
    }
}

/// A text, borrowed when it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bare(u64),
            Quoted(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bare(number) => Ok(Number(number)),
            Written::Quoted(text) => text.parse().map(Number).map_err(serde::de::Error::custom),
        }
    }
}

struct Texts(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Vec<(String, String)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = map.next_entry()? {
                    texts.push(text);
                }
                Ok(texts)
            }
        }

        deserializer.deserialize_map(TextsVisitor).map(Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(refusal: Result<(), Refusal>) -> Vec<(String, String)> {
        match refusal {
            Err(Refusal::Invalid(errors)) => errors
                .into_iter()
                .map(|(field, messages)| (field, messages.join(" ")))
                .collect(),
            other => panic!("no validation problem: {other:?}"),
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_unknown_ones_are_ignored() {
        let body =
            r#"{"TOPICNAME": "orders", "color": {"deep": [1]}, "topicname": "pay\u006dents"}"#;
        let mut fields = Fields::read(body.as_bytes()).expect("an object");
        // The last of two counts, as in System.Text.Json.
        assert_eq!(fields.required("topicName"), "payments");
        fields.finish().expect("nothing is wrong");
    }

    #[test]
    fn every_missing_null_or_empty_text_is_named_at_once() {
        let mut fields = Fields::read(br#"{"name": null, "content": ""}"#).expect("an object");
        for name in ["producerId", "name", "content"] {
            assert_eq!(fields.required(name), "");
        }
        let expected = ["Content", "Name", "ProducerId"]
            .map(|field| (field.to_owned(), format!("The {field} field is required.")));
        assert_eq!(errors_of(fields.finish()), expected);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_by_its_path() {
        let mut fields = Fields::read(br#"{"content": 7, "maxMessages": -1}"#).expect("an object");
        fields.required("content");
        fields.number("maxMessages", 1..=100);
        let errors = errors_of(fields.finish());
        let expected = [
            (
                "$.content",
                "The JSON value could not be converted to a string.",
            ),
            (
                "$.maxMessages",
                "The JSON value could not be converted to a whole number.",
            ),
        ]
        .map(|(field, message)| (field.to_owned(), message.to_owned()));
        assert_eq!(errors, expected);
    }

    #[test]
    fn numbers_have_a_range_and_may_be_quoted() {
        let body = br#"{"maxMessages": "5", "timeoutMs": 70000}"#;
        let mut fields = Fields::read(body).expect("an object");
        assert_eq!(fields.number("maxMessages", 1..=100), Some(5));
        assert_eq!(fields.number("timeoutMs", 0..=30_000), None);
        let expected = "The field TimeoutMs must be between 0 and 30000.";
        assert_eq!(errors_of(fields.finish())[0].1, expected);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[1]", "{", "7", "\"x\"", "{\"a\":1} x"] {
            assert!(Fields::read(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Fields::read(b"\xff").is_err());
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let body = format!(r#"{{"name": "{}"}}"#, "x".repeat(256));
        let mut fields = Fields::read(body.as_bytes()).expect("an object");
        fields.required_name("name");
        assert_eq!(errors_of(fields.finish())[0].0, "Name");
    }
}
