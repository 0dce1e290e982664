//! `/v1` through its public door, on an embedded broker: the router is called as HTTP calls it.

mod door;
mod live;
mod records;
mod refusals;
mod topics;
