//! `GET /v1/hybrid`: is Kafka there, and how much of what is stored here has it not got yet?

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HybridStatus;
use crate::Gateway;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Where the forwarder of hybrid mode is
///
/// `state` is `off` in the other modes.
#[utoipa::path(
    get,
    path = "/v1/hybrid",
    tag = "Hybrid",
    operation_id = "getHybrid",
    responses((status = 200, description = "The forwarder's state, its lag and every partition", body = HybridStatus))
)]
async fn show(State(gateway): State<Gateway>) -> Json<HybridStatus> {
    Json(
        gateway
            .hybrid()
            .map_or_else(HybridStatus::off, |hybrid| hybrid.status()),
    )
}
