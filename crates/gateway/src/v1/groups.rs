//! Groups: `GET /v1/groups`, `GET|DELETE /v1/groups/{group}`: classic, consumer and share groups alike.
//!
//! The lag of a group is looked up when it is asked for: it takes the offsets of all its topics. In seconds it is the age of the
//! first record that was not read yet.

use std::collections::BTreeMap;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::group_progress::{PartitionProgress, total_lag, worst_lag_seconds};
use client::groups::{GroupListing, Member};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::groups_found::{FoundGroup, find};
use super::offsets;
use super::request::{Query, Segment, bad_parameter};
use super::topic_list::{check_limit, next_link};
use crate::problem::{Problem, ProblemBody};
use crate::{Gateway, clock};

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(describe, delete))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only groups with this in their name.
    q: Option<String>,
    /// Only groups of this type: `classic`, `consumer`, `share`.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// Only groups in this state, such as `Stable` or `Empty`.
    state: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A group as it is listed.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct GroupRow {
    name: String,
    /// `classic`, `consumer` or `share`; empty where the broker does not tell.
    #[serde(rename = "type")]
    kind: String,
    state: String,
    protocol_type: String,
}

/// A page of groups, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupPage {
    groups: Vec<GroupRow>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A group: members, offsets, lag.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupBody {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    state: String,
    /// The assignor, as in `range`.
    protocol: String,
    /// The broker that keeps the group.
    coordinator: i32,
    members: Vec<MemberBody>,
    partitions: Vec<PartitionBody>,
    /// Records not read yet, over all partitions.
    lag: i64,
    /// The largest of the partitions; absent when no timestamp tells.
    lag_seconds: Option<f64>,
}

/// A member and what it reads.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupMember)]
pub struct MemberBody {
    id: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    /// By topic.
    partitions: BTreeMap<String, Vec<i32>>,
}

/// How far a group has come in a partition.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupPartition)]
pub struct PartitionBody {
    topic: String,
    partition: i32,
    /// The next offset to read; null when none was committed.
    committed: Option<i64>,
    end_offset: Option<i64>,
    lag: Option<i64>,
    /// The age of the first record that was not read yet; 0 when all was.
    lag_seconds: Option<f64>,
    /// The id of the member that reads it; null in share groups, where several do.
    member: Option<String>,
}

impl From<Member> for MemberBody {
    fn from(member: Member) -> MemberBody {
        MemberBody {
            id: member.id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            host: member.host,
            partitions: member.partitions,
        }
    }
}

fn partition_body(row: PartitionProgress, now_ms: i64) -> PartitionBody {
    PartitionBody {
        lag_seconds: row.lag_seconds(now_ms),
        topic: row.topic,
        partition: row.partition,
        committed: row.committed,
        end_offset: row.end_offset,
        lag: row.lag,
        member: row.owner.map(|owner| owner.member_id),
    }
}

/// The groups of the cluster
#[utoipa::path(
    get,
    path = "/v1/groups",
    tag = "Groups",
    operation_id = "listGroups",
    params(ListQuery),
    responses((status = 200, description = "A page of groups", body = GroupPage, headers(("Link" = String)))),
)]
async fn list(
    State(gateway): State<Gateway>,
    uri: Uri,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = check_limit(query.limit)?;
    let after = query.cursor.as_deref().map(decode).transpose()?;
    let groups = gateway.backends().primary().admin().await?.groups().await?;
    let wanted = groups.into_iter().filter(|group| is_wanted(group, &query));
    let (groups, next_cursor) = page(wanted, after.as_deref(), limit);
    let link = next_cursor
        .as_deref()
        .and_then(|cursor| next_link(&uri, cursor));
    let mut response = JsonAnswer(GroupPage {
        groups,
        next_cursor,
    })
    .into_response();
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn is_wanted(group: &GroupListing, query: &ListQuery) -> bool {
    let is_same = |wanted: &Option<String>, is: &str| {
        wanted
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(is))
    };
    is_same(&query.kind, &group.kind)
        && is_same(&query.state, &group.state)
        && query
            .q
            .as_deref()
            .is_none_or(|part| group.name.contains(part))
}

/// The groups after the one of the cursor, and the cursor after them.
fn page(
    groups: impl Iterator<Item = GroupListing>,
    after: Option<&str>,
    limit: usize,
) -> (Vec<GroupRow>, Option<String>) {
    let rows = groups.filter(|group| after.is_none_or(|after| group.name.as_str() > after));
    let rows = rows.map(|group| GroupRow {
        name: group.name,
        kind: group.kind.to_lowercase(),
        state: group.state,
        protocol_type: group.protocol_type,
    });
    let mut rows: Vec<GroupRow> = rows.take(limit + 1).collect();
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows
        .last()
        .filter(|_| has_more)
        .map(|row| URL_SAFE_NO_PAD.encode(&row.name));
    (rows, next)
}

fn decode(cursor: &str) -> Result<String, Problem> {
    let plain = URL_SAFE_NO_PAD.decode(cursor).ok();
    let name = plain.and_then(|plain| String::from_utf8(plain).ok());
    name.ok_or_else(|| bad_parameter("cursor", "this is no cursor; take it as an answer gave it"))
}

/// A group, its members, how far it has come
///
/// The ETag stands for its offsets, for `If-Match` when they are set.
#[utoipa::path(
    get,
    path = "/v1/groups/{group}",
    tag = "Groups",
    operation_id = "getGroup",
    params(("group" = String, Path)),
    responses(
        (status = 200, description = "The group", body = GroupBody, headers(("ETag" = String))),
        (status = 404, description = "No such group", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn describe(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
) -> Result<Response, Problem> {
    let mut admin = gateway.backends().primary().admin().await?;
    let FoundGroup {
        group,
        kind,
        offsets,
    } = find(&mut admin, &name).await?;
    let progress = admin.group_progress(&group, &offsets).await?;
    let now_ms = clock::now().as_millisecond();
    let body = GroupBody {
        name: group.name,
        kind: kind.name().to_owned(),
        state: group.state,
        protocol: group.protocol,
        coordinator: group.coordinator,
        members: group.members.into_iter().map(MemberBody::from).collect(),
        lag: total_lag(&progress),
        lag_seconds: worst_lag_seconds(&progress, now_ms),
        partitions: progress
            .into_iter()
            .map(|row| partition_body(row, now_ms))
            .collect(),
    };
    let tag = offsets::tag(&offsets);
    Ok(([(header::ETAG, tag)], JsonAnswer(body)).into_response())
}

/// Delete a group and its offsets
#[utoipa::path(
    delete,
    path = "/v1/groups/{group}",
    tag = "Groups",
    operation_id = "deleteGroup",
    params(("group" = String, Path)),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such group", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It has members", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn delete(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
) -> Result<StatusCode, Problem> {
    gateway
        .backends()
        .primary()
        .admin()
        .await?
        .delete_group(&name)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(name: &str) -> GroupListing {
        GroupListing {
            name: name.to_owned(),
            state: "Stable".to_owned(),
            kind: "Share".to_owned(),
            protocol_type: String::new(),
        }
    }

    #[test]
    fn pages_of_groups_follow_each_other() {
        let names = ["a", "b", "c"];
        let groups = || names.iter().map(|name| listing(name));
        let (first, next) = page(groups(), None, 2);
        assert_eq!(
            (first[1].name.as_str(), first[1].kind.as_str()),
            ("b", "share")
        );
        let after = decode(&next.expect("one more")).expect("ours");
        let (second, next) = page(groups(), Some(&after), 2);
        assert_eq!(
            (second.len(), second[0].name.as_str(), next),
            (1, "c", None)
        );
        assert!(decode("???").is_err());
    }

    #[test]
    fn groups_are_chosen_by_name_type_and_state() {
        let query = |q: Option<&str>, kind: Option<&str>, state: Option<&str>| ListQuery {
            q: q.map(str::to_owned),
            kind: kind.map(str::to_owned),
            state: state.map(str::to_owned),
            limit: None,
            cursor: None,
        };
        let group = listing("orders");
        assert!(is_wanted(
            &group,
            &query(Some("rder"), Some("share"), Some("stable"))
        ));
        assert!(!is_wanted(&group, &query(Some("x"), None, None)));
        assert!(!is_wanted(&group, &query(None, Some("classic"), None)));
        assert!(!is_wanted(&group, &query(None, None, Some("Empty"))));
    }
}
