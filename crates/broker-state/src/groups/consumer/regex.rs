//! Subscriptions by regular expression (KIP-848), matched against whole topic names.
//!
//! Kafka uses RE2/J. The syntax here is that of the `regex` crate: as linear in time, and the same for what is written
//! in practice. `\Q…\E` is understood too, as Java's clients quote with it. What differs: `\C` and octal escapes are not
//! known, `&&`, `--`, `~~` and `[` inside of a class are operators, and there is an `x` flag. An expression that is not
//! understood is refused with INVALID_REGULAR_EXPRESSION.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};
use wire::ErrorCode;

use crate::groups::ids::TopicName;
use crate::groups::topics::TopicsImage;
use crate::refusal::Refusal;

/// The memory that one compiled expression may take.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// The longest expression.
pub(super) const MAX_REGEX_BYTES: usize = 4096;

/// An expression that topic names are matched against.
pub(super) struct TopicRegex(Regex);

impl TopicRegex {
    /// Understands an expression.
    ///
    /// # Errors
    /// INVALID_REGULAR_EXPRESSION with the reason.
    pub(super) fn compile(expression: &str) -> Result<Self, Refusal> {
        let refuse = |reason: String| {
            let message = format!("regular expression {expression:?} is not understood: {reason}");
            Refusal::new(ErrorCode::InvalidRegularExpression, message)
        };
        if expression.len() > MAX_REGEX_BYTES {
            let message = format!("a regular expression has at most {MAX_REGEX_BYTES} bytes");
            return Err(Refusal::new(ErrorCode::InvalidRegularExpression, message));
        }
        let quoted = without_quotes(expression);
        // By itself first: `a)|(b` only makes sense inside of the parentheses that follow.
        let compile = |pattern: &str| {
            let regex = RegexBuilder::new(pattern)
                .size_limit(MAX_COMPILED_BYTES)
                .build();
            regex.map_err(|error| refuse(last_line(&error.to_string())))
        };
        compile(&quoted)?;
        compile(&format!(r"\A(?:{quoted})\z")).map(TopicRegex)
    }

    /// The topics whose whole name matches.
    pub(super) fn matching(&self, topics: &TopicsImage) -> BTreeSet<TopicName> {
        let names = topics.iter().map(|(name, _)| name);
        names
            .filter(|name| self.0.is_match(name.as_str()))
            .cloned()
            .collect()
    }
}

/// Takes `\Q…\E` literally, as RE2 does.
fn without_quotes(expression: &str) -> String {
    let mut plain = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(start) = find_quote(rest) {
        let (before, quoted) = rest.split_at(start);
        plain.push_str(before);
        let quoted = &quoted[2..];
        let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
        plain.push_str(&regex::escape(literal));
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// Where `\Q` begins that is not an escaped backslash and a letter.
fn find_quote(text: &str) -> Option<usize> {
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && letters.next()?.1 == 'Q' {
            return Some(at);
        }
    }
    None
}

/// The reason without the drawing of where it is.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
