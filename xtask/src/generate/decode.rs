//! Writes `decode` of a struct.

use super::messages::{Emitter, Side, condition, unimplemented_element};
use super::model::{Field, Kind, Versions};

impl Emitter<'_> {
    pub(super) fn decode(&self) -> String {
        let (flexible, declare) = self.flexible();
        let life = if self.borrows() { "<'a>" } else { "<'_>" };
        let mut reads = String::new();
        for field in self.shape.fields.iter().filter(|field| field.tag.is_none()) {
            let read = self.read(field, flexible);
            reads += &match condition(field.versions, self.api.versions) {
                None => format!("let {} = {read};\n", field.name),
                Some(when) => {
                    format!(
                        "let {} = if {when} {{ {read} }} else {{ {} }};\n",
                        field.name,
                        self.default_value(field)
                    )
                }
            };
        }
        reads += &self.read_tagged(flexible);
        let names: Vec<&str> = self
            .shape
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let declare = if reads.contains("flexible") {
            declare
        } else {
            String::new()
        };
        let check = match self.shape.name.as_str() {
            "Request" | "Response" => {
                format!("ApiKey::{}.check_version(version)?;\n", self.api.name)
            }
            _ => String::new(),
        };
        let body = format!(
            "{check}{declare}{reads}Ok(Self {{ {} }})\n",
            names.join(", ")
        );
        let head = format!(
            "/// Reads the fields that `version` has; the others get their defaults.\n\
             pub fn decode(reader: &mut Reader{life}, VERSION: i16) -> Result<Self, DecodeError> {{"
        );
        self.function(&head, &body)
    }

    fn read_tagged(&self, flexible: &str) -> String {
        let tagged: Vec<&Field> = self
            .shape
            .fields
            .iter()
            .filter(|field| field.tag.is_some())
            .collect();
        if flexible == "false" {
            return String::new();
        }
        let mut read = String::new();
        if tagged.is_empty() {
            read += "reader.skip_tagged_fields()?;\n";
        } else {
            read += "reader.tagged_fields(|tag, reader| {\nmatch tag {\n";
            for field in &tagged {
                let flexible_from = Versions {
                    first: self.api.first_flexible.unwrap_or(0),
                    last: Versions::MAX,
                };
                let guard = condition(field.versions, self.api.versions.within(flexible_from))
                    .map(|when| format!(" if {when}"))
                    .unwrap_or_default();
                let tag = field.tag.expect("only tagged fields are here");
                read += &format!(
                    "{tag}{guard} => {} = {},\n",
                    field.name,
                    self.read(field, "true")
                );
            }
            read += "_ => return Ok(false),\n}\nOk(true)\n})?;\n";
        }
        let declare: String = tagged
            .iter()
            .map(|field| format!("let mut {} = {};\n", field.name, self.default_value(field)))
            .collect();
        if flexible == "true" {
            declare + &read
        } else {
            format!("{declare}if flexible {{\n{read}}}\n")
        }
    }

    /// An expression that reads the field; null is an error in the versions that do not allow it.
    fn read(&self, field: &Field, flexible: &str) -> String {
        let Some(nullable) = field.nullable.filter(|_| self.is_option(field)) else {
            return self.read_value(field, flexible, false);
        };
        let null = self.read_value(field, flexible, true);
        match condition(nullable, field.versions.within(self.api.versions)) {
            None => null,
            Some(when) => {
                let never_null = self.read_value(field, flexible, false);
                format!("if {when} {{ {null} }} else {{ Some({never_null}) }}")
            }
        }
    }

    fn read_value(&self, field: &Field, flexible: &str, is_nullable: bool) -> String {
        let nullable = if is_nullable { "nullable_" } else { "" };
        if field.is_array {
            return self.read_array(field, flexible, nullable);
        }
        match &field.kind {
            Kind::Bool => "reader.bool()?".to_owned(),
            Kind::Int8 => "reader.i8()?".to_owned(),
            Kind::Int16 => "reader.i16()?".to_owned(),
            Kind::Uint16 => "reader.u16()?".to_owned(),
            Kind::Int32 => "reader.i32()?".to_owned(),
            Kind::Int64 => "reader.i64()?".to_owned(),
            Kind::Float64 => "reader.f64()?".to_owned(),
            Kind::Uuid => "reader.uuid()?".to_owned(),
            Kind::Records if self.side == Side::Response => format!("reader.records({flexible})?"),
            Kind::String | Kind::Bytes | Kind::Records => {
                let what = if matches!(field.kind, Kind::String) {
                    "string"
                } else {
                    "bytes"
                };
                let read = format!("reader.{nullable}{what}({flexible})?");
                match (self.side, nullable) {
                    (Side::Request, _) => read,
                    (Side::Response, "") => format!("Cow::Borrowed({read})"),
                    (Side::Response, _) => format!("{read}.map(Cow::Borrowed)"),
                }
            }
            Kind::Struct(inner) if is_nullable => {
                format!(
                    "reader.nullable_struct(|reader| {}::decode(reader, version))?",
                    inner.name
                )
            }
            Kind::Struct(inner) => format!("{}::decode(reader, version)?", inner.name),
        }
    }

    fn read_array(&self, field: &Field, flexible: &str, nullable: &str) -> String {
        let least = self.least_size(field);
        let element = match (&field.kind, self.side) {
            (Kind::Struct(inner), _) => format!("|reader| {}::decode(reader, version)", inner.name),
            (Kind::String, Side::Request) => format!("|reader| reader.string({flexible})"),
            (Kind::String, Side::Response) => {
                format!("|reader| reader.string({flexible}).map(Cow::Borrowed)")
            }
            (Kind::Int8, _) => "Reader::i8".to_owned(),
            (Kind::Int16, _) => "Reader::i16".to_owned(),
            (Kind::Int32, _) => "Reader::i32".to_owned(),
            (Kind::Int64, _) => "Reader::i64".to_owned(),
            _ => unimplemented_element(field),
        };
        format!("reader.{nullable}array::<{least}, _>({flexible}, {element})?")
    }

    /// The fewest bytes an element takes in any version that has the array.
    fn least_size(&self, field: &Field) -> usize {
        let range = field.versions.within(self.api.versions);
        let sizes = (range.first..=range.last)
            .map(|version| field.kind.min_size(self.api.is_flexible(version), version));
        sizes.min().unwrap_or(1).max(1)
    }
}
