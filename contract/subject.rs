//! What a test is, and what it is given: a cluster of one kind, reached as any client reaches it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use client::{Admin, Cluster};
use tokio::runtime::Handle;

use crate::gateway::Gateway;
use crate::kafka::Kafka;

/// On what a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `thalweg start` with its embedded broker.
    Embedded,
    /// Apache Kafka; the gateway is a `thalweg start` that only talks to it.
    Kafka,
    /// `thalweg start` with both behind it.
    Hybrid,
}

/// Every kind, in the order in which their tests are run.
pub const KINDS: &[Kind] = &[Kind::Embedded, Kind::Kafka, Kind::Hybrid];

/// What a test is for.
pub struct On {
    pub kinds: &'static [Kind],
    /// Nothing else runs on the subject meanwhile, because the test breaks it.
    pub alone: bool,
}

const fn beside_others(kinds: &'static [Kind]) -> On {
    On {
        kinds,
        alone: false,
    }
}

/// The clusters themselves, where the subject is not the gateway.
pub const BOTH: On = beside_others(&[Kind::Embedded, Kind::Kafka]);
/// The gateway in each mode.
pub const EVERYWHERE: On = beside_others(KINDS);
pub const EMBEDDED: On = beside_others(&[Kind::Embedded]);
pub const KAFKA: On = beside_others(&[Kind::Kafka]);
pub const HYBRID: On = beside_others(&[Kind::Hybrid]);
/// Drills in which a broker goes away.
pub const KAFKA_ALONE: On = On {
    kinds: &[Kind::Kafka],
    alone: true,
};
/// Drills in which Kafka or Thalweg goes away.
pub const HYBRID_ALONE: On = On {
    kinds: &[Kind::Hybrid],
    alone: true,
};

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Embedded => "embedded",
            Kind::Kafka => "kafka",
            Kind::Hybrid => "hybrid",
        }
    }
}

/// A test: a claim as its name, and the kinds of subject that it must hold for.
pub struct Test {
    pub name: &'static str,
    pub path: &'static str,
    pub on: On,
    pub run: fn(&Subject),
}

impl Test {
    /// The file's name: `topics` of `contract::topics`.
    pub fn module(&self) -> &'static str {
        self.path.rsplit("::").next().unwrap_or(self.path)
    }
}

/// The list of a file's tests: `contract! { BOTH: a_claim, another_claim; KAFKA: a_third }`. A test is an `async fn(&Subject)` that
/// panics when the claim does not hold.
macro_rules! contract {
    ($($on:ident: $($test:ident),+ $(,)?);+ $(;)?) => {
        pub const TESTS: &[$crate::subject::Test] = &[$($($crate::subject::Test {
            name: stringify!($test),
            path: module_path!(),
            on: $crate::subject::$on,
            run: |subject| subject.block_on($test(subject)),
        },)+)+];
    };
}
pub(crate) use contract;

/// What a test is given. Subjects are shared by all tests of their kind, so a test makes its own topics and groups, by
/// [`Subject::name`], and leaves what it did not make alone.
pub struct Subject {
    pub kind: Kind,
    /// The cluster behind it, without encryption; in hybrid the embedded one.
    pub cluster: Cluster,
    /// How many brokers it has; the replication factor that topics get.
    pub brokers: usize,
    /// Apache Kafka, where it is part of the subject.
    pub kafka: Option<Arc<Kafka>>,
    turns: RwLock<()>,
    gateway: OnceLock<Result<Gateway, String>>,
    start_gateway: Box<dyn Fn() -> Result<Gateway, String> + Send + Sync>,
    runtime: Handle,
}

impl Subject {
    pub fn new(
        kind: Kind,
        bootstrap: &str,
        kafka: Option<Arc<Kafka>>,
        start_gateway: impl Fn() -> Result<Gateway, String> + Send + Sync + 'static,
        runtime: Handle,
    ) -> Subject {
        Subject {
            kind,
            cluster: cluster(bootstrap),
            brokers: if kind == Kind::Kafka {
                crate::kafka::BROKERS
            } else {
                1
            },
            kafka,
            turns: RwLock::new(()),
            gateway: OnceLock::new(),
            start_gateway: Box::new(start_gateway),
            runtime,
        }
    }

    /// With a gateway that runs already, because the cluster is inside it.
    pub fn around(
        kind: Kind,
        gateway: Gateway,
        kafka: Option<Arc<Kafka>>,
        runtime: Handle,
    ) -> Result<Subject, String> {
        let bootstrap = gateway.kafka()?.to_owned();
        let never = || Err("it runs already".to_owned());
        let subject = Subject::new(kind, &bootstrap, kafka, never, runtime);
        let _ = subject.gateway.set(Ok(gateway));
        Ok(subject)
    }

    /// Runs a test beside others, or alone.
    pub fn run(&self, test: &Test) {
        let turns = match &self.kafka {
            Some(kafka) => &kafka.turns,
            None => &self.turns,
        };
        // A test that panicked has left nothing behind that the lock protects.
        if test.on.alone {
            let _turn = turns.write().unwrap_or_else(PoisonError::into_inner);
            (test.run)(self);
        } else {
            let _turn = turns.read().unwrap_or_else(PoisonError::into_inner);
            (test.run)(self);
        }
    }

    /// The HTTP side, shared by all tests of this kind; started by the first that asks.
    pub fn gateway(&self) -> &Gateway {
        match self.gateway.get_or_init(|| (self.start_gateway)()) {
            Ok(gateway) => gateway,
            Err(error) => panic!("the gateway: {error}"),
        }
    }

    /// A name that no other test uses.
    pub fn name(&self, stem: &str) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub async fn admin(&self) -> Admin {
        self.cluster.admin().await.expect("the cluster answers")
    }

    /// A new topic, replicated to every broker, whose partitions all have leaders.
    pub async fn topic(&self, stem: &str, partitions: i32) -> String {
        let name = self.name(stem);
        let mut admin = self.admin().await;
        let new = client::topics::NewTopic {
            name: &name,
            partitions: Some(partitions),
            replication_factor: i16::try_from(self.brokers).ok(),
            configs: Vec::new(),
        };
        let created = admin.create_topic(&new, false).await;
        created.expect("a topic can be created");
        let settled = admin.settled_topic(&name).await;
        settled.expect("its partitions get leaders");
        name
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn stop(&self) {
        if let Some(Ok(gateway)) = self.gateway.get() {
            gateway.kill();
        }
    }
}

/// A cluster as the tests use it: patient enough for a slow machine that runs three JVMs.
pub fn cluster(bootstrap: &str) -> Cluster {
    Cluster::new(bootstrap)
        .with_client_id("contract")
        .with_timeout(Duration::from_secs(30))
}

/// Asks until there is an answer, for what a cluster does in its own time; at most half a minute.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
