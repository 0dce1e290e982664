//! `DemoController`: the documents' two scenarios, really run on the backends of the mode (L-16, A-047, A-060…A-064).
//!
//! First two topics, two producers, five consumers and five messages, where every consumer prints what it received; then the order
//! service's one message, which one of the two consumers of a group gets. All names begin with `demo-`, and a run begins and ends
//! with nothing left over from another one.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::publish::{BackendResult, Outgoing, to_backends};
use super::refusal::Refusal;
use super::{consume, inventory, milliseconds, topic_changes};
use crate::Gateway;
use crate::mode::Mode;
use crate::registry::{Activity, RegisteredConsumer, RegisteredProducer, Registry};
use crate::{clock, entropy};

const PREFIX: &str = "demo-";
/// How long a consumer waits for a message that is stored already.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one looks whether there is a message too many.
const SURPRISE: Duration = Duration::from_millis(200);

/// Producer number, topic number, message number.
const MESSAGES: [(u8, u8, u8); 5] = [(1, 1, 1), (1, 1, 2), (2, 1, 3), (1, 2, 4), (2, 2, 5)];
/// The consumers of each topic.
const SUBSCRIPTIONS: [(u8, &[u8]); 2] = [(1, &[1, 2, 3, 4, 5]), (2, &[1, 3, 4])];

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(run_scenario))
        .routes(routes!(cleanup))
}

/// What was done, step by step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::Scenario)]
pub struct Scenario {
    success: bool,
    mode: &'static str,
    steps: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::Cleanup)]
pub struct Cleanup {
    success: bool,
    mode: &'static str,
    results: Vec<String>,
}

/// Runs the documents' scenarios
#[utoipa::path(
    post,
    path = "/api/demo/run-scenario",
    tag = "DemoController",
    operation_id = "legacyRunScenario",
    responses((status = 200, description = "`success` is whether every consumer received what it should", body = Scenario), Refusal)
)]
async fn run_scenario(State(gateway): State<Gateway>) -> Result<Json<Scenario>, Refusal> {
    let mode = gateway.backends().mode();
    let mut run = Run {
        gateway: &gateway,
        registry: gateway.registry().await?,
        steps: vec![format!("🚀 Running demo in {} mode...", mode.title())],
        success: true,
    };
    run.clean().await?;
    run.broadcast().await?;
    run.order_service().await?;
    run.steps.push(match run.success {
        true => "✅ Demo scenario completed successfully!".to_owned(),
        false => "❌ Not every consumer received what it should".to_owned(),
    });
    if mode == Mode::Hybrid {
        let line = "🔄 Messages published to BOTH in-memory and Kafka!";
        run.steps.push(line.to_owned());
    }
    Ok(Json(Scenario {
        success: run.success,
        mode: mode.title(),
        steps: run.steps,
    }))
}

/// Deletes what the scenarios made
#[utoipa::path(
    post,
    path = "/api/demo/cleanup",
    tag = "DemoController",
    operation_id = "legacyCleanUpDemo",
    responses((status = 200, description = "What was deleted", body = Cleanup), Refusal)
)]
async fn cleanup(State(gateway): State<Gateway>) -> Result<Json<Cleanup>, Refusal> {
    let mut run = Run {
        gateway: &gateway,
        registry: gateway.registry().await?,
        steps: Vec::new(),
        success: true,
    };
    run.clean().await?;
    let line = "✅ Demo resources cleaned up successfully!";
    run.steps.push(line.to_owned());
    Ok(Json(Cleanup {
        success: run.success,
        mode: gateway.backends().mode().title(),
        results: run.steps,
    }))
}

/// One run, with the lines that it leaves behind.
struct Run<'g> {
    gateway: &'g Gateway,
    registry: &'g Registry,
    steps: Vec<String>,
    success: bool,
}

impl Run<'_> {
    /// Two topics, two producers, five consumers: each consumer gets every message of its topics.
    async fn broadcast(&mut self) -> Result<(), Refusal> {
        for topic in 1..=2 {
            self.create_topic(&format!("demo-topic{topic}")).await?;
        }
        for number in 1..=2 {
            let (id, name) = (
                format!("demo-producer{number}"),
                format!("Demo Producer {number}"),
            );
            self.register_producer(&id, &name).await?;
        }
        for number in 1..=5 {
            let (id, name) = (
                format!("demo-consumer{number}"),
                format!("Demo Consumer {number}"),
            );
            self.register_consumer(&id, &name, None).await?;
        }
        for (topic, consumers) in SUBSCRIPTIONS {
            for consumer in consumers {
                let (id, topic) = (
                    format!("demo-consumer{consumer}"),
                    format!("demo-topic{topic}"),
                );
                self.registry.subscribe(&id, &topic, clock::now()).await?;
                self.step(format!("✓ {id} subscribed to {topic}"));
            }
        }
        for (producer, topic, message) in MESSAGES {
            let producer = format!("demo-producer{producer}");
            let content = format!("Demo Message {message}");
            self.publish(&producer, &format!("demo-topic{topic}"), &content)
                .await?;
        }
        for (topic, consumers) in SUBSCRIPTIONS {
            let sent = MESSAGES.iter().filter(|(_, to, _)| *to == topic).count();
            for consumer in consumers {
                let id = format!("demo-consumer{consumer}");
                self.receive(&id, &format!("demo-topic{topic}"), sent)
                    .await?;
            }
        }
        Ok(())
    }

    /// The documents' five steps: a message to a group goes to one of its consumers.
    async fn order_service(&mut self) -> Result<(), Refusal> {
        self.register_producer("demo-order-service", "Orders")
            .await?;
        self.create_topic("demo-orders").await?;
        let content = "Order #12345 - iPhone";
        self.publish("demo-order-service", "demo-orders", content)
            .await?;
        let group = Some("demo-fast-processors");
        for id in ["demo-order-processor-1", "demo-order-processor-2"] {
            self.register_consumer(id, id, group).await?;
        }
        self.receive("demo-order-processor-1", "demo-orders", 1)
            .await?;
        self.receive("demo-order-processor-2", "demo-orders", 0)
            .await
    }

    fn step(&mut self, line: String) {
        tracing::info!(target: "thalweg::demo", "{line}");
        self.steps.push(line);
    }

    async fn create_topic(&mut self, name: &str) -> Result<(), Refusal> {
        let (changed, succeeded) = topic_changes::create(self.gateway, name, None).await?;
        self.success &= succeeded;
        changed.results.into_iter().for_each(|line| self.step(line));
        Ok(())
    }

    async fn register_producer(&mut self, id: &str, name: &str) -> Result<(), Refusal> {
        let producer = RegisteredProducer {
            id: id.to_owned(),
            name: name.to_owned(),
            created_at: now(),
        };
        self.registry.add_producer(&producer).await?;
        self.step(format!("✓ Created producer: {id}"));
        Ok(())
    }

    async fn register_consumer(
        &mut self,
        id: &str,
        name: &str,
        group: Option<&str>,
    ) -> Result<(), Refusal> {
        let consumer = RegisteredConsumer {
            id: id.to_owned(),
            name: name.to_owned(),
            group: group.map(str::to_owned),
            activity: Activity::Started,
            created_at: now(),
        };
        self.registry.add_consumer(&consumer).await?;
        self.step(match group {
            Some(group) => format!("✓ Created consumer: {id} (group {group})"),
            None => format!("✓ Created consumer: {id}"),
        });
        Ok(())
    }

    async fn publish(&mut self, producer: &str, topic: &str, content: &str) -> Result<(), Refusal> {
        let at = now();
        let message = Outgoing {
            id: &format!("msg-{}", entropy::uuid_v7(at)),
            producer,
            topic,
            content,
            key: None,
            headers: &[],
            at,
        };
        let results = to_backends(self.gateway, &message, &[]).await;
        self.success &= results.iter().all(BackendResult::is_stored);
        self.step(format!("✓ {producer} published '{content}' to {topic}"));
        for result in results.iter().filter(|result| !result.is_published()) {
            let reason = result.error.as_deref().unwrap_or("on its way");
            self.step(format!("⚠️ {}: {reason}", result.backend));
        }
        Ok(())
    }

    /// Consumes `expected` messages and looks for one too many.
    async fn receive(&mut self, id: &str, topic: &str, expected: usize) -> Result<(), Refusal> {
        let Some(consumer) = self.registry.consumer(id) else {
            self.success = false;
            return Ok(());
        };
        let mut received = 0;
        loop {
            let wait = match received < expected {
                true => PATIENCE,
                false => SURPRISE,
            };
            let messages = consume::next(self.gateway, &consumer, topic, 10, wait).await?;
            if messages.is_empty() {
                break;
            }
            received += messages.len();
            for message in messages {
                self.step(format!("{id} received {}", message.content));
            }
        }
        self.success &= received == expected;
        Ok(())
    }

    /// Deletes every producer, consumer, group and topic of the demo.
    async fn clean(&mut self) -> Result<(), Refusal> {
        let is_ours = |name: &str| name.starts_with(PREFIX);
        let mut consumers = self.registry.consumers();
        consumers.retain(|consumer| is_ours(&consumer.id));
        for consumer in &consumers {
            self.registry.remove_consumer(&consumer.id).await?;
            self.forget_group(consumer.group_id()).await?;
        }
        self.step(format!("✓ Deleted {} demo consumers", consumers.len()));
        let mut producers = self.registry.producers();
        producers.retain(|producer| is_ours(&producer.id));
        for producer in &producers {
            self.registry.remove_producer(&producer.id).await?;
        }
        self.step(format!("✓ Deleted {} demo producers", producers.len()));
        let primary = self.gateway.backends().primary();
        let mut topics = inventory::topics(primary).await?;
        topics.retain(|topic| is_ours(&topic.name));
        for topic in &topics {
            topic_changes::delete(self.gateway, &topic.name, None).await?;
        }
        self.step(format!("✓ Deleted {} demo topics", topics.len()));
        Ok(())
    }

    /// So that the next run reads its topics from their beginning; a group that others use stays.
    async fn forget_group(&mut self, group: &str) -> Result<(), Refusal> {
        if !group.starts_with(PREFIX) {
            return Ok(());
        }
        self.gateway.legacy().members.leave_group(group).await;
        let mut admin = self.gateway.backends().primary().admin().await?;
        if let Err(error) = admin.delete_group(group).await {
            tracing::debug!(group, %error, "a group of the demo stays");
        }
        self.registry.remove_group(group).await?;
        Ok(())
    }
}

fn now() -> Timestamp {
    milliseconds(clock::now())
}
