//! Records and replies as lines of a story.

use broker_state::groups::*;
use wire::{ErrorCode, Uuid};

pub(super) fn record(record: &Record) -> String {
    match record {
        Record::OffsetCommit {
            group,
            topic,
            partition,
            committed,
        } => {
            format!(
                "+ offset {group} {topic}:{partition}={}{}",
                committed.offset,
                extras(committed)
            )
        }
        Record::OffsetTombstone {
            group,
            topic,
            partition,
        } => format!("- offset {group} {topic}:{partition}"),
        Record::GroupTombstone { group } => format!("- group {group}"),
        Record::Consumer { group, change } => super::consumers::change(group, change),
        Record::Share { group, change } => format!("{group} {change:?}"),
        Record::Transaction(TransactionChange::Offset {
            producer,
            group,
            topic,
            partition,
            committed,
        }) => format!(
            "+ pending {} {group} {topic}:{partition}={}{}",
            producer.producer_id,
            committed.offset,
            extras(committed)
        ),
        Record::Transaction(TransactionChange::End {
            producer,
            is_commit,
            ..
        }) => format!(
            "+ {} of {}",
            if *is_commit { "commit" } else { "abort" },
            producer.producer_id
        ),
        Record::GroupMetadata { group, metadata } if metadata.members.is_empty() => {
            assert_eq!(
                (&metadata.protocol, &metadata.leader),
                (&None, &None),
                "NobodyLeadsAnEmptyGroup"
            );
            format!("+ group {group} {} empty", metadata.generation.0)
        }
        Record::GroupMetadata { group, metadata } => {
            let protocol = metadata.protocol.as_deref().unwrap_or("-");
            let leader = metadata.leader.clone().unwrap_or_default();
            let members = metadata
                .members
                .iter()
                .map(|member| (&member.member_id, &member.assignment));
            format!(
                "+ group {group} {} {protocol} leader={leader}{}",
                metadata.generation.0,
                assignments(members)
            )
        }
    }
}

fn listed(listed: &ListedGroup) -> String {
    format!(
        "{}({} {} {})",
        listed.group,
        listed.state.name(),
        listed.group_type.name(),
        listed.protocol_type
    )
}

pub(super) fn reply(client: &str, reply: &Reply) -> String {
    let answer = match reply {
        Reply::Join(joined) => join(joined),
        Reply::Sync(synced) if synced.error == ErrorCode::None => {
            format!("assigned {}", shown(&synced.assignment))
        }
        Reply::Sync(synced) => synced.error.name().to_owned(),
        Reply::TransactionEnded(ErrorCode::None) => "ended".to_owned(),
        Reply::TransactionEnded(error) => error.name().to_owned(),
        Reply::Heartbeat(ErrorCode::None) => "ok".to_owned(),
        Reply::Share(share) => format!("{share:?}"),
        Reply::Heartbeat(error) => error.name().to_owned(),
        Reply::Leave(left) => leave(left),
        Reply::CommitOffsets(topics) => {
            let partitions = topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.topic, p)));
            let results = partitions
                .map(|(topic, (partition, error))| result(&format!("{topic}:{partition}"), *error));
            format!("committed {}", joined_by_space(results))
        }
        Reply::FetchOffsets(fetch) if fetch.error != ErrorCode::None => {
            fetch.error.name().to_owned()
        }
        Reply::FetchOffsets(fetch) => format!(
            "fetched {}",
            joined_by_space(fetch.topics.iter().flat_map(fetched))
        ),
        Reply::DeleteOffsets(deleted) if deleted.error != ErrorCode::None => {
            deleted.error.name().to_owned()
        }
        Reply::DeleteOffsets(deleted) => {
            let partitions = deleted
                .topics
                .iter()
                .flat_map(|(topic, ps)| ps.iter().map(move |p| (topic, p)));
            let results = partitions
                .map(|(topic, (partition, error))| result(&format!("{topic}:{partition}"), *error));
            format!("forgotten {}", joined_by_space(results))
        }
        Reply::Describe(groups) => joined_by_space(groups.iter().map(describe)),
        Reply::List(groups) => format!("groups {}", joined_by_space(groups.iter().map(listed))),
        Reply::ConsumerHeartbeat(answer) => super::consumers::answer(answer),
        Reply::DescribeConsumers(groups) => {
            joined_by_space(groups.iter().map(super::consumers::view))
        }
        Reply::DeleteGroups(groups) => {
            format!(
                "deleted {}",
                joined_by_space(
                    groups
                        .iter()
                        .map(|(group, error)| result(group.as_str(), *error))
                )
            )
        }
    };
    if client.is_empty() {
        answer
    } else {
        format!("{client}: {answer}")
    }
}

fn join(joined: &JoinReply) -> String {
    if joined.error != ErrorCode::None {
        let id = if joined.member_id.is_empty() {
            "nobody"
        } else {
            joined.member_id.as_str()
        };
        return format!("{} as {id}", joined.error.name());
    }
    let role = if joined.leader == joined.member_id {
        let names = joined
            .members
            .iter()
            .map(|member| match &member.instance_id {
                Some(instance) => format!("{}@{instance}", member.member_id),
                None => member.member_id.to_string(),
            });
        format!("leader of [{}]", joined_by_space(names))
    } else {
        format!("follower of {}", joined.leader)
    };
    let skip = if joined.skip_assignment {
        " skipping assignment"
    } else {
        ""
    };
    let protocol = joined.protocol.as_deref().unwrap_or("-");
    format!(
        "joined {} {protocol} as {} {role}{skip}",
        joined.generation.0, joined.member_id
    )
}

fn leave(left: &LeaveReply) -> String {
    if left.error != ErrorCode::None {
        return left.error.name().to_owned();
    }
    let members = left.members.iter().map(|(identity, error)| {
        let instance = identity
            .instance_id
            .as_ref()
            .map_or_else(String::new, |instance| format!("@{instance}"));
        result(&format!("{}{instance}", identity.member_id), *error)
    });
    format!("left {}", joined_by_space(members))
}

fn describe(group: &DescribedGroup) -> String {
    if group.error != ErrorCode::None {
        return format!(
            "{} is {} {}",
            group.group,
            group.state.name(),
            group.error.name()
        );
    }
    let members = group
        .members
        .iter()
        .map(|member| (&member.member_id, &member.assignment));
    let protocol = [group.protocol_type.as_str(), group.protocol.as_str()].join("/");
    format!(
        "{} is {} {protocol}{}",
        group.group,
        group.state.name(),
        assignments(members)
    )
}

fn fetched(topic: &FetchedTopic) -> Vec<String> {
    let partitions = topic.partitions.iter();
    let lines = partitions.map(|partition| {
        if partition.error != ErrorCode::None {
            let place = format!("{}:{}", topic.topic, partition.partition);
            return result(&place, partition.error);
        }
        let note = if partition.metadata.is_empty() {
            String::new()
        } else {
            format!("({})", partition.metadata)
        };
        let epoch = if partition.leader_epoch == -1 {
            String::new()
        } else {
            format!("@{}", partition.leader_epoch)
        };
        format!(
            "{}:{}={}{epoch}{note}",
            topic.topic, partition.partition, partition.offset
        )
    });
    lines.collect()
}

fn extras(committed: &CommittedOffset) -> String {
    let mut extras = String::new();
    if committed.leader_epoch != -1 {
        extras += &format!("@{}", committed.leader_epoch);
    }
    if !committed.metadata.is_empty() {
        extras += &format!("({})", committed.metadata);
    }
    if committed.expires_at.is_some() {
        extras += " expiring";
    }
    if committed.topic_id != Uuid::ZERO {
        extras += &format!(" id={}", committed.topic_id.0[0]);
    }
    extras
}

fn assignments<'a>(members: impl Iterator<Item = (&'a MemberId, &'a SharedBytes)>) -> String {
    members
        .map(|(member, assignment)| format!(" {member}={}", shown(assignment)))
        .collect()
}

/// Assignments in stories are text; the broker's own empty one is not.
fn shown(assignment: &SharedBytes) -> String {
    match &assignment[..] {
        [] => "nothing".to_owned(),
        [0, ..] => super::consumers::embedded(assignment),
        text => String::from_utf8_lossy(text).into_owned(),
    }
}

fn result(what: &str, error: ErrorCode) -> String {
    if error == ErrorCode::None {
        what.to_owned()
    } else {
        format!("{what}!{}", error.name())
    }
}

fn joined_by_space(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(" ")
}
