//! What is measured: Thalweg with either durability, Apache Kafka with its defaults; two processes, three subjects.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::kafka::{BrokerOptions, Jars, KafkaBroker};
use crate::thalweg::Thalweg;
use crate::{probe, process};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Thalweg, `thalweg.durability = os`: acknowledged from the page cache, as Kafka does.
    Os,
    /// Thalweg's default, `sync`: acknowledged after the bytes are on the disk.
    Sync,
    /// Apache Kafka with its defaults.
    Kafka,
}

pub const SUBJECTS: [Subject; 3] = [Subject::Os, Subject::Kafka, Subject::Sync];

impl Subject {
    pub fn name(self) -> &'static str {
        match self {
            Subject::Os => "Thalweg, os",
            Subject::Sync => "Thalweg, sync",
            Subject::Kafka => "Apache Kafka",
        }
    }
}

pub struct Brokers {
    thalweg: Option<Thalweg>,
    kafka: KafkaBroker,
    topics: AtomicU64,
}

impl Brokers {
    pub fn start(jars: &Jars, binary: Option<&Path>, folder: &Path) -> Result<Brokers, String> {
        let home = |name: &str| {
            let home = folder.join(name);
            std::fs::create_dir_all(&home)
                .map(|()| home)
                .map_err(|error| format!("{}: {error}", folder.display()))
        };
        let thalweg = match binary {
            Some(binary) => Some(Thalweg::start(binary, &home("thalweg")?, &[])?),
            None => None,
        };
        let kafka = KafkaBroker::start(jars, &home("kafka")?, &BrokerOptions::default())?;
        Ok(Brokers {
            thalweg,
            kafka,
            topics: AtomicU64::new(0),
        })
    }

    /// The subjects that run, in the order in which they take turns.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        let has_thalweg = self.thalweg.is_some();
        SUBJECTS
            .into_iter()
            .filter(move |subject| has_thalweg || *subject == Subject::Kafka)
    }

    pub fn address(&self, subject: Subject) -> SocketAddr {
        self.thalweg
            .as_ref()
            .filter(|_| subject != Subject::Kafka)
            .map_or(self.kafka.address, |thalweg| thalweg.address)
    }

    pub fn pid(&self, subject: Subject) -> u32 {
        self.thalweg
            .as_ref()
            .filter(|_| subject != Subject::Kafka)
            .map_or_else(|| self.kafka.pid(), Thalweg::pid)
    }

    /// A fresh topic with the subject's durability.
    pub fn topic(&self, subject: Subject, partitions: u32) -> Result<String, String> {
        self.topic_with(subject, partitions, &[])
    }

    /// … and with further settings.
    pub fn topic_with(
        &self,
        subject: Subject,
        partitions: u32,
        further: &[(&str, &str)],
    ) -> Result<String, String> {
        let topic = format!("bench-{}", self.topics.fetch_add(1, Ordering::Relaxed));
        let mut configs = match subject {
            Subject::Os => vec![("thalweg.durability", "os")],
            Subject::Sync => vec![("thalweg.durability", "sync")],
            Subject::Kafka => Vec::new(),
        };
        configs.extend(further);
        probe::create_topic(self.address(subject), &topic, partitions as i32, &configs)?;
        Ok(topic)
    }

    pub fn drop_topic(&self, subject: Subject, topic: &str) -> Result<(), String> {
        probe::delete_topic(self.address(subject), topic)
    }

    pub fn stop(&mut self) -> Result<(), String> {
        if let Some(thalweg) = &mut self.thalweg {
            thalweg.stop()?;
        }
        self.kafka.stop()
    }
}

/// CPU and memory of one broker over a piece of work.
pub struct Meter {
    pid: u32,
    cpu: Duration,
}

impl Meter {
    pub fn start(pid: u32) -> Result<Meter, String> {
        process::reset_peak(pid);
        Ok(Meter {
            pid,
            cpu: process::cpu_time(pid)?,
        })
    }

    /// CPU seconds used, and the peak of resident memory in MB.
    pub fn stop(self) -> Result<(f64, f64), String> {
        let used = process::cpu_time(self.pid)?.saturating_sub(self.cpu);
        Ok((
            used.as_secs_f64(),
            process::memory(self.pid)?.1 as f64 / 1e6,
        ))
    }
}
