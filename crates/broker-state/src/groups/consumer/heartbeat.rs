//! ConsumerGroupHeartbeat: joins a member, takes in what it says, and moves it one step towards its target.

use std::collections::BTreeSet;

use wire::{ErrorCode, Uuid};

use super::assignor::{Assignor, Subscriber};
use super::identity::Identity;
use super::reconcile::{Goal, contains};
use super::regex::TopicRegex;
use super::state::{
    AssignmentEpoch, ConsumerChange, CurrentAssignment, GroupEpoch, MemberState, Partitions,
};
use super::{ConsumerGroup, LEAVES, LEAVES_FOR_A_WHILE, Session};
use crate::groups::Step;
use crate::groups::command::ConsumerHeartbeat;
use crate::groups::ids::{InstanceId, MemberId};
use crate::groups::records::MAX_TEXT_BYTES;
use crate::groups::reply::{ConsumerHeartbeatReply, Reply};
use crate::groups::settings::ConsumerGroupSettings;
use crate::refusal::Refusal;
use crate::step::RequestId;

impl ConsumerGroup {
    /// Answers one heartbeat.
    pub(in crate::groups) fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        beat: &ConsumerHeartbeat,
    ) {
        let answer = match beat.epoch {
            LEAVES | LEAVES_FOR_A_WHILE => self.leave_group(step, beat),
            _ => self.stay(step, beat),
        };
        step.reply(request, Reply::ConsumerHeartbeat(answer));
    }

    fn stay(
        &mut self,
        step: &mut Step<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatReply, Refusal> {
        let identity = self.identify(step, beat)?;
        self.check_regex_room(step, beat)?;
        let before = self.current(step).current_of(&beat.member_id);
        // Refused here as nothing may change any more once the member is written.
        if before.state == MemberState::Unknown {
            self.step_forward(step, &beat.member_id, false, beat.owned.as_ref())?;
        }
        if let Identity::Replaces(old) = &identity {
            self.replace(step, old, &beat.member_id);
        }
        let has_subscription_changed = self.update_member(step, &beat.member_id, beat);
        self.update_targets(step);
        self.reconcile(
            step,
            &beat.member_id,
            has_subscription_changed,
            beat.owned.as_ref(),
        )?;
        self.restart_session(step, &beat.member_id);
        let current = self.current(step).current_of(&beat.member_id);
        let tells = beat.epoch == 0 || beat.is_full() || before.assigned != current.assigned;
        Ok(ConsumerHeartbeatReply {
            member_id: beat.member_id.clone(),
            epoch: current.epoch,
            heartbeat_interval: self.config(step).heartbeat_interval,
            assignment: tells.then(|| partitions_of(&current)),
        })
    }

    /// Gives the group a new epoch, which asks for new targets.
    pub(super) fn bump_epoch(&mut self, step: &mut Step<'_>) {
        let state = self.current(step);
        let epoch = GroupEpoch {
            epoch: state.epoch.epoch.checked_add(1).unwrap_or(1),
            metadata_hash: state.metadata_hash(step.topics),
        };
        self.write(step, ConsumerChange::Group(Some(epoch)));
    }

    /// Makes targets for the group's epoch, unless the last ones are too young (KIP-1263).
    pub(super) fn update_targets(&mut self, step: &mut Step<'_>) {
        let state = self.current(step);
        let AssignmentEpoch { epoch, made_at } = state.assignment;
        let is_young = made_at.0 != 0 && step.now < made_at + self.config(step).assignment_interval;
        if epoch >= state.epoch.epoch || is_young {
            return;
        }
        let subscribers: Vec<Subscriber<'_>> = state
            .members
            .iter()
            .map(|(id, member)| Subscriber {
                id,
                instance_id: member.instance_id.as_ref(),
                topics: state.topic_ids(member, step.topics),
                target: state.targets.get(id),
            })
            .collect();
        let assignor = state.preferred_assignor(&step.settings.consumer);
        let targets = assignor.assign(&subscribers, |topic| step.topics.partitions(topic));
        let changed = targets
            .into_iter()
            .filter(|(id, target)| state.targets.get(id) != Some(target));
        let mut changes: Vec<ConsumerChange> = changed
            .map(|(id, target)| ConsumerChange::Target(id, Some(target)))
            .collect();
        changes.push(ConsumerChange::Assignment(Some(AssignmentEpoch {
            epoch: state.epoch.epoch,
            made_at: step.now,
        })));
        changes
            .into_iter()
            .for_each(|change| self.write(step, change));
    }

    /// Moves a member towards its target and records where it is then.
    pub(super) fn reconcile(
        &mut self,
        step: &mut Step<'_>,
        member: &MemberId,
        has_subscription_changed: bool,
        owned: Option<&Partitions>,
    ) -> Result<(), Refusal> {
        let next = self.step_forward(step, member, has_subscription_changed, owned)?;
        if self.current(step).currents.get(member) == Some(&next) {
            return Ok(());
        }
        let settings = self.current(step).members.get(member);
        let revokes = next.state == MemberState::UnrevokedPartitions;
        let timed = settings.filter(|settings| revokes && settings.classic.is_none());
        let must_revoke = timed.map(|member| (step.now + member.rebalance_timeout, next.epoch));
        self.write(step, ConsumerChange::Current(member.clone(), Some(next)));
        self.session(step, member).must_revoke = must_revoke;
        Ok(())
    }

    fn step_forward(
        &self,
        step: &Step<'_>,
        member: &MemberId,
        has_subscription_changed: bool,
        owned: Option<&Partitions>,
    ) -> Result<CurrentAssignment, Refusal> {
        let state = self.current(step);
        let nothing = Partitions::new();
        let settings = state.members.get(member);
        let subscribed: BTreeSet<Uuid> =
            settings.map_or_else(BTreeSet::new, |m| state.topic_ids(m, step.topics));
        let goal = Goal {
            epoch: state.assignment.epoch,
            target: state.targets.get(member).unwrap_or(&nothing),
            subscribed: &subscribed,
            has_subscription_changed,
            owned,
        };
        let is_taken = |topic, partition| {
            let mut others = state.currents.iter().filter(|(id, _)| *id != member);
            others.any(|(_, other)| {
                contains(&other.assigned, topic, partition)
                    || contains(&other.pending_revocation, topic, partition)
            })
        };
        state.current_of(member).towards(&goal, is_taken)
    }

    pub(super) fn restart_session(&mut self, step: &Step<'_>, member: &MemberId) {
        let settings = self.current(step).members.get(member);
        let config = self.config(step);
        let timeout = settings.map_or(config.session_timeout, |s| s.session_timeout(config));
        self.session(step, member).ends = step.now + timeout;
    }

    fn session(&mut self, step: &Step<'_>, member: &MemberId) -> &mut Session {
        let ends = step.now + self.config(step).session_timeout;
        let session = self.sessions.entry(member.clone());
        session.or_insert(Session::until(ends))
    }
}

/// The partitions that a member may use.
fn partitions_of(current: &CurrentAssignment) -> Partitions {
    let topics = current.assigned.iter();
    topics
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
        .collect()
}

/// Checks what can be checked without the group.
///
/// # Errors
/// INVALID_REQUEST, UNSUPPORTED_ASSIGNOR or INVALID_REGULAR_EXPRESSION.
pub(in crate::groups) fn check_heartbeat(
    beat: &ConsumerHeartbeat,
    settings: &ConsumerGroupSettings,
) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::invalid_request(message));
    if beat.member_id.is_empty() {
        return refuse("the member id is empty");
    }
    if beat.instance_id.as_ref().is_some_and(InstanceId::is_empty) {
        return refuse("the instance id is empty; leave it out for a dynamic member");
    }
    if beat.rack_id.as_deref() == Some("") {
        return refuse("the rack id is empty; leave it out when there is none");
    }
    match beat.epoch {
        0 => check_join(beat)?,
        LEAVES_FOR_A_WHILE if beat.instance_id.is_none() => {
            return refuse("only a static member leaves with epoch -2; name its instance id");
        }
        epoch if epoch < LEAVES_FOR_A_WHILE => return refuse("the member epoch is below -2"),
        _ => {}
    }
    check_sizes(beat, settings)?;
    let assignor = beat.assignor.as_deref();
    let supports = |name: &str| settings.assignors.iter().any(|a| a.name() == name);
    if let Some(name) = assignor.filter(|name| !supports(name)) {
        let names: Vec<&str> = settings
            .assignors
            .iter()
            .map(|a: &Assignor| a.name())
            .collect();
        let names = names.join(", ");
        return Err(Refusal::new(
            ErrorCode::UnsupportedAssignor,
            format!("assignor {name} is not known here; there are {names}"),
        ));
    }
    match beat.regex.as_deref() {
        Some(regex) if !regex.is_empty() => TopicRegex::compile(regex).map(drop),
        _ => Ok(()),
    }
}

fn check_join(beat: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let message = if beat.rebalance_timeout.is_none() {
        "a member joins with its rebalance time-out"
    } else if beat.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
        "a member joins without partitions, in an empty list"
    } else if beat.topics.is_none() && beat.regex.is_none() {
        "a member joins with topic names or a regular expression"
    } else {
        return Ok(());
    };
    Err(Refusal::invalid_request(message))
}

/// What a heartbeat leaves in records must fit there.
fn check_sizes(beat: &ConsumerHeartbeat, settings: &ConsumerGroupSettings) -> Result<(), Refusal> {
    let topics = beat.topics.iter().flatten().map(|topic| topic.as_str());
    let texts = [
        beat.member_id.as_str(),
        beat.instance_id.as_ref().map_or("", InstanceId::as_str),
        beat.rack_id.as_deref().unwrap_or_default(),
        &beat.client_id,
        &beat.client_host,
    ];
    if texts
        .into_iter()
        .chain(topics)
        .any(|text| text.len() > MAX_TEXT_BYTES)
    {
        let message = format!("an id or a name is longer than {MAX_TEXT_BYTES} bytes");
        return Err(Refusal::invalid_request(message));
    }
    let limit = settings.max_subscribed_topics;
    if beat
        .topics
        .as_ref()
        .is_some_and(|topics| topics.len() > limit)
    {
        let message = format!("a member subscribes to at most {limit} topics by name");
        return Err(Refusal::invalid_request(message));
    }
    Ok(())
}
