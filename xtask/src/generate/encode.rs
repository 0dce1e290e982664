//! Writes `encode` of a struct.

use super::messages::{Emitter, Side, condition, unimplemented_element};
use super::model::{Field, Kind, Versions};

impl Emitter<'_> {
    pub(super) fn encode(&self) -> String {
        let (flexible, declare) = self.flexible();
        let mut writes = String::new();
        for field in self.shape.fields.iter().filter(|field| field.tag.is_none()) {
            let write = self.write(field, flexible);
            writes += &match condition(field.versions, self.api.versions) {
                None => write,
                Some(when) => format!("if {when} {{\n{write}}}\n"),
            };
        }
        writes += &self.write_tagged(flexible);
        let declare = if writes.contains("flexible") {
            declare
        } else {
            String::new()
        };
        let head = "/// Writes the fields that `version` has.\n\
                    pub fn encode(&self, writer: &mut Writer, VERSION: i16) {";
        self.function(head, &(declare + &writes))
    }

    fn write_tagged(&self, flexible: &str) -> String {
        let mut tagged: Vec<&Field> = self
            .shape
            .fields
            .iter()
            .filter(|field| field.tag.is_some())
            .collect();
        tagged.sort_by_key(|field| field.tag);
        let mut write = String::new();
        match (flexible, tagged.is_empty()) {
            ("false", _) => return write,
            (_, true) => write += "writer.unsigned_varint(0);\n",
            (_, false) => write += &self.write_tags(&tagged),
        }
        if flexible == "true" {
            write
        } else {
            format!("if flexible {{\n{write}}}\n")
        }
    }

    fn write_tags(&self, tagged: &[&Field]) -> String {
        let flexible_from = Versions {
            first: self.api.first_flexible.unwrap_or(0),
            last: Versions::MAX,
        };
        let mut set = Vec::new();
        let mut write = String::new();
        for field in tagged {
            let mut when = self.differs_from_default(field);
            if let Some(range) = condition(field.versions, self.api.versions.within(flexible_from))
            {
                when = format!("{range} && {when}");
            }
            let tag = field.tag.expect("only tagged fields are here");
            write += &format!(
                "if has_{} {{\nwriter.tagged_field({tag}, |writer| {{\n{}}});\n}}\n",
                field.name,
                self.write(field, "true")
            );
            set.push((format!("has_{}", field.name), when));
        }
        let declare: String = set
            .iter()
            .map(|(name, when)| format!("let {name} = {when};\n"))
            .collect();
        let count: Vec<String> = set
            .iter()
            .map(|(name, _)| format!("u32::from({name})"))
            .collect();
        format!(
            "{declare}writer.unsigned_varint({});\n{write}",
            count.join(" + ")
        )
    }

    fn differs_from_default(&self, field: &Field) -> String {
        let name = &field.name;
        match &field.kind {
            _ if self.is_option(field) => format!("self.{name}.is_some()"),
            Kind::String | Kind::Bytes => format!("!self.{name}.is_empty()"),
            _ if field.is_array => format!("!self.{name}.is_empty()"),
            Kind::Bool if field.default.is_none() => format!("self.{name}"),
            _ => format!("self.{name} != {}", self.default_value(field)),
        }
    }

    /// Statements that write the field.
    fn write(&self, field: &Field, flexible: &str) -> String {
        let name = format!("self.{}", field.name);
        if !self.is_option(field) {
            return self.write_plain(field, &name, flexible);
        }
        let nullable = field.nullable.expect("an option is nullable");
        match condition(nullable, field.versions.within(self.api.versions)) {
            None => self.write_nullable(field, &name, flexible),
            Some(when) => {
                let null = self.write_nullable(field, &name, flexible);
                format!(
                    "if {when} {{\n{null}}} else {{\n{}}}\n",
                    self.write_never_null(field, &name, flexible)
                )
            }
        }
    }

    fn write_plain(&self, field: &Field, name: &str, flexible: &str) -> String {
        if field.is_array {
            return format!(
                "writer.array({flexible}, &{name}, {});\n",
                self.write_element(field, flexible)
            );
        }
        match &field.kind {
            Kind::Bool => format!("writer.bool({name});\n"),
            Kind::Int8 => format!("writer.i8({name});\n"),
            Kind::Int16 => format!("writer.i16({name});\n"),
            Kind::Uint16 => format!("writer.u16({name});\n"),
            Kind::Int32 => format!("writer.i32({name});\n"),
            Kind::Int64 => format!("writer.i64({name});\n"),
            Kind::Float64 => format!("writer.f64({name});\n"),
            Kind::Uuid => format!("writer.uuid({name});\n"),
            Kind::String if self.side == Side::Request => {
                format!("writer.string({name}, {flexible});\n")
            }
            Kind::String => format!("writer.string(&{name}, {flexible});\n"),
            Kind::Bytes if self.side == Side::Request => {
                format!("writer.bytes({name}, {flexible});\n")
            }
            Kind::Bytes => format!("writer.bytes(&{name}, {flexible});\n"),
            Kind::Records => format!("writer.records(&{name}, {flexible});\n"),
            Kind::Struct(_) => format!("{name}.encode(writer, version);\n"),
        }
    }

    fn write_nullable(&self, field: &Field, name: &str, flexible: &str) -> String {
        if field.is_array {
            let element = self.write_element(field, flexible);
            return format!("writer.nullable_array({flexible}, {name}.as_deref(), {element});\n");
        }
        let reference = if self.side == Side::Request {
            ""
        } else {
            ".as_deref()"
        };
        match &field.kind {
            Kind::String => format!("writer.nullable_string({name}{reference}, {flexible});\n"),
            Kind::Bytes | Kind::Records => {
                format!("writer.nullable_bytes({name}{reference}, {flexible});\n")
            }
            Kind::Struct(_) => {
                format!(
                    "writer.nullable_struct({name}.as_ref(), |writer, value| value.encode(writer, version));\n"
                )
            }
            _ => unimplemented_element(field),
        }
    }

    /// A version without null writes the empty value.
    fn write_never_null(&self, field: &Field, name: &str, flexible: &str) -> String {
        if field.is_array {
            let element = self.write_element(field, flexible);
            return format!(
                "writer.array({flexible}, {name}.as_deref().unwrap_or_default(), {element});\n"
            );
        }
        let reference = if self.side == Side::Request {
            ""
        } else {
            ".as_deref()"
        };
        match &field.kind {
            Kind::String => {
                format!("writer.string({name}{reference}.unwrap_or_default(), {flexible});\n")
            }
            Kind::Bytes | Kind::Records => {
                format!("writer.bytes({name}{reference}.unwrap_or_default(), {flexible});\n")
            }
            _ => unimplemented_element(field),
        }
    }

    fn write_element(&self, field: &Field, flexible: &str) -> String {
        match &field.kind {
            Kind::Struct(_) => "|writer, value| value.encode(writer, version)".to_owned(),
            Kind::String => format!("|writer, value| writer.string(value, {flexible})"),
            Kind::Int8 => "|writer, value| writer.i8(*value)".to_owned(),
            Kind::Int16 => "|writer, value| writer.i16(*value)".to_owned(),
            Kind::Int32 => "|writer, value| writer.i32(*value)".to_owned(),
            Kind::Int64 => "|writer, value| writer.i64(*value)".to_owned(),
            _ => unimplemented_element(field),
        }
    }
}
