//! ListTransactions, key 66, v0–2: the transactional ids of this coordinator (KIP-664).
//! v1 filter by duration (KIP-994) · v2 filter by a pattern of the id (KIP-1152).

use std::time::Duration;

use broker_state::transactions::{Command, ListFilter, ListReply, ListedTransaction, Reply};
use regex::Regex;
use wire::list_transactions::{Request, Response, TransactionState};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::ListTransactions, 0, 2);

/// A pattern that takes more than this to hold is refused.
const PATTERN_BYTES: usize = 1 << 20;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let Ok(pattern) = compile(request.transactional_id_pattern) else {
        return refused(ErrorCode::InvalidRegularExpression);
    };
    let filter = ListFilter {
        states: request
            .state_filters
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        producer_ids: request.producer_id_filters,
        open_for: u64::try_from(request.duration_filter)
            .ok()
            .map(Duration::from_millis),
    };
    match connection
        .core
        .transactions
        .ask(Command::List(filter))
        .await
    {
        Some(Reply::List(reply)) => listed(reply, pattern.as_ref()),
        _ => refused(ErrorCode::CoordinatorNotAvailable),
    }
}

/// The pattern, which must match a whole id; an empty one filters nothing.
fn compile(pattern: Option<&str>) -> Result<Option<Regex>, regex::Error> {
    let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) else {
        return Ok(None);
    };
    let whole = regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(PATTERN_BYTES)
        .build()?;
    Ok(Some(whole))
}

fn listed(reply: ListReply, pattern: Option<&Regex>) -> Response<'static> {
    let matches = |listed: &ListedTransaction| {
        pattern.is_none_or(|pattern| pattern.is_match(listed.id.as_str()))
    };
    let listed = reply.transactions.into_iter().filter(matches);
    Response {
        unknown_state_filters: reply.unknown_states.into_iter().map(Into::into).collect(),
        transaction_states: listed
            .map(|listed| TransactionState {
                transactional_id: listed.id.as_str().to_owned().into(),
                producer_id: listed.producer_id,
                transaction_state: listed.state.name().into(),
            })
            .collect(),
        ..Response::default()
    }
}

fn refused(error: ErrorCode) -> Response<'static> {
    Response {
        error_code: error.code(),
        ..Response::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        let pattern = compile(Some(pattern)).expect("a pattern");
        pattern.is_none_or(|pattern| pattern.is_match(id))
    }

    #[test]
    fn a_pattern_matches_the_whole_id() {
        assert!(matches("orders-.*", "orders-7"));
        assert!(!matches("orders-", "orders-7"));
        assert!(!matches("a|b", "ab"));
        assert!(matches("", "anything"));
    }

    #[test]
    fn a_pattern_that_is_none_or_too_large_is_refused() {
        assert!(compile(Some("(")).is_err());
        assert!(compile(Some("(a{1000}){1000}")).is_err());
    }
}
