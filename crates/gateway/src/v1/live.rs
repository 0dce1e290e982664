//! Live streams.
