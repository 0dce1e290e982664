//! AlterUserScramCredentials, key 51, v0: passwords to keep or to forget (KIP-554). There is no authentication, so none is
//! kept, and the answer says so.

use std::collections::BTreeSet;

use wire::alter_user_scram_credentials::{Request, Response, UserResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::AlterUserScramCredentials, 0, 0);

pub async fn handle(_: &Connection, request: Request<'_>, _: &Call<'_>) -> Response<'static> {
    let deleted = request.deletions.iter().map(|deletion| deletion.name);
    let upserted = request.upsertions.iter().map(|upsertion| upsertion.name);
    let users: BTreeSet<&str> = deleted.chain(upserted).collect();
    let refused = |user: &str| UserResult {
        user: user.to_owned().into(),
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("this broker authenticates nobody, so it keeps no credentials".into()),
    };
    Response {
        results: users.into_iter().map(refused).collect(),
        ..Response::default()
    }
}
