//! Every operation as a request that can be sent: what the Postman collection and `docs/reference/thalweg.http` are made of.
//!
//! Made from the OpenAPI document, so that neither can name a path that is not there. Bodies are the smallest that the schema
//! describes; where a body takes several media types it is JSON.

use serde_json::{Map, Value, json};

/// Schemas nest no deeper in an example.
const MOST_DEPTH: usize = 6;
const METHODS: &[&str] = &["get", "post", "put", "patch", "delete"];

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub tag: String,
    pub summary: String,
    /// In capitals.
    pub method: String,
    /// With `{name}` for what varies.
    pub path: String,
    /// The query parameters that must be given, with an example.
    pub query: Vec<(String, String)>,
    pub body: Option<Value>,
}

/// All operations, by tag and path.
pub fn all(document: &Value) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get(*method) {
                samples.push(sample(document, path, method, operation));
            }
        }
    }
    samples.sort_by(|a, b| (&a.tag, &a.path).cmp(&(&b.tag, &b.path)));
    samples
}

fn sample(document: &Value, path: &str, method: &str, operation: &Value) -> Sample {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let must = |parameter: &&Value| parameter["in"] == "query" && parameter["required"] == true;
    let query = parameters.filter(must).map(|parameter| {
        let example = example(document, &parameter["schema"], 0);
        (text(&parameter["name"]), plain(&example))
    });
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    Sample {
        tag: text(&operation["tags"][0]),
        summary: text(&operation["summary"]),
        method: method.to_uppercase(),
        path: path.to_owned(),
        query: query.collect(),
        body: (!schema.is_null()).then(|| example(document, schema, 0)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The smallest value of a schema: what must be there, or the first field when nothing must.
fn example(document: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolve(document, schema);
    for given in ["example", "default"] {
        if let Some(value) = schema.get(given) {
            return value.clone();
        }
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    let options = ["oneOf", "anyOf", "allOf"];
    let option = options
        .iter()
        .filter_map(|name| schema[*name].as_array())
        .flatten();
    if let Some(option) = option.into_iter().find(|option| option["type"] != "null") {
        return example(document, option, depth + 1);
    }
    match kind(schema) {
        _ if depth > MOST_DEPTH => Value::Null,
        "array" => json!([example(document, &schema["items"], depth + 1)]),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(0)),
        "boolean" => json!(false),
        "string" => json!("example"),
        "object" => object(document, schema, depth),
        _ => json!({}),
    }
}

fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or(""),
        kind => kind.as_str().unwrap_or(""),
    }
}

fn object(document: &Value, schema: &Value, depth: usize) -> Value {
    let Some(properties) = schema["properties"].as_object() else {
        return json!({});
    };
    let required = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut names: Vec<&str> = required.collect();
    if names.is_empty() {
        names.extend(properties.keys().next().map(String::as_str));
    }
    let fields = names.into_iter().filter_map(|name| {
        let value = example(document, properties.get(name)?, depth + 1);
        Some((name.to_owned(), value))
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"]
        .as_str()
        .and_then(|target| target.strip_prefix('#'))
    {
        Some(pointer) => document.pointer(pointer).unwrap_or(&Value::Null),
        None => schema,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_becomes_the_smallest_request() {
        let document = json!({
            "paths": { "/v1/things": { "post": {
                "tags": ["Things"], "summary": "Make a thing",
                "parameters": [{ "in": "query", "name": "dry", "required": true, "schema": { "type": "boolean" } }],
                "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } } },
            } } },
            "components": { "schemas": { "Thing": {
                "type": "object", "required": ["name"],
                "properties": { "name": { "type": "string" }, "size": { "type": ["integer", "null"] } },
            } } },
        });
        let samples = all(&document);
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].body, Some(json!({ "name": "example" })));
        assert_eq!(samples[0].query, [("dry".to_owned(), "false".to_owned())]);
    }
}
