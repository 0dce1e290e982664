//! What consumers of the classic protocol say inside of its bytes: subscriptions and assignments (the "embedded" consumer
//! protocol). The broker reads them where classic members and consumer groups meet.
//!
//! ```text
//! subscription  int16 version, [string] topics, bytes? user data, from 1: [topic, [int32]] owned, from 2: int32
//!               generation, from 3: string? rack
//! assignment    int16 version, [topic, [int32]] partitions, bytes? user data
//! ```
//! Fields of newer versions follow and are left alone.

use std::collections::{BTreeMap, BTreeSet};

use super::consumer::Partitions;
use super::ids::{SharedBytes, TopicName};
use super::topics::TopicsImage;

/// The newest version whose fields are known here.
const NEWEST: i16 = 3;

/// Partitions by the names of their topics.
pub(super) type NamedPartitions = BTreeMap<TopicName, BTreeSet<i32>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) version: i16,
    pub(super) topics: BTreeSet<TopicName>,
    /// What the member has not given up, as a cooperative one tells; an eager one has given up everything.
    pub(super) owned: NamedPartitions,
    pub(super) rack: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) partitions: NamedPartitions,
    pub(super) has_user_data: bool,
}

impl Subscription {
    /// `None` if these are not a subscription's bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let version = int16(&mut rest)?;
        let mut subscription = Subscription {
            version,
            ..Subscription::default()
        };
        for _ in 0..int32(&mut rest)?.max(0) {
            subscription
                .topics
                .insert(TopicName::from(text(&mut rest)??));
        }
        user_data(&mut rest)?;
        if version >= 1 {
            subscription.owned = named_partitions(&mut rest)?;
        }
        if version >= 2 {
            int32(&mut rest)?;
        }
        if version >= 3 {
            subscription.rack = text(&mut rest)?.map(str::to_owned);
        }
        Some(subscription)
    }
}

impl Assignment {
    /// `None` if these are not an assignment's bytes. No bytes at all are no partitions: the member has not synced.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Assignment::default());
        }
        let mut rest = bytes;
        int16(&mut rest)?;
        Some(Assignment {
            partitions: named_partitions(&mut rest)?,
            has_user_data: user_data(&mut rest)?,
        })
    }
}

/// The assignment of a member whose subscription has this version.
pub(super) fn encode_assignment(partitions: &NamedPartitions, version: i16) -> SharedBytes {
    let mut bytes = version.clamp(0, NEWEST).to_be_bytes().to_vec();
    bytes.extend((partitions.len() as i32).to_be_bytes());
    for (topic, partitions) in partitions {
        bytes.extend((topic.as_str().len() as i16).to_be_bytes());
        bytes.extend(topic.as_str().as_bytes());
        bytes.extend((partitions.len() as i32).to_be_bytes());
        partitions
            .iter()
            .for_each(|partition| bytes.extend(partition.to_be_bytes()));
    }
    bytes.extend((-1i32).to_be_bytes());
    SharedBytes::from(bytes)
}

/// Topics that are gone are left out.
pub(super) fn by_id(named: &NamedPartitions, topics: &TopicsImage) -> Partitions {
    let found = named.iter().filter_map(|(name, partitions)| {
        let topic = topics.get(name.as_str())?;
        Some((topic.id, partitions.clone()))
    });
    found.collect()
}

/// Topics that are gone are left out.
pub(super) fn by_name<'a>(
    partitions: impl IntoIterator<Item = (wire::Uuid, &'a i32)>,
    topics: &TopicsImage,
) -> NamedPartitions {
    let mut named = NamedPartitions::new();
    for (id, partition) in partitions {
        if let Some(name) = topics.name(id) {
            named.entry(name.clone()).or_default().insert(*partition);
        }
    }
    named
}

fn named_partitions(rest: &mut &[u8]) -> Option<NamedPartitions> {
    let mut named = NamedPartitions::new();
    for _ in 0..int32(rest)?.max(0) {
        let partitions = named.entry(TopicName::from(text(rest)??)).or_default();
        for _ in 0..int32(rest)?.max(0) {
            partitions.insert(int32(rest)?);
        }
    }
    Some(named)
}

/// Steps over user data; says whether there is any.
fn user_data(rest: &mut &[u8]) -> Option<bool> {
    let length = usize::try_from(int32(rest)?).unwrap_or(0);
    let (_, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(length > 0)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a str>> {
    let Ok(length) = usize::try_from(int16(rest)?) else {
        return Some(None);
    };
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok().map(Some)
}

fn int16(rest: &mut &[u8]) -> Option<i16> {
    let (bytes, after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    Some(i16::from_be_bytes(*bytes))
}

fn int32(rest: &mut &[u8]) -> Option<i32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(i32::from_be_bytes(*bytes))
}
