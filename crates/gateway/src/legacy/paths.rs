//! Routes in any case: `/API/Topics/Orders` is `/api/topics/Orders`; what stands for a name keeps its case.
//!
//! The legacy clients' framework matches so. The list of routes is the OpenAPI document's, so there is no second one.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use tower::util::MapRequest;
use utoipa::openapi::OpenApi;

/// The routes of the legacy API, for giving a path its proper case.
#[derive(Clone)]
pub struct LegacyPaths(Arc<[String]>);

/// The router with the legacy API's routes in any case; paths of its other routes are left as they are.
pub fn in_any_case(router: Router, paths: LegacyPaths) -> Router {
    let rewrite = move |mut request: Request| {
        if let Some(path) = paths.proper(request.uri().path())
            && let Some(uri) = with_path(request.uri(), &path)
        {
            *request.uri_mut() = uri;
        }
        request
    };
    Router::new().fallback_service(MapRequest::new(router, rewrite))
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

impl LegacyPaths {
    /// Those of a document's paths that begin with `/api/`.
    pub fn of(document: &OpenApi) -> LegacyPaths {
        let paths = document.paths.paths.keys().map(String::as_str);
        LegacyPaths::new(paths.filter(|path| path.starts_with("/api/")))
    }

    /// `templates`: paths as in OpenAPI, with `{name}` for what varies.
    fn new<'a>(templates: impl IntoIterator<Item = &'a str>) -> LegacyPaths {
        let mut templates: Vec<String> = templates.into_iter().map(str::to_owned).collect();
        // `/api/consumers/subscribe` is looked at before `/api/consumers/{id}`.
        templates.sort_by_key(|template| template.matches('{').count());
        LegacyPaths(templates.into())
    }

    /// The path as the router knows it; nothing when it has its proper case already or is no path of this API.
    pub fn proper(&self, path: &str) -> Option<String> {
        let begins = path.get(..5)?.eq_ignore_ascii_case("/api/");
        if !begins {
            return None;
        }
        let proper = self
            .0
            .iter()
            .find_map(|template| cased_as(template, path))?;
        (proper != path).then_some(proper)
    }
}

fn cased_as(template: &str, path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut proper = String::with_capacity(path.len());
    let mut given = path.split('/');
    for (index, wanted) in template.split('/').enumerate() {
        let given = given.next()?;
        if index > 0 {
            proper.push('/');
        }
        if wanted.starts_with('{') && !given.is_empty() {
            proper.push_str(given);
        } else if wanted.eq_ignore_ascii_case(given) {
            proper.push_str(wanted);
        } else {
            return None;
        }
    }
    given.next().is_none().then_some(proper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proper(path: &str) -> Option<String> {
        let templates = [
            "/api/topics",
            "/api/topics/{topicName}",
            "/api/consumers/{id}/start",
            "/api/consumers/{id}",
            "/api/consumers/subscribe",
        ];
        LegacyPaths::new(templates).proper(path)
    }

    #[test]
    fn fixed_parts_get_their_case_and_names_keep_theirs() {
        let expect =
            |path: &str, expected: &str| assert_eq!(proper(path).as_deref(), Some(expected));
        expect("/API/Topics", "/api/topics");
        expect("/api/Topics/Orders%2FA", "/api/topics/Orders%2FA");
        expect("/Api/Consumers/Subscribe", "/api/consumers/subscribe");
        expect("/api/consumers/C1/START", "/api/consumers/C1/start");
        expect("/api/topics/", "/api/topics");
    }

    #[test]
    fn what_is_right_or_unknown_is_left_alone() {
        for path in [
            "/api/topics",
            "/api/topics/Orders",
            "/v1/Topics",
            "/API/nothing",
            "/",
            "/äpi/x",
        ] {
            assert_eq!(proper(path), None, "{path}");
        }
    }
}
