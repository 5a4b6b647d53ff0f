//! CHAP secrets of the inventory, sealed one by one and all equally long, so that a sealed one is told by its length and tells nothing of its own.

use std::path::Path;

use vtl_api::Problem;
use vtl_codec::SealError;
use vtl_library::{KeptChap, all_chap};
use vtl_types::{ChapAccount, ChapLogin, IscsiName, Secret};
use zeroize::Zeroizing;

use crate::meta::SharedMeta;

use super::{NoSecret, Sealing, What};

/// Length, secret, zeros.
const PADDED_BYTES: usize = 1 + ChapLogin::MAX_LEN;
/// More than a secret that lies open can have.
const SEALED_BYTES: usize = PADDED_BYTES + vtl_codec::OVERHEAD;

/// Where the inventory keeps accounts.
const TABLE: &str = "chap";

/// Whether an inventory has sealed CHAP secrets. It is looked at as it lies: nothing is made, changed or migrated.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_sealed_in(inventory: &Path) -> Result<bool, String> {
    if !inventory.exists() {
        return Ok(false);
    }
    vtl_meta::inspect::has_secret_of(inventory, TABLE, SEALED_BYTES)
        .map_err(|error| format!("{}: {}", inventory.display(), error.advised()))
}

/// Whether a secret of the inventory is sealed.
pub(crate) fn is_sealed(secret: &Secret) -> bool {
    secret.len() == SEALED_BYTES
}

impl Sealing {
    /// An account as the inventory is to keep it.
    ///
    /// # Errors
    /// There are no random bytes.
    pub(crate) fn keep_chap(&self, iqn: &IscsiName, account: &ChapAccount) -> Result<KeptChap, SealError> {
        let KeptChap { user, secret, mutual } = KeptChap::from(account);
        let mutual = match mutual {
            Some((user, secret)) => Some((user, self.close(What::MutualChap, iqn, secret)?)),
            None => None,
        };
        Ok(KeptChap { user, secret: self.close(What::Chap, iqn, secret)?, mutual })
    }

    /// The account of what the inventory keeps.
    ///
    /// # Errors
    /// What keeps it from being read, in words for the operator.
    pub(crate) fn chap(&self, iqn: &IscsiName, kept: KeptChap) -> Result<ChapAccount, String> {
        let KeptChap { user, secret, mutual } = kept;
        let why = |error: NoSecret| error.to_string();
        let mutual = match mutual {
            Some((user, secret)) => Some((user, self.disclose(What::MutualChap, iqn, secret).map_err(why)?)),
            None => None,
        };
        let secret = self.disclose(What::Chap, iqn, secret).map_err(why)?;
        KeptChap { user, secret, mutual }.account().map_err(|error| error.to_string())
    }

    /// Targets that nobody can log in to, because their account does not open.
    pub(crate) fn chap_problems(&self, meta: &SharedMeta) -> Vec<Problem> {
        let problem = |(iqn, kept): (IscsiName, KeptChap)| {
            let why = self.chap(&iqn, kept).err()?;
            Some(Problem {
                subject: iqn.to_string(),
                message: format!("nobody can log in: its CHAP secret cannot be read: {why}"),
                remedy: "set it anew: vtl iscsi chap set".to_owned(),
            })
        };
        // An inventory that cannot be read is told of elsewhere.
        meta.read(all_chap).unwrap_or_default().into_iter().filter_map(problem).collect()
    }

    fn close(&self, what: What, iqn: &IscsiName, secret: Secret) -> Result<Secret, SealError> {
        let sealed = self.seal(what, iqn.as_str(), &padded(&secret))?;
        Ok(sealed.map_or(secret, Secret::new))
    }

    fn disclose(&self, what: What, iqn: &IscsiName, kept: Secret) -> Result<Secret, NoSecret> {
        if !is_sealed(&kept) {
            return Ok(kept);
        }
        let text = self.open_bytes(what, iqn.as_str(), kept.expose().to_vec())?;
        let (len, rest) = text.split_first().ok_or(NoSecret::Wrong)?;
        let secret = rest.get(..usize::from(*len)).ok_or(NoSecret::Wrong)?;
        Ok(Secret::new(secret.to_vec()))
    }
}

/// Secrets of CHAP have 255 bytes at most, so one byte says how many.
fn padded(secret: &Secret) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(PADDED_BYTES));
    text.push(u8::try_from(secret.len()).unwrap_or(u8::MAX));
    text.extend_from_slice(secret.expose());
    text.resize(PADDED_BYTES, 0);
    text
}
