//! ListPartitionReassignments, key 46, v0: the moves of replicas that are under way (KIP-455); never any on one broker.

use wire::ApiKey;
use wire::list_partition_reassignments::{Request, Response};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::ListPartitionReassignments, 0, 0);

pub async fn handle(_: &Connection, _: Request<'_>, _: &Call<'_>) -> Response<'static> {
    Response::default()
}
