//! The part of the stories' language that is about consumer groups (KIP-848). Topic `t1` has the id that is all ones.

use std::collections::BTreeSet;
use std::time::Duration;

use broker_state::configs::GroupConfigs;
use broker_state::groups::*;
use broker_state::refusal::Refusal;
use wire::Uuid;

use super::words::{self, Words};
use super::{Client, World};

impl World {
    pub(super) fn set_topics(&mut self, words: &Words<'_>) {
        let topics = words.named.iter().map(|(name, sizes)| {
            let (partitions, id) = match sizes.split_once('@') {
                Some((partitions, id)) => (partitions, Uuid([words::number(id) as u8; 16])),
                None => (*sizes, topic_id(name)),
            };
            let partitions = words::number(partitions) as i32;
            (TopicName::from(*name), TopicImage { id, partitions })
        });
        self.topics = topics.collect();
        self.groups
            .set_topics(self.now, self.topics.clone(), &mut self.effects);
        self.settle();
    }

    /// What is configured for all consumer groups.
    pub(super) fn configure(&mut self, name: &str, value: Duration) {
        match name {
            "silence" => self.config.consumer.session_timeout = value,
            _ => self.config.consumer.assignment_interval = value,
        }
        self.groups.set_configs(self.now, self.configs());
    }

    pub(super) fn configs(&self) -> GroupConfigs {
        GroupConfigs::new(self.config.clone(), std::iter::empty())
    }

    pub(super) fn enter(&mut self, words: &Words<'_>) {
        let name = words.plain[0];
        let client = self.clients.entry(name.to_owned()).or_default();
        if words.flag("fresh") {
            *client = Client::default();
        }
        let instance_id = words.get("instance").map(InstanceId::from);
        if client.member_id.is_empty() {
            let base = instance_id.as_ref().map_or(name, InstanceId::as_str);
            let count = self.ids.entry(base.to_owned()).or_default();
            *count += 1;
            client.member_id = MemberId::from(format!("{base}.{count}"));
        }
        client.epoch = 0;
        client.owned = Partitions::new();
        client.instance_id = instance_id.or(client.instance_id.take());
        let mut beat = self.said(words);
        beat.rebalance_timeout.get_or_insert(words::duration("60s"));
        beat.owned.get_or_insert_default();
        if beat.regex.is_none() {
            beat.topics.get_or_insert_default();
        }
        self.ask(name, Command::ConsumerHeartbeat(beat));
    }

    pub(super) fn consumer_beat(&mut self, words: &Words<'_>) {
        let beat = self.said(words);
        self.ask(words.plain[0], Command::ConsumerHeartbeat(beat));
    }

    pub(super) fn exit(&mut self, words: &Words<'_>) {
        let mut beat = self.said(words);
        beat.epoch = if words.flag("static") { -2 } else { -1 };
        self.ask(words.plain[0], Command::ConsumerHeartbeat(beat));
    }

    /// What a line makes its client say.
    fn said(&self, words: &Words<'_>) -> ConsumerHeartbeat {
        let client = self.client(words);
        let owned = words.get("owned").map(partitions);
        let epoch = words
            .get("epoch")
            .map(|epoch| epoch.parse().expect("an epoch"));
        let topics = words.get("topics").map(|_| words.list("topics"));
        ConsumerHeartbeat {
            group: words.group(),
            member_id: words.member(&client),
            epoch: epoch.unwrap_or(client.epoch),
            instance_id: words.instance(&client),
            rack_id: words.get("rack").map(str::to_owned),
            client_id: words.plain[0].to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout: words.get("rebalance").map(words::duration),
            topics: topics.map(|topics| {
                let topics = topics.into_iter().filter(|topic| !topic.is_empty());
                topics.map(TopicName::from).collect()
            }),
            regex: words.get("regex").map(str::to_owned),
            assignor: words.get("assignor").map(str::to_owned),
            owned: owned.or_else(|| words.flag("owned").then(|| client.owned.clone())),
        }
    }

    pub(super) fn learn_assignment(&mut self, name: &str, reply: &ConsumerHeartbeatReply) {
        let client = self.clients.get_mut(name).expect("a client has asked");
        client.epoch = reply.epoch;
        // Commits of the stories go by the generation, which here is the epoch.
        client.generation = Some(Generation(reply.epoch));
        if let Some(assignment) = &reply.assignment {
            client.owned.clone_from(assignment);
        }
    }
}

fn topic_id(name: &str) -> Uuid {
    let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    Uuid([words::number(digits) as u8; 16])
}

/// `t1:0+1,t2:3`; `-` is nothing.
fn partitions(text: &str) -> Partitions {
    let topics = text.split(',').filter_map(|topic| topic.split_once(':'));
    topics
        .map(|(topic, partitions)| {
            let partitions = partitions.split('+').map(|p| words::number(p) as i32);
            (topic_id(topic), partitions.collect())
        })
        .collect()
}

fn shown(partitions: &Partitions) -> String {
    if partitions.is_empty() {
        return "-".to_owned();
    }
    let topics = partitions.iter().map(|(topic, partitions)| {
        let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("t{}:{}", topic.0[0], partitions.join("+"))
    });
    topics.collect::<Vec<_>>().join(",")
}

fn shown_epochs(partitions: &PartitionEpochs) -> String {
    let topics = partitions.iter().flat_map(|(topic, partitions)| {
        let partitions = partitions.iter();
        partitions.map(|(partition, epoch)| format!("t{}:{partition}@{epoch}", topic.0[0]))
    });
    let shown: Vec<String> = topics.collect();
    if shown.is_empty() {
        "-".to_owned()
    } else {
        shown.join(",")
    }
}

fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::Stable => "stable",
        MemberState::UnrevokedPartitions => "unrevoked",
        MemberState::UnreleasedPartitions => "unreleased",
        MemberState::Unknown => "unknown",
    }
}

fn names(topics: &BTreeSet<TopicName>) -> String {
    let topics: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
    topics.join(",")
}

pub(super) fn change(group: &GroupId, change: &ConsumerChange) -> String {
    let sign = if change.is_some() { '+' } else { '-' };
    let what = match change {
        ConsumerChange::Group(Some(epoch)) => format!("epoch {}", epoch.epoch),
        ConsumerChange::Group(None) => "epoch".to_owned(),
        ConsumerChange::PartitionMetadata => "partition metadata".to_owned(),
        ConsumerChange::Member(id, None) => format!("member {id}"),
        ConsumerChange::Member(id, Some(member)) => {
            let mut line = format!("member {id} topics={}", names(&member.topics));
            let texts = [
                ("regex", member.regex.as_deref()),
                (
                    "instance",
                    member.instance_id.as_ref().map(InstanceId::as_str),
                ),
                ("rack", member.rack_id.as_deref()),
                ("assignor", member.assignor.as_deref()),
                ("classic", member.classic.as_ref().map(|_| "yes")),
            ];
            for (name, value) in texts {
                if let Some(value) = value {
                    line.push_str(&format!(" {name}={value}"));
                }
            }
            line
        }
        ConsumerChange::Assignment(None) => "targets".to_owned(),
        ConsumerChange::Assignment(Some(epoch)) => format!("targets at {}", epoch.epoch),
        ConsumerChange::Target(id, None) => format!("target {id}"),
        ConsumerChange::Target(id, Some(target)) => format!("target {id} {}", shown(target)),
        ConsumerChange::Current(id, None) => format!("current {id}"),
        ConsumerChange::Current(id, Some(current)) => format!(
            "current {id} {} after {} {} {} revokes {}",
            current.epoch,
            current.previous_epoch,
            state(current.state),
            shown_epochs(&current.assigned),
            shown_epochs(&current.pending_revocation)
        ),
        ConsumerChange::Regex(regex, None) => format!("regex {regex}"),
        ConsumerChange::Regex(regex, Some(resolved)) => {
            format!("regex {regex} {}", names(&resolved.topics))
        }
    };
    format!("{sign} {group} {what}")
}

pub(super) fn answer(answer: &Result<ConsumerHeartbeatReply, Refusal>) -> String {
    match answer {
        Ok(reply) => match &reply.assignment {
            Some(assignment) => format!("at {} has {}", reply.epoch, shown(assignment)),
            None => format!("at {}", reply.epoch),
        },
        Err(refusal) => refusal.error.name().to_owned(),
    }
}

pub(super) fn view(group: &Result<DescribedConsumerGroup, Refusal>) -> String {
    let group = match group {
        Ok(group) => group,
        Err(refusal) => return refusal.error.name().to_owned(),
    };
    let topics = |topics: &[AssignedTopic]| {
        let topics = topics.iter();
        shown(
            &topics
                .map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect()))
                .collect(),
        )
    };
    let members = group.members.iter().map(|member| {
        let (assignment, target) = (topics(&member.assignment), topics(&member.target));
        let wants = if assignment == target {
            String::new()
        } else {
            format!(" of {target}")
        };
        format!(
            " {}@{} {assignment}{wants};",
            member.member_id, member.epoch
        )
    });
    let members: String = members.collect();
    let (epoch, assigned) = (group.epoch, group.assignment_epoch);
    format!(
        "{} {epoch}/{assigned} {}{members}",
        group.state.name(),
        group.assignor
    )
}

/// An assignment as consumers of the classic protocol read it: topics with their partitions.
pub(super) fn embedded(assignment: &[u8]) -> String {
    let int32 = |at: usize| {
        let bytes = assignment[at..at + 4].try_into();
        i32::from_be_bytes(bytes.expect("four bytes")) as usize
    };
    let mut at = 6;
    let mut shown = Vec::new();
    for _ in 0..int32(2) {
        let length = usize::from(assignment[at + 1]);
        let topic = std::str::from_utf8(&assignment[at + 2..at + 2 + length]).expect("a name");
        at += 2 + length;
        let count = int32(at);
        let partitions = (1..=count).map(|index| int32(at + 4 * index).to_string());
        shown.push(format!(
            "{topic}:{}",
            partitions.collect::<Vec<_>>().join("+")
        ));
        at += 4 + 4 * count;
    }
    if shown.is_empty() {
        return "none".to_owned();
    }
    shown.join(",")
}
