//! Which topics belong on both sides, kept in a compacted topic of the embedded broker so that it outlives a Kafka that is away.
//!
//! Only this process writes it: a change is decided on the row that is there, one change at a time.

use std::collections::HashMap;

use client::{ClientError, ErrorKind};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

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
    /// The one that is there is to be deleted, and then it is to be there anew: both happened here while Kafka was away.
    Anew { partitions: i32 },
}

impl Wanted {
    /// What is wanted after the topic was created here.
    fn created(before: Option<Wanted>, partitions: i32) -> Wanted {
        match before {
            Some(Wanted::Deleted | Wanted::Anew { .. }) => Wanted::Anew { partitions },
            Some(Wanted::Present { .. }) | None => Wanted::Present { partitions },
        }
    }
}

/// Why Kafka does not have a topic as it is wanted, by topic.
pub type Refusals = HashMap<String, String>;

/// The topics that were made or deleted in hybrid mode.
pub struct HybridTopics {
    table: Table<Wanted>,
    changing: Mutex<()>,
}

impl HybridTopics {
    pub async fn open(local: &Backend) -> Result<HybridTopics, TableError> {
        Ok(HybridTopics {
            table: Table::open(local, SETTINGS).await?,
            changing: Mutex::new(()),
        })
    }

    pub async fn created(&self, name: &str, partitions: i32) -> Result<(), TableError> {
        let _turn = self.changing.lock().await;
        let before = self.wanted(name);
        let wanted = Wanted::created(before, partitions);
        self.table.put(name, &wanted).await
    }

    pub async fn deleted(&self, name: &str) -> Result<(), TableError> {
        let _turn = self.changing.lock().await;
        self.table.put(name, &Wanted::Deleted).await
    }

    /// Whether the topic was made in hybrid mode.
    pub fn wants(&self, name: &str) -> bool {
        self.wanted(name)
            .is_some_and(|wanted| wanted != Wanted::Deleted)
    }

    fn wanted(&self, name: &str) -> Option<Wanted> {
        self.table.get(name).map(|row| row.value)
    }

    /// Makes Kafka's topics as they are wanted: creates what is missing, deletes what is to be gone; tells what Kafka refuses.
    ///
    /// # Errors
    /// The cluster does not answer; what was done stays done.
    pub async fn bring_in_line(
        &self,
        kafka: &Backend,
        on_kafka: &HashMap<String, usize>,
    ) -> Result<Refusals, TableError> {
        let mut refusals = Refusals::new();
        for (name, row) in self.table.rows() {
            let is_there = on_kafka.contains_key(&name);
            let done = match row.value {
                Wanted::Present { .. } if is_there => Ok(()),
                Wanted::Present { partitions } => {
                    kafka.ensure_topic(&name, partitions, &[]).await.map(drop)
                }
                Wanted::Deleted | Wanted::Anew { .. } => delete(kafka, &name).await,
            };
            match done {
                Ok(()) => self.settle(&name, row.value).await?,
                Err(error) if is_away(&error) => return Err(error.into()),
                Err(error) => drop(refusals.insert(name, error.to_string())),
            }
        }
        Ok(refusals)
    }

    /// The deletion that was wanted is done; unless something else is wanted meanwhile.
    async fn settle(&self, name: &str, done: Wanted) -> Result<(), TableError> {
        let _turn = self.changing.lock().await;
        if self.wanted(name) != Some(done) {
            return Ok(());
        }
        match done {
            Wanted::Present { .. } => Ok(()),
            Wanted::Deleted => self.table.delete(name).await.map(drop),
            Wanted::Anew { partitions } => {
                let wanted = Wanted::Present { partitions };
                self.table.put(name, &wanted).await
            }
        }
    }
}

/// Whether nothing can be said about single topics, because the cluster does not answer at all.
pub fn is_away(error: &ClientError) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut)
}

async fn delete(kafka: &Backend, name: &str) -> Result<(), ClientError> {
    let mut admin = kafka.admin().await?;
    match admin.delete_topic(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        deleted => deleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_deleted_and_made_again_while_kafka_was_away_is_made_anew_there() {
        let partitions = 3;
        let created = |before| Wanted::created(before, partitions);
        assert_eq!(created(None), Wanted::Present { partitions });
        assert_eq!(created(Some(Wanted::Deleted)), Wanted::Anew { partitions });
        let anew = Wanted::Anew { partitions: 1 };
        assert_eq!(created(Some(anew)), Wanted::Anew { partitions });
    }
}
