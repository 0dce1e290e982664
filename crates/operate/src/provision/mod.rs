//! Topics from a manifest: what is missing is created, what is there is left as it is, what differs is reported.
//!
//! Nothing that exists is ever changed: a second run creates nothing, and a topic that differs from the manifest stays and is told
//! as drift. Called by `thalweg topic provision`, at the start of the platform, and by the HTTP server.

mod effective;
mod manifest;
mod read;
mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use client::configs::Resource;
use client::topics::{NewTopic, Topic};
use client::{Admin, ClientError, Cluster, ErrorKind};
use tokio::time::Instant;

pub use effective::{Drift, Effective};
pub use manifest::{KeyKind, Manifest, ManifestError, TopicSpec};
pub use report::{PartitionReport, Report, Status, TopicReport, metadata_lines};

/// The pause between two attempts to reach a cluster that is starting.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// How to provision.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Ask for exactly what the manifest says, and let the cluster refuse what it cannot do.
    pub strict: bool,
    /// Only check what would be created.
    pub dry_run: bool,
}

/// Hears every line as it is logged.
pub type Listener<'a> = dyn FnMut(&str) + Send + 'a;

/// What is logged: kept for the report, given to the listener, and sent to `tracing`.
struct Lines<'l> {
    lines: Vec<String>,
    listener: &'l mut Listener<'l>,
}

impl Lines<'_> {
    fn say(&mut self, line: String) {
        tracing::info!(target: "thalweg::provision", "{line}");
        (self.listener)(&line);
        self.lines.push(line);
    }
}

/// Provisions a cluster that may still be starting: waits for it at most `patience`.
///
/// # Errors
/// As [`provision`]; `Unreachable` or `TimedOut` when no broker answered in time.
pub async fn provision_when_ready(
    cluster: &Cluster,
    patience: Duration,
    manifest: &Manifest,
    options: Options,
    listener: &mut Listener<'_>,
) -> Result<Report, ClientError> {
    let deadline = Instant::now() + patience;
    let mut lines = begin(manifest, listener);
    loop {
        let error = match cluster.admin().await {
            Ok(mut admin) => return run(&mut admin, manifest, options, lines).await,
            Err(error) => error,
        };
        let may_pass = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut);
        if !may_pass || Instant::now() + RETRY_PAUSE >= deadline {
            return Err(error);
        }
        lines.say(format!(
            "KafkaAdminService: not ready: {error}; trying again"
        ));
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Provisions a cluster.
///
/// # Errors
/// When the cluster cannot be asked at all. What becomes of one topic is in the report and keeps no other from being created.
pub async fn provision(
    admin: &mut Admin,
    manifest: &Manifest,
    options: Options,
    listener: &mut Listener<'_>,
) -> Result<Report, ClientError> {
    let lines = begin(manifest, listener);
    run(admin, manifest, options, lines).await
}

fn begin<'l>(manifest: &Manifest, listener: &'l mut Listener<'l>) -> Lines<'l> {
    let mut lines = Lines {
        lines: Vec::new(),
        listener,
    };
    lines.say(format!(
        "KafkaTopicProvisioningService: starting, manifest {}, topics: {}",
        manifest.profile,
        manifest.topics.len()
    ));
    lines
}

async fn run(
    admin: &mut Admin,
    manifest: &Manifest,
    options: Options,
    mut lines: Lines<'_>,
) -> Result<Report, ClientError> {
    admin.refresh().await?;
    let brokers = admin.info().brokers.len();
    lines.say(format!(
        "KafkaAdminService: initialized at {}, brokers: {brokers}",
        admin.address()
    ));
    let existing = existing(admin, manifest, &mut lines).await?;
    let mut topics: Vec<Provisioning<'_>> = manifest
        .topics
        .iter()
        .map(|spec| Provisioning {
            spec,
            effective: Effective::on(brokers, spec, options.strict),
            existing: existing.get(spec.name.as_str()),
            refusal: None,
        })
        .collect();
    create_missing(admin, &mut topics, options, &mut lines).await?;
    let mut reports = Vec::with_capacity(topics.len());
    for topic in topics {
        let report = topic.finish(admin, options.dry_run, &mut lines).await;
        reports.push(report);
    }
    let mut report = Report {
        profile: manifest.profile.clone(),
        brokers,
        strict: options.strict,
        dry_run: options.dry_run,
        topics: reports,
        lines: Vec::new(),
    };
    let counts = [
        Status::Created,
        Status::Exists,
        Status::Drift,
        Status::Failed,
    ]
    .map(|status| format!("{} {}", status.name(), report.count(status)));
    lines.say(format!(
        "KafkaTopicProvisioningService: done, {}",
        counts.join(", ")
    ));
    report.lines = lines.lines;
    Ok(report)
}

/// The topics of the manifest that are there, by name.
async fn existing(
    admin: &mut Admin,
    manifest: &Manifest,
    lines: &mut Lines<'_>,
) -> Result<BTreeMap<String, Topic>, ClientError> {
    lines.say("Checking existing topics".to_owned());
    let all = admin.topics().await?;
    let mut existing = BTreeMap::new();
    for spec in &manifest.topics {
        match all.iter().find(|topic| topic.name == spec.name) {
            Some(topic) => {
                lines.say(format!("\"{}\"? YES, skip", spec.name));
                existing.insert(spec.name.clone(), topic.clone());
            }
            None => lines.say(format!("\"{}\"? NO, create", spec.name)),
        }
    }
    Ok(existing)
}

/// A topic of the manifest on its way.
struct Provisioning<'a> {
    spec: &'a TopicSpec,
    effective: Effective,
    existing: Option<&'a Topic>,
    /// Why it could not be created.
    refusal: Option<ClientError>,
}

/// Creates what is missing with one request.
async fn create_missing(
    admin: &mut Admin,
    topics: &mut [Provisioning<'_>],
    options: Options,
    lines: &mut Lines<'_>,
) -> Result<(), ClientError> {
    let is_missing = |topic: &&mut Provisioning<'_>| topic.existing.is_none();
    let missing: Vec<&mut Provisioning<'_>> = topics.iter_mut().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for topic in &missing {
        for warning in &topic.effective.warnings {
            lines.say(format!("{}: {warning}", topic.spec.name));
        }
    }
    let verb = if options.dry_run {
        "Checking"
    } else {
        "Creating"
    };
    let names: Vec<&str> = missing
        .iter()
        .map(|topic| topic.spec.name.as_str())
        .collect();
    lines.say(format!("{verb} topics with configs: {}", names.join(", ")));
    let new: Vec<NewTopic<'_>> = missing.iter().map(|topic| topic.new_topic()).collect();
    let results = admin.create_topics(&new, options.dry_run).await?;
    drop(new);
    for (topic, result) in missing.into_iter().zip(results) {
        topic.refusal = result.err();
    }
    Ok(())
}

impl Provisioning<'_> {
    fn new_topic(&self) -> NewTopic<'_> {
        let configs = self.effective.configs.iter();
        NewTopic {
            name: &self.spec.name,
            partitions: Some(self.spec.partitions),
            replication_factor: self.effective.replication_factor,
            configs: configs
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        }
    }

    /// Looks at what there is now and tells it.
    async fn finish(self, admin: &mut Admin, dry_run: bool, lines: &mut Lines<'_>) -> TopicReport {
        let mut report = TopicReport {
            topic: self.spec.name.clone(),
            status: Status::Failed,
            requested_replication_factor: self.spec.replication_factor,
            replication_factor: self.effective.replication_factor,
            partitions: Vec::new(),
            drift: Vec::new(),
            warnings: self.effective.warnings.clone(),
            error: None,
        };
        if let Err(error) = self.look(admin, dry_run, &mut report, lines).await {
            report.status = Status::Failed;
            lines.say(format!("{}: failed: {error}", report.topic));
            report.error = Some(error.to_string());
        }
        report
    }

    async fn look(
        self,
        admin: &mut Admin,
        dry_run: bool,
        report: &mut TopicReport,
        lines: &mut Lines<'_>,
    ) -> Result<(), ClientError> {
        let was_there = match self.refusal {
            // Somebody else created it between our question and our request.
            Some(error) if error.kind() == ErrorKind::Conflict => true,
            Some(error) => return Err(error),
            None => self.existing.is_some(),
        };
        if dry_run && !was_there {
            report.status = Status::Missing;
            return Ok(());
        }
        let topic = admin.settled_topic(&self.spec.name).await?;
        for line in metadata_lines(&topic) {
            lines.say(line);
        }
        report.partitions = topic.partitions.iter().map(PartitionReport::from).collect();
        if !was_there {
            report.status = Status::Created;
            return Ok(());
        }
        let configs = admin.configs(Resource::Topic(&self.spec.name)).await?;
        report.drift = self.effective.drift(self.spec, &topic, &configs);
        report.status = match report.drift.is_empty() {
            true => Status::Exists,
            false => Status::Drift,
        };
        for drift in &report.drift {
            lines.say(format!(
                "{}: drift: {} is {}, the manifest wants {}; nothing was changed",
                report.topic,
                drift.what,
                drift.actual.as_deref().unwrap_or("not set"),
                drift.wanted
            ));
        }
        Ok(())
    }
}
