//! What the tests run on, started by the first test that needs it and stopped by `main`; and how a test is run on it.

use std::sync::{Arc, OnceLock};

use libtest_mimic::{Completion, Failed};
use tokio::runtime::Runtime;

use crate::gateway::Gateway;
use crate::kafka::{Absent, Kafka};
use crate::repository::{self, Scratch};
use crate::subject::{Kind, Subject, Test};

/// Set where a run without Apache Kafka is worth nothing, as in CI: then its absence fails the tests that need it.
const REQUIRE_KAFKA: &str = "THALWEG_CONTRACT_REQUIRE_KAFKA";

type Started<T> = OnceLock<Result<T, Absent>>;

/// Everything that is started, at most once each.
pub struct World {
    runtime: Runtime,
    scratch: Arc<Scratch>,
    kafka: Started<Arc<Kafka>>,
    subjects: [Started<Subject>; 3],
}

impl World {
    pub fn new() -> Result<World, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| format!("starting threads: {error}"))?;
        Ok(World {
            runtime,
            scratch: Arc::new(repository::scratch("contract")?),
            kafka: OnceLock::new(),
            subjects: [OnceLock::new(), OnceLock::new(), OnceLock::new()],
        })
    }

    /// Runs one test, or says why it is left out.
    pub fn run(&self, kind: Kind, test: &Test) -> Result<Completion, Failed> {
        let subject = self.subjects[kind as usize].get_or_init(|| self.start(kind));
        match subject {
            Ok(subject) => {
                subject.run(test);
                Ok(Completion::Completed)
            }
            Err(Absent::Missing(reason)) if std::env::var_os(REQUIRE_KAFKA).is_none() => Ok(
                Completion::ignored_with(format!("no Apache Kafka here: {reason}")),
            ),
            Err(Absent::Missing(reason)) => Err(format!(
                "{REQUIRE_KAFKA} is set, but there is no Apache Kafka: {reason}"
            )
            .into()),
            Err(Absent::Failed(reason)) => Err(reason.into()),
        }
    }

    fn start(&self, kind: Kind) -> Result<Subject, Absent> {
        let scratch = Arc::clone(&self.scratch);
        let runtime = self.runtime.handle().clone();
        match kind {
            Kind::Embedded => {
                let gateway = Gateway::embedded(&scratch).map_err(Absent::Failed)?;
                Subject::around(kind, gateway, None, runtime).map_err(Absent::Failed)
            }
            Kind::Kafka => {
                let kafka = self.kafka()?;
                let bootstrap = kafka.bootstrap();
                let behind = Arc::clone(&kafka);
                let gateway = move || Gateway::on_kafka(&scratch, &behind);
                Ok(Subject::new(
                    kind,
                    &bootstrap,
                    Some(kafka),
                    gateway,
                    runtime,
                ))
            }
            Kind::Hybrid => {
                let kafka = self.kafka()?;
                let gateway = Gateway::hybrid(&scratch, &kafka).map_err(Absent::Failed)?;
                Subject::around(kind, gateway, Some(kafka), runtime).map_err(Absent::Failed)
            }
        }
    }

    fn kafka(&self) -> Result<Arc<Kafka>, Absent> {
        let kafka = self
            .kafka
            .get_or_init(|| Kafka::start(self.scratch.path()).map(Arc::new));
        kafka.clone()
    }

    /// Ends every process; the folders go with this value.
    pub fn stop(&self) {
        for subject in &self.subjects {
            if let Some(Ok(subject)) = subject.get() {
                subject.stop();
            }
        }
        if let Some(Ok(kafka)) = self.kafka.get() {
            kafka.stop();
        }
    }
}
