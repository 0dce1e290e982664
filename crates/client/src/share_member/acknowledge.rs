//! Acknowledging: by leader, by partition, and where one of several is refused, each by itself.

use std::collections::BTreeMap;

use wire::ErrorCode;

use super::ranges::{Kind, batches};
use super::session::SharePartition;
use super::{Acknowledge, Inner, KNOWN_LEADERS, leader_of};
use crate::error::ClientError;

/// The places in the caller's list that are about each offset of each partition.
type Asked = BTreeMap<SharePartition, BTreeMap<i64, (Kind, Vec<usize>)>>;

type Results = Vec<Result<(), ClientError>>;

impl Inner {
    /// What became of each acknowledgement, in their order.
    pub(super) async fn acknowledge(
        &self,
        acknowledgements: &[(String, i32, i64, Acknowledge)],
    ) -> Results {
        let mut results: Results = Vec::new();
        let mut leaders: BTreeMap<i32, Asked> = BTreeMap::new();
        for (index, (topic, partition, offset, kind)) in acknowledgements.iter().enumerate() {
            let place = self.place(topic, *partition).await;
            results.push(place.map(|(leader, place)| {
                let offsets = leaders.entry(leader).or_default().entry(place).or_default();
                let same = offsets.entry(*offset);
                same.or_insert((kind_of(*kind), Vec::new())).1.push(index);
            }));
        }
        for (leader, asked) in leaders {
            self.acknowledge_at(leader, &asked, &mut results).await;
        }
        results
    }

    /// The leader of a partition, and its name on the wire.
    async fn place(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(i32, SharePartition), ClientError> {
        let known = self.known.get(topic, KNOWN_LEADERS).await?;
        let leader = leader_of(&known, partition).ok_or_else(|| {
            let code = match known.has(partition) {
                true => ErrorCode::LeaderNotAvailable,
                false => ErrorCode::UnknownTopicOrPartition,
            };
            let what = format!("acknowledging in {topic}-{partition}");
            ClientError::refused(what, code, None)
        })?;
        Ok((leader, (known.id, partition)))
    }

    async fn acknowledge_at(&self, leader: i32, asked: &Asked, results: &mut Results) {
        let session = self.session(leader);
        let mut session = session.lock().await;
        // A broker takes the acknowledgements of a partition together or not at all, so after a refusal each goes by itself.
        let mut apart = Vec::new();
        let together = asked.iter().map(|(place, offsets)| {
            let kinds = offsets.iter().map(|(offset, (kind, _))| (*offset, *kind));
            (*place, batches(&kinds.collect()))
        });
        match session.acknowledge(&together.collect::<Vec<_>>()).await {
            Err(error) => {
                for offsets in asked.values() {
                    settle(offsets.values(), &Err(error.clone()), results);
                }
            }
            Ok(answers) => {
                for (place, result) in answers {
                    let Some(offsets) = asked.get(&place) else {
                        continue;
                    };
                    match is_about_one(&result) && offsets.len() > 1 {
                        true => apart.push((place, offsets)),
                        false => settle(offsets.values(), &result, results),
                    }
                }
            }
        }
        for (place, offsets) in apart {
            for (offset, entry) in offsets {
                let alone = [(place, batches(&[(*offset, entry.0)].into()))];
                let answer = session.acknowledge(&alone).await;
                let result = answer.and_then(|answers| {
                    let mut answers = answers.into_iter();
                    answers.next().map_or(Ok(()), |(_, result)| result)
                });
                settle([entry], &result, results);
            }
        }
    }
}

fn settle<'a>(
    entries: impl IntoIterator<Item = &'a (Kind, Vec<usize>)>,
    result: &Result<(), ClientError>,
    results: &mut Results,
) {
    for (_, places) in entries {
        for place in places {
            results[*place] = result.clone();
        }
    }
}

/// Whether a refusal may be about one record among others.
fn is_about_one(result: &Result<(), ClientError>) -> bool {
    let error = result.as_ref().err();
    error.and_then(ClientError::code) == Some(ErrorCode::InvalidRecordState)
}

fn kind_of(acknowledge: Acknowledge) -> Kind {
    match acknowledge {
        Acknowledge::Accept => Kind::Accept,
        Acknowledge::Release => Kind::Release,
        Acknowledge::Reject => Kind::Reject,
        Acknowledge::Renew => Kind::Renew,
    }
}
