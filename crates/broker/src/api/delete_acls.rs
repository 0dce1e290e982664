//! DeleteAcls, key 31, v1–3: access rules to forget. There is no access control, which is what the answer says.
//! v2 flexible · v3 user resources.

use wire::delete_acls::{FilterResult, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DeleteAcls, 1, 3);

pub async fn handle(_: &Connection, request: Request<'_>, _: &Call<'_>) -> Response<'static> {
    let refused = |_| FilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured.".into()),
        ..Default::default()
    };
    Response {
        filter_results: request.filters.iter().map(refused).collect(),
        ..Response::default()
    }
}
