//! Which topics belong on both sides, kept in a compacted topic of the embedded broker so that it outlives a Kafka that is away.

use client::{ClientError, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::table::{Table, TableError, TableSettings};

/// How many topics may belong on both sides.
const MOST_TOPICS: usize = 10_000;

const SETTINGS: TableSettings = TableSettings {
    topic: "_thalweg_hybrid",
    most_rows: MOST_TOPICS,
    configs: &[],
};

/// What is wanted of a topic on Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// It is to be there, with this many partitions if it has to be made.
    Present { partitions: i32 },
    /// It is to be deleted there, once.
    Deleted,
}

/// The topics that were made or deleted in hybrid mode.
pub struct HybridTopics(Table<Wanted>);

impl HybridTopics {
    pub async fn open(local: &Backend) -> Result<HybridTopics, TableError> {
        Ok(HybridTopics(Table::open(local, SETTINGS).await?))
    }

    pub async fn created(&self, name: &str, partitions: i32) -> Result<(), TableError> {
        self.0.put(name, &Wanted::Present { partitions }).await
    }

    pub async fn deleted(&self, name: &str) -> Result<(), TableError> {
        self.0.put(name, &Wanted::Deleted).await
    }

    /// Nothing more is wanted of this topic.
    async fn forget(&self, name: &str) -> Result<(), TableError> {
        self.0.delete(name).await.map(drop)
    }

    /// Whether the topic was made in hybrid mode.
    pub fn wants(&self, name: &str) -> bool {
        let row = self.0.get(name);
        row.is_some_and(|row| matches!(row.value, Wanted::Present { .. }))
    }

    /// Makes Kafka's topics as they are wanted: creates what is missing, deletes what is to be gone.
    ///
    /// # Errors
    /// The cluster does not answer or refuses; what was done stays done.
    pub async fn bring_in_line(&self, kafka: &Backend) -> Result<(), TableError> {
        for (name, row) in self.0.rows() {
            match row.value {
                Wanted::Present { partitions } => {
                    kafka.ensure_topic(&name, partitions, &[]).await?;
                }
                Wanted::Deleted => {
                    delete(kafka, &name).await?;
                    self.forget(&name).await?;
                }
            }
        }
        Ok(())
    }
}

async fn delete(kafka: &Backend, name: &str) -> Result<(), ClientError> {
    let mut admin = kafka.admin().await?;
    match admin.delete_topic(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        deleted => deleted,
    }
}
