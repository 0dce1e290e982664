//! Claims about the cluster machine, in a small language: each command answers with lines of text, and each run
//! ends with a proof that replaying its records, through their bytes, gives the same state.

mod alter;
mod create;
mod delete;
mod features;
mod partitions;
mod producer_ids;
mod quotas;
mod records;
mod replay;
mod resources;
mod transcript;

use super::*;
use crate::configs::BrokerScope;

/// A cluster and the metadata log that its steps have written.
struct Run {
    settings: ClusterSettings,
    cluster: Cluster,
    log: Vec<MetadataRecord>,
    requests: u64,
}

impl Run {
    fn new() -> Self {
        Self::with(&[])
    }

    /// On a broker that was started with these entries.
    fn with(broker: &[(&str, &str)]) -> Self {
        Self::limited(broker, 20_000)
    }

    fn limited(broker: &[(&str, &str)], max_partitions: usize) -> Self {
        let broker =
            BrokerConfig::from_static(broker.iter().copied()).expect("a good configuration");
        let settings = ClusterSettings {
            node_id: 1,
            max_partitions,
            broker,
        };
        Self {
            cluster: Cluster::new(settings.clone()),
            settings,
            log: Vec::new(),
            requests: 0,
        }
    }

    /// Handles one command; gives its records and its only reply.
    fn ask(&mut self, command: Command) -> (Vec<MetadataRecord>, Reply) {
        self.requests += 1;
        let mut effects = Effects::new();
        self.cluster
            .handle(RequestId(self.requests), command, &mut effects);
        self.log.extend(effects.records.iter().cloned());
        let [(request, reply)] =
            <[_; 1]>::try_from(effects.replies).expect("one reply for one request");
        assert_eq!(request, RequestId(self.requests));
        (effects.records, reply)
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<String> {
        creations(
            self.ask(Command::CreateTopics {
                topics,
                validate_only: false,
            })
            .1,
        )
    }

    fn validate(&mut self, topics: Vec<NewTopic>) -> Vec<String> {
        let (records, reply) = self.ask(Command::CreateTopics {
            topics,
            validate_only: true,
        });
        assert_eq!(records, []);
        creations(reply)
    }

    fn auto_create(&mut self, names: &[&str]) -> Vec<String> {
        let topics = names
            .iter()
            .map(|name| AutoTopic {
                name: (*name).to_owned(),
                id: id_of(name),
            })
            .collect();
        creations(self.ask(Command::AutoCreateTopics { topics }).1)
    }

    fn delete(&mut self, topics: Vec<TopicRef>) -> Vec<String> {
        let Reply::TopicsDeleted(deletions) = self.ask(Command::DeleteTopics { topics }).1 else {
            panic!("a deletion is answered with deletions")
        };
        deletions
            .iter()
            .map(|deletion| shown(deletion.name.as_deref().unwrap_or("?"), &deletion.result))
            .collect()
    }

    fn grow(&mut self, topics: Vec<PartitionIncrease>) -> Vec<String> {
        let Reply::PartitionsCreated(creations) = self
            .ask(Command::CreatePartitions {
                topics,
                validate_only: false,
            })
            .1
        else {
            panic!("an increase is answered with increases")
        };
        creations
            .iter()
            .map(|creation| shown(&creation.name, &creation.result))
            .collect()
    }

    /// Replaces all values of a resource.
    fn replace(&mut self, resource: ConfigResource, entries: &[(&str, &str)]) -> String {
        let entries = entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect();
        let resources = vec![ConfigReplacement { resource, entries }];
        alterations(
            self.ask(Command::AlterConfigs {
                resources,
                validate_only: false,
            })
            .1,
        )
        .remove(0)
    }

    /// Changes values of a resource: "name=value", "name+=value", "name-=value", "-name".
    fn change(&mut self, resource: ConfigResource, operations: &[&str]) -> String {
        let operations = operations.iter().map(|text| operation(text)).collect();
        let resources = vec![ConfigChange {
            resource,
            operations,
        }];
        alterations(
            self.ask(Command::IncrementalAlterConfigs {
                resources,
                validate_only: false,
            })
            .1,
        )
        .remove(0)
    }

    /// The records of a reservation, and the identity as "id/epoch".
    fn init_producer(&mut self, current: Option<(i64, i16)>) -> (Vec<MetadataRecord>, String) {
        let current = current.map(|(producer_id, producer_epoch)| ProducerIdentity {
            producer_id,
            producer_epoch,
        });
        let (records, reply) = self.ask(Command::InitProducerId { current });
        let Reply::ProducerIdInitialized(result) = reply else {
            panic!("a producer is answered with an identity")
        };
        let identity = match result {
            Ok(identity) => format!("{}/{}", identity.producer_id, identity.producer_epoch),
            Err(refusal) => refusal.error.name().to_owned(),
        };
        (records, identity)
    }

    /// The topics as text: "orders 3 retention.ms=5".
    fn topics(&self) -> Vec<String> {
        self.cluster.topics().map(shown_topic).collect()
    }

    fn topic(&self, name: &str) -> &Topic {
        self.cluster.topic(name).expect("the topic exists")
    }

    /// The broker stops and starts: the machine is made again from the log.
    fn restart(&mut self) {
        let mut cluster = Cluster::new(self.settings.clone());
        for record in &self.log {
            let record =
                MetadataRecord::decode(&record.encode()).expect("what was written is read");
            cluster
                .apply(&record)
                .expect("what was decided on is applied again");
        }
        self.cluster = cluster;
    }
}

/// Every run ends with a replay, and with a snapshot in place of the log.
impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let live = durable(&self.cluster);
        self.restart();
        assert_eq!(
            durable(&self.cluster),
            live,
            "replaying the log gives the live state"
        );
        self.log = self.cluster.snapshot_records();
        self.restart();
        assert_eq!(
            durable(&self.cluster),
            live,
            "a snapshot gives the live state"
        );
        assert_eq!(
            self.cluster.snapshot_records(),
            self.log,
            "equal states have equal snapshots"
        );
    }
}

/// All that must survive, and all that follows from it.
fn durable(cluster: &Cluster) -> impl PartialEq + std::fmt::Debug + use<> {
    let Cluster {
        broker,
        default_settings,
        topics,
        names_by_id,
        colliding,
        partition_count,
        producer_ids,
        resources,
        features,
        quotas,
        ..
    } = cluster.clone();
    (
        broker,
        default_settings,
        topics,
        names_by_id,
        colliding,
        partition_count,
        producer_ids.reserved(),
        resources,
        features,
        quotas,
    )
}

fn creations(reply: Reply) -> Vec<String> {
    let Reply::TopicsCreated(creations) = reply else {
        panic!("a creation is answered with creations")
    };
    let shown = |creation: &TopicCreation| match &creation.result {
        Ok(created) => format!("{} {}", creation.name, created.partitions),
        Err(_) => shown(&creation.name, &creation.result),
    };
    creations.iter().map(shown).collect()
}

fn alterations(reply: Reply) -> Vec<String> {
    let Reply::ConfigsAltered(alterations) = reply else {
        panic!("an alteration is answered with alterations")
    };
    alterations
        .iter()
        .map(|alteration| shown(&alteration.resource.name, &alteration.result))
        .collect()
}

fn shown<T>(name: &str, result: &Result<T, Refusal>) -> String {
    match result {
        Ok(_) => format!("{name} ok"),
        Err(refusal) => format!("{name} {}: {}", refusal.error.name(), refusal.message),
    }
}

fn shown_topic(topic: &Topic) -> String {
    let configs: String = topic
        .configs
        .iter()
        .map(|(name, value)| format!(" {name}={value}"))
        .collect();
    format!("{} {}{configs}", topic.name, topic.partition_count())
}

fn operation(text: &str) -> ConfigOperation {
    let of = |operation, name: &str, value: Option<&str>| ConfigOperation {
        name: name.to_owned(),
        operation,
        value: value.map(str::to_owned),
    };
    if let Some(name) = text.strip_prefix('-') {
        return of(ConfigOperation::DELETE, name, None);
    }
    let (name, value) = text.split_once('=').expect("an operation has a value");
    match name.strip_suffix('+').zip(Some(ConfigOperation::APPEND)) {
        Some((name, append)) => of(append, name, Some(value)),
        None => match name.strip_suffix('-') {
            Some(name) => of(ConfigOperation::SUBTRACT, name, Some(value)),
            None => of(ConfigOperation::SET, name, Some(value)),
        },
    }
}

/// An id that follows from the name, so that tests need no randomness.
fn id_of(name: &str) -> Uuid {
    let mut id = [0xa5_u8; 16];
    name.bytes()
        .enumerate()
        .for_each(|(at, byte)| id[at % 16] = id[at % 16].rotate_left(3) ^ byte);
    Uuid(id)
}

fn new(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        id: id_of(name),
        partitions,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

impl NewTopic {
    fn replicas(mut self, replication_factor: i16) -> Self {
        self.replication_factor = replication_factor;
        self
    }

    fn config(mut self, name: &str, value: &str) -> Self {
        self.configs.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    fn assigned(mut self, partition: i32, brokers: &[i32]) -> Self {
        self.partitions = -1;
        self.assignments.push(Assignment {
            partition,
            brokers: brokers.to_vec(),
        });
        self
    }
}

fn named(name: &str) -> TopicRef {
    TopicRef {
        name: Some(name.to_owned()),
        id: Uuid::ZERO,
    }
}

fn identified(id: Uuid) -> TopicRef {
    TopicRef { name: None, id }
}

fn to(name: &str, partitions: i32) -> PartitionIncrease {
    PartitionIncrease {
        name: name.to_owned(),
        partitions,
        assignments: None,
    }
}

fn topic(name: &str) -> ConfigResource {
    ConfigResource {
        resource_type: ConfigResource::TOPIC,
        name: name.to_owned(),
    }
}

fn group(name: &str) -> ConfigResource {
    ConfigResource {
        resource_type: ConfigResource::GROUP,
        name: name.to_owned(),
    }
}

fn subscription(name: &str) -> ConfigResource {
    ConfigResource {
        resource_type: ConfigResource::CLIENT_METRICS,
        name: name.to_owned(),
    }
}

fn broker(name: &str) -> ConfigResource {
    ConfigResource {
        resource_type: ConfigResource::BROKER,
        name: name.to_owned(),
    }
}
