//! Reads the topics out of consumers' subscriptions, the only client bytes that the broker looks into.
//!
//! `ConsumerProtocolSubscription`: `int16 version, [string] topics`, then fields of newer versions, which are left alone.

use std::collections::BTreeSet;

use super::{CONSUMER, ClassicGroup};

/// Which topics the members of a group consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::groups) enum Subscribed {
    /// There are no members.
    Nobody,
    /// The members are no consumers; what they read is their own affair.
    Unknown,
    /// Some consumer's subscription cannot be read, so it may be any topic.
    Unreadable,
    To(BTreeSet<String>),
}

impl Subscribed {
    /// Whether a member may be consuming `topic`.
    pub(in crate::groups) fn includes(&self, topic: &str) -> bool {
        match self {
            Subscribed::Nobody => false,
            Subscribed::Unknown | Subscribed::Unreadable => true,
            Subscribed::To(topics) => topics.contains(topic),
        }
    }
}

impl ClassicGroup {
    pub(in crate::groups) fn subscribed(&self) -> Subscribed {
        if self.members.is_empty() {
            return Subscribed::Nobody;
        }
        if self.protocol_type != CONSUMER {
            return Subscribed::Unknown;
        }
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            match topics_of(&member.subscription(self.protocol.as_deref())) {
                Some(topics) => all.extend(topics),
                None => return Subscribed::Unreadable,
            }
        }
        Subscribed::To(all)
    }
}

/// The topics of one subscription; `None` if these are not a subscription's bytes.
pub(super) fn topics_of(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let (_version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = BTreeSet::new();
    for _ in 0..i32::from_be_bytes(*count).max(0) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (topic, after) = after.split_at_checked(length)?;
        topics.insert(std::str::from_utf8(topic).ok()?.to_owned());
        rest = after;
    }
    Some(topics)
}
