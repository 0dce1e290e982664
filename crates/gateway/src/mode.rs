//! Which backends the platform writes to and reads from: the documents' three queue modes.
//!
//! Chosen once at start, from `thalweg.toml`, from the documents' `QueueMode` section or from a flag; see docs/reference/config.md.

use std::fmt;
use std::str::FromStr;

/// The three legal combinations of `UseInMemory`, `UseKafka` and `EnableHybridMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The embedded broker alone.
    #[default]
    InMemory,
    /// A Kafka cluster alone; nothing is stored here.
    Kafka,
    /// Both: stored here first, then forwarded to Kafka.
    Hybrid,
}

/// Flags that are none of the three rows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "UseInMemory={use_in_memory}, UseKafka={use_kafka}, EnableHybridMode={hybrid} is no queue mode; there are three: \
     In-Memory Only (true, false, false), Kafka Only (false, true, false), Hybrid (true, true, true)"
)]
pub struct ModeError {
    pub use_in_memory: bool,
    pub use_kafka: bool,
    pub hybrid: bool,
}

impl Mode {
    /// The mode of the documents' flags.
    ///
    /// # Errors
    /// Every combination that is not one of the three rows; the error names them.
    pub fn of_flags(use_in_memory: bool, use_kafka: bool, hybrid: bool) -> Result<Mode, ModeError> {
        match (use_in_memory, use_kafka, hybrid) {
            (true, false, false) => Ok(Mode::InMemory),
            (false, true, false) => Ok(Mode::Kafka),
            (true, true, true) => Ok(Mode::Hybrid),
            _ => Err(ModeError {
                use_in_memory,
                use_kafka,
                hybrid,
            }),
        }
    }

    /// The `mode` string of the legacy API, to the letter.
    pub fn title(self) -> &'static str {
        match self {
            Mode::InMemory => "In-Memory Only",
            Mode::Kafka => "Kafka Only",
            Mode::Hybrid => "Hybrid (In-Memory + Kafka)",
        }
    }

    pub fn uses_in_memory(self) -> bool {
        self != Mode::Kafka
    }

    pub fn uses_kafka(self) -> bool {
        self != Mode::InMemory
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::InMemory => "in-memory",
            Mode::Kafka => "kafka",
            Mode::Hybrid => "hybrid",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "in-memory" => Ok(Mode::InMemory),
            "kafka" => Ok(Mode::Kafka),
            "hybrid" => Ok(Mode::Hybrid),
            _ => Err(format!(
                "`{text}` is no mode; use in-memory, kafka or hybrid"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_rows_are_modes_and_five_are_refused_by_name() {
        // G-11
        let legal = [
            ((true, false, false), Mode::InMemory),
            ((false, true, false), Mode::Kafka),
            ((true, true, true), Mode::Hybrid),
        ];
        for bits in 0..8 {
            let flags = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            let expected = legal.iter().find(|(row, _)| *row == flags);
            let mode = Mode::of_flags(flags.0, flags.1, flags.2);
            match expected {
                Some((_, expected)) => assert_eq!(mode, Ok(*expected)),
                None => {
                    let error = mode.unwrap_err().to_string();
                    assert!(error.contains("Kafka Only (false, true, false)"), "{error}");
                }
            }
        }
    }

    #[test]
    fn titles_are_the_documents_own() {
        //
        assert_eq!(Mode::InMemory.title(), "In-Memory Only");
        assert_eq!(Mode::Kafka.title(), "Kafka Only");
        assert_eq!(Mode::Hybrid.title(), "Hybrid (In-Memory + Kafka)");
    }

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in [Mode::InMemory, Mode::Kafka, Mode::Hybrid] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
    }
}
