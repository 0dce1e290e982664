//! The names and numbers of consumer groups as types, so that a member id is never taken for an instance id.
//!
//! All of them are cheap to clone: a group keeps the same id in its members, timers and replies.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Bytes that only clients understand (subscriptions, assignments), shared between state, records and replies.
pub type SharedBytes = Arc<[u8]>;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name(Arc::from(""))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $name(Arc::from(text))
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                $name(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// The name of a group; never empty inside the machine.
    GroupId
);
text_id!(
    /// One incarnation of a member, made by the broker; empty in a request means "I have none yet".
    MemberId
);
text_id!(
    /// `group.instance.id`: the name of a static member that outlives its incarnations (KIP-345).
    InstanceId
);
text_id!(
    /// The name of a topic.
    TopicName
);

/// Counts the completed join phases of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub i32);

impl Generation {
    /// No generation: a consumer that assigns its partitions by hand, or an answer that refuses.
    pub const NONE: Generation = Generation(-1);

    /// The generation after this one; starts again at 1 at the end of the range, as a negative one means "none".
    pub fn next(self) -> Generation {
        Generation(self.0.checked_add(1).unwrap_or(1))
    }

    /// Whether a request names a generation at all.
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}
