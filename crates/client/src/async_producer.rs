//! A producer for async code: records go in at once, a future tells what became of them.
//!
//! One librdkafka producer for all callers, idempotent unless told otherwise, so that the records of a partition are stored in
//! the order in which they were handed over and none twice. All records of one call share a [`Batch`], whose last outcome wakes
//! the caller: five hundred records cost one wake-up. The queue is bounded; a full one refuses at once (`ErrorKind::Busy`).
//! Used by whatever publishes on behalf of others, as the HTTP gateway does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::librdkafka::{self, Context, LastProblem};
use crate::producer::{OutgoingRecord, base_record};

/// What holds unless the cluster's or the caller's properties say otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    // Batches form by themselves while earlier ones are under way; waiting for more would only be added to each reply.
    ("linger.ms", "0"),
    // Kafka's own: a record goes where every other client would put it.
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "65536"),
];

/// Where an acknowledged record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    pub partition: i32,
    pub offset: i64,
    /// The record's time as it is stored; -1 when it has none.
    pub timestamp_ms: i64,
}

/// What became of one record.
pub type Outcome = Result<Acknowledged, ClientError>;

/// A producer that is cheap to clone; all clones are one producer with one queue.
///
/// When the last clone is dropped, records that are not acknowledged are given up; [`AsyncProducer::flush`] waits for them.
#[derive(Clone)]
pub struct AsyncProducer {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Cluster,
    config: ClientConfig,
    current: RwLock<Arc<Running>>,
}

impl AsyncProducer {
    pub(crate) fn open(
        cluster: &Cluster,
        properties: &[(&str, &str)],
    ) -> Result<AsyncProducer, ClientError> {
        let config = config(cluster, properties)?;
        let running = Running::start(cluster, &config)?;
        Ok(AsyncProducer {
            shared: Arc::new(Shared {
                cluster: cluster.clone(),
                config,
                current: RwLock::new(Arc::new(running)),
            }),
        })
    }

    /// Hands one record over, copied; the future resolves when it is acknowledged or given up, and may be dropped before.
    ///
    /// The record of a topic that does not exist creates it where the cluster does that on first use, and takes until the time
    /// limit to fail where it does not: ask `Reader::topic` first.
    ///
    /// # Errors
    /// `Busy` when the queue is full, `Refused` for a partition that the topic does not have or a record that is too large: it
    /// was not taken over. From the future: what the broker refused with, or `TimedOut` and `Unreachable` when no answer came
    /// within the cluster's time limit; [`ClientError::may_have_happened`] says whether the record may be stored all the same.
    pub fn send(&self, record: &OutgoingRecord<'_>) -> Result<Acknowledgement, ClientError> {
        let batch = Batch::new(1);
        self.hand_over(record, &batch, 0)?;
        Ok(Acknowledgement(Acknowledgements(batch)))
    }

    /// Hands records over in order; the one future has their outcomes in the same order.
    ///
    /// A record that is not taken over has its refusal for an outcome, as `send` gives it. From the first for which there is no
    /// room on, none is taken over, so that a later one does not overtake it.
    pub fn send_many(&self, records: &[OutgoingRecord<'_>]) -> Acknowledgements {
        let batch = Batch::new(records.len());
        let mut is_full = false;
        for (index, record) in records.iter().enumerate() {
            let handed_over = match is_full {
                true => Err(busy(record.topic)),
                false => self.hand_over(record, &batch, index),
            };
            if let Err(error) = handed_over {
                is_full |= matches!(error, ClientError::Busy { .. });
                batch.settle(index, Err(error));
            }
        }
        Acknowledgements(batch)
    }

    /// Waits until every record handed over so far is acknowledged or given up.
    ///
    /// # Errors
    /// `TimedOut` or `Unreachable` when some still wait at the end of `limit`.
    pub async fn flush(&self, limit: Duration) -> Result<(), ClientError> {
        let running = self.shared.current();
        let flushed = tokio::task::spawn_blocking(move || {
            let flushed = running.producer().flush(limit);
            let what = "waiting for the last acknowledgements";
            flushed.map_err(|error| running.error(what.to_owned(), &error))
        });
        flushed.await.unwrap_or_else(|error| {
            Err(ClientError::Client {
                what: "waiting for the last acknowledgements".to_owned(),
                reason: error.to_string(),
            })
        })
    }

    /// How many records are neither acknowledged nor given up; what librdkafka has to say of its connections is counted with them.
    pub fn in_flight(&self) -> usize {
        let count = self.shared.current().producer().in_flight_count();
        usize::try_from(count).unwrap_or(0)
    }

    fn hand_over(
        &self,
        record: &OutgoingRecord<'_>,
        batch: &Arc<Batch>,
        index: usize,
    ) -> Result<(), ClientError> {
        let running = self.shared.current();
        match running.send(record, batch, index) {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::Fatal)) => {
                let running = self.shared.replace(&running)?;
                let sent = running.send(record, batch, index);
                sent.map_err(|error| running.refusal(record.topic, &error))
            }
            sent => sent.map_err(|error| running.refusal(record.topic, &error)),
        }
    }
}

impl Shared {
    fn current(&self) -> Arc<Running> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Another producer for one that cannot go on: librdkafka ends an idempotent producer for good when the broker no longer
    /// knows its sequence, as after its topic was deleted and made again.
    fn replace(&self, failed: &Arc<Running>) -> Result<Arc<Running>, ClientError> {
        let current = self.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, failed) {
            tracing::warn!(reason = ?failed.last_problem.get(), "a producer cannot go on; another takes its place");
            *current = Arc::new(Running::start(&self.cluster, &self.config)?);
        }
        Ok(Arc::clone(&current))
    }
}

fn config(cluster: &Cluster, properties: &[(&str, &str)]) -> Result<ClientConfig, ClientError> {
    let limit = cluster.timeout().as_millis().to_string();
    let mut config = librdkafka::config(cluster, properties)?;
    let acks = config.get("acks").or(config.get("request.required.acks"));
    // An idempotent producer wants all acknowledgements; who asks for fewer does not want it.
    let wants_few = acks.is_some_and(|acks| !matches!(acks, "all" | "-1"));
    for (name, value) in DEFAULTS.iter().chain(&[("message.timeout.ms", &*limit)]) {
        let is_contradicted = wants_few && *name == "enable.idempotence";
        if config.get(name).is_none() && !is_contradicted {
            config.set(*name, *value);
        }
    }
    Ok(config)
}

fn busy(topic: &str) -> ClientError {
    ClientError::Busy {
        what: format!("sending to {topic}"),
        reason: "the queue of records that wait for the cluster is full".to_owned(),
    }
}

/// A librdkafka producer and its thread.
struct Running {
    /// Present until it is dropped.
    producer: Option<ThreadedProducer<Context<Outcomes>>>,
    cluster: Cluster,
    last_problem: LastProblem,
}

impl Running {
    fn start(cluster: &Cluster, config: &ClientConfig) -> Result<Running, ClientError> {
        let last_problem = LastProblem::default();
        let outcomes = Outcomes {
            cluster: cluster.clone(),
            last_problem: last_problem.clone(),
        };
        let context = Context::new(cluster, last_problem.clone(), outcomes);
        let producer = config.create_with_context(context).map_err(|error| {
            librdkafka::error("setting up a producer", &error, cluster, &last_problem)
        })?;
        Ok(Running {
            producer: Some(producer),
            cluster: cluster.clone(),
            last_problem,
        })
    }

    fn producer(&self) -> &ThreadedProducer<Context<Outcomes>> {
        let producer = self.producer.as_ref();
        producer.expect("a producer is there until it is dropped")
    }

    fn send(
        &self,
        record: &OutgoingRecord<'_>,
        batch: &Arc<Batch>,
        index: usize,
    ) -> Result<(), KafkaError> {
        let ticket = Box::new(Ticket {
            batch: Arc::clone(batch),
            index,
        });
        let sent = self.producer().send(base_record(record, ticket));
        sent.map_err(|(error, _)| error)
    }

    fn refusal(&self, topic: &str, error: &KafkaError) -> ClientError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => busy(topic),
            _ => self.error(format!("sending to {topic}"), error),
        }
    }

    fn error(&self, what: String, error: &KafkaError) -> ClientError {
        librdkafka::error(what, error, &self.cluster, &self.last_problem)
    }
}

impl Drop for Running {
    /// Ends librdkafka on a thread of its own: it waits for its threads, which the async caller's must not.
    fn drop(&mut self) {
        let producer = self.producer.take();
        std::thread::spawn(move || drop(producer));
    }
}

/// Which record of which call a delivery is about.
struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

struct Outcomes {
    cluster: Cluster,
    last_problem: LastProblem,
}

impl Outcomes {
    fn failure(&self, error: &KafkaError, topic: &str) -> ClientError {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PurgeInflight) {
            return ClientError::Unreachable {
                address: self.cluster.bootstrap().join(","),
                reason: format!("the producer was closed before {topic} acknowledged"),
            };
        }
        let what = format!("sending to {topic}");
        librdkafka::error(what, error, &self.cluster, &self.last_problem)
    }
}

impl ProducerContext for Context<Outcomes> {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            Ok(message) => Ok(Acknowledged {
                partition: message.partition(),
                offset: message.offset(),
                timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
            }),
            Err((error, message)) => Err(self.own.failure(error, message.topic())),
        };
        ticket.batch.settle(ticket.index, outcome);
    }
}

/// The records of one call, and who waits for them.
struct Batch(Mutex<State>);

struct State {
    outcomes: Vec<Option<Outcome>>,
    open: usize,
    waker: Option<Waker>,
}

impl Batch {
    fn new(count: usize) -> Arc<Batch> {
        Arc::new(Batch(Mutex::new(State {
            outcomes: std::iter::repeat_with(|| None).take(count).collect(),
            open: count,
            waker: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what became of one record; the last one wakes who waits.
    fn settle(&self, index: usize, outcome: Outcome) {
        let mut state = self.state();
        state.outcomes[index] = Some(outcome);
        state.open -= 1;
        let waker = match state.open {
            0 => state.waker.take(),
            _ => None,
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, task: &TaskContext<'_>) -> Poll<Vec<Outcome>> {
        let mut state = self.state();
        if state.open > 0 {
            state.waker = Some(task.waker().clone());
            return Poll::Pending;
        }
        let outcomes = std::mem::take(&mut state.outcomes);
        Poll::Ready(outcomes.into_iter().flatten().collect())
    }
}

/// What became of the records of one [`AsyncProducer::send_many`], once all of them are settled.
#[must_use = "only the outcome tells whether the records are stored"]
pub struct Acknowledgements(Arc<Batch>);

impl Future for Acknowledgements {
    type Output = Vec<Outcome>;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Vec<Outcome>> {
        self.0.poll(task)
    }
}

/// What became of the record of one [`AsyncProducer::send`].
#[must_use = "only the outcome tells whether the record is stored"]
pub struct Acknowledgement(Acknowledgements);

impl Future for Acknowledgement {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0).poll(task).map(|mut outcomes| {
            let outcome = outcomes.pop();
            outcome.expect("a future is not polled after it was ready")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn stored(offset: i64) -> Outcome {
        Ok(Acknowledged {
            partition: 0,
            offset,
            timestamp_ms: -1,
        })
    }

    #[test]
    fn many_records_wake_their_caller_once_and_keep_their_order() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut task = TaskContext::from_waker(&waker);
        let batch = Batch::new(3);
        let mut acknowledgements = Acknowledgements(Arc::clone(&batch));
        for index in [2, 0, 1] {
            assert!(Pin::new(&mut acknowledgements).poll(&mut task).is_pending());
            batch.settle(index, stored(10 + index as i64));
        }
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        let Poll::Ready(outcomes) = Pin::new(&mut acknowledgements).poll(&mut task) else {
            panic!("all three are settled");
        };
        let offsets: Vec<i64> = outcomes
            .iter()
            .flatten()
            .map(|stored| stored.offset)
            .collect();
        assert_eq!(offsets, [10, 11, 12]);
    }

    #[test]
    fn who_wants_few_acknowledgements_gets_no_idempotence() {
        let cluster = Cluster::new("127.0.0.1:1");
        let idempotence = |properties: &[(&str, &str)]| {
            let config = config(&cluster, properties).expect("no security");
            config.get("enable.idempotence").map(str::to_owned)
        };
        assert_eq!(idempotence(&[]).as_deref(), Some("true"));
        assert_eq!(idempotence(&[("acks", "all")]).as_deref(), Some("true"));
        assert_eq!(idempotence(&[("acks", "1")]), None);
        assert!(AsyncProducer::open(&cluster, &[("acks", "1")]).is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_keeps_order() {
        let cluster = Cluster::new("127.0.0.1:1").with_timeout(Duration::from_millis(300));
        let producer = cluster
            .async_producer(&[("queue.buffering.max.messages", "2")])
            .expect("valid properties");
        let record = OutgoingRecord {
            topic: "t",
            ..OutgoingRecord::default()
        };
        let outcomes = producer.send_many(&[record; 4]).await;
        let errors: Vec<ClientError> = outcomes.into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.len(), 4, "nothing listens there");
        for (index, error) in errors.iter().enumerate() {
            let is_busy = error.kind() == crate::ErrorKind::Busy;
            assert_eq!(is_busy, index >= 2, "{error}");
            assert_eq!(error.may_have_happened(), index < 2, "{error}");
        }
    }

    #[tokio::test]
    async fn an_unreachable_cluster_is_told_with_its_reason() {
        let cluster = Cluster::new("127.0.0.1:1").with_timeout(Duration::from_millis(300));
        let producer = cluster.async_producer(&[]).expect("valid properties");
        let record = OutgoingRecord {
            topic: "t",
            ..OutgoingRecord::default()
        };
        let sent = producer.send(&record).expect("there is room");
        let error = sent.await.expect_err("nothing listens there");
        assert_eq!(error.kind(), crate::ErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    }
}
