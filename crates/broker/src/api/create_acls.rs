//! CreateAcls, key 30, v1–3: access rules to keep. There is no access control, so none is kept, and the answer says so.
//! v2 flexible · v3 user resources.

use wire::create_acls::{AclCreationResult, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::CreateAcls, 1, 3);

pub async fn handle(_: &Connection, request: Request<'_>, _: &Call<'_>) -> Response<'static> {
    let refused = |_| AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured.".into()),
    };
    Response {
        results: request.creations.iter().map(refused).collect(),
        ..Response::default()
    }
}
