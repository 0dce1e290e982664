//! FindCoordinator, key 10, v0–6: who coordinates a group or a transactional id: the one broker, at the address by which the client reached it.
//! v0–3 one key · v1 key types · v4 several keys · v6 share groups (KIP-932).

use wire::find_coordinator::{Coordinator, Request, Response};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::FindCoordinator, 0, 6);

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// Since this version the keys come as an array.
const BATCHED: i16 = 4;
/// Since this version there are share partitions.
const WITH_SHARE: i16 = 6;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let (host, port) = connection.core.address_for(connection.local);
    let port = i32::from(port);
    let refusal = refuse(request.key_type, call.header.api_version);
    let key_type = request.key_type;
    let refuse_key = |key: &str| refuse_key(key_type, key);
    if call.header.api_version < BATCHED {
        let Some((error, message)) = refusal.or_else(|| refuse_key(request.key)) else {
            return Response {
                node_id: connection.core.node_id,
                host: host.into(),
                port,
                ..Response::default()
            };
        };
        return Response {
            error_code: error.code(),
            error_message: Some(message.into()),
            node_id: -1,
            port: -1,
            ..Response::default()
        };
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        let key_text = (*key).to_owned().into();
        match refusal.or_else(|| refuse_key(key)) {
            None => Coordinator {
                key: key_text,
                node_id: connection.core.node_id,
                host: host.clone().into(),
                port,
                ..Default::default()
            },
            Some((error, message)) => Coordinator {
                key: key_text,
                node_id: -1,
                port: -1,
                error_code: error.code(),
                error_message: Some(message.into()),
                ..Default::default()
            },
        }
    });
    Response {
        coordinators: coordinators.collect(),
        ..Response::default()
    }
}

fn refuse(key_type: i8, version: i16) -> Option<(ErrorCode, &'static str)> {
    match key_type {
        GROUP | TRANSACTION => None,
        SHARE if version >= WITH_SHARE => None,
        _ => Some((ErrorCode::InvalidRequest, "the key type is not known")),
    }
}

fn refuse_key(key_type: i8, key: &str) -> Option<(ErrorCode, &'static str)> {
    if key_type == SHARE {
        let is_valid = is_share_partition(key);
        let reason = "a share partition is named group:topic id:partition";
        return (!is_valid).then_some((ErrorCode::InvalidRequest, reason));
    }
    key.is_empty()
        .then_some((ErrorCode::InvalidGroupId, "a group has a name"))
}

fn is_share_partition(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().and_then(|text| text.parse::<i32>().ok());
    let topic_id = parts.next().and_then(|text| text.parse::<Uuid>().ok());
    let group = parts.next();
    partition.is_some_and(|partition| partition >= 0)
        && topic_id.is_some()
        && group.is_some_and(|group| !group.is_empty())
}
