//! What the page at `/` shows, asked from the cluster as any client asks it.
//!
//! Asking costs a few requests, and one more for each group: the answer is kept for a second, and whoever comes meanwhile gets it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use client::group_progress::{total_lag, worst_lag_seconds};
use client::groups::GroupListing;
use client::offsets::OffsetQuery;
use client::{Admin, ClientError};
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::backend::Backend;

/// How old an answer may be.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// Groups that are asked how far they are; the page says so when there are more.
const MOST_GROUPS: usize = 50;

/// Topics and groups of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    pub cluster_id: Option<String>,
    pub brokers: usize,
    pub topics: Vec<TopicRow>,
    pub groups: Vec<GroupRow>,
    /// Groups beyond those that were asked.
    pub more_groups: usize,
}

#[derive(Debug, Clone)]
pub struct TopicRow {
    pub name: String,
    pub partitions: usize,
    pub records: i64,
    pub bytes: u64,
    /// The groups that have read it.
    pub groups: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct GroupRow {
    pub name: String,
    /// As the broker tells it: `Stable`, `Empty` …
    pub state: String,
    pub members: usize,
    pub lag: i64,
    pub lag_seconds: Option<f64>,
}

/// The last answer, shared by everybody who looks at the page.
#[derive(Default)]
pub struct Overviews(Mutex<Option<(Instant, Arc<Overview>)>>);

impl Overviews {
    /// The overview, at most a second old.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn get(
        &self,
        backend: &Backend,
        now: Timestamp,
    ) -> Result<Arc<Overview>, ClientError> {
        let mut last = self.0.lock().await;
        if let Some((at, overview)) = &*last
            && at.elapsed() < FRESH_FOR
        {
            return Ok(Arc::clone(overview));
        }
        let mut admin = backend.admin().await?;
        let overview = Arc::new(ask(&mut admin, now).await?);
        *last = Some((Instant::now(), Arc::clone(&overview)));
        Ok(overview)
    }
}

async fn ask(admin: &mut Admin, now: Timestamp) -> Result<Overview, ClientError> {
    admin.refresh().await?;
    let mut topics = admin.topics().await?;
    topics.retain(|topic| !topic.is_internal && !topic.name.starts_with('_'));
    let first = admin.list_offsets(&topics, OffsetQuery::Earliest).await?;
    let end = admin.list_offsets(&topics, OffsetQuery::Latest).await?;
    // A cluster that does not let us look at its disks still has topics.
    let sizes = admin.sizes().await.unwrap_or_default();
    let listed = admin.groups().await?;
    let more_groups = listed.len().saturating_sub(MOST_GROUPS);
    let mut groups = Vec::new();
    let mut readers: HashMap<String, BTreeSet<String>> = HashMap::new();
    for listing in listed.into_iter().take(MOST_GROUPS) {
        groups.push(group(admin, listing, now, &mut readers).await?);
    }
    let rows = topics.into_iter().map(|topic| {
        let of_topic = |numbers: &HashMap<(String, i32), i64>| -> i64 {
            let of_partition = |index| numbers.get(&(topic.name.clone(), index)).copied();
            let partitions = topic.partitions.iter();
            partitions.filter_map(|p| of_partition(p.index)).sum()
        };
        let bytes = |index: i32| sizes.get(&(topic.name.clone(), index)).copied();
        TopicRow {
            records: of_topic(&end) - of_topic(&first),
            bytes: topic.partitions.iter().filter_map(|p| bytes(p.index)).sum(),
            partitions: topic.partitions.len(),
            groups: readers
                .remove(&topic.name)
                .map(|names| names.into_iter().collect())
                .unwrap_or_default(),
            name: topic.name,
        }
    });
    Ok(Overview {
        topics: rows.collect(),
        groups,
        more_groups,
        cluster_id: admin.info().cluster_id.clone(),
        brokers: admin.info().brokers.len(),
    })
}

/// One group; what a cluster does not tell about it is left out, and hides nothing else.
async fn group(
    admin: &mut Admin,
    listing: GroupListing,
    now: Timestamp,
    readers: &mut HashMap<String, BTreeSet<String>>,
) -> Result<GroupRow, ClientError> {
    let group = match admin.find_group(&listing.name).await {
        Ok((group, _)) => group,
        // It was deleted meanwhile, or its type is not described.
        Err(_) => client::groups::Group::default(),
    };
    let committed = admin.committed(&listing.name).await.unwrap_or_default();
    let partitions = admin.group_progress(&group, &committed).await?;
    let topics: BTreeMap<&str, ()> = partitions
        .iter()
        .map(|partition| (partition.topic.as_str(), ()))
        .collect();
    for topic in topics.into_keys() {
        let names = readers.entry(topic.to_owned()).or_default();
        names.insert(listing.name.clone());
    }
    Ok(GroupRow {
        lag: total_lag(&partitions),
        lag_seconds: worst_lag_seconds(&partitions, now.as_millisecond()),
        members: group.members.len(),
        state: listing.state,
        name: listing.name,
    })
}
