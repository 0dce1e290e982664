//! Reads the definition language of `crates/wire/messages`; `docs` of the language are in `mod.rs`.

use super::model::{Api, Field, Kind, Struct, Versions};

/// Reads one definition; an error is `line N: what is wrong`.
pub fn parse(text: &str) -> Result<Api, String> {
    let mut lines = Lines::new(text);
    parse_api(&mut lines).map_err(|problem| format!("line {}: {problem}", lines.number))
}

/// The lines that say something, with the docs collected on the way.
struct Lines<'a> {
    rest: std::str::Lines<'a>,
    number: usize,
    docs: Vec<String>,
    /// The names of all structs, with the bodies of those that fields of the same message may share.
    structs: Vec<(String, Option<Struct>)>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Lines {
            rest: text.lines(),
            number: 0,
            docs: Vec::new(),
            structs: Vec::new(),
        }
    }

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let line = self.rest.next()?.trim();
            self.number += 1;
            match line.strip_prefix("///") {
                Some(doc) => self.docs.push(doc.trim().to_owned()),
                None if line.is_empty() || line.starts_with('#') => {}
                None => return Some(line),
            }
        }
    }

    fn take_docs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.docs)
    }

    /// Notes that the message has a struct of this name.
    fn declare(&mut self, name: &str) -> Result<(), String> {
        if self.structs.iter().any(|(other, _)| other == name) {
            return Err(format!("there is already a struct `{name}`"));
        }
        self.structs.push((name.to_owned(), None));
        Ok(())
    }

    fn shared(&self, name: &str) -> Option<&Struct> {
        let mut structs = self.structs.iter();
        let (_, shape) = structs.find(|(other, _)| other == name)?;
        shape.as_ref()
    }
}

fn parse_api(lines: &mut Lines) -> Result<Api, String> {
    let head = lines.next().ok_or("the file is empty")?;
    let docs = lines.take_docs();
    let words: Vec<&str> = head.split_whitespace().collect();
    let (key, name, versions, flexible) = match words[..] {
        ["api", key, name, "versions", versions] => (key, name, versions, None),
        ["api", key, name, "versions", versions, "flexible", first] => {
            (key, name, versions, Some(first))
        }
        _ => return Err("expected `api KEY Name versions A-B [flexible N+]`".to_owned()),
    };
    let versions = parse_versions(versions)?;
    let first_flexible = flexible
        .map(|word| parse_versions(word).map(|range| range.first))
        .transpose()?;
    let request = parse_message(lines, "request", "Request", versions)?;
    let response = parse_message(lines, "response", "Response", versions)?;
    match lines.next() {
        Some(line) => Err(format!(
            "nothing may follow the response, but there is `{line}`"
        )),
        None => Ok(Api {
            name: name.to_owned(),
            module: snake_case(name),
            key: key.parse().map_err(|_| format!("`{key}` is no API key"))?,
            versions,
            first_flexible,
            docs,
            request,
            response,
        }),
    }
}

fn parse_message(
    lines: &mut Lines,
    word: &str,
    name: &str,
    versions: Versions,
) -> Result<Struct, String> {
    match lines.next() {
        Some(line) if line == format!("{word} {{") => {}
        _ => return Err(format!("expected `{word} {{`")),
    }
    lines.take_docs();
    for (_, shape) in &mut lines.structs {
        *shape = None;
    }
    Ok(Struct {
        name: name.to_owned(),
        docs: Vec::new(),
        fields: parse_fields(lines, versions)?,
    })
}

fn parse_fields(lines: &mut Lines, outer: Versions) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    loop {
        match lines.next().ok_or("a `}` is missing")? {
            "}" => return Ok(fields),
            line if line.starts_with("struct ") => parse_shared(line, lines, outer)?,
            line => fields.push(parse_field(line, lines, outer)?),
        }
    }
}

/// `struct Name {`, for fields that follow.
fn parse_shared(line: &str, lines: &mut Lines, outer: Versions) -> Result<(), String> {
    let docs = lines.take_docs();
    let [_, name, "{"] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err("expected `struct Name {`".to_owned());
    };
    lines.declare(name)?;
    let fields = parse_fields(lines, outer)?;
    let shape = Struct {
        name: name.to_owned(),
        docs,
        fields,
    };
    let mut structs = lines.structs.iter_mut();
    let entry = structs.find(|(other, _)| other == name);
    entry.expect("it was just declared").1 = Some(shape);
    Ok(())
}

fn parse_field(line: &str, lines: &mut Lines, outer: Versions) -> Result<Field, String> {
    let docs = lines.take_docs();
    let (name, rest) = line.split_once(": ").ok_or("expected `name: type`")?;
    let mut words = rest.split_whitespace().peekable();
    let word = words.next().ok_or("the type is missing")?;
    let (word, mut is_nullable) = strip_nullable(word);
    let (word, is_array) = strip_array(word);
    let (mut versions, mut nullable, mut tag, mut default, mut has_body) =
        (outer, None, None, None, false);
    while let Some(attribute) = words.next() {
        let mut value = || words.next().ok_or(format!("`{attribute}` lacks its value"));
        match attribute {
            "{" => has_body = true,
            "null" => nullable = Some(parse_versions(value()?)?),
            "tag" => tag = Some(value()?.parse().map_err(|_| "the tag is no number")?),
            "=" => default = Some(value()?.to_owned()),
            range => versions = parse_versions(range)?.within(outer),
        }
    }
    if is_nullable && nullable.is_none() {
        nullable = Some(versions);
    }
    is_nullable |= nullable.is_some();
    let kind = parse_kind(word, has_body, lines, versions)?;
    let nullable = nullable
        .filter(|_| is_nullable)
        .map(|range: Versions| range.within(versions));
    Ok(Field {
        name: name.to_owned(),
        docs,
        kind,
        is_array,
        versions,
        nullable,
        tag,
        default,
    })
}

fn parse_kind(
    word: &str,
    has_body: bool,
    lines: &mut Lines,
    versions: Versions,
) -> Result<Kind, String> {
    if let Some(kind) = Kind::scalar(word) {
        return Ok(kind);
    }
    if has_body {
        lines.declare(word)?;
        return Ok(Kind::Struct(Struct {
            name: word.to_owned(),
            docs: Vec::new(),
            fields: parse_fields(lines, versions)?,
        }));
    }
    match lines.shared(word) {
        Some(shape) => Ok(Kind::Struct(shape.clone())),
        None => Err(format!("`{word}` is no type and has no body")),
    }
}

fn strip_nullable(word: &str) -> (&str, bool) {
    match word.strip_suffix('?') {
        Some(word) => (word, true),
        None => (word, false),
    }
}

fn strip_array(word: &str) -> (&str, bool) {
    match word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'))
    {
        Some(word) => (word, true),
        None => (word, false),
    }
}

/// `3-12`, `3+` or `3`.
fn parse_versions(word: &str) -> Result<Versions, String> {
    let number = |word: &str| {
        word.parse::<i16>()
            .map_err(|_| format!("`{word}` is no version"))
    };
    if let Some(first) = word.strip_suffix('+') {
        return Ok(Versions {
            first: number(first)?,
            last: Versions::MAX,
        });
    }
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Ok(Versions {
        first: number(first)?,
        last: number(last)?,
    })
}

/// `ListOffsets` → `list_offsets`.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
