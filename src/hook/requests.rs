//! Requests of the API about hooks.

use vtl_api::{ApiError, ErrorCode, HookInfo, HookTest};

use super::{Ending, Hook, Vaulted};
use crate::daemon::Daemon;

const POST_VAULT: &str = "post-vault";

impl Daemon {
    /// The hook of cartridges that come to the vault, if the configuration names one.
    pub(crate) fn post_vault_hook(&self) -> Option<Hook> {
        let config = self.config();
        let hooks = config.hooks.clone();
        Some(Hook {
            program: hooks.post_vault?,
            limit: hooks.time_limit,
            retry_on: config.transfer.retry_on_exit_codes.clone(),
        })
    }

    /// Every hook there can be.
    pub(crate) fn hook_list(&self) -> Result<Vec<HookInfo>, ApiError> {
        let hook = self.post_vault_hook();
        Ok(vec![HookInfo {
            name: POST_VAULT.to_owned(),
            program: hook.as_ref().map(|hook| hook.program.display().to_string()),
            time_limit_s: self.config().hooks.time_limit.as_secs(),
            retry_exit_codes: hook.map(|hook| hook.retry_on).unwrap_or_default(),
        }])
    }

    /// Runs a hook with made-up facts: a cartridge that there is not, and job 0.
    pub(crate) fn hook_test(&self, name: &str) -> Result<HookTest, ApiError> {
        let hook = Some(name).filter(|name| *name == POST_VAULT).and_then(|_| self.post_vault_hook());
        let hook = hook.ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                format!("there is no hook {name}"),
                "set hooks.post_vault, and read the configuration again: vtl system reload",
            )
        })?;
        let about =
            Vaulted { label: "TST000L8".to_owned(), library: Some("test".to_owned()), job: 0, bytes: 0 };
        let run = hook.run(&about, &|| false);
        let (ok, why) = match run.ending {
            Ending::Done => (true, None),
            Ending::Stopped => (false, Some("it was ended".to_owned())),
            Ending::Failed(failure) => (false, Some(failure.message)),
        };
        Ok(HookTest { name: name.to_owned(), ok, why, said: run.said })
    }
}
