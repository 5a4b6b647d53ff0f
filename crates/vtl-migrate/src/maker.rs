//! Who made a bundle, as far as that is known here. Encryption says who may read, not who wrote: whoever has the public key can write one.

use vtl_bundle::Signed;
use vtl_codec::VerifyingKey;
use vtl_jobs::Failure;

use crate::catalogue;
use crate::job::{hex, read};
use crate::world::World;

/// Who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// It was exported from here: its manifest's hash is in the catalogue.
    Here,
    /// A signer that is known here, by this name.
    Signer(String),
    /// Nobody known, and why.
    Foreign(String),
}

impl Maker {
    /// From whether the catalogue has it as exported from here, and from its signature.
    #[must_use]
    pub fn of(made_here: bool, signed: Signed, signers: &[(String, VerifyingKey)]) -> Self {
        match (made_here, signer(signers, signed), signed) {
            (true, ..) => Self::Here,
            (_, Some(name), _) => Self::Signer(name.to_owned()),
            (.., Signed::No) => Self::Foreign("it is not signed, and was not exported from here".to_owned()),
            (.., Signed::By(key)) => Self::Foreign(format!(
                "it is signed by a key that is not known here (SHA-256 {})",
                hex(&key.fingerprint())
            )),
        }
    }

    pub(crate) fn find(world: &dyn World, sha256: &str, signed: Signed) -> Result<Self, Failure> {
        let here = read(world, |tx| Ok(catalogue::made_here(tx, sha256)?))?;
        Ok(Self::of(here, signed, &world.signers()?))
    }

    /// In words.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Here => "exported from this server".to_owned(),
            Self::Signer(name) => format!("signed by {name}"),
            Self::Foreign(why) => format!("foreign: {why}"),
        }
    }
}

/// The name of a known signer.
pub(crate) fn signer(signers: &[(String, VerifyingKey)], signed: Signed) -> Option<&str> {
    let Signed::By(key) = signed else { return None };
    signers.iter().find(|(_, known)| *known == key).map(|(name, _)| name.as_str())
}

/// Who signed a manifest, in words.
pub(crate) fn signature_told(signers: &[(String, VerifyingKey)], signed: Signed) -> String {
    match (signer(signers, signed), signed) {
        (Some(name), _) => format!("signed by {name}"),
        (None, Signed::No) => "not signed: who wrote it is not known".to_owned(),
        (None, Signed::By(key)) => {
            format!("signed by a key that is not known here (SHA-256 {})", hex(&key.fingerprint()))
        }
    }
}
