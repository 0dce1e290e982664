//! DescribeDelegationToken, key 41, v1–3: the tokens of users (KIP-48). Whoever connects without saying who it is can have no token.
//! v2 flexible · v3 who asked for a token.

use wire::describe_delegation_token::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeDelegationToken, 1, 3);

pub async fn handle(_: &Connection, _: Request<'_>, _: &Call<'_>) -> Response<'static> {
    Response {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        ..Response::default()
    }
}
