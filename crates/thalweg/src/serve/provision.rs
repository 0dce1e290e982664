//! Topics from a manifest when the platform starts: it is ready when they are there.
//!
//! In hybrid mode Kafka may be away: its topics follow as soon as it answers, and the platform is ready without them.

use std::time::Duration;

use client::Cluster;
use gateway::Backends;
use operate::provision::{Manifest, Options, Report, Status, provision_when_ready};
use tokio::sync::watch;

use super::ServeError;

/// How long a cluster may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates what is missing and gives what there is to tell about it.
///
/// # Errors
/// The cluster that the platform works on does not answer.
pub async fn at_start(
    manifest: &Manifest,
    backends: &Backends,
    stopping: watch::Receiver<bool>,
) -> Result<Vec<String>, ServeError> {
    let notes = provision(backends.primary().cluster(), manifest).await?;
    if let (Some(_), Some(kafka)) = (backends.in_memory(), backends.kafka()) {
        let follow = follow(kafka.cluster().clone(), manifest.clone(), stopping);
        tokio::spawn(follow);
    }
    Ok(notes)
}

async fn provision(cluster: &Cluster, manifest: &Manifest) -> Result<Vec<String>, ServeError> {
    let options = Options::default();
    let report = provision_when_ready(cluster, PATIENCE, manifest, options, &mut |_| {}).await?;
    Ok(notes(&report))
}

/// The same on a Kafka that may still be away.
async fn follow(kafka: Cluster, manifest: Manifest, mut stopping: watch::Receiver<bool>) {
    loop {
        let provisioned = tokio::select! {
            provisioned = provision(&kafka, &manifest) => provisioned,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match provisioned {
            Ok(notes) => {
                for note in notes {
                    tracing::info!(target: "thalweg::provision", "{note}");
                }
                return;
            }
            Err(error) => {
                tracing::info!(target: "thalweg::provision", %error, "Kafka's topics wait for it");
            }
        }
    }
}

/// One line for the whole, and one for each topic that somebody has to look at.
fn notes(report: &Report) -> Vec<String> {
    let count = |status| report.count(status);
    let mut notes = vec![format!(
        "topics of profile {}: {} created, {} there already, {} differ, {} failed",
        report.profile,
        count(Status::Created),
        count(Status::Exists),
        count(Status::Drift),
        count(Status::Failed),
    )];
    for topic in &report.topics {
        for drift in &topic.drift {
            let actual = drift.actual.as_deref().unwrap_or("not set");
            notes.push(format!(
                "topic {}: {} is {actual}, the manifest says {}; it stays as it is",
                topic.topic, drift.what, drift.wanted
            ));
        }
        if let Some(error) = &topic.error {
            notes.push(format!("topic {} was not created: {error}", topic.topic));
        }
    }
    notes
}
