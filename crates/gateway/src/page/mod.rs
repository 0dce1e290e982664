//! The page at `/`: where everything is, topics, groups and lag, a form that publishes and a live tail.
//!
//! Rendered here, with one script and one style of our own; both are files of this folder inside the binary. Names come from clients:
//! nothing of them becomes markup.

mod overview;
mod render;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::{Gateway, clock};
pub use overview::Overviews;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The mark of the header; browsers ask for it by this name on every page.
const ICON: &str = concat!(
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><rect x=\"1.5\" y=\"1.5\" width=\"13\" height=\"13\" ",
    "fill=\"none\" stroke=\"#2B56CF\"/><rect x=\"1.5\" y=\"1.5\" width=\"6.5\" height=\"13\" fill=\"#2B56CF\"/></svg>"
);

/// Only what comes from this server is loaded or called, and nothing inline runs.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn router() -> Router<Gateway> {
    let style = get(|| asset("text/css; charset=utf-8", STYLE));
    let script = get(|| asset("text/javascript; charset=utf-8", SCRIPT));
    let icon = get(|| asset("image/svg+xml", ICON));
    Router::new()
        .route("/", get(page))
        .route("/favicon.ico", icon)
        .route("/assets/page.css", style)
        .route("/assets/page.js", script)
}

/// Small files that change with the binary: asked for again each time, so that no browser keeps an old one.
async fn asset(media_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, content).into_response()
}

async fn page(State(gateway): State<Gateway>, headers: HeaderMap) -> Response {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("127.0.0.1");
    let primary = gateway.backends().primary();
    let place = render::Place::new(gateway.backends(), host);
    let hybrid = gateway.hybrid().map(|hybrid| hybrid.status());
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    match gateway.overviews().get(primary, clock::now()).await {
        Ok(overview) => {
            let html = render::page(&place, &overview, hybrid.as_ref());
            (headers, Html(html)).into_response()
        }
        Err(error) => {
            let html = render::away(&place, &error.to_string());
            (StatusCode::SERVICE_UNAVAILABLE, headers, Html(html)).into_response()
        }
    }
}
