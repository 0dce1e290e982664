//! Cursors: where to go on, as one opaque word that the server keeps nothing for.
//!
//! `base64url("1" topic "\n" partition ":" offset "," … "\n" topic …)`. It holds the next offset of each partition that is read,
//! so any process can go on, after any time, as long as the records are kept. It is also the `id` of live events, for
//! `Last-Event-ID`. Clients must not look inside; the form may change as long as old ones are understood.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::request::bad_parameter;
use crate::problem::Problem;

/// The next offset of each partition of a topic.
pub type Positions = BTreeMap<i32, i64>;

const VERSION: char = '1';
/// Far more than any cursor of ours.
const MAX_LENGTH: usize = 1024 * 1024;

/// Positions in one or more topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(pub BTreeMap<String, Positions>);

impl Cursor {
    pub fn of(topic: &str, positions: Positions) -> Cursor {
        Cursor(BTreeMap::from([(topic.to_owned(), positions)]))
    }

    pub fn encode(&self) -> String {
        let mut plain = String::from(VERSION);
        for (topic, positions) in &self.0 {
            if plain.len() > 1 {
                plain.push('\n');
            }
            plain.push_str(topic);
            plain.push('\n');
            for (index, (partition, offset)) in positions.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                plain.push_str(&format!("{comma}{partition}:{offset}"));
            }
        }
        URL_SAFE_NO_PAD.encode(plain)
    }

    /// Reads a cursor that a client sends back in `parameter`.
    ///
    /// # Errors
    /// `bad-request` for anything that [`Cursor::encode`] does not write.
    pub fn decode(text: &str, parameter: &str) -> Result<Cursor, Problem> {
        let wrong = || bad_parameter(parameter, "this is no cursor; take it as an answer gave it");
        if text.len() > MAX_LENGTH {
            return Err(wrong());
        }
        let plain = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let plain = String::from_utf8(plain).map_err(|_| wrong())?;
        let plain = plain.strip_prefix(VERSION).ok_or_else(wrong)?;
        let mut lines = plain.split('\n');
        let mut topics = BTreeMap::new();
        while let Some(topic) = lines.next() {
            let positions = lines.next().and_then(positions).ok_or_else(wrong)?;
            topics.insert(topic.to_owned(), positions);
        }
        Ok(Cursor(topics))
    }

    /// The positions in `topic`, which must be the cursor's only one.
    ///
    /// # Errors
    /// `bad-request` when the cursor is of another topic.
    pub fn of_topic(mut self, topic: &str, parameter: &str) -> Result<Positions, Problem> {
        match (self.0.len(), self.0.remove(topic)) {
            (1, Some(positions)) => Ok(positions),
            _ => Err(bad_parameter(
                parameter,
                "this cursor belongs to another topic",
            )),
        }
    }
}

fn positions(line: &str) -> Option<Positions> {
    if line.is_empty() {
        return Some(Positions::new());
    }
    let parse = |part: &str| {
        let (partition, offset) = part.split_once(':')?;
        let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
        (partition >= 0 && offset >= 0).then_some((partition, offset))
    };
    line.split(',').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let mut topics = BTreeMap::new();
        for cursor in [
            Cursor::of("orders", Positions::from([(0, 7), (12, i64::MAX)])),
            Cursor::of("none", Positions::new()),
            {
                topics.insert("a".to_owned(), Positions::from([(0, 1)]));
                topics.insert("b".to_owned(), Positions::from([(3, 0)]));
                Cursor(topics)
            },
        ] {
            assert_eq!(
                Cursor::decode(&cursor.encode(), "cursor").expect("ours"),
                cursor
            );
        }
    }

    #[test]
    fn other_words_are_refused() {
        let encode = |plain: &str| URL_SAFE_NO_PAD.encode(plain);
        for wrong in [
            "",
            "!",
            &encode("2t\n0:1"),
            &encode("1t"),
            &encode("1t\n0"),
            &encode("1t\n-1:0"),
            &encode("1t\n0:-1"),
            &encode("1t\n0:99999999999999999999"),
        ] {
            assert!(Cursor::decode(wrong, "cursor").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_of_another_topic_is_refused() {
        let cursor = Cursor::of("orders", Positions::from([(0, 7)]));
        assert!(cursor.clone().of_topic("payments", "cursor").is_err());
        assert!(cursor.of_topic("orders", "cursor").is_ok());
    }
}
