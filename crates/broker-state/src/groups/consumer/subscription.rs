//! What the members of a group subscribe to, and whether that or the topics themselves have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::{ErrorCode, Uuid};

use super::ConsumerGroup;
use super::assignor::Assignor;
use super::regex::TopicRegex;
use super::state::{ConsumerChange, ConsumerState, MemberSettings, ResolvedRegex};
use crate::groups::Step;
use crate::groups::command::ConsumerHeartbeat;
use crate::groups::ids::{MemberId, TopicName};
use crate::groups::settings::ConsumerGroupSettings;
use crate::groups::topics::TopicsImage;
use crate::refusal::Refusal;

/// Expressions are matched no more often while topics come and go: each is compared with every topic.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);

impl MemberSettings {
    /// The expression that the member subscribes with, if any.
    pub(super) fn regex(&self) -> Option<&str> {
        self.regex.as_deref().filter(|regex| !regex.is_empty())
    }

    /// What the heartbeat says; what it leaves out stays.
    fn updated(&self, beat: &ConsumerHeartbeat) -> MemberSettings {
        let known = self.clone();
        MemberSettings {
            instance_id: beat.instance_id.clone().or(known.instance_id),
            rack_id: beat.rack_id.clone().or(known.rack_id),
            client_id: beat.client_id.clone(),
            client_host: beat.client_host.clone(),
            topics: beat.topics.clone().unwrap_or(known.topics),
            regex: beat.regex.clone().or(known.regex),
            rebalance_timeout: beat.rebalance_timeout.unwrap_or(known.rebalance_timeout),
            assignor: beat.assignor.clone().or(known.assignor),
            classic: None,
        }
    }
}

impl ConsumerGroup {
    /// Records what a heartbeat says of its member and gives the group a new epoch where that, or a change of the
    /// topics, asks for one. Says whether the member's subscription has changed.
    pub(super) fn update_member(
        &mut self,
        step: &mut Step<'_>,
        id: &MemberId,
        beat: &ConsumerHeartbeat,
    ) -> bool {
        let known = self.current(step).members.get(id).cloned();
        let updated = known.clone().unwrap_or_default().updated(beat);
        if known.as_ref() == Some(&updated) && !self.is_stale {
            // Most heartbeats only say that somebody is there.
            return false;
        }
        self.set_member(step, id, known, updated)
    }

    /// As `update_member`, with the settings that the member shall have.
    pub(super) fn set_member(
        &mut self,
        step: &mut Step<'_>,
        id: &MemberId,
        known: Option<MemberSettings>,
        updated: MemberSettings,
    ) -> bool {
        let assignor = self
            .current(step)
            .preferred_assignor(&step.settings.consumer);
        let is_new = known.is_none();
        let before = known.clone().unwrap_or_default();
        let has_changed = before.topics != updated.topics || before.regex() != updated.regex();
        if known.as_ref() != Some(&updated) {
            self.write(step, ConsumerChange::Member(id.clone(), Some(updated)));
        }
        let is_due = self.is_stale && self.resolves_from <= step.now;
        let waits = before.topics != self.current(step).members[id].topics
            && self.brings_an_expression(step, id, &before);
        let resolves = is_due || before.regex() != self.current(step).members[id].regex();
        let regexes_changed = resolves && !waits && self.resolve_regexes(step);
        let state = self.current(step);
        let prefers_another = assignor != state.preferred_assignor(&step.settings.consumer);
        let topics_changed =
            self.is_stale && state.metadata_hash(step.topics) != state.epoch.metadata_hash;
        if is_new || has_changed || regexes_changed || prefers_another || topics_changed {
            self.bump_epoch(step);
        }
        // Expressions that were matched a moment ago wait, and with them the news.
        self.is_stale &= !is_due && !self.current(step).regexes.is_empty();
        if waits {
            (self.is_stale, self.resolves_from) = (true, step.now);
        }
        has_changed
    }

    /// Whether an expression that the group does not know yet stands beside names: then the names are given first, and its
    /// matches with the next heartbeat. Kafka matches in the background, and clients count on that order.
    fn brings_an_expression(
        &self,
        step: &Step<'_>,
        id: &MemberId,
        before: &MemberSettings,
    ) -> bool {
        let state = self.current(step);
        let member = &state.members[id];
        let brought = member.regex().filter(|regex| before.regex() != Some(regex));
        !member.topics.is_empty() && brought.is_some_and(|regex| !state.regexes.contains_key(regex))
    }

    /// Every expression is matched against every topic, so a group has few of them.
    pub(super) fn check_regex_room(
        &self,
        step: &Step<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<(), Refusal> {
        let limit = step.settings.consumer.max_regexes;
        let known = &self.current(step).regexes;
        match beat.regex.as_deref() {
            Some(regex)
                if !regex.is_empty() && !known.contains_key(regex) && known.len() >= limit =>
            {
                let message = format!(
                    "the group has {limit} regular expressions already, as many as it may have"
                );
                Err(Refusal::new(ErrorCode::InvalidRegularExpression, message))
            }
            _ => Ok(()),
        }
    }

    /// Matches the group's expressions against the topics that there are, and forgets those nobody uses. Says whether
    /// any matches other topics than before.
    pub(super) fn resolve_regexes(&mut self, step: &mut Step<'_>) -> bool {
        self.resolves_from = step.now + RESOLVE_INTERVAL;
        let state = self.current(step);
        let used: BTreeSet<&str> = state
            .members
            .values()
            .filter_map(MemberSettings::regex)
            .collect();
        let mut changes = Vec::new();
        for unused in state
            .regexes
            .keys()
            .filter(|regex| !used.contains(regex.as_str()))
        {
            changes.push(ConsumerChange::Regex(unused.clone(), None));
        }
        let mut has_changed = false;
        for regex in used {
            // One that was accepted by an earlier release and is not understood now matches nothing.
            let topics = TopicRegex::compile(regex).map(|regex| regex.matching(step.topics));
            let topics = topics.unwrap_or_default();
            if state
                .regexes
                .get(regex)
                .is_some_and(|known| known.topics == topics)
            {
                continue;
            }
            has_changed = true;
            let resolved = ResolvedRegex {
                topics,
                version: 0,
                resolved_at: step.now,
            };
            changes.push(ConsumerChange::Regex(regex.to_owned(), Some(resolved)));
        }
        changes
            .into_iter()
            .for_each(|change| self.write(step, change));
        has_changed
    }
}

impl ConsumerState {
    /// The topics that a member wants and that there are.
    pub(super) fn topic_ids(
        &self,
        member: &MemberSettings,
        topics: &TopicsImage,
    ) -> BTreeSet<Uuid> {
        let matched = member.regex().and_then(|regex| self.regexes.get(regex));
        let names = member
            .topics
            .iter()
            .chain(matched.iter().flat_map(|regex| &regex.topics));
        names
            .filter_map(|name| topics.get(name.as_str()))
            .map(|topic| topic.id)
            .collect()
    }

    /// The assignor that most members ask for, or the first one of the configuration.
    pub(super) fn preferred_assignor(&self, settings: &ConsumerGroupSettings) -> Assignor {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self
            .members
            .values()
            .filter_map(|member| member.assignor.as_deref())
        {
            *votes.entry(name).or_default() += 1;
        }
        let votes_for = |assignor: &Assignor| votes.get(assignor.name()).copied().unwrap_or(0);
        // Of equals the first one wins, and `max_by_key` takes the last.
        let favourite = settings
            .assignors
            .iter()
            .rev()
            .max_by_key(|assignor| votes_for(assignor));
        favourite.copied().unwrap_or(Assignor::Uniform)
    }

    /// A number for the subscribed topics that there are, with their ids and sizes; 0 for none.
    pub(super) fn metadata_hash(&self, topics: &TopicsImage) -> i64 {
        let named = self.members.values().flat_map(|member| &member.topics);
        let used = self.members.values().filter_map(MemberSettings::regex);
        let matched = used
            .filter_map(|regex| self.regexes.get(regex))
            .flat_map(|regex| &regex.topics);
        let names: BTreeSet<&TopicName> = named.chain(matched).collect();
        let found = names
            .into_iter()
            .filter_map(|name| Some((name, topics.get(name.as_str())?)));
        let mut hash = Fnv::default();
        for (name, topic) in found {
            hash.take(name.as_str().as_bytes());
            hash.take(&topic.id.0);
            hash.take(&topic.partitions.to_be_bytes());
        }
        hash.finish()
    }
}

/// FNV-1a of 64 bits: the same in every release, as it is recorded.
#[derive(Default)]
struct Fnv(Option<u64>);

impl Fnv {
    fn take(&mut self, bytes: &[u8]) {
        let start = self.0.unwrap_or(0xcbf2_9ce4_8422_2325);
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        self.0 = Some(bytes.iter().fold(start, step));
    }

    fn finish(self) -> i64 {
        self.0.map_or(0, |hash| hash as i64)
    }
}
