//! RenewDelegationToken, key 39, v1–2: makes a token live longer (KIP-48). Whoever connects without saying who it is can have no token.
//! v2 flexible.

use wire::renew_delegation_token::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::RenewDelegationToken, 1, 2);

pub async fn handle(_: &Connection, _: Request<'_>, _: &Call<'_>) -> Response {
    Response {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        ..Response::default()
    }
}
