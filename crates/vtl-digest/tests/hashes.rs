//! Both hashes against those of the standards and of other programs, however the bytes come.

use md5::{Digest as _, Md5};
use proptest::prelude::*;
use sha2::Sha256;
use vtl_digest::Both;

fn both(pieces: &[&[u8]]) -> (String, String) {
    let mut hashes = Both::new();
    pieces.iter().for_each(|piece| hashes.update(piece));
    let (md5, sha256) = hashes.finish();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (hex(&md5), hex(&sha256))
}

#[test]
fn hashes_are_those_of_the_standards() {
    // RFC 1321, A.5; FIPS 180-2, B.1 and the SHA-256 of nothing.
    for (text, md5) in [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "d174ab98d277d9f5a5611c2c9f419d9f",
        ),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        ),
    ] {
        assert_eq!(both(&[text.as_bytes()]).0, md5, "{text}");
    }
    let none = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((both(&[]).1, both(&[b"a", b"", b"bc"]).1), (none.to_owned(), abc.to_owned()));
}

#[test]
fn every_length_about_a_block_is_padded_as_it_should_be() {
    let bytes: Vec<u8> = (0..200).collect();
    for length in 0..bytes.len() {
        let text = &bytes[..length];
        let wanted = (format!("{:x}", Hex(&Md5::digest(text))), format!("{:x}", Hex(&Sha256::digest(text))));
        assert_eq!(both(&[text]), wanted, "{length} bytes");
    }
}

/// Bytes, told in hexadecimal.
struct Hex<'a>(&'a [u8]);

impl std::fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_have_the_hashes_that_other_programs_compute(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
    ) {
        let all = pieces.concat();
        let wanted = (format!("{:x}", Hex(&Md5::digest(&all))), format!("{:x}", Hex(&Sha256::digest(&all))));
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(both(&pieces), wanted);
    }
}
