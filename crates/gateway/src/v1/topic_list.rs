//! `GET /v1/topics`: the list, searched, sorted and in pages.
//!
//! A cursor holds the sort value and the name of the last topic given, so that a page goes on where the one before ended even when
//! topics were created or deleted in between.

use std::cmp::Ordering;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::topics::Topic;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::request::{Query, bad_parameter};
use super::topics::{TopicBody, measure};
use crate::Gateway;
use crate::problem::Problem;

pub const DEFAULT_LIMIT: usize = 100;
pub const MOST_LIMIT: usize = 1_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only topics with this in their name.
    q: Option<String>,
    /// `name`, `partitions`, `records` or `bytes`; with `-` in front, the largest first.
    #[param(pattern = "^-?(name|partitions|records|bytes)$")]
    sort: Option<String>,
    /// `records` and `bytes`, separated by commas: what to look up besides.
    #[param(pattern = "^((records|bytes)(,(records|bytes))*)?$")]
    fields: Option<String>,
    /// Also the topics that the cluster keeps for itself.
    #[serde(default)]
    internal: bool,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of topics.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopicPage {
    topics: Vec<TopicBody>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Partitions,
    Records,
    Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    column: Column,
    is_descending: bool,
}

impl Order {
    fn parse(text: Option<&str>) -> Result<Order, Problem> {
        let text = text.unwrap_or("name");
        let name = text.strip_prefix('-').unwrap_or(text);
        let column = match name {
            "name" => Column::Name,
            "partitions" => Column::Partitions,
            "records" => Column::Records,
            "bytes" => Column::Bytes,
            _ => {
                let detail = format!(
                    "`{text}` is no column; use name, partitions, records or bytes, with - for the largest first"
                );
                return Err(bad_parameter("sort", detail));
            }
        };
        let is_descending = text.starts_with('-');
        Ok(Order {
            column,
            is_descending,
        })
    }

    fn value(self, topic: &TopicBody) -> i128 {
        match self.column {
            Column::Name => 0,
            Column::Partitions => topic.partitions as i128,
            Column::Records => topic.records.unwrap_or(0).into(),
            Column::Bytes => topic.bytes.unwrap_or(0).into(),
        }
    }

    fn compare(self, a: (i128, &str), b: (i128, &str)) -> Ordering {
        let ordering = match self.column {
            Column::Name => a.1.cmp(b.1),
            _ => a.0.cmp(&b.0),
        };
        match self.is_descending {
            true => ordering.reverse().then_with(|| a.1.cmp(b.1)),
            false => ordering.then_with(|| a.1.cmp(b.1)),
        }
    }
}

/// The topics
///
/// Sizes and counts are looked up only when `fields` or `sort` asks for them.
#[utoipa::path(
    get,
    path = "/v1/topics",
    tag = "Topics",
    operation_id = "listTopics",
    params(ListQuery),
    responses((status = 200, description = "A page of topics", body = TopicPage, headers(("Link" = String)))),
)]
pub async fn list(
    State(gateway): State<Gateway>,
    uri: Uri,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let order = Order::parse(query.sort.as_deref())?;
    let limit = check_limit(query.limit)?;
    let after = query.cursor.as_deref().map(decode).transpose()?;
    let columns = columns(query.fields.as_deref())?;
    let backend = gateway.backends().primary();
    let mut topics = backend.admin().await?.topics().await?;
    topics.retain(|topic| is_wanted(topic, &query));
    let must_measure = columns || matches!(order.column, Column::Records | Column::Bytes);
    let mut bodies: Vec<TopicBody> = topics.iter().map(TopicBody::of).collect();
    // A sort by name or partitions needs the sizes of one page only.
    let sorts_by_size = matches!(order.column, Column::Records | Column::Bytes);
    if sorts_by_size {
        measure(backend, &topics, &mut bodies).await?;
    }
    let (mut page, next) = page(bodies, order, after, limit);
    if must_measure && !sorts_by_size {
        let topics = in_order_of(&page, &topics);
        measure(backend, &topics, &mut page).await?;
    }
    let mut response = JsonAnswer(TopicPage {
        topics: page,
        next_cursor: next.clone(),
    })
    .into_response();
    if let Some(link) = next.and_then(|cursor| next_link(&uri, &cursor)) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// # Errors
/// `bad-request` for a limit that is none.
pub fn check_limit(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    match (1..=MOST_LIMIT).contains(&limit) {
        true => Ok(limit),
        false => Err(bad_parameter("limit", format!("1 to {MOST_LIMIT}"))),
    }
}

fn columns(fields: Option<&str>) -> Result<bool, Problem> {
    let names = fields.into_iter().flat_map(|fields| fields.split(','));
    for name in names.clone().filter(|name| !name.is_empty()) {
        if !matches!(name, "records" | "bytes") {
            return Err(bad_parameter(
                "fields",
                format!("`{name}` is no field; use records, bytes"),
            ));
        }
    }
    Ok(names.into_iter().any(|name| !name.is_empty()))
}

fn is_wanted(topic: &Topic, query: &ListQuery) -> bool {
    let is_shown = query.internal || !topic.is_internal;
    is_shown
        && query
            .q
            .as_deref()
            .is_none_or(|part| topic.name.contains(part))
}

fn in_order_of(page: &[TopicBody], topics: &[Topic]) -> Vec<Topic> {
    let find = |body: &TopicBody| topics.iter().find(|topic| topic.name == body.name).cloned();
    page.iter().filter_map(find).collect()
}

/// The topics after the cursor, and the cursor after them.
fn page(
    mut topics: Vec<TopicBody>,
    order: Order,
    after: Option<(i128, String)>,
    limit: usize,
) -> (Vec<TopicBody>, Option<String>) {
    let key = |topic: &TopicBody| (order.value(topic), topic.name.clone());
    if let Some((value, name)) = &after {
        topics.retain(|topic| {
            order.compare((order.value(topic), &topic.name), (*value, name)) == Ordering::Greater
        });
    }
    topics.sort_by(|a, b| order.compare((order.value(a), &a.name), (order.value(b), &b.name)));
    let has_more = topics.len() > limit;
    topics.truncate(limit);
    let next = topics.last().filter(|_| has_more).map(key);
    (topics, next.map(|(value, name)| encode(value, &name)))
}

fn encode(value: i128, name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{value} {name}"))
}

fn decode(cursor: &str) -> Result<(i128, String), Problem> {
    let wrong = || bad_parameter("cursor", "this is no cursor; take it as an answer gave it");
    let plain = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let plain = String::from_utf8(plain).map_err(|_| wrong())?;
    let (value, name) = plain.split_once(' ').ok_or_else(wrong)?;
    let value = value.parse().map_err(|_| wrong())?;
    Ok((value, name.to_owned()))
}

/// The same URL with another cursor.
pub fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let kept = uri.query().unwrap_or_default().split('&');
    let kept = kept.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let cursor = format!("cursor={cursor}");
    let query: Vec<&str> = kept.chain([cursor.as_str()]).collect();
    let link = format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"));
    HeaderValue::try_from(link).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, partitions: usize) -> TopicBody {
        TopicBody {
            name: name.to_owned(),
            partitions,
            ..TopicBody::default()
        }
    }

    fn names_in_pages_of_two(sort: &str) -> Vec<Vec<String>> {
        let topics = vec![topic("c", 1), topic("a", 3), topic("b", 3), topic("d", 2)];
        let order = Order::parse(Some(sort)).expect("a column");
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let (page, next) = page(topics.clone(), order, after, 2);
            pages.push(page.into_iter().map(|topic| topic.name).collect());
            let Some(next) = next else { return pages };
            after = Some(decode(&next).expect("ours"));
        }
    }

    #[test]
    fn pages_follow_each_other_in_every_order() {
        assert_eq!(names_in_pages_of_two("name"), [["a", "b"], ["c", "d"]]);
        assert_eq!(names_in_pages_of_two("-name"), [["d", "c"], ["b", "a"]]);
        assert_eq!(
            names_in_pages_of_two("partitions"),
            [["c", "d"], ["a", "b"]]
        );
        assert_eq!(
            names_in_pages_of_two("-partitions"),
            [["a", "b"], ["d", "c"]]
        );
    }

    #[test]
    fn the_link_keeps_the_query_and_changes_the_cursor() {
        let uri: Uri = "/v1/topics?q=a&cursor=old&limit=2".parse().expect("a URI");
        let link = next_link(&uri, "new").expect("plain text");
        assert_eq!(link, "</v1/topics?q=a&limit=2&cursor=new>; rel=\"next\"");
    }

    #[test]
    fn unknown_columns_fields_and_limits_are_refused() {
        assert!(Order::parse(Some("size")).is_err());
        assert!(columns(Some("records,size")).is_err());
        assert!(check_limit(Some(0)).is_err());
        assert!(check_limit(Some(1_001)).is_err());
    }
}
