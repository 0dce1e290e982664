//! Kafka's own consumer groups and their members, as the documents' clients list them beside the registered ones in hybrid mode.

use client::ClientError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::backend::{Backend, Source};

/// Groups whose members are asked for, each a request of its own.
const MOST_DESCRIBED: usize = 200;

/// A member of one of Kafka's groups.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::KafkaMember)]
pub struct MemberRow {
    id: String,
    client_id: String,
    client_host: String,
    consumer_group: String,
    protocol: String,
    group_state: String,
    source: &'static str,
}

/// One of Kafka's groups.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::KafkaGroup)]
pub struct GroupRow {
    pub name: String,
    pub protocol: String,
    pub state: String,
    pub member_count: usize,
    pub source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<GroupMember>>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::KafkaGroupMember)]
pub struct GroupMember {
    member_id: String,
    client_id: String,
    client_host: String,
}

/// The groups of a cluster with the numbers of their members.
///
/// # Errors
/// The cluster does not answer.
pub async fn groups(kafka: &Backend) -> Result<Vec<GroupRow>, ClientError> {
    let described = describe_all(kafka).await?;
    let rows = described.into_iter().map(|(protocol, group)| GroupRow {
        member_count: group.members.len(),
        name: group.name,
        protocol,
        state: group.state,
        source: Source::Kafka.title(),
        members: None,
    });
    Ok(rows.collect())
}

/// One group with its members.
///
/// # Errors
/// `NotFound`, or the cluster does not answer.
pub async fn group(kafka: &Backend, name: &str) -> Result<GroupRow, ClientError> {
    let group = kafka.admin().await?.group(name).await?;
    let members = group.members.iter().map(|member| GroupMember {
        member_id: member.id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.host.clone(),
    });
    Ok(GroupRow {
        member_count: group.members.len(),
        members: Some(members.collect()),
        name: group.name,
        protocol: group.protocol,
        state: group.state,
        source: Source::Kafka.title(),
    })
}

/// The members of all groups.
///
/// # Errors
/// The cluster does not answer.
pub async fn members(kafka: &Backend) -> Result<Vec<MemberRow>, ClientError> {
    let mut rows = Vec::new();
    for (protocol, group) in describe_all(kafka).await? {
        rows.extend(group.members.iter().map(|member| MemberRow {
            id: member.id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.host.clone(),
            consumer_group: group.name.clone(),
            protocol: protocol.clone(),
            group_state: group.state.clone(),
            source: Source::Kafka.title(),
        }));
    }
    Ok(rows)
}

/// Protocol type and description of each group; one that went meanwhile, or that is of another kind, has no members.
async fn describe_all(
    kafka: &Backend,
) -> Result<Vec<(String, client::groups::Group)>, ClientError> {
    let mut admin = kafka.admin().await?;
    let listed = admin.groups().await?;
    let mut described = Vec::with_capacity(listed.len());
    for (index, group) in listed.into_iter().enumerate() {
        let known = match index < MOST_DESCRIBED {
            true => admin.group(&group.name).await.ok(),
            false => None,
        };
        let known = known.unwrap_or_else(|| client::groups::Group {
            name: group.name,
            state: group.state,
            ..client::groups::Group::default()
        });
        described.push((group.protocol_type, known));
    }
    Ok(described)
}
