//! Requests of the API about keys.

use std::path::Path;

use vtl_api::{ApiError, CreateKey, Done, ErrorCode, ImportKey, KeyInfo, KeyText, RemoveKey};
use vtl_codec::Randomness;

use super::{AnyKey, KeyRefused, Sort, given};
use crate::daemon::{Daemon, invalid, lock};
use crate::given_name::GivenName;
use crate::own_files::not_ours;
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
        let file = Path::new(&request.file);
        let file = not_ours(self.state.path(), file)
            .map_err(|why| not_imported(KeyRefused::File { path: file.to_owned(), why }))?;
        let key = self.keys.import(&file, &request.name).map_err(not_imported)?;
        Ok(is_here(&request.name, &key))
    }

    /// Makes a key that signs.
    pub(crate) fn key_create(&self, name: &str, request: &CreateKey) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        match request.sort.as_deref().unwrap_or(Sort::Ed25519.word()) {
            "ed25519" => {}
            "rsa" => {
                return Err(ApiError::new(
                    ErrorCode::Unsupported,
                    "an RSA key that is here alone would be lost with this server, and with it what was encrypted for it",
                    format!("make it with openssl genrsa -out key.pem 3072, keep that file elsewhere, and vtl key import key.pem --name {name}"),
                )
                .about("type"));
            }
            other => {
                return Err(invalid(format!("'{other}' is no sort of key"), "write ed25519").about("type"));
            }
        }
        let key = self.keys.create(name, &Randomness::system()).map_err(refused)?;
        Ok(is_here(name, &key))
    }

    /// The public part of a key as text.
    pub(crate) fn key_public(&self, name: &str) -> Result<KeyText, ApiError> {
        let key = self.keys.any(name).map_err(refused)?;
        Ok(KeyText { name: name.to_owned(), pem: key.public_pem() })
    }

    /// Forgets a key that nothing uses. One with a private part goes only by its name typed again.
    pub(crate) fn key_remove(&self, name: &str, request: &RemoveKey) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let name = given(name).map_err(refused)?;
        self.not_in_use(&name)?;
        let why = match (request.confirm.as_deref(), self.lost_with(&name)) {
            (Some(typed), _) if typed == name.as_str() => None,
            (_, Some(lost)) => Some(format!("without key {name}, {lost}")),
            (Some(typed), None) => Some(format!("key {name} is not '{}'", typed.escape_debug())),
            (None, None) => None,
        };
        if let Some(why) = why {
            let remedy =
                format!("see that the key is kept elsewhere, and type its name once more: --confirm {name}");
            return Err(invalid(why, &remedy).about("confirm"));
        }
        self.keys.remove(&name).map_err(refused)?;
        Ok(Done { message: format!("key {name} is gone from this server"), names: vec![name.to_string()] })
    }

    /// What nobody can do any more without a key that may be the only one. A public part is no such key: whoever has the private one has it, too.
    fn lost_with(&self, name: &GivenName) -> Option<&'static str> {
        match self.keys.any(name.as_str()).map(|key| (key.is_private(), key.sort())) {
            Ok((false, _)) => None,
            Ok((true, Sort::Ed25519)) => {
                Some("nothing is signed with it any more, and what it has signed is foreign here")
            }
            // Of one that cannot be read nobody knows what it is.
            Ok((true, Sort::Rsa)) | Err(_) => {
                Some("what was encrypted for it and has no other recipient can never be read again")
            }
        }
    }

    fn not_in_use(&self, name: &GivenName) -> Result<(), ApiError> {
        let mut by = Vec::new();
        for noun in ["key", "sign_with"] {
            let users = self.meta.with(|meta| meta.read(|tx| crate::used::by(tx, noun, name.as_str())));
            by.extend(users.map_err(crate::used::refused)?);
            by.extend(self.is_configured(noun, name.as_str()));
        }
        // One that cannot be read opens nothing.
        if let Ok(public) = self.keys.public(name.as_str()) {
            let fingerprint = hexadecimal(&public.fingerprint());
            let needs = self.meta.with(|meta| meta.read(|tx| crate::used::by_fingerprint(tx, &fingerprint)));
            by.extend(needs.map_err(crate::used::refused)?);
        }
        match by.as_slice() {
            [] => Ok(()),
            by => Err(ApiError::new(
                ErrorCode::Conflict,
                format!("key {name} is in use: {}", by.join(", ")),
                "set another key for these libraries, and wait for these jobs or cancel them",
            )),
        }
    }
}

fn is_here(name: &str, key: &AnyKey) -> Done {
    let part = if key.is_private() { "public and private part" } else { "public part" };
    let (sort, bits, print) = (key.sort().word(), key.bits(), hexadecimal(&key.fingerprint()));
    Done {
        message: format!("key {name} is here, {part}: {sort}, {bits} bits, SHA-256 {print}"),
        names: vec![name.to_owned()],
    }
}

fn info(name: &GivenName, key: &Result<AnyKey, KeyRefused>) -> KeyInfo {
    let (known, problem) = match key {
        Ok(key) => (Some(key), None),
        Err(error) => (None, Some(error.to_string())),
    };
    KeyInfo {
        name: name.to_string(),
        sort: known.map(|key| key.sort().word().to_owned()),
        bits: known.and_then(|key| u32::try_from(key.bits()).ok()),
        fingerprint: known.map(|key| hexadecimal(&key.fingerprint())),
        private: known.map(AnyKey::is_private),
        problem,
    }
}

/// A key that is not imported, and which of the two members is wrong.
fn not_imported(error: KeyRefused) -> ApiError {
    let member = match error {
        KeyRefused::Name(_) | KeyRefused::Exists(_) => Some("name"),
        KeyRefused::File { .. } => Some("file"),
        _ => None,
    };
    ApiError { field: member.map(str::to_owned), ..refused(error) }
}

/// The one place where refusals of keys become the API's.
pub(crate) fn refused(error: KeyRefused) -> ApiError {
    let (code, remedy) = match &error {
        KeyRefused::Name(_) => (ErrorCode::Invalid, crate::given_name::HOW),
        KeyRefused::File { .. } => {
            let remedy =
                "name a file with one key, as docs/keys.md says, by its whole path, in a folder of your own";
            (ErrorCode::Invalid, remedy)
        }
        KeyRefused::Unknown(_) => (ErrorCode::NotFound, "see vtl key ls; vtl key import FILE --name K"),
        KeyRefused::Exists(_) => (ErrorCode::Exists, "choose another name"),
        KeyRefused::PublicOnly(_) => {
            (ErrorCode::Conflict, "import the private key under the same name: vtl key import")
        }
        KeyRefused::Sort { found: Sort::Rsa, .. } => {
            (ErrorCode::Invalid, "name an Ed25519 key: vtl key ls; vtl key create NAME makes one")
        }
        KeyRefused::Sort { found: Sort::Ed25519, .. } => {
            (ErrorCode::Invalid, "name an RSA key: vtl key ls; openssl genrsa makes one")
        }
        KeyRefused::Random(_) => (ErrorCode::Internal, "try again"),
        KeyRefused::Damaged { .. } => (
            ErrorCode::Internal,
            "remove its file from the folder keys of the state folder, and import the key again",
        ),
        KeyRefused::Disk(_) => (ErrorCode::Internal, "check the disk of the state folder"),
    };
    ApiError::new(code, error.to_string(), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tests::open;

    #[test]
    fn a_public_part_goes_without_its_name_typed_again_and_a_private_one_does_not() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let daemon = open(folder.path(), &[]);
        daemon.key_create("signer", &CreateKey::default()).unwrap();
        let file = outside.path().join("signer.pem");
        std::fs::write(&file, daemon.key_public("signer").unwrap().pem).unwrap();
        let file = file.to_str().unwrap().to_owned();
        daemon.key_import(&ImportKey { name: "site-a".to_owned(), file }).unwrap();

        let remove = |name: &str, confirm: Option<&str>| {
            daemon.key_remove(name, &RemoveKey { confirm: confirm.map(str::to_owned) })
        };
        for (name, confirm) in [("signer", None), ("signer", Some("site-a")), ("site-a", Some("signer"))] {
            let refused = remove(name, confirm).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some("confirm"), "{name} {confirm:?}: {refused:?}");
        }
        remove("site-a", None).unwrap();
        remove("signer", Some("signer")).unwrap();
        assert!(daemon.key_list().unwrap().is_empty());
    }
}
