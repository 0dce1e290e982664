//! AlterClientQuotas, key 49, v0–1: sets and removes quotas; they count from the next request on (KIP-546, KIP-612).
//! v1 flexible. Rules: broker_state::quotas.

use broker_state::quotas::QuotaOperation;
use broker_state::refusal::Refusal;
use broker_state::topics::{Command, QuotaAlteration, Reply};
use wire::alter_client_quotas::{EntityResponse, Entry, EntryResponse, Op, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::AlterClientQuotas, 0, 1);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let command = Command::AlterClientQuotas {
        alterations: request.entries.iter().map(alteration).collect(),
        validate_only: request.validate_only,
    };
    let results = match connection.core.controller.ask(command).await {
        Some(Reply::ClientQuotasAltered(results)) => results,
        _ => {
            let stopping = Refusal::new(ErrorCode::NotController, super::CANNOT_CHANGE);
            vec![Err(stopping); request.entries.len()]
        }
    };
    let entries = request.entries.iter().zip(results);
    Response {
        entries: entries
            .map(|(entry, result)| respond(entry, result))
            .collect(),
        ..Response::default()
    }
}

fn alteration(entry: &Entry<'_>) -> QuotaAlteration {
    let part = |part: &wire::alter_client_quotas::Entity<'_>| {
        let name = part.entity_name.map(str::to_owned);
        (part.entity_type.to_owned(), name)
    };
    let operation = |op: &Op<'_>| QuotaOperation {
        key: op.key.to_owned(),
        value: (!op.remove).then_some(op.value),
    };
    QuotaAlteration {
        entity: entry.entity.iter().map(part).collect(),
        operations: entry.ops.iter().map(operation).collect(),
    }
}

fn respond(entry: &Entry<'_>, result: Result<(), Refusal>) -> EntryResponse<'static> {
    let part = |part: &wire::alter_client_quotas::Entity<'_>| EntityResponse {
        entity_type: part.entity_type.to_owned().into(),
        entity_name: part.entity_name.map(|name| name.to_owned().into()),
    };
    let refusal = result.err();
    EntryResponse {
        error_code: refusal
            .as_ref()
            .map_or(ErrorCode::None, |refusal| refusal.error)
            .code(),
        error_message: refusal.map(|refusal| refusal.message.into()),
        entity: entry.entity.iter().map(part).collect(),
    }
}
