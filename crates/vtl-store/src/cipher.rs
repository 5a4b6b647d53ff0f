//! What the bytes of a pool are sealed with: keys made of one domain key, and the one way in which bytes are sealed.
//!
//! ```text
//! key file or passphrase -> opens the keyring -> domain key -> key of each file, of fingerprints, of the gear table
//! ```
//!
//! A pool that is not encrypted has a [`Domain`] without keys: its [`Seal`]s leave bytes as they are, so that there is one path for both.
//! Each sealing draws its nonce anew. Nothing counts nonces, so no crash, no write that is tried again and no restored copy can make one come twice.
//!
//! Byte tables: `docs/formats/encryption.md`.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use bytes::Bytes;
pub use vtl_codec::Randomness;
pub(crate) use vtl_codec::{Key, NotOpened, OVERHEAD};
use vtl_codec::{SealError, Sealer};
use vtl_durable::DiskError;
use vtl_durable::wire::Writer;

use crate::codec::Fingerprint;

const FORMAT: u32 = 0;
/// At the end of a file that is sealed as a whole.
const SALT_BYTES: usize = 32;

/// The operating system gave no random bytes.
pub(crate) fn no_random(error: io::Error) -> DiskError {
    DiskError::new("get random bytes from", Path::new("/dev/urandom"), error)
}

pub(crate) fn not_sealed(error: SealError) -> DiskError {
    match error {
        SealError::Random(error) => no_random(error),
        SealError::Refused => {
            let long = io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
            DiskError::new("seal", Path::new("memory"), long)
        }
    }
}

/// What a key is for. The numbers are on the disk, as associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Pack,
    Journal,
    Head,
    Quarantine,
    Index,
    Fingerprint,
    Gear,
}

impl Use {
    const fn row(self) -> (u8, &'static str) {
        match self {
            Self::Pack => (0, "vtl store pack key v0"),
            Self::Journal => (1, "vtl store journal key v0"),
            Self::Head => (2, "vtl store head key v0"),
            Self::Quarantine => (3, "vtl store quarantine key v0"),
            Self::Index => (4, "vtl store index key v0"),
            Self::Fingerprint => (5, "vtl store fingerprint key v0"),
            Self::Gear => (6, "vtl store gear key v0"),
        }
    }
}

/// Whose pool it is, and what it is sealed with.
#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) store_id: [u8; 16],
    keys: Option<Keys>,
}

#[derive(Debug)]
struct Keys {
    domain: Key,
    random: Randomness,
}

impl Domain {
    /// What everything in the pool is bound to.
    pub(crate) fn store_id(&self) -> [u8; 16] {
        self.store_id
    }

    /// A pool that is not encrypted.
    pub(crate) fn plain(store_id: [u8; 16]) -> Self {
        Self { store_id, keys: None }
    }

    /// A pool that is.
    pub(crate) fn sealed(store_id: [u8; 16], domain: Key, random: Randomness) -> Self {
        Self { store_id, keys: Some(Keys { domain, random }) }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.keys.is_none()
    }

    fn derive(&self, keys: &Keys, used: Use, name: &[u8]) -> Key {
        Key::derive(used.row().1, &[keys.domain.expose(), &self.store_id, name])
    }

    /// What the file of this name is sealed with.
    pub(crate) fn seal(&self, used: Use, name: &[u8]) -> Seal {
        let Some(keys) = &self.keys else { return Seal(None) };
        let mut about = Writer::with_capacity(64);
        about.u32(FORMAT).u8(used.row().0).raw(&self.store_id).raw(name);
        let key = self.derive(keys, used, name);
        Seal(Some(Box::new(Sealer::new(&key, about.into_bytes(), keys.random.clone()))))
    }

    /// How chunks are told apart.
    pub(crate) fn prints(&self) -> Prints {
        Prints(self.keys.as_ref().map(|keys| self.derive(keys, Use::Fingerprint, &[])))
    }

    /// What the gear table is made of, unless the pool file says it.
    pub(crate) fn gear_key(&self) -> Option<Key> {
        self.keys.as_ref().map(|keys| self.derive(keys, Use::Gear, &[]))
    }

    /// A file that is replaced as a whole: with a new salt, hence a new key, each time.
    pub(crate) fn seal_whole(&self, used: Use, name: &[u8], mut text: Vec<u8>) -> Result<Vec<u8>, DiskError> {
        let Some(keys) = &self.keys else { return Ok(text) };
        let mut salt = [0; SALT_BYTES];
        keys.random.fill(&mut salt).map_err(no_random)?;
        self.seal(used, &[name, &salt].concat()).seal(&[], &mut text)?;
        text.extend_from_slice(&salt);
        Ok(text)
    }

    /// The text of such a file.
    pub(crate) fn open_whole(
        &self,
        used: Use,
        name: &[u8],
        mut bytes: Vec<u8>,
    ) -> Result<Vec<u8>, NotOpened> {
        if self.keys.is_none() {
            return Ok(bytes);
        }
        let salt = *bytes.last_chunk::<SALT_BYTES>().ok_or(NotOpened)?;
        bytes.truncate(bytes.len() - SALT_BYTES);
        self.seal(used, &[name, &salt].concat()).open(&[], &mut bytes)?;
        Ok(bytes)
    }
}

/// Seals the parts of one file, or leaves them as they are.
pub(crate) struct Seal(Option<Box<Sealer>>);

impl Seal {
    pub(crate) fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// What sealed bytes are longer than their text.
    pub(crate) fn overhead(&self) -> usize {
        if self.is_plain() { 0 } else { OVERHEAD }
    }

    /// Seals the text for this place in the file.
    pub(crate) fn seal(&self, place: &[u8], text: &mut Vec<u8>) -> Result<(), DiskError> {
        match &self.0 {
            Some(sealer) => sealer.seal(place, text).map_err(not_sealed),
            None => Ok(()),
        }
    }

    /// The text that was sealed for this place.
    pub(crate) fn opened<'a>(&self, place: &[u8], sealed: &'a [u8]) -> Result<Cow<'a, [u8]>, NotOpened> {
        let Some(sealer) = &self.0 else { return Ok(Cow::Borrowed(sealed)) };
        let mut text = sealed.to_vec();
        sealer.open(place, &mut text)?;
        Ok(Cow::Owned(text))
    }

    /// Gives the text back that was sealed for this place. Bytes that do not open are of no use afterwards.
    pub(crate) fn open(&self, place: &[u8], sealed: &mut Vec<u8>) -> Result<(), NotOpened> {
        match &self.0 {
            Some(sealer) => sealer.open(place, sealed),
            None => Ok(()),
        }
    }
}

/// How the content of chunks is told apart: BLAKE3, with a key in an encrypted pool, so that who does not have it cannot ask for known content.
#[derive(Clone, Debug)]
pub(crate) struct Prints(Option<Key>);

impl Prints {
    fn hasher(&self) -> blake3::Hasher {
        self.0.as_ref().map_or_else(blake3::Hasher::new, |key| blake3::Hasher::new_keyed(key.expose()))
    }

    /// Of bytes in one piece.
    pub(crate) fn of(&self, bytes: &[u8]) -> Fingerprint {
        match &self.0 {
            None => *blake3::hash(bytes).as_bytes(),
            Some(key) => *blake3::keyed_hash(key.expose(), bytes).as_bytes(),
        }
    }

    /// Of bytes in several.
    pub(crate) fn of_pieces<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
        let mut hasher = self.hasher();
        pieces.into_iter().for_each(|piece| {
            hasher.update(piece);
        });
        *hasher.finalize().as_bytes()
    }

    /// Of a chunk as it came.
    pub(crate) fn of_chunk(&self, pieces: &[Bytes]) -> Fingerprint {
        match pieces {
            [one] => self.of(one),
            several => self.of_pieces(several.iter().map(|piece| &piece[..])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new(std::array::from_fn(|at| at as u8))
    }

    #[test]
    fn only_the_file_place_and_use_that_it_was_sealed_for_open_it() {
        let domain = |id| Domain::sealed([id; 16], key(), Randomness::system());
        let seal = domain(1).seal(Use::Pack, b"name");
        let mut bytes = b"text".to_vec();
        seal.seal(b"here", &mut bytes).unwrap();
        let open = |seal: &Seal, place: &[u8]| seal.open(place, &mut bytes.clone());
        assert_eq!(open(&seal, b"here"), Ok(()));
        assert_eq!(open(&seal, b"there"), Err(NotOpened));
        assert_eq!(open(&domain(1).seal(Use::Pack, b"other"), b"here"), Err(NotOpened));
        assert_eq!(open(&domain(1).seal(Use::Head, b"name"), b"here"), Err(NotOpened));
        assert_eq!(open(&domain(2).seal(Use::Pack, b"name"), b"here"), Err(NotOpened));
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal.open(b"here", &mut wrong), Err(NotOpened), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|len| seal.open(b"here", &mut bytes[..len].to_vec()) == Err(NotOpened)));
    }

    #[test]
    fn the_same_text_sealed_twice_shares_no_bytes() {
        let domain = Domain::sealed([1; 16], key(), Randomness::system());
        let sealed = |text: &[u8]| domain.seal_whole(Use::Head, b"owner", text.to_vec()).unwrap();
        let (one, two) = (sealed(&[7; 64]), sealed(&[7; 64]));
        assert!(one.chunks(8).zip(two.chunks(8)).all(|(a, b)| a != b));
        assert_eq!(domain.open_whole(Use::Head, b"owner", one.clone()).unwrap(), [7; 64]);
        assert_eq!(domain.open_whole(Use::Head, b"other", one), Err(NotOpened));
        let plain = Domain::plain([1; 16]);
        assert_eq!(plain.seal_whole(Use::Head, b"owner", vec![7; 64]).unwrap(), [7; 64]);
    }

    #[test]
    fn keys_of_different_uses_and_stores_are_different_and_none_is_printed() {
        let domain = |id| Domain::sealed([id; 16], key(), Randomness::system());
        let of = |domain: &Domain| [domain.prints().of(b"known"), *domain.gear_key().unwrap().expose()];
        let (one, two) = (of(&domain(1)), of(&domain(2)));
        let all = [one[0], one[1], two[0], two[1], *blake3::hash(b"known").as_bytes()];
        assert!((0..5).all(|a| (0..a).all(|b| all[a] != all[b])));
        assert_eq!(Domain::plain([1; 16]).prints().of(b"known"), all[4]);
        let text = format!("{:?} {:?}", domain(1), domain(1).prints());
        assert!(text.contains("***") && !text.contains("1, 2, 3"), "{text}");
    }

    #[test]
    fn a_fingerprint_does_not_depend_on_pieces() {
        for prints in [Prints(None), Prints(Some(key()))] {
            let whole = Bytes::from_static(b"abcdefgh");
            let pieces = [whole.slice(..3), whole.slice(3..)];
            assert_eq!(prints.of_chunk(&pieces), prints.of(&whole));
            assert_eq!(prints.of_chunk(std::slice::from_ref(&whole)), prints.of(&whole));
        }
    }
}
