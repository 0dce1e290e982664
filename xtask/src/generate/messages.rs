//! Writes the Rust module of one API: structs and defaults; `decode` and `encode` write the two functions of each.

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

/// The struct and all that are nested in it, each once, with its first line of documentation.
fn collect<'a>(shape: &'a Struct, docs: String, into: &mut Vec<(&'a Struct, String)>) {
    if into.iter().any(|(other, _)| other.name == shape.name) {
        return;
    }
    let docs = match shape.docs.is_empty() {
        true => docs,
        false => shape.docs.join("\n/// "),
    };
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

/// The struct and all that are nested in it, each once.
pub fn structs(message: &Struct) -> Vec<&Struct> {
    let mut structs = Vec::new();
    collect(message, String::new(), &mut structs);
    structs.into_iter().map(|(shape, _)| shape).collect()
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

/// The name of an argument, underscored when the body does not use it.
pub fn argument(name: &str, body: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    match body
        .split(|letter| !is_word(letter))
        .any(|word| word == name)
    {
        true => name.to_owned(),
        false => format!("_{name}"),
    }
}

pub struct Emitter<'a> {
    pub(super) api: &'a Api,
    pub(super) side: Side,
    pub(super) shape: &'a Struct,
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

    pub(super) fn borrows(&self) -> bool {
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
            Kind::Uint16 => "u16".to_owned(),
            Kind::Int32 => "i32".to_owned(),
            Kind::Int64 => "i64".to_owned(),
            Kind::Float64 => "Float64".to_owned(),
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
    pub(super) fn is_option(&self, field: &Field) -> bool {
        field.is_nullable() && !(self.side == Side::Response && matches!(field.kind, Kind::Records))
    }

    /// What the field is in a version that does not have it.
    pub(super) fn default_value(&self, field: &Field) -> String {
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
            (Kind::Float64, None) => "Float64::default()".to_owned(),
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
    pub(super) fn flexible(&self) -> (&'static str, String) {
        match self.api.first_flexible {
            None => ("false", String::new()),
            Some(first) if first <= self.api.versions.first => ("true", String::new()),
            Some(first) => ("flexible", format!("let flexible = version >= {first};\n")),
        }
    }

    /// Opens `fn`, with unused arguments underscored by what the body mentions.
    pub(super) fn function(&self, head: &str, body: &str) -> String {
        let version = argument("version", body);
        format!("{}\n{body}}}\n", head.replace("VERSION", &version))
    }
}

/// The definitions have no such field yet; the generator learns it when one does.
pub fn unimplemented_element(field: &Field) -> String {
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
