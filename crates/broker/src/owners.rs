//! Starts the owners of everything durable: the shards, the controller, the coordinators.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker_state::configs::BrokerConfig;
use broker_state::groups::{Assignor, ConsumerGroupSettings, GroupSettings, MigrationPolicy};
use broker_state::transactions::TransactionSettings;

use crate::clock::Clock;
use crate::cluster::{CONSUMER_OFFSETS, Cluster, SHARE_GROUP_STATE, TRANSACTION_STATE};
use crate::compactor::{Compactor, CompactorSettings};
use crate::controller::{Controller, ControllerHandle, World};
use crate::coordinator::{Coordinator, CoordinatorHandle};
use crate::data::Data;
use crate::error::StartError;
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::partition::{Owner, Partition};
use crate::settings::Limits;
use crate::shard::{self, Event, Reply, Shard, ShardHandle, UpkeepSettings};
use crate::share::{ShareHandle, ShareOwner};
use crate::sync_pool::SyncPool;
use crate::transactions::{Surroundings, TransactionCoordinator, TransactionsHandle};

/// Threads that sync files: 128 dirty files took 7.5 ms from 32 threads.
const SYNC_THREADS: usize = 32;

/// What every owner works with.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub data: &'a Data,
    pub clock: &'a Clock,
    pub metrics: &'a Arc<Metrics>,
    pub keeper: &'a Keeper,
}

/// The running owners, with the image that they publish.
pub struct Owners {
    pub cluster: Arc<Cluster>,
    pub controller: ControllerHandle,
    pub coordinator: CoordinatorHandle,
    pub transactions: TransactionsHandle,
    /// The view of the controller's log.
    pub metadata: Arc<log::SharedView>,
    pub share: ShareHandle,
    pub shards: Vec<ShardHandle>,
    pub threads: Vec<JoinHandle<()>>,
}

impl Owners {
    /// Replays the journals, opens every partition and starts the threads.
    ///
    /// # Errors
    /// `State` or `Log` when something on the disk cannot be read; no thread is left running then.
    pub fn start(
        around: Around<'_>,
        config: BrokerConfig,
        limits: &Limits,
        shards: usize,
        entropy: [u8; 16],
    ) -> Result<Self, StartError> {
        let Around { data, clock, .. } = around;
        let syncs = Arc::new(SyncPool::new(SYNC_THREADS));
        let now_ms = clock.now_ms();
        let groups = group_settings(&config, limits);
        let coordinator = Coordinator::open(data, groups, Arc::clone(&syncs), now_ms)?;
        let transactions = transaction_settings(&config, limits);
        let transactions =
            TransactionCoordinator::open(data, transactions, Arc::clone(&syncs), now_ms)?;
        let share = ShareOwner::open(data, limits.share_partitions, Arc::clone(&syncs), now_ms)?;
        let topics = InternalTopics::of(&config);
        let partitions = limits.partitions;
        let upkeep = UpkeepSettings::of(&config);
        let compactor = CompactorSettings::of(&config);
        let (metrics, keeper) = (Arc::clone(around.metrics), around.keeper.clone());
        let compactor = Arc::new(Compactor::new(compactor, metrics, keeper));
        let mut controller =
            Controller::open(data, config, partitions, Arc::clone(&syncs), now_ms)?;
        topics.ensure(&mut controller, entropy, now_ms)?;

        let (shards, mut threads) = start_shards(around, &syncs, shards, upkeep, &compactor);
        let mut world = World {
            root: data.root().to_owned(),
            cluster: Arc::default(),
            shards: shards.clone(),
            compactor: Arc::clone(&compactor),
            coordinator: CoordinatorHandle::new(),
            share: ShareHandle::new(),
            journals: vec![
                journal_partition(&controller, CONSUMER_OFFSETS, coordinator.shared_view()),
                journal_partition(&controller, TRANSACTION_STATE, transactions.shared_view()),
                journal_partition(&controller, SHARE_GROUP_STATE, share.shared_view()),
            ],
        };
        if let Err(error) = controller.open_all(&mut world) {
            for shard in &shards {
                let reply = Reply::ignored();
                shard.send(Event::Close { reply });
            }
            // A shard that fails while it closes has told why.
            threads.into_iter().for_each(|thread| drop(thread.join()));
            return Err(error);
        }
        let mut owners = Self {
            cluster: Arc::clone(&world.cluster),
            controller: ControllerHandle::new(),
            coordinator: world.coordinator.clone(),
            share: world.share.clone(),
            transactions: TransactionsHandle::new(),
            metadata: controller.shared_view(),
            shards,
            threads: Vec::new(),
        };
        let replayed = Replayed {
            controller,
            coordinator,
            transactions,
            share,
        };
        threads.extend(replayed.spawn(&owners, world, around));
        owners.threads = threads;
        Ok(owners)
    }
}

/// The owners of journals, replayed and not yet running.
struct Replayed {
    controller: Controller,
    coordinator: Coordinator,
    transactions: TransactionCoordinator,
    share: ShareOwner,
}

impl Replayed {
    fn spawn(self, owners: &Owners, world: World, around: Around<'_>) -> Vec<JoinHandle<()>> {
        let clock = around.clock;
        let mut threads = Vec::new();
        let (handle, offsets) = (owners.coordinator.clone(), Arc::clone(&world.journals[0]));
        self.share
            .forget_gone(&owners.share, &owners.cluster.image(), |group| {
                self.coordinator.has_share_group(group)
            });
        threads.push(self.coordinator.spawn(
            handle,
            owners.share.clone(),
            offsets,
            clock.clone(),
            around.keeper.clone(),
        ));
        let (handle, state) = (owners.share.clone(), Arc::clone(&world.journals[2]));
        threads.push(
            self.share
                .spawn(handle, state, clock.clone(), around.keeper.clone()),
        );
        let surroundings = Surroundings {
            cluster: Arc::clone(&owners.cluster),
            shards: owners.shards.clone(),
            groups: owners.coordinator.clone(),
            controller: owners.controller.clone(),
            metrics: Arc::clone(around.metrics),
            partition: Arc::clone(&world.journals[1]),
        };
        let handle = owners.transactions.clone();
        threads.push(self.transactions.spawn(
            handle,
            surroundings,
            clock.clone(),
            around.keeper.clone(),
        ));
        let handle = owners.controller.clone();
        threads.push(
            self.controller
                .spawn(handle, world, clock.clone(), around.keeper.clone()),
        );
        threads
    }
}

fn start_shards(
    around: Around<'_>,
    syncs: &Arc<SyncPool>,
    count: usize,
    upkeep: UpkeepSettings,
    compactor: &Arc<Compactor>,
) -> (Vec<ShardHandle>, Vec<JoinHandle<()>>) {
    let start = |index| {
        let mut shard = Shard::new(index, Arc::clone(around.data.disk()), Arc::clone(syncs));
        shard.set_upkeep(upkeep);
        let (clock, metrics) = (around.clock.clone(), Arc::clone(around.metrics));
        shard::spawn(
            shard,
            &format!("shard-{index}"),
            clock,
            metrics,
            around.keeper.clone(),
            Some(Arc::clone(compactor)),
        )
    };
    (0..count).map(start).unzip()
}

/// What the broker's configuration says of groups.
fn group_settings(config: &BrokerConfig, limits: &Limits) -> GroupSettings {
    let millis = |key: &str| Duration::from_millis(config.integer(key).max(0).unsigned_abs());
    let count = |key: &str| usize::try_from(config.integer(key)).unwrap_or(usize::MAX);
    GroupSettings {
        min_session_timeout: millis("group.min.session.timeout.ms"),
        max_session_timeout: millis("group.max.session.timeout.ms"),
        initial_rebalance_delay: millis("group.initial.rebalance.delay.ms"),
        max_group_size: count("group.max.size").min(GroupSettings::default().max_group_size),
        max_offset_metadata_bytes: count("offset.metadata.max.bytes"),
        offsets_retention: Duration::from_secs(
            config
                .integer("offsets.retention.minutes")
                .max(0)
                .unsigned_abs()
                * 60,
        ),
        offsets_retention_check_interval: millis("offsets.retention.check.interval.ms"),
        max_groups: limits.groups,
        consumer: consumer_group_settings(config),
        ..GroupSettings::default()
    }
}

/// What the broker's configuration says of consumer groups (KIP-848).
fn consumer_group_settings(config: &BrokerConfig) -> ConsumerGroupSettings {
    let defaults = ConsumerGroupSettings::default();
    let names = config
        .value("group.consumer.assignors")
        .unwrap_or_default()
        .split(',');
    let assignors: Vec<Assignor> = names.map(str::trim).filter_map(Assignor::named).collect();
    let size = usize::try_from(config.integer("group.consumer.max.size"));
    ConsumerGroupSettings {
        max_size: size.unwrap_or(usize::MAX).min(defaults.max_size),
        assignors: if assignors.is_empty() {
            defaults.assignors
        } else {
            assignors
        },
        migration_policy: config
            .value("group.consumer.migration.policy")
            .and_then(MigrationPolicy::named)
            .unwrap_or_default(),
        ..defaults
    }
}

/// What the broker's configuration says of transactions.
fn transaction_settings(config: &BrokerConfig, limits: &Limits) -> TransactionSettings {
    let millis = |key: &str| Duration::from_millis(config.integer(key).max(0).unsigned_abs());
    TransactionSettings {
        max_timeout: millis("transaction.max.timeout.ms"),
        id_expiration: millis("transactional.id.expiration.ms"),
        abort_interval: millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
        remove_expired_interval: millis(
            "transaction.remove.expired.transaction.cleanup.interval.ms",
        ),
        max_ids: limits.transactional_ids,
        ..TransactionSettings::default()
    }
}

/// The topics that the coordinators keep their journals in, with what the configuration says of them.
struct InternalTopics {
    transaction_segment_bytes: String,
    transaction_min_isr: String,
    share_segment_bytes: String,
    share_min_isr: String,
}

impl InternalTopics {
    fn of(config: &BrokerConfig) -> Self {
        Self {
            transaction_segment_bytes: config
                .integer("transaction.state.log.segment.bytes")
                .to_string(),
            transaction_min_isr: config.integer("transaction.state.log.min.isr").to_string(),
            share_segment_bytes: config
                .integer("share.coordinator.state.topic.segment.bytes")
                .to_string(),
            share_min_isr: config
                .integer("share.coordinator.state.topic.min.isr")
                .to_string(),
        }
    }

    fn ensure(
        &self,
        controller: &mut Controller,
        entropy: [u8; 16],
        now_ms: i64,
    ) -> Result<(), StartError> {
        let offsets = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "104857600"),
            ("compression.type", "producer"),
        ];
        controller.ensure_internal_topic(CONSUMER_OFFSETS, entropy, &offsets, now_ms)?;
        let transactions = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", &self.transaction_segment_bytes),
            ("compression.type", "uncompressed"),
            ("min.insync.replicas", &self.transaction_min_isr),
        ];
        let id = crate::entropy::uuid().ok_or_else(|| StartError::Randomness {
            reason: "getrandom failed".to_owned(),
        })?;
        controller.ensure_internal_topic(TRANSACTION_STATE, id, &transactions, now_ms)?;
        let share = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("segment.bytes", &self.share_segment_bytes),
            ("compression.type", "uncompressed"),
            ("min.insync.replicas", &self.share_min_isr),
        ];
        let id = crate::entropy::uuid().ok_or_else(|| StartError::Randomness {
            reason: "getrandom failed".to_owned(),
        })?;
        controller.ensure_internal_topic(SHARE_GROUP_STATE, id, &share, now_ms)
    }
}

/// What clients see of a coordinator's journal.
fn journal_partition(
    controller: &Controller,
    topic: &str,
    view: Arc<log::SharedView>,
) -> Arc<Partition> {
    let id = controller.topic_id(topic);
    let partition = Partition::new(Arc::from(topic), id, 0, Owner::Coordinator, view);
    Arc::new(partition)
}
