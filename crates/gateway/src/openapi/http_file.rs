//! `thalweg.http`: every operation as a request that editors can send.

use std::fmt::Write;

use serde_json::Value;

use super::samples::{self, Sample};

/// The file as text.
pub fn requests(document: &Value) -> String {
    let mut text = String::from(
        "# Every operation of Thalweg; editors send a request at a click. Made from the OpenAPI document.\n",
    );
    text.push_str("@base_url = http://localhost:8080\n");
    let samples = samples::all(document);
    let mut variables: Vec<&str> = samples
        .iter()
        .flat_map(|sample| variables_of(&sample.path))
        .collect();
    variables.sort_unstable();
    variables.dedup();
    for name in variables {
        let _ = writeln!(text, "@{name} = example");
    }
    samples
        .iter()
        .for_each(|sample| write_request(&mut text, sample));
    text
}

fn variables_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|part| Some(part.split_once('}')?.0))
}

fn write_request(text: &mut String, sample: &Sample) {
    let path = sample.path.replace('{', "{{").replace('}', "}}");
    let query: Vec<String> = sample
        .query
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let search = if query.is_empty() {
        String::new()
    } else {
        format!("?{}", query.join("&"))
    };
    let title = match sample.summary.is_empty() {
        true => &sample.path,
        false => &sample.summary,
    };
    let _ = write!(
        text,
        "\n### {}: {title}\n{} {{{{base_url}}}}{path}{search}\n",
        sample.tag, sample.method
    );
    if let Some(body) = &sample.body {
        let body = serde_json::to_string_pretty(body).expect("an example is JSON");
        let _ = write!(text, "Content-Type: application/json\n\n{body}\n");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_operation_is_a_request_with_variables() {
        let document = json!({ "paths": { "/v1/a/{id}": { "delete": { "tags": ["A"], "summary": "Delete one" } } } });
        let text = requests(&document);
        assert!(text.contains("@id = example\n"), "{text}");
        assert!(
            text.ends_with("\n### A: Delete one\nDELETE {{base_url}}/v1/a/{{id}}\n"),
            "{text}"
        );
    }
}
