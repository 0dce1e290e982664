//! Thalweg as a library: the same broker that `thalweg dev` starts, inside a program or a test.
//!
//! ```
//! let thalweg = thalweg::embedded(thalweg::Settings::in_memory())?;
//! println!("point any Kafka client at {}", thalweg.bootstrap());
//! // dropping it stops the broker
//! # Ok::<(), thalweg::ServeError>(())
//! ```

mod embedded;
#[doc(hidden)]
pub mod serve;

pub use embedded::{Embedded, Settings, embedded};
#[doc(hidden)]
pub use gateway::text;
pub use serve::ServeError;
