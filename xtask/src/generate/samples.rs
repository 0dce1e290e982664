//! Writes test code for one API: random messages, and the same message for the crate that tests compare with.

use super::messages::{Side, argument, condition};
use super::model::{Api, Field, Kind, Struct};

/// Fields of versions that are newer than the other implementation, with their API.
const UNKNOWN_TO_THE_ORACLE: [(&str, &str); 10] = [
    ("ApiVersions", "cluster_id"),
    ("ApiVersions", "node_id"),
    ("DeleteGroups", "error_message"),
    ("DescribeLogDirs", "is_cordoned"),
    ("DescribeShareGroupOffsets", "lag"),
    ("ShareAcknowledge", "acquisition_lock_timeout_ms"),
    ("ShareAcknowledge", "is_renew_ack"),
    ("ShareFetch", "is_renew_ack"),
    ("ShareFetch", "share_acquire_mode"),
    ("WriteTxnMarkers", "transaction_version"),
];

/// APIs that the other implementation does not have.
const ABSENT_FROM_THE_ORACLE: [&str; 2] = ["StreamsGroupDescribe", "StreamsGroupHeartbeat"];

/// Fields that the other implementation calls differently: API, ours, theirs.
const RENAMED_IN_THE_ORACLE: [(&str, &str, &str); 1] =
    [("DescribeClientQuotas", "matched", "_match")];

/// The test module of `api`, not yet formatted.
pub fn module(api: &Api) -> String {
    let mut out = String::from(super::HEADER);
    out += &format!(
        "//! Random {} messages, and the same for the crate that tests compare with.\n\n",
        api.name
    );
    out += &format!("use crate::prelude::*;\nuse wire::{}::*;\n", api.module);
    for (message, side) in [
        (&api.request, Side::Request),
        (&api.response, Side::Response),
    ] {
        out += &case(api, message);
        for shape in super::messages::structs(message) {
            out += &random(api, side, shape);
        }
        if is_in_the_oracle(api) {
            out += &fill(api, message);
        }
    }
    out
}

/// `generated/mod.rs` of the tests: the list of all cases.
pub fn index(apis: &[Api]) -> String {
    let mut out = String::from(super::HEADER);
    out += "//! Every request and response that the tests try.\n\nuse crate::prelude::Case;\n\n";
    let modules: String = apis
        .iter()
        .map(|api| format!("mod {};\n", api.module))
        .collect();
    let cases: String = apis
        .iter()
        .map(|api| format!("{0}::REQUEST, {0}::RESPONSE,\n", api.module))
        .collect();
    out + &format!(
        "{modules}\npub const CASES: [Case; {}] = [{cases}];\n",
        2 * apis.len()
    )
}

fn is_in_the_oracle(api: &Api) -> bool {
    !ABSENT_FROM_THE_ORACLE.contains(&api.name.as_str())
}

fn case(api: &Api, message: &Struct) -> String {
    let (name, upper, lower) = (
        &message.name,
        message.name.to_uppercase(),
        message.name.to_lowercase(),
    );
    let (versions, agree) = comparison(api, name, &lower);
    format!(
        "\npub const {upper}: Case = Case {{
            name: \"{api} {lower}\",
            key: ApiKey::{api},
            oracle: {versions},
            encode: |source, version| written(|writer| random_{lower}(source, version).encode(writer, version)),
            decode: |reader, version| {name}::decode(reader, version).map(drop),
            decode_twice: |reader, version| {{
                let Ok(first) = {name}::decode(reader, version) else {{ return }};
                reads_back(|writer| first.encode(writer, version), |reader| Ok({name}::decode(reader, version)? == first));
            }},
            round_trip: |source, version| {{
                let ours = random_{lower}(source, version);
                reads_back(|writer| ours.encode(writer, version), |reader| Ok({name}::decode(reader, version)? == ours));
            }},
            agree: {agree},
        }};\n",
        api = api.name,
    )
}

/// The versions that the other implementation knows, and a closure that compares with it.
fn comparison(api: &Api, name: &str, lower: &str) -> (String, String) {
    if !is_in_the_oracle(api) {
        return ("oracle::NONE".to_owned(), "|_, _| {}".to_owned());
    }
    let theirs = format!("oracle::{}{name}", api.name);
    let agree = format!(
        "|source, version| {{
            let ours = random_{lower}(source, version);
            let mut theirs = {theirs}::default();
            fill_{lower}(&ours, &mut theirs, version);
            agrees(theirs, version, |writer| ours.encode(writer, version), |reader| Ok({name}::decode(reader, version)? == ours));
        }}"
    );
    (format!("<{theirs} as oracle::Message>::VERSIONS"), agree)
}

/// A function per struct that makes a random value with the fields of `version` and defaults elsewhere.
fn random(api: &Api, side: Side, shape: &Struct) -> String {
    let borrows = super::messages::borrows(shape, side);
    let life = if borrows { "<'static>" } else { "" };
    let mut body = String::new();
    for field in &shape.fields {
        let value = random_value(api, field);
        let set = format!("value.{} = {value};\n", field.name);
        body += &match condition(field.versions, api.versions) {
            None => set,
            Some(when) => format!("if {when} {{\n{set}}}\n"),
        };
    }
    let version = argument("version", &body);
    format!(
        "\n#[allow(clippy::field_reassign_with_default)]\nfn random_{}(source: &mut Source, {version}: i16) -> {}{life} {{\n\
         let mut value = {}::default();\n{body}value\n}}\n",
        super::parse::snake_case(&shape.name),
        shape.name,
        shape.name
    )
}

fn random_value(api: &Api, field: &Field) -> String {
    let plain = match &field.kind {
        Kind::Struct(inner) => format!(
            "random_{}(source, version)",
            super::parse::snake_case(&inner.name)
        ),
        _ => "source.random()".to_owned(),
    };
    let plain = if field.is_array {
        format!("source.array(|source| {plain})")
    } else {
        plain
    };
    let Some(nullable) = field.nullable else {
        return plain;
    };
    if matches!(field.kind, Kind::Records) {
        return "source.random()".to_owned();
    }
    match condition(nullable, field.versions.within(api.versions)) {
        None => format!("source.nullable(true, |source| {plain})"),
        Some(when) => format!("source.nullable({when}, |source| {plain})"),
    }
}

/// A function that copies a message field by field, by name.
fn fill(api: &Api, message: &Struct) -> String {
    let body = fill_fields(api, message);
    let version = argument("version", &body);
    format!(
        "\nfn fill_{}(ours: &{}, theirs: &mut oracle::{}{}, {version}: i16) {{\n{body}}}\n",
        message.name.to_lowercase(),
        message.name,
        api.name,
        message.name
    )
}

fn fill_fields(api: &Api, shape: &Struct) -> String {
    let mut out = String::new();
    for field in &shape.fields {
        let copy = fill_field(api, field);
        if copy.is_empty() {
            continue;
        }
        out += &match condition(field.versions, api.versions) {
            None => copy,
            Some(when) => format!("if {when} {{\n{copy}}}\n"),
        };
    }
    out
}

fn fill_field(api: &Api, field: &Field) -> String {
    let name = &field.name;
    if UNKNOWN_TO_THE_ORACLE.contains(&(&api.name, name)) {
        return String::new();
    }
    let mut renamed = RENAMED_IN_THE_ORACLE.iter();
    let renamed = renamed.find(|(of, ours, _)| *of == api.name && ours == name);
    let theirs = renamed.map_or(name.as_str(), |(_, _, theirs)| theirs);
    let Kind::Struct(inner) = &field.kind else {
        return format!("put(&mut theirs.{theirs}, &ours.{name});\n");
    };
    let body = fill_fields(api, inner);
    match (field.is_array, field.is_nullable()) {
        (false, false) => {
            format!("{{\nlet (ours, theirs) = (&ours.{name}, &mut theirs.{name});\n{body}}}\n")
        }
        (true, false) => {
            format!(
                "for ours in &ours.{name} {{\nlet theirs = added(&mut theirs.{name});\n{body}}}\n"
            )
        }
        (false, true) => format!(
            "theirs.{name} = None;\nif let Some(ours) = &ours.{name} {{\n\
             let theirs = theirs.{name}.get_or_insert_default();\n{body}}}\n"
        ),
        (true, true) => format!(
            "theirs.{name} = None;\nif let Some(ours) = &ours.{name} {{\n\
             let theirs = theirs.{name}.get_or_insert_default();\nfor ours in ours {{\n\
             let theirs = added(theirs);\n{body}}}\n}}\n"
        ),
    }
}
