//! What a message definition says, as plain data: made by `parse`, read by `messages` and `oracle`.

/// An inclusive range of versions; `MAX` as the end means "and all later ones".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub first: i16,
    pub last: i16,
}

impl Versions {
    pub const MAX: i16 = i16::MAX;

    /// The versions that are in both.
    pub fn within(self, outer: Versions) -> Versions {
        Versions {
            first: self.first.max(outer.first),
            last: self.last.min(outer.last),
        }
    }

    pub fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }
}

/// One file of `crates/wire/messages`: a request and its response.
#[derive(Debug)]
pub struct Api {
    pub name: String,
    pub module: String,
    pub key: i16,
    pub versions: Versions,
    pub first_flexible: Option<i16>,
    pub docs: Vec<String>,
    pub request: Struct,
    pub response: Struct,
}

impl Api {
    pub fn is_flexible(&self, version: i16) -> bool {
        self.first_flexible.is_some_and(|first| version >= first)
    }
}

#[derive(Debug, Clone)]
pub struct Struct {
    pub name: String,
    /// What a struct that several fields share is; others are documented by their field.
    pub docs: Vec<String>,
    pub fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub docs: Vec<String>,
    pub kind: Kind,
    pub is_array: bool,
    /// The versions that have the field, within those of the message.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Option<Versions>,
    pub tag: Option<u32>,
    pub default: Option<String>,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(Struct),
}

impl Kind {
    pub fn scalar(word: &str) -> Option<Kind> {
        Some(match word {
            "bool" => Kind::Bool,
            "i8" => Kind::Int8,
            "i16" => Kind::Int16,
            "u16" => Kind::Uint16,
            "i32" => Kind::Int32,
            "i64" => Kind::Int64,
            "f64" => Kind::Float64,
            "uuid" => Kind::Uuid,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            _ => return None,
        })
    }

    /// The fewest bytes a value takes on the wire; a hostile count is checked against it.
    pub fn min_size(&self, flexible: bool, version: i16) -> usize {
        match self {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 => 4,
            Kind::Int64 | Kind::Float64 => 8,
            Kind::Uuid => 16,
            Kind::String => {
                if flexible {
                    1
                } else {
                    2
                }
            }
            Kind::Bytes | Kind::Records => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Kind::Struct(shape) => shape.min_size(flexible, version),
        }
    }
}

impl Struct {
    fn min_size(&self, flexible: bool, version: i16) -> usize {
        let fields = self
            .fields
            .iter()
            .filter(|field| field.tag.is_none() && field.versions.contains(version));
        fields
            .map(|field| field.min_size(flexible, version))
            .sum::<usize>()
            + usize::from(flexible)
    }
}

impl Field {
    fn min_size(&self, flexible: bool, version: i16) -> usize {
        match &self.kind {
            _ if self.is_array => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Kind::Struct(_) if self.nullable.is_some() => 1,
            kind => kind.min_size(flexible, version),
        }
    }

    pub fn is_nullable(&self) -> bool {
        self.nullable.is_some()
    }
}
