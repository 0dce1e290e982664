//! `/v1` and the publish of the legacy API through their public door, on an embedded broker: the router is called as HTTP calls it.

mod door;
mod legacy_publish;
mod live;
mod records;
mod refusals;
mod topics;
