//! Numbers in as few bytes as they need (LEB128): seven bits a byte, low bits first, bit 7 set on all but the last.

/// Appends `value`.
pub fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`push`] takes for `value`.
pub const fn len(value: u64) -> usize {
    match value {
        0 => 1,
        _ => (64 - value.leading_zeros() as usize).div_ceil(7),
    }
}

/// The number at `at` and the offset behind it. None when it is cut short, not the shortest encoding, or beyond 64 bits.
pub fn read(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            let shortest = index == 0 || bits != 0;
            return shortest.then_some((value, at + index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_bytes() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (262_144, &[0x80, 0x80, 0x10]),
            (16_777_215, &[0xff, 0xff, 0xff, 0x07]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut out = vec![0xa5];
            push(&mut out, value);
            assert_eq!(&out[1..], bytes);
            assert_eq!(len(value), bytes.len(), "{value}");
            assert_eq!(read(&out, 1), Some((value, out.len())));
        }
    }

    #[test]
    fn longer_forms_cut_forms_and_overflow_are_refused() {
        for bytes in [
            &[][..],
            &[0x80],
            &[0x80, 0x00],
            &[0xff, 0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00],
        ] {
            assert_eq!(read(bytes, 0), None, "{bytes:02x?}");
        }
        assert_eq!(read(&[1], 2), None);
    }
}
