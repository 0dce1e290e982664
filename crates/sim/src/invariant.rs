//! How an invariant is checked: `invariant!(Name, holds, "what was seen")` panics with its name first.

macro_rules! invariant {
    ($name:ident, $holds:expr, $($seen:tt)+) => {
        if !$holds {
            panic!("{}: {}", stringify!($name), format_args!($($seen)+));
        }
    };
}

pub(crate) use invariant;
