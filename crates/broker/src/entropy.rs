//! The one place that the broker takes its randomness from.

/// Sixteen bytes that nobody can guess; `None` when the system has none to give, which no running system does.
pub fn bytes() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// A random UUID of version 4.
pub fn uuid() -> Option<[u8; 16]> {
    let mut bytes = bytes()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Some(bytes)
}

/// A UUID in the form that people know, as member ids end in.
pub fn hyphenated(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is a digit"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn uuids_read_as_usual() {
        let bytes = std::array::from_fn(|index| index as u8 * 17);
        assert_eq!(
            super::hyphenated(bytes),
            "00112233-4455-6677-8899-aabbccddeeff"
        );
    }
}
