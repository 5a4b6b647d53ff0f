//! Requests of the API about keys.

use std::path::Path;

use vtl_api::{ApiError, Done, ErrorCode, ImportKey, KeyInfo, KeyText, RemoveKey};

use super::{AnyKey, KeyRefused, given};
use crate::daemon::{Daemon, invalid, lock};
use crate::given_name::GivenName;
use crate::state::hexadecimal;

impl Daemon {
    /// All keys, without what is secret of them.
    pub(crate) fn key_list(&self) -> Result<Vec<KeyInfo>, ApiError> {
        let all = self.keys.all().map_err(refused)?;
        Ok(all.iter().map(|(name, key)| info(name, key)).collect())
    }

    /// Keeps a key that is in a file on this machine.
    pub(crate) fn key_import(&self, request: &ImportKey) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let key = self.keys.import(Path::new(&request.file), &request.name).map_err(refused)?;
        let part = if key.is_private() { "public and private part" } else { "public part" };
        Ok(Done {
            message: format!(
                "key {} is here, {part}: {} bits, SHA-256 {}",
                request.name,
                key.public().bits(),
                hexadecimal(&key.public().fingerprint())
            ),
            names: vec![request.name.clone()],
        })
    }

    /// The public part of a key as text.
    pub(crate) fn key_public(&self, name: &str) -> Result<KeyText, ApiError> {
        let key = self.keys.public(name).map_err(refused)?;
        Ok(KeyText { name: name.to_owned(), pem: key.to_pem() })
    }

    /// Forgets a key that nothing uses.
    pub(crate) fn key_remove(&self, name: &str, request: &RemoveKey) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let name = given(name).map_err(refused)?;
        self.not_in_use(&name)?;
        if request.confirm.as_deref() != Some(name.as_str()) {
            return Err(invalid(
                format!(
                    "without key {name}, what was encrypted for it and has no other recipient can never be read again"
                ),
                &format!("see that the key is kept elsewhere, and type its name once more: --confirm {name}"),
            ));
        }
        self.keys.remove(&name).map_err(refused)?;
        Ok(Done { message: format!("key {name} is gone from this server"), names: vec![name.to_string()] })
    }

    fn not_in_use(&self, name: &GivenName) -> Result<(), ApiError> {
        // One that cannot be read opens nothing.
        let public = self.keys.public(name.as_str()).ok();
        let fingerprint = public.map(|key| hexadecimal(&key.fingerprint())).unwrap_or_default();
        let by = self.meta.with(|meta| {
            meta.read(|tx| {
                let mut by = crate::used::by(tx, "key", name.as_str())?;
                by.extend(crate::used::by_fingerprint(tx, &fingerprint)?);
                Ok(by)
            })
        });
        let by: Vec<String> = by
            .map_err(crate::used::refused)?
            .into_iter()
            .chain(self.is_configured("key", name.as_str()))
            .collect();
        match by.as_slice() {
            [] => Ok(()),
            by => Err(ApiError {
                code: ErrorCode::Conflict,
                message: format!("key {name} is in use: {}", by.join(", ")),
                remedy: Some(
                    "set another key for these libraries, and wait for these jobs or cancel them".to_owned(),
                ),
            }),
        }
    }
}

fn info(name: &GivenName, key: &Result<AnyKey, KeyRefused>) -> KeyInfo {
    let (known, problem) = match key {
        Ok(key) => (Some(key), None),
        Err(error) => (None, Some(error.to_string())),
    };
    KeyInfo {
        name: name.to_string(),
        bits: known.and_then(|key| u32::try_from(key.public().bits()).ok()),
        fingerprint: known.map(|key| hexadecimal(&key.public().fingerprint())),
        private: known.map(AnyKey::is_private),
        problem,
    }
}

/// The one place where refusals of keys become the API's.
pub(crate) fn refused(error: KeyRefused) -> ApiError {
    let (code, remedy) = match &error {
        KeyRefused::Name(_) | KeyRefused::File { .. } => (ErrorCode::Invalid, ""),
        KeyRefused::Unknown(_) => (ErrorCode::NotFound, "see vtl key ls; vtl key import FILE --name K"),
        KeyRefused::Exists(_) => (ErrorCode::Exists, "choose another name"),
        KeyRefused::PublicOnly(_) => {
            (ErrorCode::Conflict, "import the private key under the same name: vtl key import")
        }
        KeyRefused::Damaged { .. } => (
            ErrorCode::Internal,
            "remove its file from the folder keys of the state folder, and import the key again",
        ),
        KeyRefused::Disk(_) => (ErrorCode::Internal, "check the disk of the state folder"),
    };
    ApiError { code, message: error.to_string(), remedy: (!remedy.is_empty()).then(|| remedy.to_owned()) }
}
