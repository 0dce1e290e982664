//! Every broker rule as plain data: topics, producers, groups, fetch sessions.

pub mod groups;
pub mod step;
