//! What commands print: data on standard output as a table, JSON, names or a template; everything else on standard error.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;

pub use thalweg::text::{count, duration, size};

use crate::exit::CommandError;

/// The value of `-o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
    Name,
    Template(String),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "table" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            "name" => Ok(Format::Name),
            _ => text
                .strip_prefix("template=")
                .map(|template| Format::Template(template.to_owned()))
                .ok_or_else(|| {
                    format!(
                        "`{text}` is no output format; use table, json, name or template='{{name}}'"
                    )
                }),
        }
    }
}

/// A column of a table: its heading and whether it holds numbers, which are aligned right.
#[derive(Debug, Clone, Copy)]
pub struct Column(pub &'static str, pub bool);

/// Something that is listed: a row of a table, an element of a JSON array.
pub trait Row: Serialize {
    /// The name of the JSON array.
    const PLURAL: &'static str;
    const COLUMNS: &'static [Column];

    fn cells(&self) -> Vec<String>;
    fn name(&self) -> String;
}

/// Standard output in the chosen format.
#[derive(Debug, Clone)]
pub struct Output {
    pub format: Format,
}

impl Output {
    /// Prints a list. An empty table prints `when_empty` to standard error: what to do next.
    pub fn rows<R: Row>(&self, rows: &[R], when_empty: &str) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        match &self.format {
            Format::Table if rows.is_empty() => eprintln!("{when_empty}"),
            Format::Table => write_table(&mut out, R::COLUMNS, rows.iter().map(Row::cells))?,
            Format::Json => write_json(&mut out, &BTreeMap::from([(R::PLURAL, rows)]))?,
            Format::Name => {
                for row in rows {
                    writeln!(out, "{}", row.name())?;
                }
            }
            Format::Template(template) => {
                for row in rows {
                    write_template(&mut out, template, row)?;
                }
            }
        }
        out.flush()?;
        Ok(())
    }

    /// Prints one thing: `human` writes the table form.
    pub fn one<T: Serialize>(
        &self,
        value: &T,
        name: &str,
        human: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        match &self.format {
            Format::Table => human(&mut out)?,
            Format::Json => write_json(&mut out, value)?,
            Format::Name => writeln!(out, "{name}")?,
            Format::Template(template) => write_template(&mut out, template, value)?,
        }
        out.flush()?;
        Ok(())
    }
}

fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// A table without lines: headings in capitals, two spaces between columns, nothing after the last.
pub fn write_table(
    out: &mut dyn Write,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.0.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(layout) = table.column_mut(index) {
            layout.set_padding((0, 2));
            if column.1 {
                layout.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// `{name}` and `{a.b}` are replaced by the fields of the JSON form; `\n` and `\t` are a line break and a tab.
fn write_template(out: &mut dyn Write, template: &str, value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_value(value)?;
    writeln!(out, "{}", fill(template, &json))
}

fn fill(template: &str, json: &Value) -> String {
    let unescaped = template.replace("\\n", "\n").replace("\\t", "\t");
    let mut filled = String::new();
    let mut rest = unescaped.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((path, tail)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            break;
        };
        let field = path.split('.').try_fold(json, |json, name| match json {
            Value::Array(items) => name
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get(index)),
            json => json.get(name),
        });
        match field {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => filled.push_str(text),
            Some(other) => filled.push_str(&other.to_string()),
        }
        rest = tail;
    }
    filled.push_str(rest);
    filled
}

/// Whether colours and progress bars may be drawn on standard error.
pub fn is_interactive() -> bool {
    io::stderr().is_terminal()
}

/// Whether colours may be used: on a terminal, unless `NO_COLOR` is set to anything.
pub fn may_colour() -> bool {
    is_interactive() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_the_four_of_the_help() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!(
            "template={name}".parse(),
            Ok(Format::Template("{name}".into()))
        );
        assert!(
            "yaml"
                .parse::<Format>()
                .unwrap_err()
                .contains("table, json, name")
        );
    }

    #[test]
    fn templates_take_fields_of_the_json_form() {
        let json = serde_json::json!({"name": "orders", "n": 3, "a": {"b": [7]}, "none": null});
        assert_eq!(
            fill("{name}\\t{n} {a.b.0}{none}{missing}.", &json),
            "orders\t3 7."
        );
        assert_eq!(fill("{name", &json), "{name");
    }

    #[test]
    fn tables_align_numbers_right_and_end_without_blanks() {
        let mut out = Vec::new();
        let columns = [
            Column("name", false),
            Column("records", true),
            Column("x", false),
        ];
        let rows = [
            vec!["a".to_owned(), "1".into(), String::new()],
            vec!["bcd".to_owned(), "1,000".into(), "y".into()],
        ];
        write_table(&mut out, &columns, rows.into_iter()).expect("a vector takes all");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "NAME  RECORDS  X\na           1\nbcd     1,000  y\n");
    }
}
