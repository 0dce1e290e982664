//! Records as people write and read them: lines in, templates and JSON out.

pub mod input;
pub mod json;
pub mod template;
pub mod time;
