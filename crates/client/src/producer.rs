//! A producer: records go in without waiting for the broker, every accepted one comes back once as a [`Delivery`].

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::util::IntoOpaque;

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::librdkafka::{self, Context, LastProblem};

/// A record to send. `partition` and `timestamp_ms` are chosen by the client when absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutgoingRecord<'a> {
    pub topic: &'a str,
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub timestamp_ms: Option<i64>,
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// What became of a record: `token` is the number it was sent with.
#[derive(Debug)]
pub struct Delivery {
    pub token: usize,
    pub partition: i32,
    pub offset: i64,
    pub error: Option<ClientError>,
}

type OnDelivery = Box<dyn Fn(Delivery) + Send + Sync>;

pub(crate) struct Deliveries {
    cluster: Cluster,
    last_problem: LastProblem,
    on_delivery: OnDelivery,
}

impl ProducerContext for Context<Deliveries> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let (message, error) = match result {
            Ok(message) => (message, None),
            Err((error, message)) => {
                let what = format!("sending to {}", message.topic());
                let own = &self.own;
                let error = librdkafka::error(what, error, &own.cluster, &own.last_problem);
                (message, Some(error))
            }
        };
        (self.own.on_delivery)(Delivery {
            token,
            partition: message.partition(),
            offset: message.offset(),
            error,
        });
    }
}

/// A producer with its own thread for deliveries.
pub struct Producer {
    pub(crate) inner: ThreadedProducer<Context<Deliveries>>,
    cluster: Cluster,
    last_problem: LastProblem,
}

impl Producer {
    pub(crate) fn open(
        cluster: &Cluster,
        properties: &[(&str, &str)],
        on_delivery: OnDelivery,
    ) -> Result<Producer, ClientError> {
        let last_problem = LastProblem::default();
        let deliveries = Deliveries {
            cluster: cluster.clone(),
            last_problem: last_problem.clone(),
            on_delivery,
        };
        let context = Context::new(cluster, last_problem.clone(), deliveries);
        let inner = librdkafka::config(cluster, properties)?
            .create_with_context(context)
            .map_err(|error| {
                librdkafka::error("setting up a producer", &error, cluster, &last_problem)
            })?;
        Ok(Producer {
            inner,
            cluster: cluster.clone(),
            last_problem,
        })
    }

    /// Hands one record to the client; waits while its queue is full, up to the cluster's time limit.
    ///
    /// # Errors
    /// `TimedOut` or `Unreachable` when the queue stays full; `Refused` when the topic or partition is unknown.
    pub fn send(&self, record: &OutgoingRecord<'_>, token: usize) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.cluster.timeout();
        let mut pending = base_record(record, token);
        loop {
            let (error, returned) = match self.inner.send(pending) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full {
                return Err(self.error(format!("sending to {}", record.topic), &error));
            }
            if Instant::now() >= deadline {
                let late = KafkaError::MessageProduction(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.error(format!("waiting to send to {}", record.topic), &late));
            }
            // The delivery thread makes room; it is woken by the broker, not by us.
            std::thread::sleep(Duration::from_millis(1));
            pending = returned;
        }
    }

    /// Waits until every record handed over was delivered or failed.
    ///
    /// # Errors
    /// `TimedOut` or `Unreachable` when some are still waiting at the end of `limit`.
    pub fn flush(&self, limit: Duration) -> Result<(), ClientError> {
        self.inner
            .flush(limit)
            .map_err(|error| self.error("waiting for the last acknowledgements".into(), &error))
    }

    /// How many records wait for their delivery.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    pub(crate) fn error(&self, what: String, error: &KafkaError) -> ClientError {
        librdkafka::error(what, error, &self.cluster, &self.last_problem)
    }
}

/// The record as librdkafka takes it; `token` comes back with its delivery.
pub(crate) fn base_record<'a, T: IntoOpaque>(
    record: &OutgoingRecord<'a>,
    token: T,
) -> BaseRecord<'a, [u8], [u8], T> {
    let mut base = BaseRecord::with_opaque_to(record.topic, token);
    if let Some(key) = record.key {
        base = base.key(key);
    }
    if let Some(value) = record.value {
        base = base.payload(value);
    }
    if let Some(partition) = record.partition {
        base = base.partition(partition);
    }
    if let Some(timestamp) = record.timestamp_ms {
        base = base.timestamp(timestamp);
    }
    if record.headers.is_empty() {
        return base;
    }
    let headers = record.headers.iter().fold(
        OwnedHeaders::new_with_capacity(record.headers.len()),
        |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: value.as_ref(),
            })
        },
    );
    base.headers(headers)
}
