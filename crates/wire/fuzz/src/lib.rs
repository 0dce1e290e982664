//! What each fuzz target does with its bytes: messages from the network, records of the state machines, files of a partition.

mod messages;
mod partition;
mod state;

pub use messages::{decompress_records, frame, record_batch, request, response};
pub use partition::damaged_partition;
pub use state::state_records;
