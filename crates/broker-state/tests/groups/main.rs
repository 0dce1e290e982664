//! The rules of consumer groups, told as stories; the language is described in `story.rs`.

mod consumers;
mod expiring;
mod joining;
mod offsets;
mod random;
mod recording;
mod restarting;
mod static_members;
mod staying;
mod story;
mod syncing;
mod told;
mod transactions;
