//! Splits a line of a story into its verb, plain words and `name=value` words, and makes commands' parts of them.

use std::time::Duration;

use broker_state::groups::*;
use broker_state::producer_ids::ProducerIdentity;
use wire::Uuid;

use super::Client;

pub(super) struct Words<'a> {
    pub(super) verb: &'a str,
    pub(super) plain: Vec<&'a str>,
    pub(super) named: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let verb = words.next().expect("a line has a verb");
        let (mut plain, mut named) = (Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=') {
                Some(pair) => named.push(pair),
                None => plain.push(word),
            }
        }
        Words { verb, plain, named }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.named
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    pub(super) fn flag(&self, flag: &str) -> bool {
        self.plain.contains(&flag)
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.get(name).map_or_else(Vec::new, |value| {
            value.split(',').map(str::to_owned).collect()
        })
    }

    pub(super) fn group(&self) -> GroupId {
        GroupId::from(self.get("group").unwrap_or("g"))
    }

    pub(super) fn member(&self, client: &Client) -> MemberId {
        self.get("as")
            .map_or_else(|| client.member_id.clone(), MemberId::from)
    }

    pub(super) fn instance(&self, client: &Client) -> Option<InstanceId> {
        self.get("instance").map_or_else(
            || client.instance_id.clone(),
            |instance| Some(InstanceId::from(instance)),
        )
    }

    pub(super) fn generation(&self, client: &Client) -> Generation {
        let given = self
            .get("generation")
            .map(|given| Generation(given.parse().expect("a generation")));
        given.or(client.generation).unwrap_or(Generation::NONE)
    }

    pub(super) fn topic_id(&self) -> Uuid {
        self.get("id")
            .map_or(Uuid::ZERO, |id| Uuid([number(id) as u8; 16]))
    }

    /// A join: protocols default to `range`, each with the same topics; `raw` gives metadata that is no subscription.
    pub(super) fn join(&self, name: &str, client: &Client) -> JoinGroup {
        let topics = self.get("topics").unwrap_or("t1");
        let metadata = self.get("raw").map_or_else(
            || subscription(topics, self.get("owned")),
            |raw| SharedBytes::from(raw.as_bytes()),
        );
        let protocols = self
            .get("protocols")
            .unwrap_or("range")
            .split(',')
            .filter(|name| !name.is_empty());
        let version = self.get("v").map_or(9, number);
        let instance_id = self
            .get("instance")
            .map(InstanceId::from)
            .or_else(|| client.instance_id.clone());
        JoinGroup {
            group: self.group(),
            member_id: client.member_id.clone(),
            client_id: name.to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: duration(self.get("session").unwrap_or("10s")),
            rebalance_timeout: duration(self.get("rebalance").unwrap_or("60s")),
            protocol_type: self.get("type").unwrap_or("consumer").to_owned(),
            protocols: protocols
                .map(|name| Protocol {
                    name: name.to_owned(),
                    metadata: metadata.clone(),
                })
                .collect(),
            reason: None,
            supports_member_id_required: version >= 4,
            supports_skip_assignment: version >= 9,
            new_member_id: MemberId::default(),
            instance_id,
        }
    }

    /// `t1:0=42`: each partition as a topic of its own.
    pub(super) fn commit_topics(&self) -> Vec<CommitTopic> {
        let positions = self.named.iter().filter(|(name, _)| name.contains(':'));
        let topics = positions.map(|(place, offset)| {
            let (topic, partition) = place.split_once(':').expect("topic:partition");
            CommitTopic {
                topic: TopicName::from(topic),
                topic_id: self.topic_id(),
                partitions: vec![CommitPartition {
                    partition: partition.parse().expect("a partition"),
                    offset: offset.parse().expect("an offset"),
                    leader_epoch: self
                        .get("epoch")
                        .map_or(-1, |epoch| epoch.parse().expect("an epoch")),
                    metadata: self.get("note").map(str::to_owned),
                }],
            }
        });
        topics.collect()
    }

    pub(super) fn fetch_topics(&self) -> Vec<FetchTopic> {
        let places = self.plain.iter().filter_map(|word| word.split_once(':'));
        let topics = places.map(|(topic, partition)| FetchTopic {
            topic: TopicName::from(topic),
            topic_id: self.topic_id(),
            partitions: vec![partition.parse().expect("a partition")],
        });
        topics.collect()
    }
}

/// `t1:0+1` as consumers encode it, anything else as it is.
pub(super) fn assignment(text: &str) -> SharedBytes {
    if !text.contains(':') {
        return SharedBytes::from(text.as_bytes());
    }
    let mut bytes = vec![0, 1];
    named_partitions(&mut bytes, text);
    bytes.extend((-1i32).to_be_bytes());
    SharedBytes::from(bytes)
}

fn named_partitions(bytes: &mut Vec<u8>, text: &str) {
    let topics: Vec<&str> = text
        .split(',')
        .filter(|topic| topic.contains(':'))
        .collect();
    bytes.extend((topics.len() as i32).to_be_bytes());
    for (topic, partitions) in topics.iter().filter_map(|topic| topic.split_once(':')) {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
        let partitions: Vec<i32> = partitions.split('+').map(|p| number(p) as i32).collect();
        bytes.extend((partitions.len() as i32).to_be_bytes());
        partitions
            .iter()
            .for_each(|partition| bytes.extend(partition.to_be_bytes()));
    }
}

/// A `ConsumerProtocolSubscription` of version 1: topics, user data, owned partitions.
pub(super) fn subscription(topics: &str, owned: Option<&str>) -> SharedBytes {
    let topics: Vec<&str> = topics
        .split(',')
        .filter(|topic| !topic.is_empty())
        .collect();
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    named_partitions(&mut bytes, owned.unwrap_or_default());
    SharedBytes::from(bytes)
}

pub(super) fn number(text: &str) -> usize {
    text.parse()
        .unwrap_or_else(|_| panic!("a number is expected, not {text}"))
}

/// `500ms`, `10s`, `5m`, `7d`.
pub(super) fn duration(text: &str) -> Duration {
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let found = units
        .iter()
        .find_map(|(unit, millis)| Some((text.strip_suffix(unit)?.parse::<u64>().ok()?, *millis)));
    let (count, millis) = found.unwrap_or_else(|| panic!("a duration is expected, not {text}"));
    Duration::from_millis(count * millis)
}

/// A producer by its id, with `7/2` for epoch 2.
pub(super) fn producer(text: &str) -> ProducerIdentity {
    let (id, epoch) = text.split_once('/').unwrap_or((text, "0"));
    ProducerIdentity {
        producer_id: id.parse().expect("a producer id"),
        producer_epoch: epoch.parse().expect("an epoch"),
    }
}
