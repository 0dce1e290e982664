//! Writes `generated/mod.rs` (modules, `ApiKey`) and `generated/error_code.rs`.

use super::model::Api;

/// `generated/mod.rs`: the modules, `ApiKey` and `for_each_api!`.
pub fn index(apis: &[Api]) -> String {
    let mut out = String::from(super::HEADER);
    out += "//! One module per API key, `ApiKey` and `for_each_api!`.\n\nmod error_code;\nmod prelude;\n";
    for api in apis {
        out += &format!("pub mod {};\n", api.module);
    }
    out += "\npub use error_code::ErrorCode;\n\nuse std::ops::RangeInclusive;\n";
    out += "\n/// The kinds of request, by the number that frames carry.\n";
    out += "#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(i16)]\npub enum ApiKey {\n";
    for api in apis {
        out += &format!(
            "/// {}\n{} = {},\n",
            api.docs.first().map_or("", String::as_str),
            api.name,
            api.key
        );
    }
    out += "}\n\nimpl ApiKey {\n/// All keys, in ascending order.\n";
    let all: Vec<String> = apis
        .iter()
        .map(|api| format!("ApiKey::{}", api.name))
        .collect();
    out += &format!(
        "pub const ALL: [ApiKey; {}] = [{}];\n",
        apis.len(),
        all.join(", ")
    );
    out += "\n/// The name in Kafka's specification, such as `ListOffsets`.\npub const fn name(self) -> &'static str {\nmatch self {\n";
    for api in apis {
        out += &format!("ApiKey::{0} => \"{0}\",\n", api.name);
    }
    out += "}\n}\n\n/// The versions that the definitions describe.\npub const fn versions(self) -> RangeInclusive<i16> {\nmatch self {\n";
    for api in apis {
        out += &format!(
            "ApiKey::{} => {}..={},\n",
            api.name, api.versions.first, api.versions.last
        );
    }
    out += "}\n}\n\n/// The first version with compact lengths and tagged fields (KIP-482), if any has them.\n\
            pub const fn first_flexible(self) -> Option<i16> {\nmatch self {\n";
    for api in apis {
        out += &format!("ApiKey::{} => {:?},\n", api.name, api.first_flexible);
    }
    out += "}\n}\n\npub(crate) const fn from_number(number: i16) -> Option<ApiKey> {\nmatch number {\n";
    for api in apis {
        out += &format!("{} => Some(ApiKey::{}),\n", api.key, api.name);
    }
    out + "_ => None,\n}\n}\n}\n" + &for_each(apis)
}

fn for_each(apis: &[Api]) -> String {
    let mut out = String::from(
        "\n/// Calls `callback!` once with all APIs as `(Name, module),` pairs, so that code can be written for every key at once.\n\
         #[macro_export]\nmacro_rules! for_each_api {\n($callback:ident) => {\n$callback! {\n",
    );
    for api in apis {
        out += &format!("({}, {}),\n", api.name, api.module);
    }
    out + "}\n};\n}\n"
}

/// One line of `error_codes.table`.
pub struct ErrorLine {
    pub code: i16,
    pub name: String,
    pub retriable: bool,
    pub message: String,
}

/// Reads `CODE NAME retriable|final message` lines.
pub fn parse_errors(text: &str) -> Result<Vec<ErrorLine>, String> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let mut words = line.splitn(4, ' ');
            let mut word = || {
                words
                    .next()
                    .ok_or(format!("line {}: a column is missing", number + 1))
            };
            let code = word()?
                .parse()
                .map_err(|_| format!("line {}: no code", number + 1))?;
            let name = word()?.to_owned();
            let retriable = word()? == "retriable";
            Ok(ErrorLine {
                code,
                name,
                retriable,
                message: word()?.to_owned(),
            })
        })
        .collect()
}

/// `generated/error_code.rs`.
pub fn error_codes(lines: &[ErrorLine]) -> String {
    let mut out = String::from(super::HEADER);
    out += "//! The error codes of the protocol.\n\n/// An error code of the protocol; `NONE` is no error.\n";
    out +=
        "#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]\n#[repr(i16)]\npub enum ErrorCode {\n";
    for line in lines {
        out += &format!(
            "/// {}: {}.\n{} = {},\n",
            line.name,
            line.message,
            camel_case(&line.name),
            line.code
        );
    }
    out += "}\n\nimpl ErrorCode {\n/// All codes, in ascending order.\n";
    let all: Vec<String> = lines
        .iter()
        .map(|line| format!("ErrorCode::{}", camel_case(&line.name)))
        .collect();
    out += &format!(
        "pub const ALL: [ErrorCode; {}] = [{}];\n",
        lines.len(),
        all.join(", ")
    );
    out += "\n/// The number on the wire.\npub const fn code(self) -> i16 {\nself as i16\n}\n";
    out += "\n/// The code of a number, or none when it is newer than this table.\npub const fn from_code(code: i16) -> Option<ErrorCode> {\nmatch code {\n";
    for line in lines {
        out += &format!(
            "{} => Some(ErrorCode::{}),\n",
            line.code,
            camel_case(&line.name)
        );
    }
    out += "_ => None,\n}\n}\n\n/// The name in Kafka's specification, such as `UNKNOWN_TOPIC_OR_PARTITION`.\npub const fn name(self) -> &'static str {\nmatch self {\n";
    for line in lines {
        out += &format!(
            "ErrorCode::{} => {:?},\n",
            camel_case(&line.name),
            line.name
        );
    }
    out += "}\n}\n\n/// What it means, for people: lower case, without a full stop.\npub const fn message(self) -> &'static str {\nmatch self {\n";
    for line in lines {
        out += &format!(
            "ErrorCode::{} => {:?},\n",
            camel_case(&line.name),
            line.message
        );
    }
    let retriable: Vec<String> = lines
        .iter()
        .filter(|line| line.retriable)
        .map(|line| format!("ErrorCode::{}", camel_case(&line.name)))
        .collect();
    out += "}\n}\n\n/// Whether the same request may succeed later.\npub const fn is_retriable(self) -> bool {\n";
    out + &format!("matches!(self, {})\n}}\n}}\n", retriable.join(" | "))
}

/// `UNKNOWN_TOPIC_ID` → `UnknownTopicId`.
fn camel_case(name: &str) -> String {
    name.split('_')
        .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
        .collect()
}
