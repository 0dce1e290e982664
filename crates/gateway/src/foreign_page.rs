//! Who sends a request: a program or a page of this server may, a web page of somebody else may not.
//!
//! Without authentication, whatever a browser on this machine loads could otherwise write and read here: by a form or a script that
//! posts to a loopback address, or by a name of its own that it points at one (DNS rebinding). So an `Origin` must be the host that
//! was asked, and the host must be an address, `localhost`, or a name that the operator allowed. Programs send no `Origin` and
//! name the host that they were given.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{FOREIGN_PAGE, Problem};

/// Names by which this server may be asked, besides addresses and `localhost`; lower case, without ports.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    /// From names separated by commas.
    pub fn parse(text: &str) -> Hosts {
        let names = text.split(',').map(str::trim);
        Hosts(
            names
                .filter(|name| !name.is_empty())
                .map(str::to_ascii_lowercase)
                .collect(),
        )
    }

    /// Why a request with these headers is refused.
    fn refusal(&self, headers: &HeaderMap) -> Option<Problem> {
        // HTTP/1.0 has no host, and no browser speaks it.
        let host = text(headers, &header::HOST)?;
        if !self.allow(name_of(host)) {
            let detail = format!(
                "`{host}` is not a name of this server; if it is, allow it by http_hosts = \"{}\" in thalweg.toml",
                name_of(host)
            );
            return Some(Problem::new(FOREIGN_PAGE, detail));
        }
        let origin = text(headers, &header::ORIGIN)?;
        let asked = origin.split_once("://").map(|(_, rest)| rest);
        if asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host)) {
            return None;
        }
        let detail = format!("a page of `{origin}` may not send requests to this server");
        Some(Problem::new(FOREIGN_PAGE, detail))
    }

    fn allow(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

/// A header that is not there and one that is no text are both nothing to go by.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A host without its port; IPv6 keeps its brackets.
pub fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The layer.
pub async fn refuse(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match hosts.refusal(request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn refused(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).expect("plain text");
        headers.insert(header::HOST, value(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, value(origin));
        }
        Hosts::parse("Box.example, other")
            .refusal(&headers)
            .is_some()
    }

    #[test]
    fn programs_and_pages_of_this_server_may() {
        for host in [
            "127.0.0.1:8080",
            "localhost:8080",
            "[::1]:8080",
            "box.example",
            "a.localhost:1",
        ] {
            assert!(!refused(host, None), "{host}");
            assert!(!refused(host, Some(&format!("http://{host}"))), "{host}");
        }
    }

    #[test]
    fn a_page_of_somebody_else_may_not() {
        assert!(refused("127.0.0.1:8080", Some("http://evil.example")));
        assert!(refused("127.0.0.1:8080", Some("http://127.0.0.1:9999")));
        assert!(refused("127.0.0.1:8080", Some("null")));
    }

    #[test]
    fn a_name_that_somebody_points_at_this_server_is_not_ours() {
        assert!(refused("evil.example:8080", None));
        assert!(refused(
            "evil.example:8080",
            Some("http://evil.example:8080")
        ));
        assert!(refused("127.0.0.1.evil.example", None));
    }
}
