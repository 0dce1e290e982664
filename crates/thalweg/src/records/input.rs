//! Records from a stream of bytes: plain lines, `key:value` lines, or JSON.

use std::io::{self, BufRead};

use super::json::{self, ParsedRecord};

/// How input becomes records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputFormat {
    /// A line is a value.
    Value,
    /// A line is a key, the separator and a value.
    KeyValue(String),
    /// Any number of JSON documents, on as many lines as they like.
    Json,
    /// A JSON document per line.
    Ndjson,
}

/// Reading stops at a line that is longer than this: no broker takes it.
const MAX_LINE_BYTES: usize = 256 * 1024 * 1024;

/// Why input could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("reading standard input: {0}")]
    Io(#[from] io::Error),
    #[error("line {line}: {reason}")]
    Line { line: u64, reason: String },
    #[error("document {number}: {reason}")]
    Document { number: u64, reason: String },
}

/// Calls `each` for every record of `input`, in order, until the end or the first error.
pub fn read_records<E: From<InputError>>(
    input: &mut impl BufRead,
    format: &InputFormat,
    mut each: impl FnMut(ParsedRecord) -> Result<(), E>,
) -> Result<(), E> {
    if *format == InputFormat::Json {
        return read_documents(input, each);
    }
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if read_line(input, &mut line, number)? == 0 {
            break;
        }
        let record = parse_line(&line, format).map_err(|reason| InputError::Line {
            line: number,
            reason,
        })?;
        if let Some(record) = record {
            each(record)?;
        }
    }
    Ok(())
}

/// Reads one line without its line break; 0 at the end of the input.
fn read_line(
    input: &mut impl BufRead,
    line: &mut Vec<u8>,
    number: u64,
) -> Result<usize, InputError> {
    let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    let read = io::Read::take(&mut *input, limit).read_until(b'\n', line)?;
    if read == MAX_LINE_BYTES {
        return Err(InputError::Line {
            line: number,
            reason: format!("longer than {MAX_LINE_BYTES} bytes"),
        });
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(read)
}

fn parse_line(line: &[u8], format: &InputFormat) -> Result<Option<ParsedRecord>, String> {
    match format {
        InputFormat::Value | InputFormat::Json => Ok(Some(ParsedRecord {
            value: Some(line.to_vec()),
            ..ParsedRecord::default()
        })),
        InputFormat::KeyValue(separator) => key_value(line, separator).map(Some),
        InputFormat::Ndjson => {
            let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
            if text.trim().is_empty() {
                return Ok(None);
            }
            json::parse(text).map(Some)
        }
    }
}

fn key_value(line: &[u8], separator: &str) -> Result<ParsedRecord, String> {
    let separator = separator.as_bytes();
    let at = line
        .windows(separator.len().max(1))
        .position(|window| window == separator)
        .ok_or_else(|| {
            let separator = String::from_utf8_lossy(separator);
            format!("no `{separator}` between key and value; choose another with --key-separator")
        })?;
    Ok(ParsedRecord {
        key: Some(line[..at].to_vec()),
        value: Some(line[at + separator.len()..].to_vec()),
        ..ParsedRecord::default()
    })
}

fn read_documents<E: From<InputError>>(
    input: &mut impl BufRead,
    mut each: impl FnMut(ParsedRecord) -> Result<(), E>,
) -> Result<(), E> {
    let documents = serde_json::Deserializer::from_reader(input)
        .into_iter::<Box<serde_json::value::RawValue>>();
    for (number, document) in (1..).zip(documents) {
        let record = document
            .map_err(|error| error.to_string())
            .and_then(|raw| json::parse(raw.get()))
            .map_err(|reason| InputError::Document { number, reason })?;
        each(record)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type KeyAndValue = (Option<String>, Option<String>);

    fn read(text: &str, format: InputFormat) -> Result<Vec<KeyAndValue>, InputError> {
        let mut records = Vec::new();
        let text_of =
            |bytes: Option<Vec<u8>>| bytes.map(|b| String::from_utf8_lossy(&b).into_owned());
        read_records(&mut text.as_bytes(), &format, |record| {
            records.push((text_of(record.key), text_of(record.value)));
            Ok::<(), InputError>(())
        })?;
        Ok(records)
    }

    fn pair(key: &str, value: &str) -> KeyAndValue {
        (Some(key.to_owned()), Some(value.to_owned()))
    }

    #[test]
    fn a_line_is_a_value() {
        let records = read("a\r\n\nb c", InputFormat::Value).expect("plain lines");
        let values: Vec<_> = records
            .into_iter()
            .map(|(_, value)| value.unwrap_or_default())
            .collect();
        assert_eq!(values, ["a", "", "b c"]);
    }

    #[test]
    fn a_key_ends_at_the_first_separator() {
        let format = || InputFormat::KeyValue(":".into());
        assert_eq!(
            read("k:v:w\n:x", format()).expect("keyed"),
            [pair("k", "v:w"), pair("", "x")]
        );
        let error = read("a:b\nnone", format()).unwrap_err().to_string();
        assert!(error.starts_with("line 2: no `:`"), "{error}");
        let arrow = InputFormat::KeyValue("=>".into());
        assert_eq!(read("k=>v", arrow).expect("keyed"), [pair("k", "v")]);
    }

    #[test]
    fn ndjson_is_a_document_per_line() {
        let text = "{\"key\":\"a\",\"value\":\"1\"}\n\n{\"key\":\"b\",\"value\":{\"x\":2}}\n";
        let records = read(text, InputFormat::Ndjson).expect("valid");
        assert_eq!(records, [pair("a", "1"), pair("b", "{\"x\":2}")]);
        let error = read("{}\n{", InputFormat::Ndjson).unwrap_err().to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }

    #[test]
    fn json_documents_may_span_lines() {
        let text = "{\n \"key\": \"a\",\n \"value\": \"1\"\n} {\"key\":\"b\",\"value\":\"2\"}";
        let records = read(text, InputFormat::Json).expect("valid");
        assert_eq!(records, [pair("a", "1"), pair("b", "2")]);
        let error = read("{} []", InputFormat::Json).unwrap_err().to_string();
        assert!(error.starts_with("document 2: "), "{error}");
    }
}
