//! Numbers with a fraction, of which the protocol has few: the values of quotas.

/// A 64-bit floating point number. Equal means the same bits, so that messages are equal when their bytes are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Float64(pub f64);

impl PartialEq for Float64 {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float64 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_means_the_same_bits() {
        assert_eq!(Float64(f64::NAN), Float64(f64::NAN));
        assert_ne!(Float64(0.0), Float64(-0.0));
    }
}
