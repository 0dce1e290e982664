//! Quotas: what clients may use, per user, client id and address, and how long those that use more are held back.
//!
//! Keeps true: the definitions (`ClientQuotas`) change only by records of the metadata log; the measuring (`Throttles`)
//! is forgotten at a restart, takes its time as an argument, and is bounded. Every rule is Kafka's: the most specific
//! quota counts, rates are averages over `quota.window.num` windows, a client that is over its rate is held back until
//! the average is at the quota again. Called by `topics` (definitions) and by the broker's connections (measuring).

mod check;
mod definitions;
mod describe;
mod meter;
mod throttles;

#[cfg(test)]
mod tests;

pub use check::QuotaOperation;
pub use definitions::{ClientQuotas, EntityName, QuotaEntity, QuotaValues, SharedBy};
pub use describe::{Match, QuotaFilter};
pub use throttles::{Client, MAX_METERS, PermitMode, Throttles, Windows};

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKey {
    /// New connections in a second, of an address.
    ConnectionCreationRate,
    /// Bytes of fetch answers in a second.
    ConsumerByteRate,
    /// Partitions created and deleted in a second.
    ControllerMutationRate,
    /// Bytes of produce requests in a second.
    ProducerByteRate,
    /// Time of the broker's threads, in percent of one.
    RequestPercentage,
}

impl QuotaKey {
    pub const ALL: [Self; 5] = [
        Self::ConnectionCreationRate,
        Self::ConsumerByteRate,
        Self::ControllerMutationRate,
        Self::ProducerByteRate,
        Self::RequestPercentage,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionCreationRate => "connection_creation_rate",
            Self::ConsumerByteRate => "consumer_byte_rate",
            Self::ControllerMutationRate => "controller_mutation_rate",
            Self::ProducerByteRate => "producer_byte_rate",
            Self::RequestPercentage => "request_percentage",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}
