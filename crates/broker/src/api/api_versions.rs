//! ApiVersions, key 18, v0–5: what this broker serves.
//! v3 flexible body, features · v4 features whose least level is 0 (KAFKA-17492: older clients cannot read them) ·
//! v5 whom the client means to reach (KIP-1242) · the response header is v0 always (KIP-511) · an unknown version is answered in v0.

use broker_state::features::{FEATURES, Feature, FinalizedFeatures};
use wire::api_versions::{ApiVersion, FinalizedFeature, Request, Response, SupportedFeature};
use wire::{ApiKey, ErrorCode};

use super::{Answer, Api, Call, served};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::ApiVersions, 0, 5);

/// Offered only while somebody wants metrics: without a subscription a client need not ask for one.
const TELEMETRY: [ApiKey; 2] = [ApiKey::GetTelemetrySubscriptions, ApiKey::PushTelemetry];

/// Answers any version, the unknown ones with what would have been understood.
pub fn answer(connection: &Connection, call: &Call<'_>) -> Result<Answer, String> {
    let correlation_id = call.header.correlation_id;
    let version = call.header.api_version;
    if !API.versions.contains(&version) {
        // The body of a version from the future is not looked at.
        let response = Response {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: only_this(),
            ..Response::default()
        };
        return Ok(Answer::new(wire::encode_response(
            ApiKey::ApiVersions,
            0,
            correlation_id,
            &response,
        )));
    }
    let request = Request::decode(&mut call.body.clone(), version)
        .map_err(|error| format!("ApiVersions v{version}: {error}"))?;
    let image = connection.core.image();
    let error = if version >= 3 && !is_valid_client(&request) {
        ErrorCode::InvalidRequest
    } else if is_meant_for_another(
        &request,
        &connection.core.cluster_id,
        connection.core.node_id,
    ) {
        ErrorCode::RebootstrapRequired
    } else {
        ErrorCode::None
    };
    if error == ErrorCode::None && version >= 3 {
        let (name, version) = (
            request.client_software_name,
            request.client_software_version,
        );
        // Whoever says it again says the same.
        let _ = connection.software.set((name.into(), version.into()));
    }
    let is_offered = |entry: &ApiVersion| {
        let is_telemetry = TELEMETRY.iter().any(|key| *key as i16 == entry.api_key);
        !is_telemetry || !image.subscriptions().is_empty()
    };
    let response = Response {
        error_code: error.code(),
        api_keys: all().into_iter().filter(is_offered).collect(),
        supported_features: supported(version),
        finalized_features_epoch: image.features().epoch(),
        finalized_features: finalized(image.features()),
        ..Response::default()
    };
    Ok(Answer::new(wire::encode_response(
        ApiKey::ApiVersions,
        version,
        correlation_id,
        &response,
    )))
}

/// A client that knows its cluster says which one, and which broker; another one has our address by now.
fn is_meant_for_another(request: &Request<'_>, cluster_id: &str, node_id: i32) -> bool {
    let is_other = |wanted: &str| wanted != cluster_id || request.node_id != node_id;
    request.cluster_id.is_some_and(is_other)
}

/// Source: KIP-511, the names are letters, digits, dots and hyphens with an alphanumeric at each end.
fn is_valid_client(request: &Request<'_>) -> bool {
    let is_valid = |name: &str| {
        let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        alphanumeric(bytes.first())
            && alphanumeric(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    is_valid(request.client_software_name) && is_valid(request.client_software_version)
}

fn all() -> Vec<ApiVersion> {
    let entry = |api: &Api| ApiVersion {
        api_key: api.key as i16,
        min_version: api.advertised_from,
        max_version: *api.versions.end(),
    };
    served().iter().map(entry).collect()
}

/// The features whose keys are served.
pub fn features() -> impl Iterator<Item = &'static Feature> {
    let keys: Vec<i16> = served().iter().map(|api| api.key as i16).collect();
    FEATURES
        .iter()
        .filter(move |feature| feature.needs.is_none_or(|key| keys.contains(&key)))
}

fn supported(version: i16) -> Vec<SupportedFeature<'static>> {
    let entry = |feature: &Feature| SupportedFeature {
        name: feature.name.into(),
        min_version: feature.least,
        max_version: feature.most,
    };
    features()
        .filter(|feature| version >= 4 || feature.least > 0)
        .map(entry)
        .collect()
}

/// A feature at level 0 is not in use and not named.
fn finalized(levels: &FinalizedFeatures) -> Vec<FinalizedFeature<'static>> {
    let entry = |feature: &Feature| FinalizedFeature {
        name: feature.name.into(),
        max_version_level: levels.level(feature.name),
        min_version_level: levels.level(feature.name),
    };
    features()
        .map(entry)
        .filter(|feature| feature.max_version_level > 0)
        .collect()
}

fn only_this() -> Vec<ApiVersion> {
    all()
        .into_iter()
        .filter(|entry| entry.api_key == ApiKey::ApiVersions as i16)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(name: &'a str, version: &'a str) -> Request<'a> {
        Request {
            client_software_name: name,
            client_software_version: version,
            ..Request::default()
        }
    }

    #[test]
    fn client_names_follow_kip_511() {
        assert!(is_valid_client(&named("apache-kafka-java", "4.3.1")));
        assert!(is_valid_client(&named("librdkafka", "v2.12.1")));
        assert!(!is_valid_client(&named("", "1")));
        assert!(!is_valid_client(&named("-x", "1")));
        assert!(!is_valid_client(&named("a b", "1")));
    }

    #[test]
    fn a_client_that_means_another_broker_is_told() {
        let meant = |cluster_id, node_id| {
            let request = Request {
                cluster_id,
                node_id,
                ..named("a", "1")
            };
            !is_meant_for_another(&request, "ours", 1)
        };
        assert!(meant(None, -1) && meant(Some("ours"), 1));
        assert!(!meant(Some("theirs"), 1) && !meant(Some("ours"), 7));
    }

    #[test]
    fn produce_is_advertised_from_0_so_that_librdkafka_compresses() {
        let produce = all()
            .into_iter()
            .find(|entry| entry.api_key == 0)
            .expect("produce is served");
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
    }
}
