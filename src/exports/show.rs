//! What a folder on a remote says of itself: outside to everybody, inside to who has a key.

use vtl_api::{ApiError, ErrorCode, ExportContent, ExportDetail, ExportFile, ExportRecipient};
use vtl_bundle::{Entry, Inside, Manifest, ManifestError, Signed};
use vtl_codec::VerifyingKey;
use vtl_migrate::{FolderName, Maker};
use vtl_remote::Limiter;

use crate::daemon::Daemon;
use crate::keys::AnyKey;
use crate::state::hexadecimal;

/// So many files between filemarks are told one by one.
const FILES: usize = 100;

impl Daemon {
    /// What a folder's manifest says.
    pub(crate) fn export_show(&self, remote: &str, folder: &str) -> Result<ExportDetail, ApiError> {
        let name = super::parse_folder(folder)?;
        let bytes = self.manifest_of(remote, &name)?;
        let (manifest, signed) = Manifest::decode(&bytes, None).map_err(|error| unusable(&name, &error))?;
        let sha256 = vtl_migrate::sha256(&bytes);
        let (rows, here) = self
            .meta
            .read(|tx| {
                Ok((vtl_migrate::of_folder(tx, remote, folder)?, vtl_migrate::made_here(tx, &sha256)?))
            })
            .map_err(|error| crate::api::refused(&error))?;
        let keys = self.keys.all().map_err(crate::keys::refused)?;
        let known =
            |(name, key): &crate::keys::Listed| Some((name.to_string(), key.as_ref().ok()?.verifying()?));
        let signers: Vec<(String, VerifyingKey)> = keys.iter().filter_map(known).collect();
        let (inside, inside_problem) = match self.inside(&manifest, &keys) {
            Ok(inside) => (Some(content(&inside)), None),
            Err(why) => (None, Some(why)),
        };
        Ok(ExportDetail {
            folder: name.to_string(),
            label: manifest.label.to_string(),
            created: manifest.created.to_string(),
            generation: manifest.generation,
            codec: manifest.codec_name().to_owned(),
            encrypted: manifest.sealed,
            image_bytes: manifest.image_bytes,
            objects: manifest.objects.len() as u64,
            stored_bytes: manifest.stored_bytes(),
            manifest_sha256: sha256.clone(),
            folder_fits: manifest.folder() == name.to_string(),
            known: rows.iter().any(|row| row.has_manifest(&sha256)),
            signer: match signed {
                Signed::No => None,
                Signed::By(key) => Some(hexadecimal(&key.fingerprint())),
            },
            made_by: Maker::of(here, signed, &signers).told(),
            recipients: manifest.recipients.iter().map(|one| recipient(one, &keys)).collect(),
            inside,
            inside_problem,
        })
    }

    fn manifest_of(&self, remote: &str, name: &FolderName) -> Result<Vec<u8>, ApiError> {
        let opened = self.opened("remote", remote)?;
        let limiter = Limiter::unlimited();
        let found = self.remotes.wait(vtl_migrate::manifest_of(&*opened, name, &limiter));
        let found = found.map_err(crate::remotes::refused)?.map_err(|error| super::not_listed(&error))?;
        found.map(Into::into).ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                format!("remote {remote}: folder {name} has no manifest: there is no complete export in it"),
                format!("see vtl export ls --remote {remote}"),
            )
            .about("folder")
        })
    }

    /// With the first private key that is here for one of the recipients.
    fn inside(&self, manifest: &Manifest, keys: &[crate::keys::Listed]) -> Result<Inside, String> {
        let told = |error: ManifestError| error.to_string();
        if !manifest.sealed {
            return manifest.inside(None).map_err(told);
        }
        let fits = |key: &AnyKey| {
            let print = hexadecimal(&key.fingerprint());
            key.is_private() && manifest.recipients.iter().any(|one| one.key == print)
        };
        let found = keys.iter().find(|(_, key)| key.as_ref().is_ok_and(fits));
        let Some((name, _)) = found else {
            return Err("it is encrypted, and the private key of no recipient is here".to_owned());
        };
        let private = self.keys.private(name.as_str()).map_err(|error| error.to_string())?;
        let data_key = manifest.data_key(&private).map_err(told)?;
        manifest.inside(Some(&data_key)).map_err(told)
    }
}

fn unusable(name: &FolderName, error: &ManifestError) -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        format!("folder {name}: {error}"),
        "the folder is damaged or none of an export; vtl-decode tells more",
    )
}

fn recipient(one: &vtl_bundle::Recipient, keys: &[crate::keys::Listed]) -> ExportRecipient {
    let is_it = |key: &AnyKey| hexadecimal(&key.fingerprint()) == one.key;
    let found = keys.iter().find_map(|(name, key)| Some((name, key.as_ref().ok().filter(|key| is_it(key))?)));
    ExportRecipient {
        key: found.map(|(name, _)| name.to_string()),
        private: found.is_some_and(|(_, key)| key.is_private()),
        bits: u32::try_from(one.bits).unwrap_or(u32::MAX),
        fingerprint: one.key.clone(),
    }
}

fn content(inside: &Inside) -> ExportContent {
    let lengths = inside.map.entries().filter_map(|entry| match entry {
        Entry::Blocks { len, .. } => Some(len),
        Entry::Marks { .. } => None,
    });
    let (smallest, largest) = lengths.fold((None, None), |(least, most): (Option<u32>, Option<u32>), len| {
        (Some(least.map_or(len, |least| least.min(len))), Some(most.map_or(len, |most| most.max(len))))
    });
    ExportContent {
        blocks: inside.map.blocks(),
        filemarks: inside.map.marks(),
        map_entries: inside.map.entries().count() as u64,
        smallest_block: smallest,
        largest_block: largest,
        blake3: hexadecimal(&inside.blake3),
        attributes: inside.attributes.clone(),
        files: files(inside.map.entries()),
    }
}

/// The first files: what stands between filemarks; of those behind the last mark only what has blocks.
fn files(entries: impl Iterator<Item = Entry>) -> Vec<ExportFile> {
    let mut files = Vec::new();
    let mut open = ExportFile::default();
    for entry in entries {
        match entry {
            Entry::Blocks { len, count } => {
                open.blocks = open.blocks.saturating_add(count);
                open.bytes = open.bytes.saturating_add(u64::from(len).saturating_mul(count));
            }
            Entry::Marks { count } => {
                for _ in 0..count {
                    let next = ExportFile { number: open.number + 1, ..ExportFile::default() };
                    files.push(std::mem::replace(&mut open, next));
                    if files.len() == FILES {
                        return files;
                    }
                }
            }
        }
    }
    if open.blocks > 0 {
        files.push(open);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(entries: &[Entry]) -> Vec<(u64, u64, u64)> {
        files(entries.iter().copied())
            .into_iter()
            .map(|file| (file.number, file.blocks, file.bytes))
            .collect()
    }

    #[test]
    fn files_are_what_stands_between_filemarks_and_a_tape_of_marks_alone_is_no_long_list() {
        let blocks = |len, count| Entry::Blocks { len, count };
        let marks = |count| Entry::Marks { count };
        assert_eq!(told(&[]), []);
        assert_eq!(
            told(&[blocks(10, 2), blocks(3, 1), marks(2), blocks(5, 1)]),
            [(0, 3, 23), (1, 0, 0), (2, 1, 5)]
        );
        assert_eq!(told(&[blocks(10, 2), marks(1)]), [(0, 2, 20)]);
        assert_eq!(told(&[marks(4_000_000_000)]).len(), 100);
    }
}
