//! W3C Trace Context: the `traceparent` of a request goes into the headers of the records it produces and into the answer.
//!
//! The trace id stays, the parent becomes the span of this request. A header that is not of version 00's form is ignored, as the
//! standard asks (https://www.w3.org/TR/trace-context/#traceparent-header).

use std::fmt;

/// The header, of HTTP as of records.
pub const NAME: &str = "traceparent";

/// Whose work a request is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// Reads version 00; all-zero ids are none.
    pub fn parse(text: &str) -> Option<TraceParent> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let fits = version == "00" && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        if !fits || parts.next().is_some() {
            return None;
        }
        let parent = TraceParent {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        (parent.trace != 0 && parent.span != 0).then_some(parent)
    }

    /// The same trace with another span as the parent; an all-zero span is illegal.
    pub fn with_span(self, span: [u8; 8]) -> TraceParent {
        let span = u64::from_be_bytes(span).max(1);
        TraceParent { span, ..self }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TraceParent { trace, span, flags } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_keeps_its_id_and_flags_and_gets_a_new_span() {
        let parent = TraceParent::parse(EXAMPLE).expect("the standard's example");
        assert_eq!(parent.to_string(), EXAMPLE);
        let child = parent.with_span([0, 0, 0, 0, 0, 0, 0, 7]);
        let expected = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01";
        assert_eq!(child.to_string(), expected);
        assert_ne!(parent.with_span([0; 8]).span, 0);
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        for wrong in [
            "",
            "00-0-0-0",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }
}
