//! The zigzag numbers inside records.

/// Reads a zigzag number of up to 32 bits and moves `bytes` past it; none when it is cut off or too long.
#[inline]
pub(super) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    match read_short(bytes) {
        Some(value) => Some(unzigzag(value) as i32),
        None => {
            let value = read_unsigned(bytes, 5)?;
            u32::try_from(value)
                .ok()
                .map(|value| unzigzag(value.into()) as i32)
        }
    }
}

/// As `read_i32` for up to 64 bits.
#[inline]
pub(super) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    read_short(bytes)
        .or_else(|| read_unsigned(bytes, 10))
        .map(unzigzag)
}

/// A number of one or two bytes, which nearly all lengths and deltas are.
#[inline]
fn read_short(bytes: &mut &[u8]) -> Option<u64> {
    match **bytes {
        [first @ 0..0x80, ref rest @ ..] => {
            *bytes = rest;
            Some(first.into())
        }
        [first, second @ 0..0x80, ref rest @ ..] => {
            *bytes = rest;
            Some(u64::from(first & 0x7f) | u64::from(second) << 7)
        }
        _ => None,
    }
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cold]
#[inline(never)]
fn read_unsigned(bytes: &mut &[u8], limit: usize) -> Option<u64> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(limit).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            *bytes = &bytes[place + 1..];
            return Some(value);
        }
    }
    None
}

/// Appends a zigzag number.
pub(super) fn write(out: &mut Vec<u8>, value: i64) {
    let mut value = (value << 1 ^ value >> 63) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        for value in [
            0,
            1,
            -1,
            63,
            -64,
            64,
            300,
            -300,
            i32::MAX.into(),
            i32::MIN.into(),
            i64::MAX,
            i64::MIN,
        ] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            assert_eq!(read_i64(&mut &bytes[..]), Some(value));
            assert_eq!(read_i32(&mut &bytes[..]), i32::try_from(value).ok());
        }
    }

    #[test]
    fn a_number_without_an_end_is_refused() {
        assert_eq!(read_i64(&mut &[0xff; 10][..]), None);
        assert_eq!(read_i64(&mut &[0xff; 11][..]), None);
        assert_eq!(read_i32(&mut &[0x80; 4][..]), None);
        assert_eq!(read_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None);
    }
}
