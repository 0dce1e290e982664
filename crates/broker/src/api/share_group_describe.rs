//! ShareGroupDescribe, key 77, v1: share groups with their members and what they work on.
//! v0 was early access. Rules: broker_state::groups::share.

use broker_state::groups::{
    Command, DescribedShareGroup, DescribedShareMember, Reply, SHARE_ASSIGNOR, ShareCommand,
    ShareReply,
};
use wire::share_group_describe::{
    Assignment, DescribedGroup, Member, Request, Response, TopicPartitions,
};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::ShareGroupDescribe, 1, 1);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let core = &connection.core;
    let names: Vec<String> = request.group_ids.iter().map(|&id| id.to_owned()).collect();
    let refuse = |error: ErrorCode| Response {
        groups: names.iter().map(|name| refused(name, error)).collect(),
        ..Response::default()
    };
    if !core.serves_share_groups() {
        return refuse(ErrorCode::UnsupportedVersion);
    }
    let ids = names.iter().map(|name| name.as_str().into());
    let command = Command::Share(ShareCommand::Describe(ids.collect()));
    match core.coordinator.ask(command).await {
        Some(Reply::Share(ShareReply::Describe(groups))) => Response {
            groups: groups.into_iter().map(describe).collect(),
            ..Response::default()
        },
        _ => refuse(ErrorCode::CoordinatorNotAvailable),
    }
}

fn refused(group: &str, error: ErrorCode) -> DescribedGroup<'static> {
    DescribedGroup {
        group_id: group.to_owned().into(),
        error_code: error.code(),
        ..DescribedGroup::default()
    }
}

fn describe(group: DescribedShareGroup) -> DescribedGroup<'static> {
    DescribedGroup {
        error_code: group.error.code(),
        error_message: group.message.map(Into::into),
        group_id: group.group.as_str().to_owned().into(),
        group_state: group.state.name().into(),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: SHARE_ASSIGNOR.into(),
        members: group.members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}

fn member(member: DescribedShareMember) -> Member<'static> {
    let topics = member.settings.topics.iter();
    let assigned = member.assigned.into_iter();
    let assigned = assigned.map(|(topic_id, name, partitions)| TopicPartitions {
        topic_id,
        topic_name: name.as_str().to_owned().into(),
        partitions,
    });
    Member {
        member_id: member.id.as_str().to_owned().into(),
        rack_id: member.settings.rack_id.clone().map(Into::into),
        member_epoch: member.epoch,
        client_id: member.settings.client_id.clone().into(),
        client_host: member.settings.client_host.clone().into(),
        subscribed_topic_names: topics.map(|t| t.as_str().to_owned().into()).collect(),
        assignment: Assignment {
            topic_partitions: assigned.collect(),
        },
    }
}
