//! Who may knock: a listener that others can reach needs somebody who decided about it.

use std::net::SocketAddr;

use vtl_types::IscsiName;

use crate::{
    config::Config,
    error::{ConfError, ConfErrors, Origin},
};

/// A target as the inventory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDoor {
    /// Its name.
    pub target: IscsiName,
    /// The inventory has CHAP or an initiator list for it.
    pub guarded: bool,
}

/// IPv4 loopback written as IPv6 counts, too.
pub(crate) fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl Config {
    /// Refuses a wide iSCSI listener in front of an open target. To be called before the listener opens, with all
    /// targets there are; without any, something in the file must guard.
    ///
    /// # Errors
    /// One for each open target.
    pub fn check_doors(&self, known: &[TargetDoor]) -> Result<(), ConfErrors> {
        let wide = self.iscsi.listen.iter().find(|address| !is_loopback(address));
        wide.map_or(Ok(()), |wide| self.check_listener(wide, known))
    }

    /// The same for one listener, which need not be in the file: it may be added while the daemon runs.
    ///
    /// # Errors
    /// As [`Config::check_doors`].
    pub fn check_listener(&self, wide: &SocketAddr, known: &[TargetDoor]) -> Result<(), ConfErrors> {
        if is_loopback(wide) || self.iscsi.allow_any_initiator {
            return Ok(());
        }
        let open = known.iter().filter(|door| !door.guarded && !self.guards(&door.target));
        let mut errors: Vec<_> = open.map(|door| self.open_door(wide, Some(&door.target))).collect();
        if known.is_empty() && !self.iscsi.targets.keys().any(|target| self.guards(target)) {
            errors.push(self.open_door(wide, None));
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(ConfErrors(errors)),
        }
    }

    /// Discovery's CHAP does not count: it guards the list of names, not the tapes.
    fn guards(&self, target: &IscsiName) -> bool {
        let access = self.iscsi.targets.get(target);
        access.is_some_and(|access| access.chap.is_some() || !access.initiators.is_empty())
    }

    fn open_door(&self, wide: &SocketAddr, target: Option<&IscsiName>) -> ConfError {
        let key = "iscsi.listen";
        let setting = self.settings.iter().find(|setting| setting.key == key);
        let (who, section) = match target {
            Some(target) => (format!("target {target}"), target.to_string()),
            None => ("every target".to_owned(), "IQN".to_owned()),
        };
        ConfError {
            origin: setting.map_or(Origin::Default, |s| s.origin.clone()),
            key: key.to_owned(),
            value: setting.map(|s| s.value.clone()).unwrap_or_default(),
            problem: format!(
                "{wide} is reachable from other machines, and {who} is open to all who reach it"
            ),
            remedy: format!(
                "set CHAP or an initiator list ([iscsi.target.\"{section}\"] with user and secret_file, or initiators; \
                 or vtl iscsi chap set), or iscsi.allow_any_initiator = true, or listen on 127.0.0.1"
            ),
        }
    }
}
