//! `ConsumerGroupsController`: groups of registered consumers (L-13, A-042, A-043).
//!
//! A group's name is the name of the Kafka group that its consumers read with, so every Kafka tool shows its place in a topic. In
//! hybrid mode Kafka's own groups are listed beside them.

use axum::Json;
use axum::extract::State;
use client::ErrorKind;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fields::Fields;
use super::refusal::Refusal;
use super::request::{JsonBody, NameInPath, Parameters};
use super::topics::backend_of;
use super::{Done, kafka_groups, milliseconds};
use crate::Gateway;
use crate::backend::Source;
use crate::clock;
use crate::mode::Mode;
use crate::registry::{RegisteredGroup, Registry};

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
}

/// The body of a creation; the name under any of three names.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::CreateGroup)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct CreateGroup {
    group_name: Option<String>,
    group_id: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::NewGroup)]
pub struct NewGroup {
    name: String,
    group_id: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Group)]
pub struct GroupRow {
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    consumer_count: usize,
    consumers: Vec<GroupConsumer>,
    source: &'static str,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = legacy::GroupConsumer)]
pub struct GroupConsumer {
    id: String,
    name: String,
}

/// A registered group or one of Kafka's.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::AnyGroup)]
pub enum AnyGroup {
    Registered(GroupRow),
    Kafka(kafka_groups::GroupRow),
}

/// The registered groups; in hybrid mode with Kafka's.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::GroupList)]
pub enum GroupList {
    Single {
        mode: &'static str,
        groups: Vec<GroupRow>,
        summary: SingleSummary,
    },
    #[serde(rename_all = "camelCase")]
    Hybrid {
        mode: &'static str,
        in_memory_groups: Vec<GroupRow>,
        kafka_groups: Vec<kafka_groups::GroupRow>,
        combined: Vec<AnyGroup>,
        summary: HybridSummary,
    },
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::GroupSummary)]
pub struct SingleSummary {
    total_groups: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::HybridGroupSummary)]
pub struct HybridSummary {
    total_groups: usize,
    in_memory_count: usize,
    kafka_count: usize,
}

/// One group, on each side that has it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::GroupAnswer)]
pub enum GroupAnswer {
    One(AnyGroup),
    #[serde(rename_all = "camelCase")]
    Both {
        mode: &'static str,
        group_name: String,
        sources: Vec<AnyGroup>,
    },
}

/// Creates a consumer group
#[utoipa::path(
    post,
    path = "/api/consumergroups",
    tag = "ConsumerGroupsController",
    operation_id = "legacyCreateGroup",
    request_body = CreateGroup,
    responses((status = 200, description = "Consumers may name it", body = NewGroup), Refusal)
)]
async fn create(
    State(gateway): State<Gateway>,
    JsonBody(body): JsonBody,
) -> Result<Json<NewGroup>, Refusal> {
    let mut fields = Fields::read(&body)?;
    let other = fields
        .optional_name("groupId")
        .or_else(|| fields.optional_name("name"));
    let name = match fields.optional_name("groupName").or(other) {
        Some(name) => name,
        None => fields.required_name("groupName"),
    };
    fields.finish()?;
    let group = RegisteredGroup {
        name,
        created_at: milliseconds(clock::now()),
    };
    if !gateway.registry().await?.add_group(&group).await? {
        let error = format!("Consumer group '{}' already exists", group.name);
        return Err(Refusal::bad_request(error));
    }
    Ok(Json(NewGroup {
        group_id: group.name.clone(),
        name: group.name,
        created_at: group.created_at,
    }))
}

/// The consumer groups
#[utoipa::path(
    get,
    path = "/api/consumergroups",
    tag = "ConsumerGroupsController",
    operation_id = "legacyListGroups",
    responses((status = 200, description = "By name, with their consumers", body = GroupList), Refusal)
)]
async fn list(State(gateway): State<Gateway>) -> Result<Json<GroupList>, Refusal> {
    let backends = gateway.backends();
    let registry = gateway.registry().await?;
    let source = backends.primary().source();
    let registered = registry.groups().into_iter();
    let groups: Vec<GroupRow> = registered
        .map(|group| row(registry, group, source))
        .collect();
    let mode = backends.mode();
    let Some(kafka) = backends.kafka().filter(|_| mode == Mode::Hybrid) else {
        return Ok(Json(GroupList::Single {
            mode: mode.title(),
            summary: SingleSummary {
                total_groups: groups.len(),
            },
            groups,
        }));
    };
    let theirs = kafka_groups::groups(kafka).await.unwrap_or_default();
    let registered = groups.iter().cloned().map(AnyGroup::Registered);
    let combined = registered.chain(theirs.iter().cloned().map(AnyGroup::Kafka));
    Ok(Json(GroupList::Hybrid {
        mode: mode.title(),
        combined: combined.collect(),
        summary: HybridSummary {
            total_groups: groups.len() + theirs.len(),
            in_memory_count: groups.len(),
            kafka_count: theirs.len(),
        },
        in_memory_groups: groups,
        kafka_groups: theirs,
    }))
}

fn row(registry: &Registry, group: RegisteredGroup, source: Source) -> GroupRow {
    let members = registry.members(&group.name).into_iter();
    let consumers: Vec<GroupConsumer> = members
        .map(|consumer| GroupConsumer {
            id: consumer.id,
            name: consumer.name,
        })
        .collect();
    GroupRow {
        name: group.name,
        created_at: group.created_at,
        consumer_count: consumers.len(),
        consumers,
        source: source.title(),
    }
}

/// One consumer group
#[utoipa::path(
    get,
    path = "/api/consumergroups/{name}",
    tag = "ConsumerGroupsController",
    operation_id = "legacyGetGroup",
    params(
        ("name" = String, Path, description = "Case-sensitive"),
        ("source" = Option<String>, Query, description = "`inmemory` or `kafka`"),
    ),
    responses((status = 200, description = "The group with its consumers", body = GroupAnswer), Refusal)
)]
async fn show(
    State(gateway): State<Gateway>,
    NameInPath(name): NameInPath,
    parameters: Parameters,
) -> Result<Json<GroupAnswer>, Refusal> {
    let backends = gateway.backends();
    let primary = backends.primary().source();
    let wanted = parameters.source()?;
    if let Some(source) = wanted {
        backend_of(&gateway, source)?;
    }
    let wants = |source| wanted.is_none_or(|wanted| wanted == source);
    let mut sources = Vec::new();
    if wants(primary) {
        let registry = gateway.registry().await?;
        let found = registry.group(&name);
        sources.extend(found.map(|group| AnyGroup::Registered(row(registry, group, primary))));
    }
    let other = backends.kafka().filter(|_| backends.mode() == Mode::Hybrid);
    if let Some(kafka) = other.filter(|_| wants(Source::Kafka)) {
        match kafka_groups::group(kafka, &name).await {
            Ok(group) => sources.push(AnyGroup::Kafka(group)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) if !sources.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    match sources.len() {
        0 => Err(missing(&name, wanted)),
        1 => Ok(Json(GroupAnswer::One(sources.remove(0)))),
        _ => Ok(Json(GroupAnswer::Both {
            mode: backends.mode().title(),
            group_name: name,
            sources,
        })),
    }
}

fn missing(name: &str, source: Option<Source>) -> Refusal {
    Refusal::not_found(match source {
        Some(Source::InMemory) => format!("In-memory consumer group '{name}' not found"),
        Some(Source::Kafka) => format!("Kafka consumer group '{name}' not found"),
        None => format!("Consumer group '{name}' not found in any configured source"),
    })
}

/// Deletes a consumer group with its place in every topic
#[utoipa::path(
    delete,
    path = "/api/consumergroups/{name}",
    tag = "ConsumerGroupsController",
    operation_id = "legacyDeleteGroup",
    params(("name" = String, Path, description = "Case-sensitive")),
    responses((status = 200, description = "It is gone", body = Done), Refusal)
)]
async fn delete(
    State(gateway): State<Gateway>,
    NameInPath(name): NameInPath,
) -> Result<Json<Done>, Refusal> {
    let registry = gateway.registry().await?;
    if registry.group(&name).is_none() {
        let error = format!("Consumer group '{name}' not found");
        return Err(Refusal::not_found(error));
    }
    gateway.legacy().members.leave_group(&name).await;
    let mut admin = gateway.backends().primary().admin().await?;
    match admin.delete_group(&name).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    registry.remove_group(&name).await?;
    Ok(Json(Done {
        message: format!("Consumer group '{name}' deleted"),
    }))
}
