//! The one place where the gateway reads the time; whatever decides by it is given it.

use jiff::Timestamp;

pub fn now() -> Timestamp {
    Timestamp::now()
}
