//! Every broker rule as plain data: topics, producers, groups, fetch sessions.

pub mod step;
