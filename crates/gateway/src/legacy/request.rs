//! What a handler of `/api` takes from a request: a JSON body, the name in the path, query parameters in any case.
//!
//! Each refuses in the legacy API's shapes where axum's own extractors would answer in plain text.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::backend::Source;
use crate::v1::request::BODY_TIME;

/// The bytes of a body that is said to be JSON or says nothing; empty when there is none.
pub struct JsonBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<JsonBody, Refusal> {
        let is_json = is_json(request.headers());
        let read = timeout(BODY_TIME, Bytes::from_request(request, state));
        let bytes = read
            .await
            .map_err(|_| slow_body())?
            .map_err(|rejection| Refusal::Domain(rejection.status(), rejection.body_text()))?;
        if !is_json && !bytes.is_empty() {
            let error = "The body has to be sent with Content-Type: application/json";
            return Err(Refusal::Domain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                error.to_owned(),
            ));
        }
        Ok(JsonBody(bytes))
    }
}

fn slow_body() -> Refusal {
    let error = format!("The body did not come within {} s", BODY_TIME.as_secs());
    Refusal::Domain(StatusCode::REQUEST_TIMEOUT, error)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(media) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let media = media.to_str().unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    media == "application/json" || media == "text/json" || media.ends_with("+json")
}

/// The one name in the path, percent-decoded.
pub struct NameInPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for NameInPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<NameInPath, Refusal> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(NameInPath(name)),
            Err(rejection) => Err(Refusal::bad_request(rejection.body_text())),
        }
    }
}

/// The query parameters by lower-case name; of two with one name the first counts.
pub struct Parameters(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Parameters, Refusal> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) =
            pairs.map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        let mut parameters = HashMap::new();
        for (name, value) in pairs {
            parameters.entry(name.to_ascii_lowercase()).or_insert(value);
        }
        Ok(Parameters(parameters))
    }
}

impl Parameters {
    /// A parameter by its lower-case name; an empty one counts as missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// `?source=inmemory|kafka`.
    ///
    /// # Errors
    /// Any other value.
    pub fn source(&self) -> Result<Option<Source>, Refusal> {
        match self.get("source").map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("inmemory" | "in-memory") => Ok(Some(Source::InMemory)),
            Some("kafka") => Ok(Some(Source::Kafka)),
            Some(_) => Err(Refusal::bad_request(
                "Invalid source. Use 'inmemory' or 'kafka'",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Parameters(pairs.iter().map(owned).collect())
    }

    #[test]
    fn a_source_is_one_of_two_in_any_case() {
        // L-03
        let source = |value: &str| parameters(&[("source", value)]).source();
        assert_eq!(source("InMemory").ok(), Some(Some(Source::InMemory)));
        assert_eq!(source("in-memory").ok(), Some(Some(Source::InMemory)));
        assert_eq!(source("KAFKA").ok(), Some(Some(Source::Kafka)));
        assert_eq!(source("").ok(), Some(None));
        assert!(matches!(
            source("redis"),
            Err(Refusal::Domain(StatusCode::BAD_REQUEST, text)) if text == "Invalid source. Use 'inmemory' or 'kafka'"
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for_without_end() {
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let request = Request::new(axum::body::Body::from_stream(never));
        let refused = JsonBody::from_request(request, &()).await.err();
        assert!(matches!(
            refused,
            Some(Refusal::Domain(StatusCode::REQUEST_TIMEOUT, _))
        ));
    }

    #[test]
    fn a_body_is_json_when_it_says_so_or_says_nothing() {
        let is_json = |media: &'static str| {
            let value = HeaderValue::from_static(media);
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        assert!(super::is_json(&HeaderMap::new()));
        assert!(is_json("Application/JSON; charset=utf-8"));
        assert!(is_json("application/vnd.x+json"));
        assert!(!is_json("application/x-www-form-urlencoded"));
    }
}
