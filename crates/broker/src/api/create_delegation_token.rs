//! CreateDelegationToken, key 38, v1–3: makes a token that stands for a user (KIP-48). Whoever connects without saying who it is can have no token.
//! v2 flexible · v3 a token for another user.

use wire::create_delegation_token::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::CreateDelegationToken, 1, 3);

pub async fn handle(_: &Connection, _: Request<'_>, _: &Call<'_>) -> Response<'static> {
    Response {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        ..Response::default()
    }
}
