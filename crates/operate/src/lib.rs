//! Running a cluster rather than using it; called by the command line, at the start of the platform and by its HTTP server.
//!
//! Everything here is asked of a cluster through [`client`], so it works on any; nothing asks which broker it is.

pub mod provision;
