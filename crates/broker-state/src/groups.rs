//! Consumer groups and committed offsets: the group coordinator as one machine without I/O, clock or randomness.
//!
//! The runner calls `handle` for each request and `tick` at `next_deadline()`, and always once after a batch of
//! requests (with no initial rebalance delay a first join is due at once). It makes the records of the step durable
//! in their order, then releases the replies. Each request is answered exactly once, many of them in a later step.
//! At start it `apply`s every record of the log, then calls `loaded`, after which members have a fresh session.
//!
//! Keeps true: durable state changes only by `apply` of a record, so replaying the log gives the same state; a reply
//! that rests on a record is in the effects of the step that wrote it. Volatile and lost at a restart: rebalances
//! under way, member ids given out with MEMBER_ID_REQUIRED, sessions. Clients rejoin.
//!
//! Layout: `classic`, `consumer` (KIP-848) and `share` (KIP-932) are protocols, one group at a time; `live` is what they have in common. `offsets`, `admin` and `admission` are the same for every type. `records` is Kafka's format.

mod admin;
mod admission;
mod classic;
mod command;
mod consumer;
mod deadlines;
mod durable;
mod embedded;
mod ids;
mod live;
mod offsets;
mod records;
mod reply;
mod settings;
mod share;
mod topics;
mod transactions;

use std::collections::HashMap;

use wire::ErrorCode;

use crate::configs::GroupConfigs;
use crate::step::{Effects, Millis, RequestId};
use admission::Entrance;
use classic::ClassicGroup;
use consumer::ConsumerGroup;
use deadlines::Deadlines;
use live::LiveGroup;
use share::ShareGroup;

pub use command::{
    Command, CommitOffsets, CommitPartition, CommitTopic, ConsumerHeartbeat, DeleteOffsets,
    FetchOffsets, FetchTopic, Heartbeat, JoinGroup, LeaveGroup, ListFilter, MemberIdentity,
    Protocol, SyncGroup,
};
pub use consumer::{
    AssignmentEpoch, Assignor, ClassicMember, ConsumerChange, ConsumerState, CurrentAssignment,
    GroupEpoch, MemberSettings, MemberState, MigrationPolicy, PartitionEpochs, Partitions,
    ResolvedRegex,
};
pub use durable::{DurableGroup, DurableGroups};
pub use ids::{Generation, GroupId, InstanceId, MemberId, SharedBytes, TopicName};
pub use records::{CommittedOffset, GroupMetadata, MemberMetadata, Record, RecordError};
pub use reply::{
    AssignedTopic, CommittedTopic, ConsumerHeartbeatReply, DeleteOffsetsReply, DescribedConsumer,
    DescribedConsumerGroup, DescribedGroup, DescribedMember, FetchReply, FetchedPartition,
    FetchedTopic, GroupState, GroupType, JoinReply, JoinedMember, LeaveReply, ListedGroup, Reply,
    SyncReply,
};
pub use settings::{ConsumerGroupSettings, GroupSettings, ShareGroupSettings};
pub use share::{
    DescribedShareGroup, DescribedShareMember, InitializedTopics, InspectedShareGroup,
    SHARE_ASSIGNOR, ShareChange, ShareCommand, ShareCurrent, ShareHeartbeat, ShareHeartbeatReply,
    ShareMember, ShareRefusal, ShareReply, ShareState, ShareTimes, ToInitialize,
};
pub use topics::{TopicImage, TopicsImage};
pub use transactions::{PendingOffset, PendingOffsets, TransactionChange};

/// What a step of the groups asks of the runner.
pub type GroupEffects = Effects<Record, Reply>;

/// All groups of the broker.
#[derive(Debug)]
pub struct Groups {
    settings: GroupSettings,
    durable: DurableGroups,
    /// Groups with members or members-to-be; all others are empty and have nothing but their durable state.
    live: HashMap<GroupId, LiveGroup>,
    topics: TopicsImage,
    configs: GroupConfigs,
    /// Whether they have been told since the start.
    has_configs: bool,
    deadlines: Deadlines,
    next_sweep: Millis,
    /// How far an unfinished sweep has come.
    sweep_after: Option<GroupId>,
    /// Members that have left share groups, until the runner takes them.
    departed: Vec<(GroupId, MemberId)>,
    is_loaded: bool,
}

/// What deciding needs: the time, the settings, and the two ways to have an effect.
pub(crate) struct Step<'a> {
    now: Millis,
    settings: &'a GroupSettings,
    topics: &'a TopicsImage,
    configs: &'a GroupConfigs,
    durable: &'a mut DurableGroups,
    effects: &'a mut GroupEffects,
    departed: &'a mut Vec<(GroupId, MemberId)>,
}

impl Step<'_> {
    /// Changes the durable state, here and in the log.
    fn write(&mut self, record: Record) {
        self.durable.apply(&record);
        self.effects.record(record);
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        self.effects.reply(request, reply);
    }
}

impl Groups {
    pub fn new(settings: GroupSettings) -> Self {
        Groups {
            settings,
            durable: DurableGroups::default(),
            live: HashMap::new(),
            topics: TopicsImage::default(),
            configs: GroupConfigs::default(),
            has_configs: false,
            deadlines: Deadlines::default(),
            next_sweep: Millis::default(),
            sweep_after: None,
            departed: Vec::new(),
            is_loaded: false,
        }
    }

    /// Takes in one record of the log. This is the whole of recovery.
    pub fn apply(&mut self, record: &Record) {
        assert!(
            !self.is_loaded,
            "RecoveryComesFirst: records are applied from outside only before loaded()"
        );
        self.durable.apply(record);
    }

    /// Ends recovery: members of recorded generations get a fresh session, counted from `now`. A new log needs it, too.
    pub fn loaded(&mut self, now: Millis) {
        self.is_loaded = true;
        self.next_sweep = now + self.settings.offsets_retention_check_interval;
        for (id, group) in self.durable.iter().filter(|(_, group)| group.has_members()) {
            if let Some(share) = &group.share {
                let live = ShareGroup::recorded(id.clone(), share, now, &self.settings);
                self.deadlines.set(id, live.next_deadline());
                self.live.insert(id.clone(), LiveGroup::Share(live));
                continue;
            }
            let live = match (&group.consumer, &group.metadata) {
                (Some(consumer), _) => LiveGroup::Consumer(ConsumerGroup::recorded(
                    id.clone(),
                    consumer,
                    now,
                    &self.configs,
                )),
                (None, Some(metadata)) => {
                    LiveGroup::Classic(ClassicGroup::recorded(id.clone(), metadata, now))
                }
                (None, None) => continue,
            };
            self.deadlines.set(id, live.next_deadline());
            self.live.insert(id.clone(), live);
        }
    }

    /// Takes in what topics there are now; groups whose topics have changed get a new assignment.
    pub fn set_topics(&mut self, _now: Millis, topics: TopicsImage, _effects: &mut GroupEffects) {
        if self.topics == topics {
            return;
        }
        self.topics = topics;
        for group in self.live.values_mut() {
            group.topics_changed();
        }
    }

    /// Decides one request. The reply is in `effects` now, or in those of a later `handle` or `tick`.
    pub fn handle(
        &mut self,
        now: Millis,
        request: RequestId,
        command: Command,
        effects: &mut GroupEffects,
    ) {
        assert!(
            self.is_loaded,
            "RecoveryComesFirst: requests are answered only after loaded()"
        );
        match command {
            Command::Join(join) => self.join(now, request, join, effects),
            Command::Sync(sync) => self.sync(now, request, sync, effects),
            Command::Heartbeat(heartbeat) => {
                let beaten = self.heartbeat(now, &heartbeat, effects);
                let error = beaten.err().unwrap_or(ErrorCode::None);
                effects.reply(request, Reply::Heartbeat(error));
            }
            Command::Leave(leave) => self.leave(now, request, leave, effects),
            Command::CommitOffsets(commit) => {
                self.commit_offsets(now, request, commit, None, effects);
            }
            Command::CommitOffsetsInTransaction { producer, commit } => {
                self.commit_offsets(now, request, commit, Some(producer), effects);
            }
            Command::EndTransaction {
                producer,
                coordinator_epoch,
                is_commit,
            } => {
                let end = TransactionChange::End {
                    producer,
                    coordinator_epoch,
                    is_commit,
                };
                self.end_transaction(now, request, end, effects);
            }
            Command::FetchOffsets(fetch) => {
                effects.reply(request, Reply::FetchOffsets(self.fetch_offsets(&fetch)))
            }
            Command::DeleteOffsets(delete) => self.delete_offsets(now, request, delete, effects),
            Command::Describe(groups) => {
                let groups = groups.iter().map(|group| self.describe(group)).collect();
                effects.reply(request, Reply::Describe(groups));
            }
            Command::List(filter) => effects.reply(request, Reply::List(self.list(&filter))),
            Command::DeleteGroups(groups) => self.delete_groups(now, request, groups, effects),
            Command::ConsumerHeartbeat(beat) => {
                self.consumer_heartbeat(now, request, &beat, effects);
            }
            Command::DescribeConsumers(groups) => {
                let groups = groups.iter().map(|group| self.describe_consumers(group));
                effects.reply(request, Reply::DescribeConsumers(groups.collect()));
            }
            Command::Share(command) => self.handle_share(now, request, command, effects),
        }
    }

    /// The next time at which `tick` has something to do; it may find nothing, as heartbeats do not move deadlines.
    pub fn next_deadline(&self) -> Option<Millis> {
        let sweep = (!self.durable.is_empty()).then_some(self.next_sweep);
        self.deadlines.next().into_iter().chain(sweep).min()
    }

    /// Does what is due at `now`, each group at most once.
    pub fn tick(&mut self, now: Millis, effects: &mut GroupEffects) {
        for group in self.deadlines.due(now) {
            self.with_live(now, &group, effects, |group, step| group.tick(step));
        }
        if self.next_sweep <= now {
            self.sweep(now, effects);
        }
    }

    /// Records that recreate the whole durable state, for a compacted copy of the log.
    pub fn snapshot_records(&self) -> impl Iterator<Item = Record> + '_ {
        self.durable.records()
    }

    /// The durable state, for metrics and tests.
    pub fn durable(&self) -> &DurableGroups {
        &self.durable
    }

    pub fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// Changes the settings; sessions and rebalances under way keep theirs.
    pub fn set_settings(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// Changes what is configured for single groups, and for those without settings of their own; sessions under way
    /// keep theirs until the next heartbeat.
    /// The first one after a start counts for the members that were recorded.
    pub fn set_configs(&mut self, now: Millis, configs: GroupConfigs) {
        self.configs = configs;
        if !self.has_configs {
            self.has_configs = true;
            self.restart_sessions(now);
        }
    }

    /// Gives every recorded member of a consumer group as long as its group's configuration says.
    fn restart_sessions(&mut self, now: Millis) {
        for (id, live) in &mut self.live {
            let recorded = self.durable.get(id.as_str());
            let recorded = recorded.and_then(|group| group.consumer.as_ref());
            if let (LiveGroup::Consumer(group), Some(state)) = (&mut *live, recorded) {
                *group = ConsumerGroup::recorded(id.clone(), state, now, &self.configs);
                self.deadlines.set(id, live.next_deadline());
            }
        }
    }

    fn join(
        &mut self,
        now: Millis,
        request: RequestId,
        join: JoinGroup,
        effects: &mut GroupEffects,
    ) {
        match self.check_join(&join) {
            Ok(()) if self.is_consumer_group_with_members(&join.group) => {
                let id = join.group.clone();
                self.with_consumer(now, &id, effects, |group, step| {
                    group.join_classic(step, request, join)
                });
            }
            Ok(()) => {
                let id = join.group.clone();
                self.make_room_for_classic(now, &id, effects);
                self.with_classic(now, &id, effects, |group, step| {
                    group.join(step, request, join)
                });
            }
            Err(error) => effects.reply(
                request,
                Reply::Join(JoinReply::refused(error, join.member_id)),
            ),
        }
    }

    fn sync(
        &mut self,
        now: Millis,
        request: RequestId,
        sync: SyncGroup,
        effects: &mut GroupEffects,
    ) {
        if let Err(error) = self.check_live(&sync.group) {
            effects.reply(request, Reply::Sync(SyncReply::refused(error)));
            return;
        }
        let id = sync.group.clone();
        if self.is_consumer_group_with_members(&id) {
            self.with_consumer(now, &id, effects, |group, step| {
                group.sync_classic(step, request, &sync)
            });
            return;
        }
        self.with_classic(now, &id, effects, |group, step| {
            group.sync(step, request, sync)
        });
    }

    fn heartbeat(
        &mut self,
        now: Millis,
        heartbeat: &Heartbeat,
        effects: &mut GroupEffects,
    ) -> Result<(), ErrorCode> {
        self.check_live(&heartbeat.group)?;
        let mut beaten = Ok(());
        if let Some(LiveGroup::Classic(group)) = self.live.get_mut(&heartbeat.group) {
            return group.heartbeat(now, heartbeat);
        }
        self.with_consumer(now, &heartbeat.group, effects, |group, step| {
            beaten = group.heartbeat_classic(step, heartbeat);
        });
        beaten
    }

    fn leave(
        &mut self,
        now: Millis,
        request: RequestId,
        leave: LeaveGroup,
        effects: &mut GroupEffects,
    ) {
        match self.check_live(&leave.group) {
            Ok(()) if self.is_consumer_group_with_members(&leave.group) => {
                let id = leave.group.clone();
                self.with_consumer(now, &id, effects, |group, step| {
                    group.leave_classic(step, request, leave)
                });
            }
            Ok(()) => {
                let id = leave.group.clone();
                self.with_classic(now, &id, effects, |group, step| {
                    group.leave(step, request, leave)
                });
            }
            Err(ErrorCode::UnknownMemberId) => {
                let members = leave
                    .members
                    .into_iter()
                    .map(|member| (member, ErrorCode::UnknownMemberId))
                    .collect();
                effects.reply(
                    request,
                    Reply::Leave(LeaveReply {
                        error: ErrorCode::None,
                        members,
                    }),
                );
            }
            Err(error) => effects.reply(
                request,
                Reply::Leave(LeaveReply {
                    error,
                    members: Vec::new(),
                }),
            ),
        }
    }

    fn consumer_heartbeat(
        &mut self,
        now: Millis,
        request: RequestId,
        beat: &ConsumerHeartbeat,
        effects: &mut GroupEffects,
    ) {
        match self.check_consumer_heartbeat(beat) {
            Ok(Entrance::Open) => {}
            Ok(Entrance::New) => self.make_consumer_group(now, &beat.group, None, effects),
            Ok(Entrance::Upgrade(state)) => {
                self.make_consumer_group(now, &beat.group, Some(state), effects);
            }
            Err(refusal) => {
                effects.reply(request, Reply::ConsumerHeartbeat(Err(refusal)));
                return;
            }
        }
        let empty = || LiveGroup::Consumer(ConsumerGroup::empty(beat.group.clone()));
        self.live.entry(beat.group.clone()).or_insert_with(empty);
        self.with_consumer(now, &beat.group, effects, |group, step| {
            group.heartbeat(step, request, beat);
        });
    }

    /// Records a consumer group, without members or with those of a classic group, in the place of whatever there was.
    fn make_consumer_group(
        &mut self,
        now: Millis,
        id: &GroupId,
        upgraded: Option<ConsumerState>,
        effects: &mut GroupEffects,
    ) {
        let before = self.durable.get(id.as_str());
        let before = before.map_or_else(Vec::new, |group| group.tombstones(id));
        let live = self.live.remove(id);
        let state = upgraded.unwrap_or_else(ConsumerState::first);
        let consumer = ConsumerGroup::recorded(id.clone(), &state, now, &self.configs);
        let mut step = self.step(now, effects);
        if let Some(LiveGroup::Classic(mut classic)) = live {
            classic.dismiss(&mut step);
        }
        before.into_iter().for_each(|record| step.write(record));
        for change in state.changes() {
            let group = id.clone();
            step.write(Record::Consumer { group, change });
        }
        self.live.insert(id.clone(), LiveGroup::Consumer(consumer));
    }

    /// Forgets that a group without members was a consumer group, so that it may be a classic one.
    fn make_room_for_classic(&mut self, now: Millis, id: &GroupId, effects: &mut GroupEffects) {
        let found = self.durable.get(id.as_str());
        let found = found.filter(|group| group.consumer.is_some());
        let before = found.map_or_else(Vec::new, |group| group.tombstones(id));
        let mut step = self.step(now, effects);
        before.into_iter().for_each(|record| step.write(record));
    }

    /// Nobody can be a member of a group that is not live.
    fn check_live(&self, group: &GroupId) -> Result<(), ErrorCode> {
        admission::check_group_id(group)?;
        match self.live.get(group) {
            Some(LiveGroup::Classic(_) | LiveGroup::Consumer(_)) => Ok(()),
            Some(LiveGroup::Share(_)) | None => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// Lets `act` change a classic group, which comes into being by it.
    fn with_classic(
        &mut self,
        now: Millis,
        id: &GroupId,
        effects: &mut GroupEffects,
        act: impl FnOnce(&mut ClassicGroup, &mut Step<'_>),
    ) {
        let recorded = self
            .durable
            .get(id.as_str())
            .and_then(|group| group.metadata.as_ref());
        self.live
            .entry(id.clone())
            .or_insert_with(|| LiveGroup::Classic(ClassicGroup::empty(id.clone(), recorded)));
        self.with_live(now, id, effects, |group, step| match group {
            LiveGroup::Classic(group) => act(group, step),
            LiveGroup::Consumer(_) | LiveGroup::Share(_) => {
                unreachable!("the request was for a classic group")
            }
        });
    }

    /// Lets `act` change a consumer group.
    fn with_consumer(
        &mut self,
        now: Millis,
        id: &GroupId,
        effects: &mut GroupEffects,
        act: impl FnOnce(&mut ConsumerGroup, &mut Step<'_>),
    ) {
        self.with_live(now, id, effects, |group, step| match group {
            LiveGroup::Consumer(group) => act(group, step),
            LiveGroup::Classic(_) | LiveGroup::Share(_) => {
                unreachable!("the request was for a consumer group")
            }
        });
    }

    /// Lets `act` change a live group, then sets its deadline, or forgets the group if only its durable state is left.
    fn with_live(
        &mut self,
        now: Millis,
        id: &GroupId,
        effects: &mut GroupEffects,
        act: impl FnOnce(&mut LiveGroup, &mut Step<'_>),
    ) {
        let Some(group) = self.live.get_mut(id) else {
            return;
        };
        act(
            group,
            &mut Step {
                now,
                settings: &self.settings,
                topics: &self.topics,
                configs: &self.configs,
                durable: &mut self.durable,
                effects,
                departed: &mut self.departed,
            },
        );
        if let LiveGroup::Consumer(consumer) = group
            && let Some(classic) = consumer.take_downgraded()
        {
            *group = LiveGroup::Classic(classic);
        }
        if group.is_idle() {
            self.live.remove(id);
            self.deadlines.set(id, None);
        } else {
            self.deadlines.set(id, group.next_deadline());
        }
    }

    fn step<'a>(&'a mut self, now: Millis, effects: &'a mut GroupEffects) -> Step<'a> {
        Step {
            now,
            settings: &self.settings,
            topics: &self.topics,
            configs: &self.configs,
            durable: &mut self.durable,
            effects,
            departed: &mut self.departed,
        }
    }
}
