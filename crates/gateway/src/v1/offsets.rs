//! `POST /v1/groups/{group}/offsets`: moves a group, or with `dry_run=true` shows where it would be; the same plan either way.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use client::group_reset::{Move, Selection, Target, destination, is_active};
use client::groups::Committed;
use client::{Admin, Place};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::etag;
use super::groups_found::{FoundGroup, GroupKind, find};
use super::request::{Json, Query, Segment};
use super::topics::DryRunQuery;
use crate::problem::{CONFLICT, GROUP_NOT_FOUND, Problem, ProblemBody};
use crate::{Gateway, clock};

/// More topics are refused.
const MOST_TOPICS: usize = 1_000;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(reset))
}

/// Where to, by one of `to` and `shift`, and what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetRequest {
    /// `earliest`, `latest`, `-50` (the last 50 of each partition), `offset:9`, `now-15m`, `time:2026-11-20T12:00:00Z`.
    to: Option<String>,
    /// So many records on, or back when negative.
    shift: Option<i64>,
    /// Without it, all that the group has committed.
    #[serde(default)]
    topics: Vec<TopicSelection>,
}

/// A topic, or some of its partitions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicSelection {
    topic: String,
    /// All when absent.
    #[serde(default)]
    partitions: Vec<i32>,
}

/// Where each partition was and where it is, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResetBody {
    group: String,
    /// As it was before.
    state: String,
    applied: bool,
    partitions: Vec<MoveBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OffsetMove)]
pub struct MoveBody {
    topic: String,
    partition: i32,
    /// Null when nothing was committed.
    before: Option<i64>,
    after: i64,
    /// By how much it moves.
    delta: Option<i64>,
    end_offset: i64,
    lag_after: i64,
}

impl From<&Move> for MoveBody {
    fn from(step: &Move) -> MoveBody {
        MoveBody {
            topic: step.topic.clone(),
            partition: step.partition,
            before: step.before,
            after: step.after,
            delta: step.delta(),
            end_offset: step.end_offset,
            lag_after: step.lag_after(),
        }
    }
}

/// The tag of a group's offsets.
pub fn tag(offsets: &Committed) -> HeaderValue {
    let rows = offsets
        .iter()
        .map(|((topic, partition), offset)| (topic, partition, offset));
    etag::of(&rows.collect::<Vec<_>>())
}

/// Move a group's offsets
///
/// The group must have no members then; a dry run may be made at any time. With `If-Match` it moves only from the offsets that the
/// ETag of a dry run or of the group stands for. A group that does not exist is created when topics are named.
#[utoipa::path(
    post,
    path = "/v1/groups/{group}/offsets",
    tag = "Groups",
    operation_id = "moveGroup",
    params(("group" = String, Path), DryRunQuery, ("If-Match" = Option<String>, Header)),
    request_body = ResetRequest,
    responses(
        (status = 200, description = "It is moved, or would be", body = ResetBody, headers(("ETag" = String))),
        (status = 404, description = "No such group, topic or partition", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It has members", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "It was moved meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "No such place", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn reset(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
    Query(query): Query<DryRunQuery>,
    headers: HeaderMap,
    Json(request): Json<ResetRequest>,
) -> Result<Response, Problem> {
    let target = target(&request)?;
    let selection = selection(request.topics)?;
    let mut admin = gateway.backends().primary().admin().await?;
    let found = found_or_new(&mut admin, &name, &selection).await?;
    let now_ms = clock::now().as_millisecond();
    let moves = admin
        .plan_reset(&found.offsets, &selection, target, now_ms)
        .await?;
    let mut offsets = found.offsets;
    etag::check(&headers, &tag(&offsets))?;
    if !query.dry_run {
        refuse_active(&name, &found.group.state)?;
        apply(&mut admin, &name, found.kind, &moves).await?;
        offsets.extend(destination(&moves));
    }
    let body = ResetBody {
        group: name,
        state: found.group.state,
        applied: !query.dry_run,
        partitions: moves.iter().map(MoveBody::from).collect(),
    };
    Ok(([(header::ETAG, tag(&offsets))], JsonAnswer(body)).into_response())
}

fn target(request: &ResetRequest) -> Result<Target, Problem> {
    match (&request.to, request.shift) {
        (Some(to), None) => {
            let place: Result<Place, String> = to.parse();
            place
                .map(Target::Place)
                .map_err(|detail| Problem::invalid("/to", detail))
        }
        (None, Some(shift)) => Ok(Target::Shift(shift)),
        (Some(_), Some(_)) => Err(Problem::invalid(
            "/shift",
            "either `to` or `shift`, not both",
        )),
        (None, None) => Err(Problem::invalid("/to", "say where to: `to` or `shift`")),
    }
}

fn selection(topics: Vec<TopicSelection>) -> Result<Vec<Selection>, Problem> {
    if topics.len() > MOST_TOPICS {
        return Err(Problem::invalid(
            "/topics",
            format!("at most {MOST_TOPICS} topics"),
        ));
    }
    Ok(topics
        .into_iter()
        .map(|wanted| (wanted.topic, wanted.partitions))
        .collect())
}

async fn found_or_new(
    admin: &mut Admin,
    name: &str,
    selection: &[Selection],
) -> Result<FoundGroup, Problem> {
    match find(admin, name).await {
        Err(problem) if problem.kind == GROUP_NOT_FOUND && !selection.is_empty() => {
            let group = client::groups::Group {
                name: name.to_owned(),
                state: "Empty".to_owned(),
                ..client::groups::Group::default()
            };
            let kind = GroupKind::Classic;
            Ok(FoundGroup {
                group,
                kind,
                offsets: Committed::new(),
            })
        }
        found => found,
    }
}

fn refuse_active(name: &str, state: &str) -> Result<(), Problem> {
    if !is_active(state) {
        return Ok(());
    }
    let detail = format!(
        "group {name} is {state}: its members would go on from where they are; stop them, then move it"
    );
    Err(Problem::new(CONFLICT, detail))
}

async fn apply(
    admin: &mut Admin,
    name: &str,
    kind: GroupKind,
    moves: &[Move],
) -> Result<(), Problem> {
    let offsets = destination(moves);
    if kind != GroupKind::Share {
        return Ok(admin.commit(name, &offsets).await?);
    }
    for (_, outcome) in admin.alter_share_offsets(name, &offsets).await? {
        outcome?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> ResetRequest {
        serde_json::from_str(json).expect("a request")
    }

    #[test]
    fn a_target_is_a_place_or_a_shift_and_never_both() {
        assert_eq!(
            target(&request(r#"{"to":"earliest"}"#)).ok(),
            Some(Target::Place(Place::Earliest))
        );
        assert_eq!(
            target(&request(r#"{"shift":-5}"#)).ok(),
            Some(Target::Shift(-5))
        );
        for (json, pointer) in [
            ("{}", "/to"),
            (r#"{"to":"noon"}"#, "/to"),
            (r#"{"to":"latest","shift":1}"#, "/shift"),
        ] {
            let problem = target(&request(json)).expect_err(json);
            assert_eq!(problem.errors[0].pointer, pointer, "{json}");
        }
    }

    #[test]
    fn a_group_with_members_is_not_moved() {
        assert!(refuse_active("g", "Empty").is_ok());
        assert_eq!(
            refuse_active("g", "Stable").expect_err("refused").kind,
            CONFLICT
        );
    }

    #[test]
    fn the_tag_changes_with_any_offset() {
        let at = |offset| tag(&Committed::from([(("t".to_owned(), 0), offset)]));
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
    }
}
