//! DescribeAcls, key 29, v1–3: access rules. There is no access control, which is what the answer says.
//! v2 flexible · v3 user resources.

use wire::describe_acls::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeAcls, 1, 3);

pub async fn handle(_: &Connection, _: Request<'_>, _: &Call<'_>) -> Response<'static> {
    Response {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured on the broker".into()),
        ..Response::default()
    }
}
