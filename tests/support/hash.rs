//! MD5 (RFC 1321), for CHAP on the initiator's side.

/// The digest of `message`.
pub fn md5(message: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_le_bytes());
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks(64) {
        let word = |n: usize| u32::from_le_bytes(block[n * 4..n * 4 + 4].try_into().unwrap());
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, at) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), (7 * step) % 16),
            };
            let sine = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(sine).wrapping_add(word(at));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d]) {
            *old = old.wrapping_add(new);
        }
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// What CHAP answers: the hash of identifier, secret and challenge (RFC 1994).
pub fn chap_response(identifier: u8, secret: &str, challenge: &[u8]) -> [u8; 16] {
    md5(&[&[identifier], secret.as_bytes(), challenge].concat())
}

/// Lower-case hexadecimal with the prefix that iSCSI wants.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, b| format!("{text}{b:02x}"))
}

/// The bytes of `0x...`.
pub fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).expect("hexadecimal");
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn md5_gives_the_digests_of_rfc_1321() {
    assert_eq!(to_hex(&md5(b"")), "0xd41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(to_hex(&md5(b"message digest")), "0xf96b697d7cb7938d525a2f31aaf161d0");
    let long = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
    assert_eq!(to_hex(&md5(long)), "0x57edf4a22be3c955ac49da2e2107b67a");
}
