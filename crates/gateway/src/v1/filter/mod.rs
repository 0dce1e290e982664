//! Filters: an expression that says which records a reader wants, as in `value.amount > 100 && key.startsWith("eu-")`.
//!
//! A part of CEL (https://cel.dev), by its names and meanings: literals, fields, indexes, comparisons, `&&`, `||`, `!`, `in`, `has`,
//! `size`, `contains`, `startsWith`, `endsWith`. No macros, no arithmetic, no regular expressions: what there is takes time
//! linear in the expression and the record. Its size and nesting are bounded before anything is evaluated, so an expression from
//! the network can neither exhaust the stack nor stall a thread. A record for which it has no answer, as when a field is missing,
//! is not taken. Used by reads and live streams, by this one evaluator.

mod eval;
mod parse;

use client::Record;

use super::request::bad_parameter;
use crate::problem::Problem;
use eval::Subject;
use parse::Expression;

/// A filter that is well-formed.
#[derive(Debug, Clone)]
pub struct Filter {
    expression: Expression,
}

impl Filter {
    /// # Errors
    /// `bad-request`, with the place and what was expected there.
    pub fn parse(source: &str) -> Result<Filter, Problem> {
        let expression = parse::parse(source).map_err(|wrong| bad_parameter("filter", wrong))?;
        Ok(Filter { expression })
    }

    /// Whether the record is wanted.
    pub fn takes(&self, partition: i32, record: &Record) -> bool {
        let subject = Subject::new(partition, record);
        eval::is_true(&self.expression, &subject)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(key: Option<&str>, value: &str) -> Record {
        Record {
            offset: 7,
            timestamp_ms: 1_000,
            key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: vec![("source".to_owned(), Some(Bytes::from_static(b"shop")))],
        }
    }

    #[track_caller]
    fn takes(filter: &str) -> bool {
        let value = r#"{"id":9007199254740993,"amount":10.5,"tags":["a","b"],"user":{"name":"Ann"},"ok":true,"none":null}"#;
        let parsed = Filter::parse(filter).expect(filter);
        parsed.takes(3, &record(Some("eu-1"), value))
    }

    #[test]
    fn what_is_true_of_the_record_takes_it() {
        for filter in [
            "true",
            "offset == 7 && partition == 3 && timestamp >= 1000",
            r#"key == "eu-1""#,
            r#"key.startsWith("eu-") && key.endsWith('1') && key.contains("u")"#,
            "value.id == 9007199254740993",
            "value.id > 9007199254740992",
            "value.amount > 10 && value.amount < 11 && value.amount == 10.5",
            r#"value["user"].name == "Ann" && value.user["name"] != "Bob""#,
            r#"value.tags[1] == "b" && "a" in value.tags && size(value.tags) == 2"#,
            r#"value.tags.size() == 2 && value.user.name.size() == 3"#,
            "value.ok && !(value.amount < 0)",
            "value.none == null",
            "has(value.user.name) && !has(value.user.age) && !has(value.nothing)",
            r#"headers.source == "shop" && headers["source"] in ["shop", "web"]"#,
            r#""name" in value.user"#,
            r#"value.missing == 1 || key == "eu-1""#,
            r#"key == "eu-1" || value.missing == 1"#,
            "-5 < value.amount",
            r#"key < "f""#,
        ] {
            assert!(takes(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_false_or_has_no_answer_does_not() {
        for filter in [
            "false",
            "value.id == 9007199254740992",
            "value.missing == 1",
            "!value.missing",
            "value.user.name > 5",
            "value.tags[9] == 1",
            "value.user",
            "key",
            r#"value.missing == 1 && true"#,
            r#"headers.other == "x""#,
            r#"value.amount.contains("1")"#,
        ] {
            assert!(!takes(filter), "{filter}");
        }
    }

    #[test]
    fn text_and_tombstones_have_values_as_well() {
        let parsed = Filter::parse(r#"value.contains("lost")"#).expect("a filter");
        assert!(parsed.takes(0, &record(None, "line 3: connection lost")));
        let parsed = Filter::parse("value == null && key == null").expect("a filter");
        let tombstone = Record {
            value: None,
            ..record(None, "")
        };
        assert!(parsed.takes(0, &tombstone));
    }

    #[test]
    fn what_is_no_filter_is_refused_with_its_place() {
        for (filter, place) in [
            ("", "at 1"),
            ("value.", "at 7"),
            ("key == ", "at 8"),
            ("key = 1", "at 5"),
            ("(key", "at 5"),
            ("key == 'x", "at 8"),
            ("nothing == 1", "at 1"),
            ("key.upper()", "at 5"),
            ("size(1, 2)", "at 1"),
            ("1 + 1 == 2", "at 3"),
            ("key == \"\\q\"", "at 8"),
            ("99999999999999999999 == 1", "at 1"),
            ("true true", "at 6"),
        ] {
            let problem = Filter::parse(filter).expect_err(filter);
            assert!(
                problem.detail.contains(place),
                "{filter}: {}",
                problem.detail
            );
        }
    }

    #[test]
    fn size_and_nesting_are_bounded() {
        for hostile in [
            "(".repeat(4_000),
            "!".repeat(4_000),
            "[".repeat(4_000),
            "-".repeat(4_000),
            format!("key{}", ".a".repeat(3_000)),
            "value[".repeat(600),
            "size(".repeat(800),
        ] {
            assert!(Filter::parse(&hostile).is_err());
        }
        let wide = format!("true{}", " || true".repeat(400));
        assert!(Filter::parse(&wide).is_ok(), "wide is not deep");
    }
}
