//! Records as people write and read them: where to start, lines in, templates and JSON out.

pub mod from;
pub mod input;
pub mod json;
pub mod template;
pub mod time;
