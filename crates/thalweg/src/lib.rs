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
#[doc(hidden)]
pub mod text;

pub use embedded::{Embedded, Settings, embedded};
pub use serve::ServeError;
