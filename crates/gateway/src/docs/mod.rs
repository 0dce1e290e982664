//! What explains the API, from this server alone: `/openapi.json`, a viewer at `/docs`, a page per error at `/docs/errors/{code}`.
//!
//! The viewer is a page, a script and a style sheet of our own, embedded in the binary; nothing is fetched from elsewhere, and
//! the policy of each page forbids it.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use utoipa::openapi::OpenApi;

use crate::Gateway;
use crate::problem::{KINDS, Kind, NOT_FOUND, Problem};

const VIEWER_PAGE: &str = include_str!("viewer.html");
const VIEWER_SCRIPT: &str = include_str!("viewer.js");
const STYLE: &str = include_str!("style.css");
const FILTERS_PAGE: &str = include_str!("filters.html");

/// Only what comes from this server, and no script or style in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn router(document: &OpenApi) -> Router<Gateway> {
    let json: Arc<str> = document.to_json().expect("the document is JSON").into();
    Router::new()
        .route(
            "/openapi.json",
            get(move || async move { typed("application/json", json.to_string()) }),
        )
        .route("/docs", get(|| async { page(VIEWER_PAGE.to_owned()) }))
        .route(
            "/docs/filters",
            get(|| async { page(FILTERS_PAGE.to_owned()) }),
        )
        .route(
            "/docs/viewer.js",
            get(|| async { typed("text/javascript; charset=utf-8", VIEWER_SCRIPT) }),
        )
        .route(
            "/docs/style.css",
            get(|| async { typed("text/css; charset=utf-8", STYLE) }),
        )
        .route("/docs/errors", get(|| async { page(error_list()) }))
        .route("/docs/errors/{code}", get(error))
}

fn page(html: String) -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    (policy, Html(html)).into_response()
}

fn typed(media: &'static str, body: impl IntoResponse) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    (headers, body).into_response()
}

async fn error(Path(code): Path<String>) -> Result<Response, Problem> {
    let kind = KINDS.iter().find(|kind| kind.code == code);
    let detail =
        || format!("no error of this server has the code `{code}`; /docs/errors lists all");
    let kind = kind.ok_or_else(|| Problem::new(NOT_FOUND, detail()))?;
    Ok(page(error_page(kind)))
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title} · Thalweg</title><link rel=\"stylesheet\" href=\"/docs/style.css\">\n\
         <body class=\"page\"><nav><a href=\"/docs\">API</a> <a href=\"/docs/filters\">Filters</a> <a href=\"/docs/errors\">Errors</a></nav>\n\
         <main>{body}</main>\n</html>\n"
    )
}

/// The texts of the catalogue are our own and have no markup.
fn error_page(kind: &Kind) -> String {
    let again = match kind.retryable {
        true => "The same request may succeed later.",
        false => "The same request will fail again.",
    };
    let body = format!(
        "<h1>{}</h1><p><code>{}</code> · status {}</p><p>{}</p><p>{again}</p>",
        kind.title, kind.code, kind.status, kind.advice
    );
    frame(kind.title, &body)
}

fn error_list() -> String {
    let mut body =
        String::from("<h1>Errors</h1><table><thead><tr><th>Code<th>Status<th>What<tbody>");
    for kind in KINDS {
        let _ = write!(
            body,
            "<tr><td><a href=\"/docs/errors/{code}\"><code>{code}</code></a><td class=\"number\">{status}<td>{title}",
            code = kind.code,
            status = kind.status,
            title = kind.title
        );
    }
    body.push_str("</table>");
    frame("Errors", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_page_and_a_line_in_the_list() {
        let list = error_list();
        for kind in KINDS {
            assert!(error_page(kind).contains(kind.advice));
            assert!(list.contains(&format!("/docs/errors/{}\"", kind.code)));
        }
    }

    #[test]
    fn pages_fetch_nothing_from_elsewhere() {
        for text in [VIEWER_PAGE, VIEWER_SCRIPT, STYLE, FILTERS_PAGE] {
            assert!(
                !text.contains("http://") && !text.contains("https://") && !text.contains("//cdn")
            );
            assert!(
                !text.contains("innerHTML"),
                "what is shown is text, never markup"
            );
        }
    }
}
