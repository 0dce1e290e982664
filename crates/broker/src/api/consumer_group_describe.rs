//! ConsumerGroupDescribe, key 69, v0–1: epochs, members and assignments of consumer groups (KIP-848).
//! v1 whether a member speaks the classic protocol (KIP-1099). Rules: broker_state::groups::consumer.

use broker_state::groups::{
    AssignedTopic, Command, DescribedConsumer, DescribedConsumerGroup, Reply,
};
use wire::consumer_group_describe::{
    Assignment, DescribedGroup, Member, Request, Response, TopicPartitions,
};
use wire::{ApiKey, ErrorCode};

use super::describe_groups::authorized_operations;
use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::ConsumerGroupDescribe, 0, 1);

const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

pub async fn handle(
    connection: &Connection,
    mut request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    // Naming a group often must not make a small request's answer large.
    request.group_ids.sort_unstable();
    request.group_ids.dedup();
    let operations = authorized_operations(request.include_authorized_operations);
    let names = request.group_ids.iter();
    let command = Command::DescribeConsumers(names.map(|name| (*name).into()).collect());
    let groups = match connection.core.coordinator.ask(command).await {
        Some(Reply::DescribeConsumers(groups)) => {
            let described = request.group_ids.iter().zip(groups);
            let described = described.map(|(name, group)| match group {
                Ok(group) => describe(group, operations),
                Err(refusal) => refused(name, refusal.error, Some(refusal.message)),
            });
            described.collect()
        }
        _ => {
            let error = ErrorCode::CoordinatorNotAvailable;
            let names = request.group_ids.iter();
            names.map(|name| refused(name, error, None)).collect()
        }
    };
    Response {
        groups,
        ..Response::default()
    }
}

fn describe(group: DescribedConsumerGroup, operations: i32) -> DescribedGroup<'static> {
    DescribedGroup {
        group_id: group.group.as_str().to_owned().into(),
        group_state: group.state.name().into(),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.assignor.into(),
        members: group.members.into_iter().map(member).collect(),
        authorized_operations: operations,
        ..DescribedGroup::default()
    }
}

fn member(member: DescribedConsumer) -> Member<'static> {
    let settings = member.settings;
    let is_classic = settings.classic.is_some();
    let topics = settings.topics.iter();
    Member {
        member_id: member.member_id.as_str().to_owned().into(),
        instance_id: settings.instance_id.map(|id| id.as_str().to_owned().into()),
        rack_id: settings.rack_id.map(Into::into),
        member_epoch: member.epoch,
        client_id: settings.client_id.into(),
        client_host: settings.client_host.into(),
        subscribed_topic_names: topics
            .map(|topic| topic.as_str().to_owned().into())
            .collect(),
        subscribed_topic_regex: settings.regex.map(Into::into),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target),
        member_type: if is_classic {
            CLASSIC_MEMBER
        } else {
            CONSUMER_MEMBER
        },
    }
}

fn assignment(topics: Vec<AssignedTopic>) -> Assignment<'static> {
    let topics = topics.into_iter().map(|topic| TopicPartitions {
        topic_id: topic.topic_id,
        topic_name: topic.topic.as_str().to_owned().into(),
        partitions: topic.partitions,
    });
    Assignment {
        topic_partitions: topics.collect(),
    }
}

fn refused(group: &str, error: ErrorCode, message: Option<String>) -> DescribedGroup<'static> {
    DescribedGroup {
        error_code: error.code(),
        error_message: message.map(Into::into),
        group_id: group.to_owned().into(),
        ..DescribedGroup::default()
    }
}
