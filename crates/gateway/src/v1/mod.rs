//! `/v1`: a file per resource, each with its `router()`; what they share is here and in `request.rs`.
//!
//! Handlers are thin: they read the request, make one call, and answer. Everything works on the primary cluster of the mode in
//! force (`Backends::primary`), by the Kafka protocol alone. Errors are [`crate::problem`]s; lists have cursors; names are
//! snake_case; nothing is created unasked.

mod brokers;
mod configs;
mod cursor;
mod etag;
mod filter;
mod follow;
mod groups;
mod groups_found;
mod incoming;
mod lab;
mod leases;
mod live;
mod offsets;
mod outcome;
mod outgoing;
mod produce;
mod produce_stream;
mod queue;
mod queue_kind;
mod queue_letters;
mod queue_members;
mod queue_ordered;
mod queue_shared;
mod queue_terms;
mod read;
pub(crate) mod request;
mod scan;
mod start;
mod tail;
mod topic_list;
mod topics;
mod truncate;

use client::topics::Topic;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::backend::Backend;
use crate::problem::{Problem, TOPIC_NOT_FOUND};
pub(crate) use live::LiveStreams;
pub(crate) use queue_members::Queues;

/// Every route of `/v1`, with its description.
pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(topic_list::list))
        .merge(topics::router())
        .merge(truncate::router())
        .routes(routes!(read::read, produce::produce))
        .routes(routes!(live::events))
        .merge(configs::router())
        .merge(brokers::router())
        .merge(lab::router())
        .merge(groups::router())
        .merge(offsets::router())
        .merge(queue::router())
}

/// The topic, as it was at most a second ago; never created.
///
/// # Errors
/// `topic-not-found`; whatever keeps the cluster from answering.
pub(crate) async fn topic_of(backend: &Backend, name: &str) -> Result<Topic, Problem> {
    check_name(name).map_err(|detail| Problem::new(TOPIC_NOT_FOUND, detail))?;
    Ok(backend.reader().topic(name).await?)
}

/// Kafka's rule for the names of topics.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_right = (1..=249).contains(&name.len()) && !matches!(name, "." | "..");
    match is_right && name.chars().all(is_legal) {
        true => Ok(()),
        false => Err(format!(
            "`{name}` cannot be a topic's name: 1 to 249 letters, digits, dots, underscores and hyphens"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rule() {
        for name in ["a", "a.b_c-D9", &"x".repeat(249)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "ü",
            "a:truncate",
            &"x".repeat(250),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
