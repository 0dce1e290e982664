//! DescribeClientQuotas, key 48, v0–1: the quotas that are set, by user, client id and address (KIP-546, KIP-612).
//! v1 flexible. Rules: broker_state::quotas.

use broker_state::quotas::{QuotaEntity, QuotaFilter, QuotaValues};
use broker_state::refusal::Refusal;
use wire::describe_client_quotas::{Entity, Entry, Request, Response, Value};
use wire::{ApiKey, Float64};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeClientQuotas, 0, 1);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    match describe(connection, &request) {
        Ok(entries) => Response {
            entries: Some(entries),
            ..Response::default()
        },
        Err(refusal) => Response {
            error_code: refusal.error.code(),
            error_message: Some(refusal.message.into()),
            ..Response::default()
        },
    }
}

fn describe(
    connection: &Connection,
    request: &Request<'_>,
) -> Result<Vec<Entry<'static>>, Refusal> {
    let components = request.components.iter();
    let components: Vec<_> = components
        .map(|component| {
            (
                component.entity_type,
                component.match_type,
                component.matched,
            )
        })
        .collect();
    let filter = QuotaFilter::from_components(&components, request.strict)?;
    let described = connection.core.image().quotas().describe(&filter);
    Ok(described
        .iter()
        .map(|(entity, values)| entry(entity, values))
        .collect())
}

fn entry(entity: &QuotaEntity, values: &QuotaValues) -> Entry<'static> {
    let part = |(kind, name): (&'static str, Option<&str>)| Entity {
        entity_type: kind.into(),
        entity_name: name.map(|name| name.to_owned().into()),
    };
    let value = |(key, value): (&broker_state::quotas::QuotaKey, &f64)| Value {
        key: key.name().into(),
        value: Float64(*value),
    };
    Entry {
        entity: entity.parts().map(part).collect(),
        values: values.iter().map(value).collect(),
    }
}
