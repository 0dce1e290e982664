//! What a cluster can do: the requests that its brokers offer, and the features that are in force (KIP-584).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use wire::{ApiKey, update_features};

use super::{Admin, check};
use crate::connection::api_versions_request;
use crate::error::ClientError;

/// The last version of ApiVersions that is understood by brokers whatever cluster they belong to.
const OF_ANY_CLUSTER: i16 = 4;

/// The features of a cluster, such as `share.version`, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// The levels that the broker asked can work at.
    pub supported: BTreeMap<String, RangeInclusive<i16>>,
    /// The levels that are in force in the cluster; a feature without one is off.
    pub finalized: BTreeMap<String, i16>,
    /// Raised with each change of `finalized`; nothing when the broker knows none.
    pub epoch: Option<i64>,
}

/// A request that a broker offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedApi {
    pub key: i16,
    /// Absent for a request that this client does not know.
    pub name: Option<&'static str>,
    pub versions: RangeInclusive<i16>,
}

/// How the level of a feature may move, by the number in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureChange {
    Upgrade = 1,
    /// Down, where nothing is lost by it.
    SafeDowngrade = 2,
    UnsafeDowngrade = 3,
}

impl Admin {
    /// The features as the bootstrap broker tells them.
    pub async fn features(&mut self) -> Result<Features, ClientError> {
        let connection = self.any();
        let reply = connection
            .call_up_to(&api_versions_request(), OF_ANY_CLUSTER)
            .await?;
        let answer = reply.read()?;
        check(answer.error_code, None, || "asking for features".to_owned())?;
        let supported = answer.supported_features.iter();
        let finalized = answer.finalized_features.iter();
        Ok(Features {
            supported: supported
                .map(|feature| {
                    let levels = feature.min_version..=feature.max_version;
                    (feature.name.to_string(), levels)
                })
                .collect(),
            finalized: finalized
                .map(|feature| (feature.name.to_string(), feature.max_version_level))
                .collect(),
            epoch: Some(answer.finalized_features_epoch).filter(|epoch| *epoch >= 0),
        })
    }

    /// The requests that one broker offers, by key.
    pub async fn offered_apis(&mut self, broker: i32) -> Result<Vec<OfferedApi>, ClientError> {
        let connection = self.node(broker).await?;
        let reply = connection
            .call_up_to(&api_versions_request(), OF_ANY_CLUSTER)
            .await?;
        let answer = reply.read()?;
        check(answer.error_code, None, || {
            format!("asking broker {broker} what it offers")
        })?;
        let offered = answer.api_keys.iter().map(|api| OfferedApi {
            key: api.api_key,
            name: ApiKey::try_from(api.api_key).ok().map(ApiKey::name),
            versions: api.min_version..=api.max_version,
        });
        let mut offered: Vec<_> = offered.collect();
        offered.sort_by_key(|api| api.key);
        Ok(offered)
    }

    /// Moves a feature to `level`, or only checks whether it could be; level 0 switches it off.
    ///
    /// # Errors
    /// `Refused` with FEATURE_UPDATE_FAILED or INVALID_UPDATE_VERSION when the cluster cannot work at that level.
    pub async fn update_feature(
        &mut self,
        feature: &str,
        level: i16,
        change: FeatureChange,
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let request = update_features::Request {
            timeout_ms: self.timeout_ms(),
            feature_updates: vec![update_features::FeatureUpdate {
                feature,
                max_version_level: level,
                allow_downgrade: change != FeatureChange::Upgrade,
                upgrade_type: change as i8,
            }],
            validate_only,
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        let what = || format!("moving {feature} to level {level}");
        check(answer.error_code, answer.error_message.as_deref(), what)?;
        for result in &answer.results {
            check(result.error_code, result.error_message.as_deref(), what)?;
        }
        Ok(())
    }
}
