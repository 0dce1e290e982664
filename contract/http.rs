//! HTTP as a test speaks it: JSON in, status and JSON out; and a body that is read as it comes, for live streams.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

/// The longest answer that a test takes.
const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// A client of one server.
pub struct Http {
    base: String,
    agent: Agent,
}

/// An answer of any status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("no JSON ({error}): {}", String::from_utf8_lossy(&self.body))
        })
    }

    /// A header's value, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Http {
    /// `base` as in `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Http {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build();
        Http {
            base: base.trim_end_matches('/').to_owned(),
            agent: config.into(),
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, body)
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, body)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], b"")
    }

    /// A request with a JSON body.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.request(
            method,
            path,
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
    }

    /// Any request; an empty body is none.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut response = self.open(method, path, headers, body);
        let status = response.status().as_u16();
        let reader = response.body_mut().with_config().limit(MAX_BODY_BYTES);
        let body = reader.read_to_vec();
        Answer {
            status,
            headers: response.headers().clone(),
            body: body.unwrap_or_else(|error| panic!("{method} {path}: {error}")),
        }
    }

    /// The lines of an answer as they come, for a stream without an end.
    pub fn lines(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> impl Iterator<Item = String> + use<> {
        let response = self.open("GET", path, headers, b"");
        assert_eq!(response.status().as_u16(), 200, "GET {path}");
        let reader = BufReader::new(response.into_body().into_reader());
        reader.lines().map_while(Result::ok)
    }

    fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> ureq::http::Response<ureq::Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let wrong = |error: &dyn std::fmt::Display| -> ! { panic!("{method} {path}: {error}") };
        let answer = if body.is_empty() {
            let request = request.body(()).unwrap_or_else(|error| wrong(&error));
            self.agent.run(request)
        } else {
            let request = request.body(body).unwrap_or_else(|error| wrong(&error));
            self.agent.run(request)
        };
        answer.unwrap_or_else(|error| wrong(&error))
    }
}
