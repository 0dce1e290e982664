//! GetTelemetrySubscriptions, key 71, v0: tells a client which metrics to push and how often (KIP-714).
//! Offered while there is a subscription (resource type 16). Rules: broker_state::telemetry.

use broker_state::step::Millis;
use broker_state::telemetry::Assigned;
use wire::get_telemetry_subscriptions::{Request, Response};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::connection::Connection;
use crate::entropy;

pub const API: Api = Api::all(ApiKey::GetTelemetrySubscriptions, 0, 0);

/// zstd, lz4, gzip, snappy: what Kafka names, in its order.
const COMPRESSIONS: [i8; 4] = [4, 3, 1, 2];

pub async fn handle(
    connection: &Connection,
    request: Request,
    call: &Call<'_>,
) -> Response<'static> {
    let core = &connection.core;
    let instance = match request.client_instance_id {
        Uuid::ZERO => entropy::uuid().map(Uuid),
        known => Some(known),
    };
    let refused = |error: ErrorCode| Response {
        error_code: error.code(),
        ..Response::default()
    };
    let Some(instance) = instance else {
        return refused(ErrorCode::UnknownServerError);
    };
    let address = connection.peer.ip().to_canonical().to_string();
    let facts = connection.facts(call.header.client_id, &address);
    let (image, now) = (core.image(), Millis(core.now_ms()));
    let assigned = core
        .telemetry
        .ask(|machine| machine.assign(now, image.subscriptions(), instance, &facts));
    match assigned {
        Ok(assigned) => respond(connection, assigned),
        Err(error) => refused(error),
    }
}

fn respond(connection: &Connection, assigned: Assigned) -> Response<'static> {
    let Assigned {
        instance,
        subscription_id,
        metrics,
        interval,
    } = assigned;
    let most_bytes = connection.core.telemetry.most_bytes;
    Response {
        client_instance_id: instance,
        subscription_id,
        accepted_compression_types: COMPRESSIONS.to_vec(),
        push_interval_ms: i32::try_from(interval.as_millis()).unwrap_or(i32::MAX),
        telemetry_max_bytes: i32::try_from(most_bytes).unwrap_or(i32::MAX),
        delta_temporality: true,
        requested_metrics: metrics.into_iter().map(Into::into).collect(),
        ..Response::default()
    }
}
