//! What bytes become before they leave memory for good: compressed when it pays, then sealed; and the keys for that.
//!
//! ```text
//! passphrase, key file -> key -> keys of files and objects
//! bytes -> compress -> seal (AES-256-GCM) -> whoever keeps them
//! data key -> RSA-OAEP -> wrapped for whoever may open it;   text -> Ed25519 -> signature
//! ```
//!
//! Nothing here knows files, tapes or remotes. The store and the bundle format say what is sealed along, where nonces come from and
//! which numbers stand for what on the disk. One library does all ciphers, RSA and signatures: AWS-LC, whose RSA runs in constant time.

mod compress;
mod key;
mod passphrase;
mod pem;
mod portion;
mod rsa;
mod seal;
mod sign;

pub use compress::{Compressors, Habit, Method, pays};
pub use key::{KEY_BYTES, Key, NotDerived, Randomness};
pub use passphrase::{Cost, MAX_COST, from_passphrase};
pub use pem::KeyError;
pub use portion::{Compressed, Portion, Run};
pub use rsa::{PrivateKey, PublicKey, RSA_BITS};
pub use seal::{Cipher, NONCE_BYTES, NotOpened, OVERHEAD, SealError, Sealer, TAG_BYTES};
pub use vtl_types::Secret;

pub use sign::{SIGNATURE_BYTES, SigningKey, VERIFYING_KEY_BYTES, VerifyingKey};
