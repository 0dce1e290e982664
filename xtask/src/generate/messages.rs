//! Writes the Rust module of one API: structs, defaults, `decode`, `encode`.

use super::model::{Api, Field, Kind, Struct, Versions};

/// Which side of the connection a struct belongs to: requests borrow, responses may own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Request,
    Response,
}

/// The whole module of `api`, not yet formatted.
pub fn module(api: &Api) -> String {
    let mut out = String::from(super::HEADER);
    for (line, doc) in api.docs.iter().enumerate() {
        out += &format!(
            "//! {doc}\n{}",
            if line == 0 && api.docs.len() > 1 {
                "//!\n"
            } else {
                ""
            }
        );
    }
    out += "\n#[allow(unused_imports)]\nuse super::prelude::*;\n";
    for (message, side) in [
        (&api.request, Side::Request),
        (&api.response, Side::Response),
    ] {
        let mut structs = Vec::new();
        collect(message, String::new(), &mut structs);
        for (shape, docs) in structs {
            out += &Emitter { api, side, shape }.emit(&docs);
        }
    }
    out + &traits(api)
}

/// The struct and all that are nested in it, each with its first line of documentation.
fn collect<'a>(shape: &'a Struct, docs: String, into: &mut Vec<(&'a Struct, String)>) {
    into.push((shape, docs));
    for field in &shape.fields {
        if let Kind::Struct(inner) = &field.kind {
            let what = if field.is_array {
                "One of"
            } else {
                "The value of"
            };
            collect(
                inner,
                format!("{what} [`{}::{}`].", shape.name, field.name),
                into,
            );
        }
    }
}

/// Whether the struct holds anything that borrows from the frame.
pub fn borrows(shape: &Struct, side: Side) -> bool {
    shape.fields.iter().any(|field| match &field.kind {
        Kind::String | Kind::Bytes => true,
        Kind::Records => side == Side::Request,
        Kind::Struct(inner) => borrows(inner, side),
        _ => false,
    })
}

/// A condition on `version`, or none when it always holds within `outer`.
pub fn condition(range: Versions, outer: Versions) -> Option<String> {
    let range = range.within(outer);
    match (range.first > outer.first, range.last < outer.last) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", range.first)),
        (false, true) => Some(format!("version <= {}", range.last)),
        (true, true) if range.first == range.last => Some(format!("version == {}", range.first)),
        (true, true) => Some(format!(
            "({}..={}).contains(&version)",
            range.first, range.last
        )),
    }
}

struct Emitter<'a> {
    api: &'a Api,
    side: Side,
    shape: &'a Struct,
}

impl Emitter<'_> {
    fn emit(&self, docs: &str) -> String {
        let Emitter { shape, .. } = self;
        let docs = match shape.name.as_str() {
            "Request" => format!("The {} request.", self.api.name),
            "Response" => format!("The {} response.", self.api.name),
            _ => docs.to_owned(),
        };
        let derive = if self.derives_default() {
            "Default, "
        } else {
            ""
        };
        let mut out = format!("\n/// {docs}\n#[derive(Debug, Clone, {derive}PartialEq, Eq)]\n");
        out += &format!("pub struct {}{} {{\n", shape.name, self.lifetime("'a"));
        for field in &shape.fields {
            out += &self.field_docs(field);
            out += &format!("pub {}: {},\n", field.name, self.rust_type(field));
        }
        out += "}\n";
        if !self.derives_default() {
            out += &self.default_impl();
        }
        let life = if self.borrows() { "<'a>" } else { "" };
        out += &format!(
            "\nimpl{life} {}{life} {{\n{}\n{}}}\n",
            shape.name,
            self.decode(),
            self.encode()
        );
        out
    }

    fn borrows(&self) -> bool {
        borrows(self.shape, self.side)
    }

    fn lifetime(&self, name: &str) -> String {
        if self.borrows() {
            format!("<{name}>")
        } else {
            String::new()
        }
    }

    /// The documentation of a field, with the versions that have it when not all do.
    fn field_docs(&self, field: &Field) -> String {
        let (range, all) = (field.versions, self.api.versions);
        let only = match condition(range, all) {
            None => ".".to_owned(),
            Some(_) if range.last >= all.last => format!(" (v{}+).", range.first),
            Some(_) if range.first == range.last => format!(" (v{}).", range.first),
            Some(_) => format!(" (v{}–{}).", range.first, range.last),
        };
        let docs = field.docs.join("\n/// ");
        format!("/// {}{only}\n", docs.trim_end_matches('.'))
    }

    fn element_type(&self, kind: &Kind) -> String {
        let (string, bytes) = match self.side {
            Side::Request => ("&'a str", "&'a [u8]"),
            Side::Response => ("Cow<'a, str>", "Cow<'a, [u8]>"),
        };
        match kind {
            Kind::Bool => "bool".to_owned(),
            Kind::Int8 => "i8".to_owned(),
            Kind::Int16 => "i16".to_owned(),
            Kind::Int32 => "i32".to_owned(),
            Kind::Int64 => "i64".to_owned(),
            Kind::Uuid => "Uuid".to_owned(),
            Kind::String => string.to_owned(),
            Kind::Bytes => bytes.to_owned(),
            Kind::Records if self.side == Side::Request => bytes.to_owned(),
            Kind::Records => "Records".to_owned(),
            Kind::Struct(inner) if borrows(inner, self.side) => format!("{}<'a>", inner.name),
            Kind::Struct(inner) => inner.name.clone(),
        }
    }

    fn rust_type(&self, field: &Field) -> String {
        let element = self.element_type(&field.kind);
        let plain = if field.is_array {
            format!("Vec<{element}>")
        } else {
            element
        };
        if self.is_option(field) {
            format!("Option<{plain}>")
        } else {
            plain
        }
    }

    /// Response records are never null in Rust: no records and null read the same.
    fn is_option(&self, field: &Field) -> bool {
        field.is_nullable() && !(self.side == Side::Response && matches!(field.kind, Kind::Records))
    }

    /// What the field is in a version that does not have it.
    fn default_value(&self, field: &Field) -> String {
        if self.is_option(field) {
            return "None".to_owned();
        }
        if field.is_array {
            return "Vec::new()".to_owned();
        }
        match (&field.kind, &field.default) {
            (_, Some(default)) if default == "9223372036854775807" => "i64::MAX".to_owned(),
            (_, Some(default)) if default == "2147483647" => "i32::MAX".to_owned(),
            (_, Some(default)) if default == "-2147483648" => "i32::MIN".to_owned(),
            (_, Some(default)) => default.clone(),
            (Kind::Bool, None) => "false".to_owned(),
            (Kind::Uuid, None) => "Uuid::ZERO".to_owned(),
            (Kind::String, None) if self.side == Side::Request => "\"\"".to_owned(),
            (Kind::String, None) => "Cow::Borrowed(\"\")".to_owned(),
            (Kind::Bytes | Kind::Records, None) if self.side == Side::Request => "&[]".to_owned(),
            (Kind::Bytes, None) => "Cow::Borrowed(&[])".to_owned(),
            (Kind::Records, None) => "Records::default()".to_owned(),
            (Kind::Struct(inner), None) => format!("{}::default()", inner.name),
            (_, None) => "0".to_owned(),
        }
    }

    fn derives_default(&self) -> bool {
        self.shape
            .fields
            .iter()
            .all(|field| field.default.is_none())
    }

    fn default_impl(&self) -> String {
        let mut out = format!(
            "\nimpl Default for {}{} {{\nfn default() -> Self {{\nSelf {{\n",
            self.shape.name,
            self.lifetime("'_")
        );
        for field in &self.shape.fields {
            out += &format!("{}: {},\n", field.name, self.default_value(field));
        }
        out + "}\n}\n}\n"
    }

    /// `true`, `false` or the variable `flexible`, and the line that declares it.
    fn flexible(&self) -> (&'static str, String) {
        match self.api.first_flexible {
            None => ("false", String::new()),
            Some(first) if first <= self.api.versions.first => ("true", String::new()),
            Some(first) => ("flexible", format!("let flexible = version >= {first};\n")),
        }
    }

    /// Opens `fn`, with unused arguments underscored by what the body mentions.
    fn function(&self, head: &str, body: &str) -> String {
        let version = if body.contains("version") {
            "version"
        } else {
            "_version"
        };
        format!("{}\n{body}}}\n", head.replace("VERSION", version))
    }

    fn decode(&self) -> String {
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

    /// An expression that reads the field.
    fn read(&self, field: &Field, flexible: &str) -> String {
        if field.is_array {
            return self.read_array(field, flexible);
        }
        let nullable = if self.is_option(field) {
            "nullable_"
        } else {
            ""
        };
        match &field.kind {
            Kind::Bool => "reader.bool()?".to_owned(),
            Kind::Int8 => "reader.i8()?".to_owned(),
            Kind::Int16 => "reader.i16()?".to_owned(),
            Kind::Int32 => "reader.i32()?".to_owned(),
            Kind::Int64 => "reader.i64()?".to_owned(),
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
            Kind::Struct(inner) if field.is_nullable() => {
                format!(
                    "reader.nullable_struct(|reader| {}::decode(reader, version))?",
                    inner.name
                )
            }
            Kind::Struct(inner) => format!("{}::decode(reader, version)?", inner.name),
        }
    }

    fn read_array(&self, field: &Field, flexible: &str) -> String {
        let nullable = if self.is_option(field) {
            "nullable_"
        } else {
            ""
        };
        let least = self.least_size(field);
        let element = match (&field.kind, self.side) {
            (Kind::Struct(inner), _) => format!("|reader| {}::decode(reader, version)", inner.name),
            (Kind::String, Side::Request) => format!("|reader| reader.string({flexible})"),
            (Kind::String, Side::Response) => {
                format!("|reader| reader.string({flexible}).map(Cow::Borrowed)")
            }
            (Kind::Int32, _) => "Reader::i32".to_owned(),
            _ => unimplemented_element(field),
        };
        format!("reader.{nullable}array({flexible}, {least}, {element})?")
    }

    /// The fewest bytes an element takes in any version that has the array.
    fn least_size(&self, field: &Field) -> usize {
        let range = field.versions.within(self.api.versions);
        let sizes = (range.first..=range.last)
            .map(|version| field.kind.min_size(self.api.is_flexible(version), version));
        sizes.min().unwrap_or(1).max(1)
    }

    fn encode(&self) -> String {
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
            Kind::Int32 => format!("writer.i32({name});\n"),
            Kind::Int64 => format!("writer.i64({name});\n"),
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
            Kind::Int32 => "|writer, value| writer.i32(*value)".to_owned(),
            _ => unimplemented_element(field),
        }
    }
}

/// The definitions have no such field yet; the generator learns it when one does.
fn unimplemented_element(field: &Field) -> String {
    panic!(
        "`{}`: no such array or nullable type yet; add it to xtask/src/generate/messages.rs",
        field.name
    )
}

fn traits(api: &Api) -> String {
    let request_life = if borrows(&api.request, Side::Request) {
        "<'a>"
    } else {
        ""
    };
    let response = |life: &str| match borrows(&api.response, Side::Response) {
        true => format!("Response<{life}>"),
        false => "Response".to_owned(),
    };
    let both = |name: &str, of: &str, extra: &str| {
        format!(
            "\nimpl<'a> crate::{name}<'a> for {of} {{\nconst KEY: ApiKey = ApiKey::{};\n{extra}\
             fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {{\nSelf::decode(reader, version)\n}}\n\
             fn encode(&self, writer: &mut Writer, version: i16) {{\nself.encode(writer, version);\n}}\n}}\n",
            api.name
        )
    };
    let associated = format!("type Response<'r> = {};\n", response("'r"));
    both("Request", &format!("Request{request_life}"), &associated)
        + &both("Response", &response("'a"), "")
}
