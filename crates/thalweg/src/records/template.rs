//! Output templates for records, with kcat's tokens: `%t %p %o %k %v %h %T` and `\n`, `\t`.

use std::io::{self, Write};

use client::time::rfc3339;

/// A record as output sees it; borrowed from wherever it was read.
#[derive(Debug, Clone, Default)]
pub struct RecordView<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
    TimestampMs,
    TimestampText,
}

impl Template {
    /// The tokens, for `--help`.
    pub const HELP: &'static str = "%t topic, %p partition, %o offset, %k key, %K its length, %v value (or %s), %S its length, \
         %h headers, %T timestamp in ms, %D timestamp as text, %% a percent sign; \\n \\r \\t \\xHH";

    /// Parses `text`; a template that does not end in a line break ends each record as it says, as kcat does.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '%' => match token(rest.next())? {
                    Part::Text(bytes) => literal.extend(bytes),
                    part => {
                        flush(&mut literal, &mut parts);
                        parts.push(part);
                    }
                },
                '\\' => literal.extend(escape(&mut rest)?),
                c => literal.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        flush(&mut literal, &mut parts);
        Ok(Template(parts))
    }

    /// Writes one record.
    pub fn write(&self, out: &mut impl Write, record: &RecordView<'_>) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(bytes) => out.write_all(bytes)?,
                Part::Topic => out.write_all(record.topic.as_bytes())?,
                Part::Partition => write!(out, "{}", record.partition)?,
                Part::Offset => write!(out, "{}", record.offset)?,
                Part::Key => out.write_all(record.key.unwrap_or_default())?,
                Part::KeyLength => write!(out, "{}", length(record.key))?,
                Part::Value => out.write_all(record.value.unwrap_or_default())?,
                Part::ValueLength => write!(out, "{}", length(record.value))?,
                Part::Headers => write_headers(out, &record.headers)?,
                Part::TimestampMs => write!(out, "{}", record.timestamp_ms.unwrap_or(-1))?,
                Part::TimestampText => {
                    let text = record.timestamp_ms.and_then(rfc3339);
                    out.write_all(text.as_deref().unwrap_or("-").as_bytes())?;
                }
            }
        }
        Ok(())
    }
}

fn token(c: Option<char>) -> Result<Part, String> {
    Ok(match c {
        Some('t') => Part::Topic,
        Some('p') => Part::Partition,
        Some('o') => Part::Offset,
        Some('k') => Part::Key,
        Some('K') => Part::KeyLength,
        Some('v' | 's') => Part::Value,
        Some('S') => Part::ValueLength,
        Some('h') => Part::Headers,
        Some('T') => Part::TimestampMs,
        Some('D') => Part::TimestampText,
        Some('%') => Part::Text(b"%".to_vec()),
        Some(other) => return Err(format!("unknown token %{other}; {}", Template::HELP)),
        None => return Err(format!("a template cannot end in %; {}", Template::HELP)),
    })
}

fn escape(rest: &mut std::str::Chars<'_>) -> Result<Vec<u8>, String> {
    Ok(match rest.next() {
        Some('n') => b"\n".to_vec(),
        Some('r') => b"\r".to_vec(),
        Some('t') => b"\t".to_vec(),
        Some('0') => b"\0".to_vec(),
        Some('\\') => b"\\".to_vec(),
        Some('x') => {
            let digits: String = rest.by_ref().take(2).collect();
            let byte = u8::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == 2);
            let byte =
                byte.ok_or_else(|| format!("\\x{digits} is no byte; write two hex digits"))?;
            vec![byte]
        }
        Some(other) => return Err(format!("unknown escape \\{other}; {}", Template::HELP)),
        None => return Err("a template cannot end in a backslash".to_owned()),
    })
}

fn flush(literal: &mut Vec<u8>, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Text(std::mem::take(literal)));
    }
}

/// The length as kcat prints it: -1 for null.
fn length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

fn write_headers(out: &mut impl Write, headers: &[(&str, Option<&[u8]>)]) -> io::Result<()> {
    for (index, (key, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write!(out, "{key}=")?;
        out.write_all(value.unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> String {
        let record = RecordView {
            topic: "orders",
            partition: 2,
            offset: 41,
            timestamp_ms: Some(1_000),
            key: Some(b"k1"),
            value: Some(b"hello"),
            headers: vec![("a", Some(b"1")), ("a", None)],
        };
        let mut out = Vec::new();
        let template = Template::parse(template).expect("a valid template");
        template
            .write(&mut out, &record)
            .expect("a vector takes all");
        String::from_utf8(out).expect("text in, text out")
    }

    #[test]
    fn tokens_are_those_of_kcat() {
        assert_eq!(
            render(r"%t[%p]@%o %k(%K)=%s(%S) %h %T\n"),
            "orders[2]@41 k1(2)=hello(5) a=1,a=NULL 1000\n"
        );
        assert_eq!(render(r"%v\t%D"), "hello\t1970-01-01T00:00:01.000Z");
    }

    #[test]
    fn literals_and_escapes_stay_as_written() {
        assert_eq!(render(r"100%% \x41\\é"), "100% A\\é");
    }

    #[test]
    fn null_is_empty_and_of_length_minus_one() {
        let template = Template::parse("%k|%K|%S|%T").expect("a valid template");
        let mut out = Vec::new();
        let empty = RecordView::default();
        template
            .write(&mut out, &empty)
            .expect("a vector takes all");
        assert_eq!(out, b"|-1|-1|-1");
    }

    #[test]
    fn unknown_tokens_are_named() {
        assert!(Template::parse("%q").unwrap_err().contains("%q"));
        for wrong in ["%", r"\", r"\y", r"\xZZ", r"\x4"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
