//! PushTelemetry, key 72, v0: takes a client's metrics, compressed, in OpenTelemetry's format (KIP-714); they are shown
//! among the broker's own. Rules: broker_state::telemetry.

use broker_state::step::Millis;
use broker_state::telemetry::{Point, Push, read_points};
use wire::push_telemetry::{Request, Response};
use wire::records::{Compression, decompress_bytes};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::PushTelemetry, 0, 0);

pub async fn handle(connection: &Connection, request: Request<'_>, call: &Call<'_>) -> Response {
    let taken = take(connection, &request, call).await;
    Response {
        error_code: taken.err().unwrap_or(ErrorCode::None).code(),
        ..Response::default()
    }
}

async fn take(
    connection: &Connection,
    request: &Request<'_>,
    call: &Call<'_>,
) -> Result<(), ErrorCode> {
    let core = &connection.core;
    let instance = request.client_instance_id;
    if instance == Uuid::ZERO {
        return Err(ErrorCode::InvalidRequest);
    }
    let address = connection.peer.ip().to_canonical().to_string();
    let facts = connection.facts(call.header.client_id, &address);
    let (image, now_ms) = (core.image(), core.now_ms());
    let push = Push {
        instance,
        subscription_id: request.subscription_id,
        is_terminating: request.terminating,
    };
    core.telemetry
        .ask(|machine| machine.admit(Millis(now_ms), image.subscriptions(), push, &facts))?;
    let Some(compression) = compression(request.compression_type) else {
        core.telemetry.ask(|machine| machine.allow_asking(instance));
        return Err(ErrorCode::UnsupportedCompressionType);
    };
    let most_bytes = core.telemetry.most_bytes;
    if request.metrics.len() > most_bytes {
        return Err(ErrorCode::TelemetryTooLarge);
    }
    let metrics = call.share(request.metrics);
    // Decompressing and reading may take long.
    let read = tokio::task::spawn_blocking(move || read(compression, &metrics, most_bytes));
    let points = read.await.map_err(|_| ErrorCode::UnknownServerError)??;
    core.telemetry
        .keep(now_ms, instance, facts.client_id, points);
    Ok(())
}

fn compression(number: i8) -> Option<Compression> {
    let index = usize::try_from(number).ok()?;
    Compression::ALL.get(index).copied()
}

/// What cannot be read is refused with INVALID_RECORD, as Kafka does.
fn read(
    compression: Compression,
    metrics: &[u8],
    most_bytes: usize,
) -> Result<Vec<Point>, ErrorCode> {
    let invalid = |error: String| {
        tracing::debug!(error, "a client pushed metrics that cannot be read");
        ErrorCode::InvalidRecord
    };
    let metrics = decompress_bytes(compression, metrics, most_bytes)
        .map_err(|error| invalid(error.to_string()))?;
    read_points(&metrics).map_err(|error| invalid(error.to_string()))
}
