//! The name of a transactional producer as a type; cheap to clone.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// `transactional.id`: outlives the instances of a producer, of which only the last one may write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionalId(Arc<str>);

impl TransactionalId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TransactionalId {
    fn from(text: &str) -> Self {
        TransactionalId(Arc::from(text))
    }
}

impl Borrow<str> for TransactionalId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
