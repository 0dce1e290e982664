//! An embedded broker with a gateway in front of it, and requests to it.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use client::Cluster;
use gateway::{Backends, Gateway};
use serde_json::Value;
use thalweg::{Embedded, Settings};
use tokio::sync::watch;
use tower::ServiceExt;

/// Stops when it is dropped.
pub struct Door {
    router: Router,
    pub stop: watch::Sender<bool>,
    _broker: Option<Embedded>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// That it is a problem of this kind, with a request id.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], format!("/docs/errors/{code}"));
        assert_eq!(
            problem["request_id"],
            answer.headers["x-request-id"].to_str().expect("text")
        );
        problem
    }
}

impl Door {
    pub fn open() -> Door {
        let broker = thalweg::embedded(Settings::in_memory()).expect("a broker in memory");
        let cluster = Cluster::new(&broker.bootstrap());
        Door::to(cluster, Some(broker))
    }

    /// To a cluster that is not there.
    pub fn to_nowhere() -> Door {
        Door::to_address("127.0.0.1:1")
    }

    /// To whatever is there, without much patience.
    pub fn to_address(address: &str) -> Door {
        let cluster = Cluster::new(address).with_timeout(Duration::from_millis(500));
        Door::to(cluster, None)
    }

    fn to(cluster: Cluster, broker: Option<Embedded>) -> Door {
        let (stop, stopping) = watch::channel(false);
        let gateway = Gateway::new(Backends::kafka_only(cluster), stopping);
        Door {
            router: gateway.router(),
            stop,
            _broker: broker,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> axum::response::Response {
        let answered = self.router.clone().oneshot(request);
        answered.await.expect("a router answers everything")
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.send(request).await;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a whole answer");
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).expect("text"),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(request("GET", path).body(Body::empty()).expect("a request"))
            .await
    }

    pub async fn json(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = request(method, path).header("content-type", "application/json");
        self.ask(request.body(body.into()).expect("a request"))
            .await
    }

    pub async fn topic(&self, name: &str, partitions: u32) {
        let body = format!(r#"{{"name":"{name}","partitions":{partitions}}}"#);
        self.json("POST", "/v1/topics", body).await.expect(201);
    }
}

pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}
