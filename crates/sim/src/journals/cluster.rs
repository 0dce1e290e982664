//! Topics, settings, quotas, features and producer ids over `__cluster_metadata-0`.

use std::collections::BTreeSet;

use broker::Entry;
use broker_state::configs::BrokerConfig;
use broker_state::features::{FeatureUpdate, TRANSACTION_VERSION, UpgradeType};
use broker_state::producer_ids::ProducerIdentity;
use broker_state::quotas::QuotaOperation;
use broker_state::step::{Effects, RequestId};
use broker_state::topics::{
    Cluster, ClusterSettings, Command, ConfigChange, ConfigOperation, ConfigResource,
    MetadataRecord, NewTopic, PartitionIncrease, QuotaAlteration, Reply, TopicRef,
};
use wire::{Float64, Uuid};

use super::Store;
use crate::dice::Dice;
use crate::invariant::invariant;
use crate::rig::Sabotage;
use crate::{Reached, story};

const STEPS: usize = 80;
const NAMES: [&str; 4] = ["orders", "payments", "a.b", "a_b"];

/// Runs one seed.
pub fn run(seed: u64, sabotage: Sabotage) -> Reached {
    let mut world = World::new(seed, sabotage);
    for _ in 0..STEPS {
        world.act();
    }
    world.store.crash();
    world.start();
    world.store.reached
}

struct World {
    store: Store,
    cluster: Cluster,
    next_request: u64,
    /// The state that all answers so far rest on, as records.
    promised: Vec<MetadataRecord>,
    /// What was on its way to the disk when the process ended.
    in_flight: Vec<MetadataRecord>,
    /// Producers that were told who they are.
    producers: BTreeSet<(i64, i16)>,
    known: Option<ProducerIdentity>,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut world = Self {
            store: Store::new(seed, sabotage, "__cluster_metadata"),
            cluster: fresh(),
            next_request: 0,
            promised: Vec::new(),
            in_flight: Vec::new(),
            producers: BTreeSet::new(),
            known: None,
        };
        world.start();
        world
    }

    fn act(&mut self) {
        self.store.now_ms += self.store.dice.between(0, 1_000);
        match self.store.dice.below(30) {
            0 => {
                self.store.crash();
                self.start();
            }
            1 => {
                self.store.close();
                self.start();
            }
            _ => self.step(),
        }
    }

    fn step(&mut self) {
        let mut effects = Effects::new();
        for _ in 0..1 + self.store.dice.below(4) {
            let command = any_command(&mut self.store.dice, self.known);
            story::tell(format!("{} {command:?}", self.store.now_ms));
            let request = RequestId(self.next_request);
            self.next_request += 1;
            self.cluster.handle(request, command, &mut effects);
        }
        let entries = effects.records.iter().map(entry).collect();
        let cluster = &self.cluster;
        let whole = || cluster.snapshot_records().iter().map(entry).collect();
        match self.store.append(entries, whole) {
            Ok(()) => {
                self.promised = self.cluster.snapshot_records();
                let replies = effects.replies.into_iter();
                replies.for_each(|(_, reply)| self.take_reply(reply));
            }
            Err(_) => {
                self.in_flight = effects.records;
                self.store.crash();
                self.start();
            }
        }
    }

    fn take_reply(&mut self, reply: Reply) {
        self.store.reached.acknowledged += 1;
        match reply {
            Reply::ProducerIdInitialized(Ok(identity)) => {
                let key = (identity.producer_id, identity.producer_epoch);
                // A producer that says who it is gets its next epoch, as often as it asks.
                let is_new = self.producers.insert(key) || key.1 > 0;
                invariant!(
                    AckedIsDurable,
                    is_new,
                    "{identity:?} is given to two producers"
                );
                self.known = Some(identity);
            }
            Reply::TopicsCreated(topics) => {
                for topic in topics {
                    if let Ok(created) = topic.result {
                        let found = self
                            .cluster
                            .topic_by_id(created.id)
                            .map(|found| &*found.name);
                        let is_there = found == Some(topic.name.as_str());
                        // It may be deleted again in the same step.
                        let is_gone = self.cluster.topic(&topic.name).is_none();
                        invariant!(
                            ReplayEqualsLive,
                            is_there || is_gone || found.is_none(),
                            "{} was created and is {found:?}",
                            topic.name
                        );
                    }
                }
            }
            _ => {}
        }
    }

    /// Replays the journal and compares.
    fn start(&mut self) {
        self.cluster = self.store.open(fresh, |cluster, _, value| {
            let record = MetadataRecord::decode(value.unwrap_or_default())
                .map_err(|error| error.to_string())?;
            // As in the controller: a rewriting that was cut short tells again what was told before.
            if matches!(&record, MetadataRecord::TopicCreated { id, .. } if cluster.topic_by_id(*id).is_some())
            {
                return Ok(());
            }
            cluster.apply(&record).map_err(|error| error.to_string())
        });
        let in_flight = std::mem::take(&mut self.in_flight);
        let replayed = self.cluster.snapshot_records();
        let is_possible = (0..=in_flight.len())
            .any(|taken| state_after(&self.promised, &in_flight[..taken]) == replayed);
        invariant!(
            ReplayEqualsLive,
            is_possible,
            "{replayed:?} is replayed where {:?} was promised, with {in_flight:?} under way",
            self.promised
        );
        self.promised = replayed;
    }
}

/// The state that records give on top of others.
fn state_after(promised: &[MetadataRecord], records: &[MetadataRecord]) -> Vec<MetadataRecord> {
    let mut cluster = fresh();
    for record in promised.iter().chain(records) {
        cluster
            .apply(record)
            .expect("records fit the state that they were decided on");
    }
    cluster.snapshot_records()
}

fn fresh() -> Cluster {
    Cluster::new(ClusterSettings {
        node_id: 1,
        max_partitions: 100,
        broker: BrokerConfig::default(),
    })
}

fn any_command(dice: &mut Dice, known: Option<ProducerIdentity>) -> Command {
    let name = (*dice.pick(&NAMES)).to_owned();
    match dice.below(15) {
        0..4 => Command::CreateTopics {
            topics: vec![new_topic(dice, name)],
            validate_only: dice.one_in(10),
        },
        4..6 => Command::DeleteTopics {
            topics: vec![TopicRef {
                name: Some(name),
                id: Uuid::ZERO,
            }],
        },
        6 => Command::CreatePartitions {
            topics: vec![PartitionIncrease {
                name,
                partitions: dice.between(1, 8) as i32,
                assignments: None,
            }],
            validate_only: false,
        },
        7..9 => change_config(dice, ConfigResource::TOPIC, name),
        9 => change_config(dice, ConfigResource::BROKER, String::new()),
        10 => Command::InitProducerId {
            current: known.filter(|_| dice.one_in(2)),
        },
        11 => Command::RaiseLeaderEpochs,
        12 => change_config(dice, ConfigResource::GROUP, name),
        13 => change_quota(dice, name),
        _ => finalize(dice),
    }
}

fn change_quota(dice: &mut Dice, user: String) -> Command {
    let entity = match dice.one_in(2) {
        true => vec![("user".to_owned(), None)],
        false => vec![("user".to_owned(), Some(user))],
    };
    let value = (!dice.one_in(3)).then(|| Float64(dice.between(1, 1_000) as f64));
    let operation = QuotaOperation {
        key: (*dice.pick(&["producer_byte_rate", "consumer_byte_rate"])).to_owned(),
        value,
    };
    Command::AlterClientQuotas {
        alterations: vec![QuotaAlteration {
            entity,
            operations: vec![operation],
        }],
        validate_only: false,
    }
}

fn finalize(dice: &mut Dice) -> Command {
    let upgrade_type = match dice.one_in(2) {
        true => UpgradeType::Upgrade,
        false => UpgradeType::SafeDowngrade,
    };
    Command::UpdateFeatures {
        updates: vec![FeatureUpdate {
            name: TRANSACTION_VERSION.to_owned(),
            level: dice.between(0, 3) as i16,
            upgrade_type,
        }],
        validate_only: false,
    }
}

fn new_topic(dice: &mut Dice, name: String) -> NewTopic {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(dice.next() | 1).to_be_bytes());
    let retention = dice.between(1, 1_000_000).to_string();
    NewTopic {
        name,
        id: Uuid(id),
        partitions: dice.between(-1, 5) as i32,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: vec![("retention.ms".to_owned(), Some(retention))],
    }
}

fn change_config(dice: &mut Dice, resource_type: i8, name: String) -> Command {
    let key = match (resource_type, dice.one_in(2)) {
        (ConfigResource::TOPIC, true) => "segment.bytes",
        (ConfigResource::TOPIC, false) => "retention.ms",
        (ConfigResource::GROUP, true) => "streams.initial.rebalance.delay.ms",
        // Outside of its limits, most often.
        (ConfigResource::GROUP, false) => "consumer.session.timeout.ms",
        (_, true) => "log.segment.bytes",
        (_, false) => "log.retention.ms",
    };
    let (operation, value) = match dice.one_in(3) {
        true => (ConfigOperation::DELETE, None),
        false => (
            ConfigOperation::SET,
            Some(dice.between(2_000_000, 9_000_000).to_string()),
        ),
    };
    let operation = ConfigOperation {
        name: key.to_owned(),
        operation,
        value,
    };
    let change = ConfigChange {
        resource: ConfigResource {
            resource_type,
            name,
        },
        operations: vec![operation],
    };
    Command::IncrementalAlterConfigs {
        resources: vec![change],
        validate_only: false,
    }
}

fn entry(record: &MetadataRecord) -> Entry {
    (None, Some(record.encode()))
}
