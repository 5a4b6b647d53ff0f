//! The manifest: what the objects are, who can open them, and, sealed, what is in them.
//!
//! Two lines: the manifest, and its hash with a signature if there is one. Fields: `docs/formats/bundle.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vtl_codec::{
    Cipher, Compressors, Habit, Key, KeyError, Method, NONCE_BYTES, PrivateKey, PublicKey, Randomness,
    SigningKey, TAG_BYTES, VerifyingKey,
};
use vtl_types::Label;

use crate::chunk::HEADER_BYTES as CHUNK_HEADER_BYTES;
use crate::frame::HEADER_BYTES as FRAME_HEADER_BYTES;
use crate::map::{Map, MapError};
use crate::table;
use crate::version::Version;
use crate::writer::CHUNK_SIZES;

/// A longer manifest is refused.
pub const MAX_MANIFEST_BYTES: usize = 256 << 20;
/// Who can open one bundle.
pub const MAX_RECIPIENTS: usize = 16;
/// The inside before compression.
const MAX_INSIDE_BYTES: usize = 128 << 20;
const MAX_ATTRIBUTE_BYTES: usize = 64 << 10;
const MAX_OBJECTS: usize = 999_999;
/// Bytes of the longest image: no cartridge has more.
pub const MAX_IMAGE_BYTES: u64 = 64 << 40;
const FORMAT: &str = "vtl-bundle";
const SIGNED: &[u8] = b"vtl bundle manifest v0\n";
const KEY_INFO: &[u8] = b"vtl bundle inside v0";
/// One sealing for each key, so any nonce does.
const NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];
/// Of the inside.
const LEVEL: i32 = 3;

/// Serial numbers and what else belongs to the cartridge.
pub type Attributes = BTreeMap<String, String>;

/// Name of a chunk object.
pub fn object_name(label: Label, number: u32) -> String {
    format!("{label}.img.{number:06}")
}

/// Name of the manifest.
pub fn manifest_name(label: Label) -> String {
    format!("{label}.manifest")
}

/// Name of a manifest that replaces the one that is there, until it has that one's name.
pub fn new_manifest_name(label: Label) -> String {
    format!("{label}.manifest.new")
}

/// Which manifest of a folder counts: the new one when it is whole, since the other is about to go; then the one that has the name.
pub fn counting<T: AsRef<[u8]>>(named: Option<T>, new: Option<T>) -> Option<T> {
    let is_whole = |bytes: &T| Manifest::decode(bytes.as_ref(), None).is_ok();
    match (named, new) {
        (_, Some(new)) if is_whole(&new) => Some(new),
        (Some(named), _) => Some(named),
        (None, new) => new,
    }
}

/// Why bytes are no manifest, or not one that may be used.
#[derive(Debug)]
pub enum ManifestError {
    /// Longer than any.
    TooLong(usize),
    /// Not two lines of JSON with these fields.
    Text(String),
    /// The first line is not what the second was made of.
    Damaged,
    /// The signature is not of this manifest.
    Signature,
    /// A signature was wanted, and there is none.
    NotSigned,
    /// Another signed it.
    Signer {
        /// Its public key, base64.
        found: String,
    },
    /// A field that cannot be.
    Field {
        /// Which.
        field: String,
        /// Why.
        why: String,
    },
    /// The inside did not open, or is none.
    Inside(&'static str),
    /// No recipient has this key.
    Recipient {
        /// The key's fingerprint.
        key: String,
    },
    /// A key cannot be used.
    Key(KeyError),
    /// The map is none.
    Map(MapError),
    /// There are no random bytes.
    Random(String),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the manifest ")?;
        match self {
            Self::TooLong(len) => write!(f, "has {len} bytes, at most {MAX_MANIFEST_BYTES} are taken"),
            Self::Text(why) => write!(f, "is none of this format: {why}"),
            Self::Damaged => {
                f.write_str("is damaged: its first line is not the one that the second was made of")
            }
            Self::Signature => f.write_str("has a signature that is not of this manifest"),
            Self::NotSigned => f.write_str("is not signed, and a signer is expected"),
            Self::Signer { found } => write!(f, "was signed by another: {found}"),
            Self::Field { field, why } => write!(f, "has a field that cannot be: {field} {why}"),
            Self::Inside(why) => write!(f, "has an inside that is of no use: {why}"),
            Self::Recipient { key } => write!(f, "has no data key for this private key (fingerprint {key})"),
            Self::Key(error) => write!(f, "cannot be opened: {error}"),
            Self::Map(error) => write!(f, "has a map that is of no use: {error}"),
            Self::Random(why) => write!(f, "cannot be written: no random bytes: {why}"),
        }
    }
}

impl std::error::Error for ManifestError {}

impl From<KeyError> for ManifestError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<MapError> for ManifestError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

fn field(field: impl Into<String>, why: impl Into<String>) -> ManifestError {
    ManifestError::Field { field: field.into(), why: why.into() }
}

/// Date and time in UTC as they stand in the folder's name: `20261126_031500`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stamp(String);

impl FromStr for Stamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |(at, byte): (usize, u8)| if at == 8 { byte == b'_' } else { byte.is_ascii_digit() };
        match text.len() == 15 && text.bytes().enumerate().all(fits) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("'{text}' is no date and time (write it as 20261126_031500)")),
        }
    }
}

impl TryFrom<String> for Stamp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> Self {
        stamp.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// MD5, hexadecimal.
    pub md5: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Frames in it.
    pub frames: u64,
}

/// Who can open the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Fingerprint of the public key, hexadecimal.
    pub key: String,
    /// Its length.
    pub bits: usize,
    /// The data key, wrapped; base64.
    pub wrapped: String,
}

impl Recipient {
    /// Wraps the data key for a public key.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn new(data_key: &Key, public: &PublicKey) -> Result<Self, KeyError> {
        let wrapped = STANDARD.encode(public.wrap(data_key)?);
        Ok(Self { key: hex(&public.fingerprint()), bits: public.bits(), wrapped })
    }
}

/// The inside as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Closed {
    salt: String,
    codec: String,
    raw_bytes: usize,
    text: String,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outside {
    format: String,
    version: u32,
    bundle: String,
    label: String,
    created: Stamp,
    generation: u64,
    codec: String,
    cipher: String,
    image_bytes: u64,
    objects: Vec<Stored>,
    recipients: Vec<Recipient>,
    inside: Closed,
}

/// The second line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

/// What the first line of the inside has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InsideText {
    attributes: Attributes,
    blocks: u64,
    filemarks: u64,
    blake3: String,
    objects: String,
}

/// What only the owner of the content should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Serial numbers and what else belongs to the cartridge.
    pub attributes: Attributes,
    /// BLAKE3 of the image.
    pub blake3: [u8; 32],
    /// Blocks and filemarks.
    pub map: Map,
}

/// Whether a manifest is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// It is not.
    No,
    /// By this key, whose signature is right. It says something only to who knows the key from elsewhere.
    By(VerifyingKey),
}

/// A manifest whose fields are in themselves right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Of the format.
    pub version: Version,
    /// Random, one for each bundle.
    pub bundle: [u8; 16],
    /// The cartridge's.
    pub label: Label,
    /// When it was exported.
    pub created: Stamp,
    /// The cartridge's write generation.
    pub generation: u64,
    /// What frames were tried with.
    pub codec: Method,
    /// Whether frames and inside are sealed.
    pub sealed: bool,
    /// Length of the image.
    pub image_bytes: u64,
    /// The chunk objects, in order.
    pub objects: Vec<Stored>,
    /// Who can open it.
    pub recipients: Vec<Recipient>,
    pub(crate) inside: Closed,
}

impl Manifest {
    /// The folder that it belongs in.
    pub fn folder(&self) -> String {
        format!("{}-{}", self.label, self.created)
    }

    /// Bytes of the image in each frame but the last.
    pub fn frame_bytes(&self) -> u64 {
        self.version.frame_bytes() as u64
    }

    /// How its codec is called.
    pub fn codec_name(&self) -> &'static str {
        codec_name(self.codec)
    }

    /// Length of all objects together.
    pub fn stored_bytes(&self) -> u64 {
        self.objects.iter().fold(0, |sum, object| sum.saturating_add(object.bytes))
    }

    /// Number of the first frame of each object, and behind the last one.
    pub fn first_frames(&self) -> Vec<u64> {
        let mut next = 0;
        let mut firsts = vec![0];
        firsts.extend(self.objects.iter().map(|object| {
            next += object.frames;
            next
        }));
        firsts
    }

    /// The two lines.
    ///
    /// # Errors
    /// The signing key cannot be used.
    pub fn encode(&self, signing: Option<&SigningKey>) -> Result<Vec<u8>, ManifestError> {
        let mut bytes = json(&self.outside())?;
        let mut seal = Seal { sha256: hex(&Sha256::digest(&bytes)), signer: None, signature: None };
        if let Some(key) = signing {
            let signature = key.sign(&[SIGNED, &bytes].concat())?;
            let signer = key.verifying().ok_or(KeyError::Failed("the signing key has no public half"))?;
            seal.signer = Some(STANDARD.encode(signer.bytes()));
            seal.signature = Some(STANDARD.encode(signature));
        }
        bytes.push(b'\n');
        bytes.extend(json(&seal)?);
        bytes.push(b'\n');
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    fn outside(&self) -> Outside {
        Outside {
            format: FORMAT.to_owned(),
            version: self.version.number(),
            bundle: hex(&self.bundle),
            label: self.label.to_string(),
            created: self.created.clone(),
            generation: self.generation,
            codec: codec_name(self.codec).to_owned(),
            cipher: CIPHERS[usize::from(self.sealed)].to_owned(),
            image_bytes: self.image_bytes,
            objects: self.objects.clone(),
            recipients: self.recipients.clone(),
            inside: self.inside.clone(),
        }
    }

    /// From its bytes, with who signed it. With `signer` only what that key signed is taken.
    ///
    /// # Errors
    /// It is damaged, none of this format, or not signed as expected.
    pub fn decode(bytes: &[u8], signer: Option<&VerifyingKey>) -> Result<(Self, Signed), ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong(bytes.len()));
        }
        let text = |why: &str| ManifestError::Text(why.to_owned());
        let whole = bytes.strip_suffix(b"\n").ok_or_else(|| text("it does not end with a line feed"))?;
        let middle =
            whole.iter().position(|byte| *byte == b'\n').ok_or_else(|| text("its second line is missing"))?;
        let (first, second) =
            (whole.get(..middle).unwrap_or_default(), whole.get(middle + 1..).unwrap_or_default());
        let signed = check_seal(first, second, signer)?;
        let outside: Outside =
            serde_json::from_slice(first).map_err(|error| ManifestError::Text(error.to_string()))?;
        Ok((Self::from_outside(outside)?, signed))
    }

    fn from_outside(outside: Outside) -> Result<Self, ManifestError> {
        let Outside {
            format,
            version,
            bundle,
            label,
            created,
            generation,
            codec,
            cipher,
            image_bytes,
            objects,
            recipients,
            inside,
        } = outside;
        let version = Version::from_number(version).filter(|_| format == FORMAT).ok_or_else(|| {
            let newest = Version::default().number();
            field(
                "format, version",
                format!("are '{format}', {version}; '{FORMAT}', 0 to {newest} is read here"),
            )
        })?;
        let label: Label = label.parse().map_err(|error| field("label", format!("is wrong: {error}")))?;
        let sealed = CIPHERS
            .iter()
            .position(|name| *name == cipher)
            .ok_or_else(|| field("cipher", format!("is '{cipher}'")))?
            == 1;
        let manifest = Self {
            version,
            bundle: unhex(&bundle, "bundle")?,
            label,
            created,
            generation,
            codec: codec_of(&codec)?,
            sealed,
            image_bytes,
            objects,
            recipients,
            inside,
        };
        manifest.check_objects()?;
        manifest.check_recipients()?;
        Ok(manifest)
    }

    fn check_objects(&self) -> Result<(), ManifestError> {
        if self.objects.is_empty() || self.objects.len() > MAX_OBJECTS {
            return Err(field("objects", format!("are {}", self.objects.len())));
        }
        if self.image_bytes > MAX_IMAGE_BYTES {
            let why = format!("is {}, at most {MAX_IMAGE_BYTES} are possible", self.image_bytes);
            return Err(field("image_bytes", why));
        }
        let mut frames = 0_u64;
        for (at, object) in self.objects.iter().enumerate() {
            let place = format!("objects[{at}]");
            let wanted = object_name(self.label, at as u32 + 1);
            if object.name != wanted {
                return Err(field(place, format!("is named '{}', here it is '{wanted}'", object.name)));
            }
            unhex::<16>(&object.md5, &format!("{place}.md5"))?;
            unhex::<32>(&object.sha256, &format!("{place}.sha256"))?;
            let most = *CHUNK_SIZES.end();
            if object.bytes > most {
                return Err(field(place, format!("has {} bytes, at most {most} are possible", object.bytes)));
            }
            if object.frames == 0 {
                return Err(field(place, "has no frames"));
            }
            if least_bytes(object.frames) > object.bytes {
                let why = format!("has {} frames, which {} bytes cannot hold", object.frames, object.bytes);
                return Err(field(place, why));
            }
            frames = frames.checked_add(object.frames).ok_or_else(|| field("frames", "are too many"))?;
        }
        let wanted = self.image_bytes.div_ceil(self.frame_bytes()).max(1);
        if frames != wanted {
            return Err(field(
                "frames",
                format!("are {frames}, an image of {} bytes has {wanted}", self.image_bytes),
            ));
        }
        Ok(())
    }

    fn check_recipients(&self) -> Result<(), ManifestError> {
        let bound = if self.sealed { 1..=MAX_RECIPIENTS } else { 0..=0 };
        if !bound.contains(&self.recipients.len()) {
            return Err(field(
                "recipients",
                format!("are {}, cipher '{}'", self.recipients.len(), CIPHERS[usize::from(self.sealed)]),
            ));
        }
        for (at, recipient) in self.recipients.iter().enumerate() {
            unhex::<32>(&recipient.key, &format!("recipients[{at}].key"))?;
        }
        let keys: BTreeSet<&str> = self.recipients.iter().map(|recipient| recipient.key.as_str()).collect();
        if keys.len() != self.recipients.len() {
            return Err(field("recipients", "have one key twice"));
        }
        Ok(())
    }

    /// The data key, for one of the recipients.
    ///
    /// # Errors
    /// The key is of none of them.
    pub fn data_key(&self, private: &PrivateKey) -> Result<Key, ManifestError> {
        let key = hex(&private.public().fingerprint());
        let Some(recipient) = self.recipients.iter().find(|recipient| recipient.key == key) else {
            return Err(ManifestError::Recipient { key });
        };
        let wrapped = STANDARD.decode(&recipient.wrapped).map_err(|_| field("wrapped", "is no base64"))?;
        Ok(private.unwrap(&wrapped)?)
    }

    /// Other recipients for the same data key: objects and inside stay as they are. It must be encoded, and signed, anew.
    ///
    /// # Errors
    /// There are none, too many, or a key cannot be used.
    pub fn rewrap(&mut self, data_key: &Key, publics: &[PublicKey]) -> Result<(), ManifestError> {
        let recipients = publics.iter().map(|public| Recipient::new(data_key, public));
        let recipients = recipients.collect::<Result<Vec<_>, _>>()?;
        let before = std::mem::replace(&mut self.recipients, recipients);
        self.check_recipients().inspect_err(|_| self.recipients = before)
    }

    /// What is inside, checked against what is outside.
    ///
    /// # Errors
    /// It does not open with this data key, or does not belong to these objects.
    pub fn inside(&self, data_key: Option<&Key>) -> Result<Inside, ManifestError> {
        let raw = self.inside.open(&self.about(), data_key.filter(|_| self.sealed), self.sealed)?;
        let (len, rest) = raw.split_first_chunk().ok_or(ManifestError::Inside("it is cut short"))?;
        let len = u32::from_le_bytes(*len) as usize;
        let (text, map) = rest.split_at_checked(len).ok_or(ManifestError::Inside("it is cut short"))?;
        let text: InsideText =
            serde_json::from_slice(text).map_err(|error| ManifestError::Text(format!("inside: {error}")))?;
        if unhex::<32>(&text.objects, "inside.objects")? != objects_digest(&self.objects) {
            return Err(ManifestError::Inside("it belongs to other objects"));
        }
        check_attributes(&text.attributes)?;
        let map = Map::decode(map)?;
        let sums = [
            ("bytes", map.image_bytes(), self.image_bytes),
            ("blocks", map.blocks(), text.blocks),
            ("filemarks", map.marks(), text.filemarks),
        ];
        if let Some((what, found, wanted)) = sums.into_iter().find(|(_, found, wanted)| found != wanted) {
            return Err(MapError::Sums { what, found, wanted }.into());
        }
        Ok(Inside { attributes: text.attributes, blake3: unhex(&text.blake3, "inside.blake3")?, map })
    }

    /// Closes the inside, whose fields outside must be as they will be written.
    pub(crate) fn close(
        &mut self,
        inside: Inside,
        data_key: Option<&Key>,
        random: &Randomness,
    ) -> Result<(), ManifestError> {
        check_attributes(&inside.attributes)?;
        let text = InsideText {
            attributes: inside.attributes,
            blocks: inside.map.blocks(),
            filemarks: inside.map.marks(),
            blake3: hex(&inside.blake3),
            objects: hex(&objects_digest(&self.objects)),
        };
        let text = json(&text)?;
        let raw = [&(text.len() as u32).to_le_bytes()[..], &text, &inside.map.encode()].concat();
        self.inside = Closed::new(&raw, self.codec, &self.about(), data_key, random)?;
        Ok(())
    }

    fn about(&self) -> Vec<u8> {
        [&self.bundle[..], self.label.as_str().as_bytes(), &self.generation.to_le_bytes()].concat()
    }
}

/// An object of so many frames has at least so many bytes, and those of their bodies.
const fn least_bytes(frames: u64) -> u64 {
    let headers = frames.saturating_mul(FRAME_HEADER_BYTES as u64);
    table::len(frames).saturating_add(headers).saturating_add(CHUNK_HEADER_BYTES as u64)
}

impl Closed {
    /// Before there is one.
    pub(crate) fn none() -> Self {
        Self { salt: String::new(), codec: String::new(), raw_bytes: 0, text: String::new() }
    }

    fn new(
        raw: &[u8],
        codec: Method,
        about: &[u8],
        data_key: Option<&Key>,
        random: &Randomness,
    ) -> Result<Self, ManifestError> {
        if raw.len() > MAX_INSIDE_BYTES {
            return Err(ManifestError::Inside("it is too long"));
        }
        let mut text = Vec::with_capacity(raw.len() + TAG_BYTES);
        let smaller = Compressors::new(codec, LEVEL).compress(raw, &mut text, &Habit::default());
        if !smaller {
            text.clear();
            text.extend_from_slice(raw);
        }
        let mut salt = [0; 32];
        if let Some(data_key) = data_key {
            random.fill(&mut salt).map_err(|error| ManifestError::Random(error.to_string()))?;
            cipher(data_key, &salt)?
                .seal(NONCE, about, &mut text, 0)
                .map_err(|_| ManifestError::Inside("it could not be sealed"))?;
        }
        let codec = codec_name(if smaller { codec } else { Method::Raw }).to_owned();
        Ok(Self { salt: hex(&salt), codec, raw_bytes: raw.len(), text: STANDARD.encode(text) })
    }

    fn open(&self, about: &[u8], data_key: Option<&Key>, sealed: bool) -> Result<Vec<u8>, ManifestError> {
        if self.raw_bytes > MAX_INSIDE_BYTES {
            return Err(ManifestError::Inside("it is too long"));
        }
        let (salt, codec) = (unhex::<32>(&self.salt, "inside.salt")?, codec_of(&self.codec)?);
        let mut text = STANDARD.decode(&self.text).map_err(|_| field("inside.text", "is no base64"))?;
        let stored: &[u8] = match (sealed, data_key) {
            (false, _) => &text,
            (true, None) => return Err(ManifestError::Inside("it is sealed, and there is no key")),
            (true, Some(data_key)) => cipher(data_key, &salt)?
                .open(NONCE, about, &mut text)
                .map_err(|_| ManifestError::Inside("it is not what was sealed here"))?,
        };
        let mut raw = Vec::with_capacity(self.raw_bytes);
        let back = Compressors::new(Method::Raw, 0).decompress(codec, stored, &mut raw);
        match back {
            Some(()) if raw.len() == self.raw_bytes => Ok(raw),
            _ => Err(ManifestError::Inside("it does not decompress to what it was")),
        }
    }
}

fn cipher(data_key: &Key, salt: &[u8]) -> Result<Cipher, ManifestError> {
    let key =
        data_key.expand(salt, KEY_INFO).map_err(|_| ManifestError::Inside("its key could not be derived"))?;
    Ok(Cipher::new(&key))
}

const CIPHERS: [&str; 2] = ["none", "aes-256-gcm"];
const CODECS: [(&str, Method); 3] = [("none", Method::Raw), ("zstd", Method::Zstd), ("lz4", Method::Lz4)];

fn codec_name(codec: Method) -> &'static str {
    CODECS.iter().find(|(_, method)| *method == codec).map_or("none", |(name, _)| name)
}

fn codec_of(name: &str) -> Result<Method, ManifestError> {
    let known = CODECS.iter().find(|(known, _)| *known == name);
    known.map(|(_, method)| *method).ok_or_else(|| field("codec", format!("is '{name}'")))
}

fn check_attributes(attributes: &Attributes) -> Result<(), ManifestError> {
    let bytes: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    match bytes <= MAX_ATTRIBUTE_BYTES {
        true => Ok(()),
        false => {
            Err(field("attributes", format!("have {bytes} bytes, at most {MAX_ATTRIBUTE_BYTES} are taken")))
        }
    }
}

fn check_seal(first: &[u8], second: &[u8], expected: Option<&VerifyingKey>) -> Result<Signed, ManifestError> {
    let seal: Seal =
        serde_json::from_slice(second).map_err(|error| ManifestError::Text(error.to_string()))?;
    // Written in one way only, so that no byte of it can be another one.
    if json(&seal)? != second {
        return Err(ManifestError::Text("its second line is not as it is written".to_owned()));
    }
    if unhex::<32>(&seal.sha256, "sha256")?[..] != Sha256::digest(first)[..] {
        return Err(ManifestError::Damaged);
    }
    let signed = match (seal.signer, seal.signature) {
        (None, None) => Signed::No,
        (Some(signer), Some(signature)) => {
            let key =
                STANDARD.decode(signer).ok().and_then(|bytes| bytes.try_into().ok()).map(VerifyingKey::new);
            let (Some(key), Ok(signature)) = (key, STANDARD.decode(signature)) else {
                return Err(ManifestError::Signature);
            };
            if !key.verifies(&[SIGNED, first].concat(), &signature) {
                return Err(ManifestError::Signature);
            }
            Signed::By(key)
        }
        _ => return Err(ManifestError::Text("it has half a signature".to_owned())),
    };
    match (expected, signed) {
        (Some(_), Signed::No) => Err(ManifestError::NotSigned),
        (Some(wanted), Signed::By(found)) if *wanted != found => {
            Err(ManifestError::Signer { found: STANDARD.encode(found.bytes()) })
        }
        _ => Ok(signed),
    }
}

fn objects_digest(objects: &[Stored]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for object in objects {
        hasher.update(format!("{}\n{}\n{}\n", object.name, object.bytes, object.sha256));
    }
    hasher.finalize().into()
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ManifestError> {
    serde_json::to_vec(value).map_err(|error| ManifestError::Text(error.to_string()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Only lower case is taken: one value has one form.
fn unhex<const N: usize>(text: &str, name: &str) -> Result<[u8; N], ManifestError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let bytes = pairs.collect::<Option<Vec<u8>>>().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| field(name, format!("is not {} digits of hexadecimal in lower case", 2 * N)))
}
