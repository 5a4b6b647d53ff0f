//! What a portal serves, to whom, and within which limits.
//!
//! The daemon builds these values from its own configuration; a [`Portal`] is replaced as a whole on reload, and a
//! connection keeps the one it started with.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{params::Digest, secret::Secret};

/// One target: its name and who may log in.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// The iSCSI name.
    pub name: String,
    /// A name for people, sent as TargetAlias.
    pub alias: Option<String>,
    /// The portal group that answers (TargetPortalGroupTag).
    pub portal_group_tag: u16,
    /// How both sides prove who they are.
    pub auth: Auth,
    /// The initiator names that may log in; `None`: any.
    pub initiators: Option<Vec<String>>,
    /// Values for TargetAddress, such as `10.0.0.1:3260,1`; empty: the address that the connection came to.
    pub portals: Vec<String>,
}

impl TargetConfig {
    /// Whether this is the target's name, in any writing that means the same.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        same_name(&self.name, name)
    }

    /// Whether an initiator of this name is on the list, or there is no list.
    #[must_use]
    pub fn admits(&self, initiator: &str) -> bool {
        self.initiators.as_ref().is_none_or(|list| list.iter().any(|name| same_name(name, initiator)))
    }
}

impl Portal {
    /// The target of this name.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&TargetConfig> {
        self.targets.iter().find(|target| target.is_named(name))
    }
}

pub(crate) fn same_name(a: &str, b: &str) -> bool {
    normalised(a).is_some_and(|a| Some(a) == normalised(b))
}

/// Most bytes of an iSCSI name (RFC 7143, 4.2.7.1).
pub const MAX_NAME_LEN: usize = 223;

/// The one writing of an iSCSI name, in lower case, or `None` if it is no name (RFC 7143, 4.2.7; RFC 3722).
///
/// Of stringprep only the mapping of ASCII letters is done: names beyond ASCII are refused, since two writings of
/// one such name could not be told to be the same.
#[must_use]
pub fn normalised(name: &str) -> Option<String> {
    if name.len() > MAX_NAME_LEN {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let (kind, rest) = lower.split_once('.')?;
    let good = match kind {
        "iqn" => is_iqn(rest),
        "eui" => is_hex(rest, &[16]),
        "naa" => is_hex(rest, &[16, 32]),
        _ => false,
    };
    good.then_some(lower)
}

/// `yyyy-mm.reversed.domain[:anything]`
fn is_iqn(rest: &str) -> bool {
    let Some((date, authority)) = rest.split_once('.') else { return false };
    let domain = authority.split(':').next().unwrap_or_default();
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b':');
    is_date(date) && !domain.is_empty() && authority.bytes().all(known)
}

fn is_date(date: &str) -> bool {
    let Some((year, month)) = date.split_once('-') else { return false };
    let digits = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month)
}

fn is_hex(rest: &str, lengths: &[usize]) -> bool {
    lengths.contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Proofs that are asked for and given.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// What an initiator must know; `None`: no login is asked to prove anything.
    pub chap: Option<ChapIn>,
    /// What we know, for an initiator that asks us to prove ourselves in turn (mutual CHAP).
    pub mutual: Option<ChapOut>,
}

/// A name and a secret with which an initiator proves itself.
#[derive(Clone, Debug)]
pub struct ChapIn {
    /// CHAP_N of the initiator.
    pub user: String,
    /// Shared with the initiator.
    pub secret: Secret,
}

/// A name and a secret with which we prove ourselves. A type of its own, so that the two are not mixed up.
#[derive(Clone, Debug)]
pub struct ChapOut {
    /// CHAP_N of the target.
    pub user: String,
    /// Shared with the initiator, different from the one in [`ChapIn`].
    pub secret: Secret,
}

/// Why an [`Auth`] is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthProblem {
    /// One secret for both directions would let a peer answer our challenge by asking us (RFC 7143, 9.2.1).
    SameSecretBothWays,
    /// Mutual CHAP without CHAP: RFC 7143 lets the initiator ask only while it proves itself.
    MutualAlone,
    /// A secret of fewer than 96 bits (RFC 7143, 12.1.3).
    SecretTooShort,
    /// A name that is empty or longer than 255 bytes, or that a text cannot carry.
    BadUser,
}

impl fmt::Display for AuthProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameSecretBothWays => "the mutual secret must differ from the initiator's secret",
            Self::MutualAlone => "mutual CHAP needs CHAP for the initiator, too",
            Self::SecretTooShort => "a CHAP secret has at least 12 bytes",
            Self::BadUser => "a CHAP user name has 1 to 255 bytes without NUL",
        })
    }
}

impl core::error::Error for AuthProblem {}

impl Auth {
    /// The first fault, for whoever writes the configuration. A login under a faulty `Auth` that could be abused
    /// (the same secret both ways, mutual alone) is refused whether or not this was asked.
    #[must_use]
    pub fn problem(&self) -> Option<AuthProblem> {
        let chap = self.chap.as_ref().map(|c| (&c.user, &c.secret));
        let mutual = self.mutual.as_ref().map(|c| (&c.user, &c.secret));
        let accounts = [chap, mutual].into_iter().flatten();
        if self.is_reflectable() {
            return Some(AuthProblem::SameSecretBothWays);
        }
        if chap.is_none() && mutual.is_some() {
            return Some(AuthProblem::MutualAlone);
        }
        accounts.map(account_problem).find(Option::is_some).flatten()
    }

    /// True when one secret serves both directions.
    pub(crate) fn is_reflectable(&self) -> bool {
        match (&self.chap, &self.mutual) {
            (Some(chap), Some(mutual)) => chap.secret.same_as(&mutual.secret).into(),
            _ => false,
        }
    }
}

fn account_problem((user, secret): (&String, &Secret)) -> Option<AuthProblem> {
    let carried = !user.is_empty() && user.len() <= crate::text::MAX_SIMPLE_LEN && !user.contains('\0');
    if !carried {
        return Some(AuthProblem::BadUser);
    }
    secret.is_too_short().then_some(AuthProblem::SecretTooShort)
}

/// Which digests may be agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestOffer {
    /// Never: `None` only.
    Off,
    /// What the initiator likes better of `None` and `CRC32C`.
    Allowed,
    /// `CRC32C` or no session.
    Required,
}

impl DigestOffer {
    /// The values that we agree to, best first.
    pub(crate) const fn supported(self) -> &'static [Digest] {
        match self {
            Self::Off => &[Digest::None],
            Self::Allowed => &[Digest::Crc32c, Digest::None],
            Self::Required => &[Digest::Crc32c],
        }
    }
}

/// Every limit of the protocol core, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of all targets together; the driver's registry keeps it.
    pub max_sessions: u32,
    /// TCP connections, logged in or not; the driver keeps it.
    pub max_connections: u32,
    /// A login that took longer is dropped.
    pub login_timeout_ns: u64,
    /// Silence after which we ask with a NOP-In.
    pub nop_interval_ns: u64,
    /// A NOP-In that is not answered for so long ends the connection.
    pub nop_timeout_ns: u64,
    /// Most bytes of one text (login or Text Request) over all its PDUs; the standard wants at least 8192.
    pub max_text_bytes: u32,
    /// Most bytes of additional header segments in one PDU.
    pub max_ahs_bytes: u32,
    /// Our MaxRecvDataSegmentLength: the largest data segment that we take.
    pub max_recv_data_segment_length: u32,
    /// Our MaxBurstLength. Below 262,144 it costs initiators that do not offer the key one more exchange.
    pub max_burst_length: u32,
    /// Our FirstBurstLength. Below 65,536 as above.
    pub first_burst_length: u32,
    /// Our MaxOutstandingR2T.
    pub max_outstanding_r2t: u32,
    /// Our InitialR2T: `true` forbids unsolicited Data-Out.
    pub initial_r2t: bool,
    /// Our ImmediateData.
    pub immediate_data: bool,
    /// Commands that a session may have in our hands.
    pub command_window: u32,
    /// Data-Out bytes that a session may have in our hands.
    pub max_bytes_in_flight: u64,
    /// Header digests that we agree to.
    pub header_digest: DigestOffer,
    /// Data digests that we agree to.
    pub data_digest: DigestOffer,
    /// Our DefaultTime2Wait, seconds.
    pub default_time2wait: u32,
    /// Our DefaultTime2Retain, seconds. 0: a session ends with its connection, which is the truth at
    /// ErrorRecoveryLevel 0.
    pub default_time2retain: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sessions: 64,
            max_connections: 256,
            login_timeout_ns: 15_000_000_000,
            nop_interval_ns: 30_000_000_000,
            nop_timeout_ns: 30_000_000_000,
            max_text_bytes: 64 << 10,
            max_ahs_bytes: 1020,
            max_recv_data_segment_length: 256 << 10,
            max_burst_length: 1 << 20,
            first_burst_length: 256 << 10,
            max_outstanding_r2t: 4,
            initial_r2t: false,
            immediate_data: true,
            command_window: 128,
            max_bytes_in_flight: 32 << 20,
            header_digest: DigestOffer::Allowed,
            data_digest: DigestOffer::Allowed,
            default_time2wait: 2,
            default_time2retain: 0,
        }
    }
}

/// All targets behind one listener.
#[derive(Clone, Debug, Default)]
pub struct Portal {
    /// The targets.
    pub targets: Vec<TargetConfig>,
    /// Who may ask for the list of targets.
    pub discovery_auth: Auth,
    /// What one peer may cost.
    pub limits: Limits,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(chap: Option<&str>, mutual: Option<&str>) -> Auth {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        Auth {
            chap: chap.map(|s| ChapIn { user: "host".into(), secret: secret(s) }),
            mutual: mutual.map(|s| ChapOut { user: "library".into(), secret: secret(s) }),
        }
    }

    #[test]
    fn an_auth_that_could_be_abused_is_named() {
        assert_eq!(Auth::default().problem(), None);
        assert_eq!(auth(Some("twelve chars"), Some("other twelve")).problem(), None);
        assert_eq!(
            auth(Some("twelve chars"), Some("twelve chars")).problem(),
            Some(AuthProblem::SameSecretBothWays)
        );
        assert_eq!(auth(None, Some("twelve chars")).problem(), Some(AuthProblem::MutualAlone));
        assert_eq!(auth(Some("eleven char"), None).problem(), Some(AuthProblem::SecretTooShort));
        let mut nameless = auth(Some("twelve chars"), None);
        nameless.chap.as_mut().unwrap().user.clear();
        assert_eq!(nameless.problem(), Some(AuthProblem::BadUser));
    }

    #[test]
    fn an_iscsi_name_is_an_iqn_an_eui_or_an_naa() {
        let long = std::format!("iqn.2026-11.internal.vtl:{}", "x".repeat(223 - 25));
        assert_eq!(long.len(), 223);
        for good in [
            "iqn.2026-11.internal.vtl:lib0",
            "iqn.1993-08.org.debian:01:3bf2a2b5c1a",
            "iqn.1991-05.com.microsoft:host-1.example.com",
            "iqn.2001-04.com.example",
            "eui.02004567a425678d",
            "naa.52004567ba64678d",
            "naa.62004567ba64678d0123456789abcdef",
            &long,
        ] {
            assert_eq!(normalised(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "iqn",
            "iqn.",
            "iqn.2026-11",
            "iqn.2026-11.",
            "iqn.2026-11.:x",
            "iqn.2026-13.com.example",
            "iqn.2026-00.com.example",
            "iqn.26-11.com.example",
            "iqn.2026-11.com.exa mple",
            "iqn.2026-11.com.example:a_b",
            "iqn.2026-11.com.example:ä",
            "iqn.2026-11.com.example:a/b",
            "eui.02004567a425678",
            "eui.02004567a425678dd",
            "eui.02004567a425678g",
            "naa.52004567ba64678d01",
            "wwn.52004567ba64678d",
            &std::format!("{long}x"),
        ] {
            assert_eq!(normalised(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        let name = "IQN.2026-11.Internal.VTL:Lib0";
        assert_eq!(normalised(name).as_deref(), Some("iqn.2026-11.internal.vtl:lib0"));
        assert!(same_name(name, "iqn.2026-11.internal.vtl:lib0"));
        assert!(!same_name("no name", "no name"));
    }

    #[test]
    fn a_portal_prints_without_its_secrets() {
        let portal =
            Portal { discovery_auth: auth(Some("correct horse battery"), None), ..Portal::default() };
        let text = std::format!("{portal:?}");
        assert!(text.contains("***") && !text.contains("horse"));
    }
}
