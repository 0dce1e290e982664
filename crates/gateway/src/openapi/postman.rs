//! The Postman collection (v2.1): a folder per tag, a request per operation, `{{base_url}}` and path parameters as variables.

use serde_json::{Value, json};

use super::samples::{self, Sample};

const SCHEMA: &str = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json";

/// The collection as text.
pub fn collection(document: &Value) -> String {
    let mut folders: Vec<(String, Vec<Value>)> = Vec::new();
    for sample in samples::all(document) {
        let item = item(&sample);
        match folders.last_mut() {
            Some((tag, items)) if *tag == sample.tag => items.push(item),
            _ => folders.push((sample.tag, vec![item])),
        }
    }
    let folders = folders
        .into_iter()
        .map(|(name, item)| json!({ "name": name, "item": item }));
    let collection = json!({
        "info": { "name": "Thalweg", "schema": SCHEMA },
        "item": folders.collect::<Vec<_>>(),
        "variable": [{ "key": "base_url", "value": "http://localhost:8080" }],
    });
    let mut text = serde_json::to_string_pretty(&collection).expect("a collection is JSON");
    text.push('\n');
    text
}

fn item(sample: &Sample) -> Value {
    let path = as_variables(&sample.path);
    let query = sample
        .query
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": value }));
    let query: Vec<Value> = query.collect();
    let pairs: Vec<String> = sample
        .query
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let search = match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    };
    let mut request = json!({
        "method": sample.method,
        "url": {
            "raw": format!("{{{{base_url}}}}{path}{search}"),
            "host": ["{{base_url}}"],
            "path": path.trim_start_matches('/').split('/').collect::<Vec<_>>(),
            "query": query,
        },
    });
    if let Some(body) = &sample.body {
        let raw = serde_json::to_string_pretty(body).expect("an example is JSON");
        request["header"] = json!([{ "key": "Content-Type", "value": "application/json" }]);
        request["body"] =
            json!({ "mode": "raw", "raw": raw, "options": { "raw": { "language": "json" } } });
    }
    let name = match sample.summary.is_empty() {
        true => format!("{} {}", sample.method, sample.path),
        false => sample.summary.clone(),
    };
    json!({ "name": name, "request": request })
}

/// `/topics/{topic}` as `/topics/{{topic}}`.
fn as_variables(path: &str) -> String {
    path.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_per_tag_and_a_request_per_operation() {
        let document = json!({ "paths": {
            "/v1/a/{id}": { "get": { "tags": ["A"], "summary": "One" } },
            "/v1/b": { "get": { "tags": ["B"] } },
        } });
        let collection: Value = serde_json::from_str(&collection(&document)).expect("JSON");
        assert_eq!(
            collection["item"][0]["item"][0]["request"]["url"]["raw"],
            "{{base_url}}/v1/a/{{id}}"
        );
        assert_eq!(collection["item"][1]["item"][0]["name"], "GET /v1/b");
    }
}
