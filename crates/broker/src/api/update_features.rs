//! UpdateFeatures, key 57, v0–2: finalizes other levels of features, all of a request or none (KIP-584, KIP-1022).
//! v1 the kind of change, check only · v2 one error for all. Rules: broker_state::features.

use broker_state::features::{FeatureUpdate, UpgradeType};
use broker_state::refusal::Refusal;
use broker_state::topics::{Command, Reply};
use wire::update_features::{FeatureResult, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call, api_versions};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::UpdateFeatures, 0, 2);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let version = call.header.api_version;
    let update = |update: &wire::update_features::FeatureUpdate<'_>| FeatureUpdate {
        name: update.feature.to_owned(),
        level: update.max_version_level,
        upgrade_type: match version {
            0 if update.allow_downgrade => UpgradeType::SafeDowngrade,
            0 => UpgradeType::Upgrade,
            _ => UpgradeType::from_code(update.upgrade_type),
        },
    };
    let updates: Vec<FeatureUpdate> = request.feature_updates.iter().map(update).collect();
    let names: Vec<String> = updates.iter().map(|update| update.name.clone()).collect();
    match finalize(connection, updates, request.validate_only).await {
        Ok(()) => Response {
            results: names.into_iter().map(finalized).collect(),
            ..Response::default()
        },
        Err(Refusal { error, message }) => {
            let message = format!(
                "The update failed for all features since the following feature had an error: {message}"
            );
            Response {
                error_code: error.code(),
                error_message: Some(message.into()),
                ..Response::default()
            }
        }
    }
}

async fn finalize(
    connection: &Connection,
    updates: Vec<FeatureUpdate>,
    validate_only: bool,
) -> Result<(), Refusal> {
    let is_served = |update: &FeatureUpdate| {
        api_versions::features().any(|feature| feature.name == update.name)
    };
    if let Some(FeatureUpdate { name, level, .. }) = updates.iter().find(|u| !is_served(u)) {
        let message = format!(
            "Invalid update version {level} for feature {name}. Local controller 1 does not support this feature."
        );
        return Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message));
    }
    let command = Command::UpdateFeatures {
        updates,
        validate_only,
    };
    match connection.core.controller.ask(command).await {
        Some(Reply::FeaturesUpdated(result)) => result,
        _ => Err(Refusal::new(ErrorCode::NotController, super::CANNOT_CHANGE)),
    }
}

fn finalized(name: String) -> FeatureResult<'static> {
    FeatureResult {
        feature: name.into(),
        ..Default::default()
    }
}
