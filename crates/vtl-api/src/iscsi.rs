//! Portals, targets, sessions, who may log in.

use serde::{Deserialize, Serialize};

/// `GET /iscsi/sessions`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionInfo {
    /// Target session identifying handle.
    pub tsih: u16,
    /// iSCSI name of the initiator.
    pub initiator: String,
    /// Target; none for a discovery session.
    pub target: Option<String>,
    /// Address that it comes from.
    pub peer: String,
    /// When it logged in.
    pub since: String,
}

/// `GET /iscsi/portals`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PortalInfo {
    /// Address and port.
    pub address: String,
    /// `configuration`, or `added` by a request: only those can be removed by one.
    pub origin: String,
}

/// `POST /iscsi/portals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AddPortal {
    /// Address and port.
    pub address: String,
}

/// `GET /iscsi/targets`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TargetInfo {
    /// iSCSI name.
    pub name: String,
    /// Library behind it, or none for the diagnostic disk.
    pub library: Option<String>,
    /// Logical unit numbers.
    pub luns: Vec<u16>,
    /// CHAP user, if CHAP is demanded.
    pub chap_user: Option<String>,
    /// Initiators that may log in; none: any.
    pub initiators: Option<Vec<String>>,
}

/// `PUT /iscsi/targets/{library}/chap`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetChap {
    /// User that initiators give.
    pub user: String,
    /// Their secret, 12 to 255 bytes.
    pub secret: String,
    /// User that we give back (mutual CHAP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual_user: Option<String>,
    /// Our secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual_secret: Option<String>,
}

impl std::fmt::Debug for SetChap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetChap")
            .field("user", &self.user)
            .field("mutual_user", &self.mutual_user)
            .finish_non_exhaustive()
    }
}

/// `POST /iscsi/targets/{library}/initiators`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AddInitiator {
    /// iSCSI name.
    pub initiator: String,
}
