//! Text of login and text PDUs: `key=value` pairs with a NUL after each (RFC 7143, 6.1 and 6.2).
//!
//! [`pairs`] reads, [`TextWriter`] writes; [`Assembler`] puts together what came in several PDUs with the C bit,
//! [`Outgoing`] cuts what has to go out in several. All foreign lengths have a limit.

use alloc::{string::String, vec::Vec};
use core::{fmt::Display, mem};

use nom::{
    IResult, Parser,
    bytes::complete::{tag, take_while, take_while_m_n, take_while1},
    combinator::{map_res, verify},
    multi::many0,
    sequence::{separated_pair, terminated},
};

/// Most characters of a key's name (RFC 7143, 6.1, standard-label).
pub const MAX_KEY_LEN: usize = 63;

/// Most bytes of one simple value, and of one item of a list (RFC 7143, 6.1).
pub const MAX_SIMPLE_LEN: usize = 255;

/// Most bytes of a binary value before encoding: a CHAP challenge (RFC 7143, 12.1.3).
pub const MAX_BINARY_LEN: usize = 1024;

/// Most pairs in one text. All keys of the standard together are fewer than fifty.
pub const MAX_PAIRS: usize = 128;

/// Login PDUs carry at most this much text each: MaxRecvDataSegmentLength's default (RFC 7143, 13.12).
pub const LOGIN_SEGMENT_LEN: usize = 8192;

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// Not `key=value` with a NUL at the end, in UTF-8; or an impossible key name.
    Syntax,
    /// More text or more pairs than the limit.
    TooLong,
}

/// One pair. The value may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The key's name.
    pub key: &'a str,
    /// What stands behind the first `=`.
    pub value: &'a str,
}

/// All pairs of a complete text. Spare NULs between and after pairs are skipped (some initiators count padding
/// as text); a last pair without NUL is refused, since it may be half of what was meant.
pub fn pairs(text: &[u8]) -> Result<Vec<Pair<'_>>, TextError> {
    let (rest, pairs) = all_pairs(text).map_err(|_| TextError::Syntax)?;
    if !rest.is_empty() {
        return Err(TextError::Syntax);
    }
    if pairs.len() > MAX_PAIRS { Err(TextError::TooLong) } else { Ok(pairs) }
}

fn all_pairs(input: &[u8]) -> IResult<&[u8], Vec<Pair<'_>>> {
    let (input, _) = nuls0(input)?;
    many0(terminated(pair, take_while1(|b| b == 0))).parse(input)
}

fn nuls0(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while(|b| b == 0).parse(input)
}

fn pair(input: &[u8]) -> IResult<&[u8], Pair<'_>> {
    let value = map_res(take_while(|b| b != 0), core::str::from_utf8);
    let (rest, (key, value)) = separated_pair(key_name, tag(&b"="[..]), value).parse(input)?;
    Ok((rest, Pair { key, value }))
}

fn key_name(input: &[u8]) -> IResult<&[u8], &str> {
    let label = take_while_m_n(1, MAX_KEY_LEN, is_label_byte);
    // The standard asks for a capital letter, and then names a key iSCSIProtocolLevel.
    let starts_well = |name: &&str| name.starts_with(|c: char| c.is_ascii_alphabetic());
    verify(map_res(label, core::str::from_utf8), starts_well).parse(input)
}

/// The characters of a standard-label; `#` is in the names of public extension keys (13.22).
const fn is_label_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+' | b'@' | b'_' | b'#')
}

/// An unsigned number, decimal without leading zeros or hexadecimal with `0x` (RFC 7143, 6.1).
pub fn number(text: &str) -> Option<u64> {
    if let Some(hex) = strip_prefix(text, ["0x", "0X"]) {
        let plain = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        return plain.then(|| u64::from_str_radix(hex, 16).ok()).flatten();
    }
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// `Yes` or `No`.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "Yes" => Some(true),
        "No" => Some(false),
        _ => None,
    }
}

/// The word for a boolean.
pub const fn yes_no(value: bool) -> &'static str {
    if value { "Yes" } else { "No" }
}

/// A large binary value, `0x` hexadecimal or `0b` base64, of 1 to [`MAX_BINARY_LEN`] bytes.
pub fn binary(text: &str) -> Option<Vec<u8>> {
    let bytes = if let Some(hex) = strip_prefix(text, ["0x", "0X"]) {
        from_hex(hex)?
    } else {
        from_base64(strip_prefix(text, ["0b", "0B"])?)?
    };
    (!bytes.is_empty() && bytes.len() <= MAX_BINARY_LEN).then_some(bytes)
}

/// Hexadecimal with `0x`, two digits a byte.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 0x0f)).map_or('0', |d| char::from(*d));
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("0x");
    bytes.iter().for_each(|b| text.extend([digit(b >> 4), digit(*b)]));
    text
}

fn strip_prefix<'a>(text: &'a str, prefixes: [&str; 2]) -> Option<&'a str> {
    prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))
}

/// Hexadecimal digits; an odd count means that the first byte has one digit, as in a number.
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if digits.len() > 2 * MAX_BINARY_LEN {
        return None;
    }
    let nibbles = digits.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()));
    let odd = (digits.len() % 2 == 1).then_some(Some(0));
    let nibbles: Vec<u8> = odd.into_iter().chain(nibbles).collect::<Option<_>>()?;
    Some(nibbles.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, n| byte << 4 | n)).collect())
}

/// Base64 (RFC 4648, 4). The padding may be left out, bits that mean nothing must be 0.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_BINARY_LEN.div_ceil(3) * 4 {
        return None;
    }
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if padding > 2 || padding > 0 && !text.len().is_multiple_of(4) {
        return None;
    }
    let sextets: Vec<u8> = digits.bytes().map(sextet).collect::<Option<_>>()?;
    let mut bytes = Vec::with_capacity(sextets.len());
    for group in sextets.chunks(4) {
        let bits = group.iter().fold(0u32, |bits, s| bits << 6 | u32::from(*s)) << (6 * (4 - group.len()));
        let [_, a, b, c] = bits.to_be_bytes();
        let (whole, spare) = match group.len() {
            4 => (3, 0),
            3 => (2, c),
            2 => (1, b | c),
            _ => return None,
        };
        if spare != 0 {
            return None;
        }
        bytes.extend([a, b, c].into_iter().take(whole));
    }
    Some(bytes)
}

const fn sextet(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Writes pairs one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextWriter(Vec<u8>);

impl TextWriter {
    /// An empty text.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends `key=value` and the NUL.
    pub fn push(&mut self, key: &str, value: impl Display) {
        let pair = alloc::format!("{key}={value}\0");
        self.0.extend_from_slice(pair.as_bytes());
    }

    /// The text.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Collects one text over several PDUs.
#[derive(Debug)]
pub struct Assembler {
    text: Vec<u8>,
    max_bytes: usize,
}

impl Assembler {
    /// Takes at most `max_bytes` for one text.
    pub const fn new(max_bytes: usize) -> Self {
        Self { text: Vec::new(), max_bytes }
    }

    /// One PDU's data; `continues` is its C bit. The whole text once it is complete.
    pub fn push(&mut self, data: &[u8], continues: bool) -> Result<Option<Vec<u8>>, TextError> {
        if data.len() > self.max_bytes.saturating_sub(self.text.len()) {
            return Err(TextError::TooLong);
        }
        self.text.extend_from_slice(data);
        Ok((!continues).then(|| mem::take(&mut self.text)))
    }

    /// Forgets the pieces.
    pub fn clear(&mut self) {
        self.text.clear();
    }
}

/// A text on its way out, cut into PDUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    text: Vec<u8>,
    sent: usize,
}

/// One PDU's part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The data segment.
    pub data: Vec<u8>,
    /// The C bit: more follows.
    pub continues: bool,
}

impl Outgoing {
    /// A whole text.
    pub const fn new(text: Vec<u8>) -> Self {
        Self { text, sent: 0 }
    }

    /// The next piece, of at most `max_bytes`. After the last one: empty pieces.
    pub fn next(&mut self, max_bytes: usize) -> Piece {
        let left = self.text.get(self.sent..).unwrap_or_default();
        let data: Vec<u8> = left.iter().copied().take(max_bytes.max(1)).collect();
        self.sent = self.sent.saturating_add(data.len());
        Piece { data, continues: self.sent < self.text.len() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair<'a>(key: &'a str, value: &'a str) -> Pair<'a> {
        Pair { key, value }
    }

    #[test]
    fn a_text_is_pairs_with_a_nul_after_each() {
        let text = b"SessionType=Normal\0TargetAlias=\0X-com.example.key=a=b\0";
        let expected =
            [pair("SessionType", "Normal"), pair("TargetAlias", ""), pair("X-com.example.key", "a=b")];
        assert_eq!(pairs(text).as_deref(), Ok(&expected[..]));
        assert_eq!(pairs(b""), Ok(Vec::new()));
    }

    #[test]
    fn spare_nuls_are_skipped() {
        assert_eq!(pairs(b"\0A=1\0\0\0B=2\0\0"), Ok(std::vec![pair("A", "1"), pair("B", "2")]));
        assert_eq!(pairs(b"\0\0\0"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_a_pair_is_refused() {
        let cases: [&[u8]; 8] = [
            b"A=1",             // no NUL
            b"A=1\0B=2",        // no NUL at the end
            b"Novalue\0",       // no '='
            b"=1\0",            // no name
            b"1A=1\0",          // begins with a digit
            b"Key Word=1\0",    // a blank in the name
            b"Key=\xff\xfe\0",  // not UTF-8
            b"K\xc3\xa4se=1\0", // not a label
        ];
        for text in cases {
            assert_eq!(pairs(text), Err(TextError::Syntax), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_name_of_63_characters_is_one_and_of_64_is_none() {
        let text = |n: usize| std::format!("{}=1\0", "K".repeat(n)).into_bytes();
        assert_eq!(pairs(&text(63)).map(|p| p.len()), Ok(1));
        assert_eq!(pairs(&text(64)), Err(TextError::Syntax));
    }

    #[test]
    fn more_pairs_than_the_limit_are_refused() {
        assert_eq!(pairs(&b"K=1\0".repeat(128)).map(|p| p.len()), Ok(128));
        assert_eq!(pairs(&b"K=1\0".repeat(129)), Err(TextError::TooLong));
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        let good = [("0", 0), ("1", 1), ("262144", 262_144), ("0x40000", 262_144), ("0XfF", 255), ("0x0", 0)];
        for (text, value) in good {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in
            ["", "-1", "+1", "01", "1k", "0x", "0xg", "0x+1", " 1", "18446744073709551616", "0b1", "1~2"]
        {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn binary_values_are_hexadecimal_or_base64() {
        let bytes: Vec<u8> = (0x10..0x20).collect();
        for text in ["0x101112131415161718191a1b1c1d1e1f", "0X101112131415161718191A1B1C1D1E1F"] {
            assert_eq!(binary(text), Some(bytes.clone()), "{text}");
        }
        for text in ["0bEBESExQVFhcYGRobHB0eHw==", "0BEBESExQVFhcYGRobHB0eHw"] {
            assert_eq!(binary(text), Some(bytes.clone()), "{text}");
        }
        assert_eq!(binary("0b4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8="), Some((0xe0..=0xff).collect()));
        assert_eq!(binary("0x123"), Some(std::vec![0x01, 0x23]));
        assert_eq!(to_hex(&[0x00, 0x0f, 0xa5, 0xff]), "0x000fa5ff");
    }

    #[test]
    fn a_broken_binary_value_is_refused() {
        for text in [
            "", "0x", "0b", "0x1g", "1234", "0b=", "0bA", "0bAB", "0bAAB", "0bAA=", "0bAA===", "0bA=AA",
            "0bÄÄ",
        ] {
            assert_eq!(binary(text), None, "{text}");
        }
    }

    #[test]
    fn a_binary_value_of_1024_bytes_is_taken_and_of_1025_is_not() {
        let hex = |n: usize| std::format!("0x{}", "a5".repeat(n));
        assert_eq!(binary(&hex(1024)).map(|b| b.len()), Some(1024));
        assert_eq!(binary(&hex(1025)), None);
        let base64 = |groups: usize, rest: &str| std::format!("0b{}{rest}", "AAAA".repeat(groups));
        assert_eq!(binary(&base64(341, "AA==")).map(|b| b.len()), Some(1024));
        assert_eq!(binary(&base64(341, "AAA=")), None);
        assert_eq!(binary(&base64(342, "AA==")), None);
    }

    #[test]
    fn a_text_in_pieces_comes_together_within_its_limit() {
        let mut text = Assembler::new(12);
        assert_eq!(text.push(b"Key=va", true), Ok(None));
        assert_eq!(text.push(b"lue\0", false), Ok(Some(b"Key=value\0".to_vec())));
        assert_eq!(text.push(b"Key=va", true), Ok(None));
        assert_eq!(text.push(b"lue\0\0\0\0", false), Err(TextError::TooLong));
    }

    #[test]
    fn a_text_goes_out_in_pieces() {
        let mut text = Outgoing::new(b"Key=value\0".to_vec());
        assert_eq!(text.next(4), Piece { data: b"Key=".to_vec(), continues: true });
        assert_eq!(text.next(4), Piece { data: b"valu".to_vec(), continues: true });
        assert_eq!(text.next(4), Piece { data: b"e\0".to_vec(), continues: false });
        assert_eq!(text.next(4), Piece { data: Vec::new(), continues: false });
        assert_eq!(
            Outgoing::new(b"1234".to_vec()).next(4),
            Piece { data: b"1234".to_vec(), continues: false }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(pairs) = pairs(&bytes) {
                prop_assert!(pairs.iter().all(|p| !p.key.is_empty() && p.key.len() <= 63));
            }
        }

        #[test]
        fn what_is_written_is_read_back(list in proptest::collection::vec(("[A-Z][a-zA-Z0-9.@_+-]{0,62}", "[^\0]{0,40}"), 0..8)) {
            let mut writer = TextWriter::new();
            list.iter().for_each(|(key, value)| writer.push(key, value));
            let text = writer.into_bytes();
            let read = pairs(&text).unwrap();
            prop_assert_eq!(read.iter().map(|p| (p.key.into(), p.value.into())).collect::<Vec<_>>(), list);
        }

        #[test]
        fn any_text_is_a_binary_value_or_not(text in ".{0,60}") {
            for text in [text.clone(), std::format!("0b{text}"), std::format!("0x{text}")] {
                prop_assert!(binary(&text).is_none_or(|bytes| bytes.len() < text.len()));
                prop_assert!(number(&text).is_none_or(|_| text.is_ascii()));
            }
        }

        #[test]
        fn hexadecimal_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
            prop_assert_eq!(binary(&to_hex(&bytes)), Some(bytes));
        }
    }
}
