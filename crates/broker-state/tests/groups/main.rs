//! The rules of consumer groups, told as stories; the language is described in `story.rs`.

mod assigning;
mod consumers;
mod consumers_offsets;
mod expiring;
mod joining;
mod migrating;
mod offsets;
mod random;
mod random_consumers;
mod random_transactions;
mod recording;
mod recording_consumers;
mod restarting;
mod static_members;
mod staying;
mod story;
mod syncing;
mod told;
mod transactions;
