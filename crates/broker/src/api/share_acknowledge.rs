//! ShareAcknowledge, key 79, v1–2: what became of acquired records; answered when it is durable.
//! v0 was early access · v2 renewal of locks (KIP-1222). Rules: broker_state::share_partitions, share_sessions.
//! ShareFetch brings acknowledgements along, too, and takes them in by `acknowledge` here.

use std::collections::BTreeMap;

use broker_state::groups::{GroupId, MemberId};
use broker_state::share_partitions::{
    Acknowledge, AcknowledgeBatch, AcknowledgePartition, AcknowledgeType, Command, Reply,
};
use broker_state::share_sessions::{CLOSING, ShareSessionKey};
use wire::share_acknowledge::{PartitionData, Request, Response, TopicResponse};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;
use crate::core::Core;

pub const API: Api = Api::all(ApiKey::ShareAcknowledge, 1, 2);

/// From this version on locks can be renewed.
const WITH_RENEWAL: i16 = 2;
/// A member id is a UUID.
const LONGEST_MEMBER_ID: usize = 36;

/// Acknowledgements of one partition as they came.
pub struct Raw {
    pub topic_id: Uuid,
    pub partition: i32,
    /// First offset, last offset, types.
    pub batches: Vec<(i64, i64, Vec<i8>)>,
}

/// What became of the acknowledgements of each partition.
pub type Results = BTreeMap<(Uuid, i32), (ErrorCode, Option<&'static str>)>;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let core = &connection.core;
    let key = match session_key(core, request.group_id, request.member_id) {
        Ok(key) => key,
        Err(error) => return refused(error),
    };
    let epoch = request.share_session_epoch;
    let known = core.share_sessions.lock().acknowledge(&key, epoch);
    if let Err(error) = known {
        return refused(error);
    }
    let mut raw = Vec::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let batches = partition.acknowledgement_batches.into_iter();
            let batches = batches.map(|b| (b.first_offset, b.last_offset, b.acknowledge_types));
            raw.push(Raw {
                topic_id: topic.topic_id,
                partition: partition.partition_index,
                batches: batches.collect(),
            });
        }
    }
    let may_renew = call.header.api_version >= WITH_RENEWAL && request.is_renew_ack;
    let results = acknowledge(core, &core.image(), &key, raw, may_renew).await;
    if epoch == CLOSING {
        close_session(core, &key).await;
    }
    let lock = core.share_settings(key.group.as_str()).record_lock_duration;
    Response {
        acquisition_lock_timeout_ms: i32::try_from(lock.as_millis()).unwrap_or(i32::MAX),
        responses: respond(&results),
        ..Response::default()
    }
}

/// The session that a request is about.
///
/// # Errors
/// `UNSUPPORTED_VERSION` while share groups are switched off, `INVALID_REQUEST` for names that cannot be.
pub fn session_key(
    core: &Core,
    group: Option<&str>,
    member: Option<&str>,
) -> Result<ShareSessionKey, ErrorCode> {
    if !core.serves_share_groups() {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let group = group.filter(|group| !group.is_empty());
    let member = member.filter(|member| (1..=LONGEST_MEMBER_ID).contains(&member.len()));
    match (group, member) {
        (Some(group), Some(member)) => Ok(ShareSessionKey {
            group: GroupId::from(group),
            member: MemberId::from(member),
        }),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// Ends a session; what its member has acquired is available again before the answer leaves.
pub async fn close_session(core: &Core, key: &ShareSessionKey) {
    let partitions = core.share_sessions.lock().close(key);
    let Some(partitions) = partitions else { return };
    let command = Command::Release {
        group: key.group.clone(),
        member: key.member.clone(),
        partitions: Some(partitions),
    };
    // A broker that stops releases everything anyway.
    let _ = core.share.ask(command).await;
}

/// Takes in acknowledgements; each partition's are taken together or not at all.
pub async fn acknowledge(
    core: &Core,
    image: &ClusterImage,
    key: &ShareSessionKey,
    raw: Vec<Raw>,
    may_renew: bool,
) -> Results {
    let mut results = Results::new();
    let mut partitions = Vec::new();
    for Raw {
        topic_id,
        partition,
        batches,
    } in raw
    {
        match check(image, topic_id, partition, batches, may_renew) {
            Ok(batches) if batches.is_empty() => {
                results.insert((topic_id, partition), (ErrorCode::None, None));
            }
            Ok(batches) => partitions.push(AcknowledgePartition {
                topic_id,
                partition,
                batches,
            }),
            Err(error) => {
                results.insert((topic_id, partition), (error, None));
            }
        }
    }
    if partitions.is_empty() {
        return results;
    }
    let keys: Vec<(Uuid, i32)> = partitions
        .iter()
        .map(|p| (p.topic_id, p.partition))
        .collect();
    let command = Command::Acknowledge(Acknowledge {
        group: key.group.clone(),
        member: key.member.clone(),
        settings: core.share_settings(key.group.as_str()),
        partitions,
    });
    match core.share.ask(command).await {
        Some(Reply::Acknowledge(answers)) => {
            for (key, answer) in keys.into_iter().zip(answers) {
                let result = match answer {
                    Ok(()) => (ErrorCode::None, None),
                    Err(refusal) => (refusal.error, Some(refusal.message)),
                };
                results.insert(key, result);
            }
        }
        _ => {
            let stopping = (ErrorCode::CoordinatorNotAvailable, None);
            results.extend(keys.into_iter().map(|key| (key, stopping)));
        }
    }
    results
}

fn check(
    image: &ClusterImage,
    topic_id: Uuid,
    partition: i32,
    batches: Vec<(i64, i64, Vec<i8>)>,
    may_renew: bool,
) -> Result<Vec<AcknowledgeBatch>, ErrorCode> {
    let topic = image
        .topic_by_id(topic_id)
        .ok_or(ErrorCode::UnknownTopicId)?;
    topic
        .partition(partition)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let batch = |(first, last, types): (i64, i64, Vec<i8>)| {
        let types = types.into_iter().map(AcknowledgeType::from_code);
        let types: Option<Vec<AcknowledgeType>> = types.collect();
        let types = types.filter(|types| may_renew || !types.contains(&AcknowledgeType::Renew));
        let types = types.ok_or(ErrorCode::InvalidRequest)?;
        Ok(AcknowledgeBatch { first, last, types })
    };
    batches.into_iter().map(batch).collect()
}

fn respond(results: &Results) -> Vec<TopicResponse<'static>> {
    let mut topics: Vec<TopicResponse<'static>> = Vec::new();
    for (&(topic_id, partition_index), (error, message)) in results {
        if topics.last().is_none_or(|topic| topic.topic_id != topic_id) {
            topics.push(TopicResponse {
                topic_id,
                partitions: Vec::new(),
            });
        }
        let topic = topics.last_mut().expect("pushed above");
        topic.partitions.push(PartitionData {
            partition_index,
            error_code: error.code(),
            error_message: message.map(Into::into),
            ..PartitionData::default()
        });
    }
    topics
}

fn refused(error: ErrorCode) -> Response<'static> {
    Response {
        error_code: error.code(),
        error_message: Some(error.message().into()),
        ..Response::default()
    }
}
