//! DescribeUserScramCredentials, key 50, v0: who can log in by password (KIP-554). Nobody can, so the list is empty, and a
//! user who is asked for by name has no credentials.

use std::collections::HashSet;

use wire::describe_user_scram_credentials::{Request, Response, UserResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeUserScramCredentials, 0, 0);

pub async fn handle(_: &Connection, request: Request<'_>, _: &Call<'_>) -> Response<'static> {
    let mut seen = HashSet::new();
    let users = request.users.unwrap_or_default();
    let names = users.iter().map(|user| user.name);
    let unknown = |name: &str| {
        let message = format!("Attempt to describe a user credential that does not exist: {name}");
        UserResult {
            user: name.to_owned().into(),
            error_code: ErrorCode::ResourceNotFound.code(),
            error_message: Some(message.into()),
            ..Default::default()
        }
    };
    Response {
        results: names
            .filter(|name| seen.insert(*name))
            .map(unknown)
            .collect(),
        ..Response::default()
    }
}
