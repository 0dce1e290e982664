//! A day in the life of a cluster, as a transcript: what is asked, what is recorded, what is answered.

use super::*;

/// Asks, and writes down what came of it.
struct Transcript {
    run: Run,
    lines: Vec<String>,
}

impl Transcript {
    fn ask(&mut self, question: &str, command: Command) {
        let (records, reply) = self.run.ask(command);
        self.lines.push(format!("> {question}"));
        self.lines.extend(
            records
                .iter()
                .map(|record| format!("  record {}", recorded(record))),
        );
        let answers = match reply {
            Reply::TopicsCreated(_) => creations(reply),
            Reply::ConfigsAltered(_) => alterations(reply),
            Reply::TopicsDeleted(deletions) => deletions
                .iter()
                .map(|deletion| shown(deletion.name.as_deref().unwrap_or("?"), &deletion.result))
                .collect(),
            Reply::PartitionsCreated(creations) => creations
                .iter()
                .map(|creation| shown(&creation.name, &creation.result))
                .collect(),
            Reply::ProducerIdInitialized(Ok(identity)) => {
                vec![format!(
                    "producer {} epoch {}",
                    identity.producer_id, identity.producer_epoch
                )]
            }
            other => vec![format!("{other:?}")],
        };
        self.lines
            .extend(answers.iter().map(|answer| format!("  {answer}")));
    }

    fn restart(&mut self) {
        self.run.restart();
        self.lines.push("> restart".to_owned());
        self.lines.extend(
            self.run
                .topics()
                .iter()
                .map(|topic| format!("  has {topic}")),
        );
    }
}

fn recorded(record: &MetadataRecord) -> String {
    match record {
        MetadataRecord::TopicCreated {
            name,
            partitions,
            configs,
            ..
        } => {
            let configs: String = configs
                .iter()
                .map(|(name, value)| format!(" {name}={value}"))
                .collect();
            format!("created {name} {partitions}{configs}")
        }
        MetadataRecord::PartitionsAdded { partitions, .. } => format!("partitions {partitions}"),
        MetadataRecord::TopicDeleted { .. } => "deleted".to_owned(),
        MetadataRecord::TopicConfigSet { name, value, .. } => format!("topic {name}={value}"),
        MetadataRecord::TopicConfigRemoved { name, .. } => format!("topic -{name}"),
        MetadataRecord::BrokerConfigSet { name, value, .. } => format!("broker {name}={value}"),
        MetadataRecord::BrokerConfigRemoved { name, .. } => format!("broker -{name}"),
        MetadataRecord::ProducerIdsReserved { next } => format!("producer ids below {next}"),
        other => format!("{other:?}"),
    }
}

fn change(resource: ConfigResource, operations: &[&str]) -> Command {
    let operations = operations.iter().map(|text| operation(text)).collect();
    Command::IncrementalAlterConfigs {
        resources: vec![ConfigChange {
            resource,
            operations,
        }],
        validate_only: false,
    }
}

const EXPECTED: &str = "\
> create orders with 3 partitions, retention.ms=1000
  record created orders 3 retention.ms=1000
  orders 3
> create orders again, and or.ders and or_ders
  record created or.ders 1
  orders TOPIC_ALREADY_EXISTS: Topic 'orders' already exists.
  or.ders 1
  or_ders INVALID_TOPIC_EXCEPTION: Topic 'or_ders' collides with existing topic: or.ders
> a consumer asks for the metadata of clicks
  record created clicks 1
  clicks 1
> orders is to be compacted too, and its retention is the broker's
  record topic cleanup.policy=delete,compact
  record topic -retention.ms
  orders ok
> all topics are to be kept for an hour
  record broker log.retention.ms=3600000
   ok
> a producer starts
  record producer ids below 1000
  producer 0 epoch 0
> orders grows to 6
  record partitions 6
  orders ok
> or.ders is deleted
  record deleted
  or.ders ok
> restart
  has clicks 1
  has orders 6 cleanup.policy=delete,compact
> the producer asks for its next epoch
  producer 0 epoch 1
> another producer starts
  record producer ids below 2000
  producer 1000 epoch 0";

#[test]
fn a_day_of_a_cluster() {
    let mut day = Transcript {
        run: Run::new(),
        lines: Vec::new(),
    };
    let create = |topics| Command::CreateTopics {
        topics,
        validate_only: false,
    };
    day.ask(
        "create orders with 3 partitions, retention.ms=1000",
        create(vec![new("orders", 3).config("retention.ms", "1000")]),
    );
    day.ask(
        "create orders again, and or.ders and or_ders",
        create(vec![new("orders", 1), new("or.ders", 1), new("or_ders", 1)]),
    );
    let clicks = AutoTopic {
        name: "clicks".to_owned(),
        id: id_of("clicks"),
    };
    day.ask(
        "a consumer asks for the metadata of clicks",
        Command::AutoCreateTopics {
            topics: vec![clicks],
        },
    );
    day.ask(
        "orders is to be compacted too, and its retention is the broker's",
        change(
            topic("orders"),
            &["cleanup.policy+=compact", "-retention.ms"],
        ),
    );
    day.ask(
        "all topics are to be kept for an hour",
        change(broker(""), &["log.retention.ms=3600000"]),
    );
    day.ask(
        "a producer starts",
        Command::InitProducerId { current: None },
    );
    let grown = Command::CreatePartitions {
        topics: vec![to("orders", 6)],
        validate_only: false,
    };
    day.ask("orders grows to 6", grown);
    day.ask(
        "or.ders is deleted",
        Command::DeleteTopics {
            topics: vec![named("or.ders")],
        },
    );
    day.restart();
    let current = Some(ProducerIdentity {
        producer_id: 0,
        producer_epoch: 0,
    });
    day.ask(
        "the producer asks for its next epoch",
        Command::InitProducerId { current },
    );
    day.ask(
        "another producer starts",
        Command::InitProducerId { current: None },
    );
    assert_eq!(day.lines.join("\n"), EXPECTED);
}
