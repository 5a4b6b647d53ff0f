//! Every text key of RFC 7143 in one table: section 13, and AuthMethod and CHAP of section 12.
//!
//! The negotiation reads this table ([`crate::params`]), and `docs/iscsi-keys.md` shows it; a test compares the
//! two. The rows stand in the order in which they are negotiated, which is not the order of the text.

use core::ops::RangeInclusive;

use crate::{
    config::{DigestOffer, Limits},
    params::{Digest, Params},
};

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name in a text.
    pub name: &'static str,
    /// What an initiator's value does.
    pub rule: Rule,
    /// Who may send it.
    pub sender: Sender,
    /// In which part of a connection's life.
    pub phase: Phase,
    /// In which sessions it means something.
    pub scope: Scope,
    /// The value when nobody sends it, as text.
    pub default: Option<&'static str>,
    /// True if we offer our own value when the initiator is silent and the default is outside our limits.
    pub offered: bool,
    /// RFC 7143's clause.
    pub clause: &'static str,
}

impl Key {
    /// The row of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

/// Who may send a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The initiator only.
    Initiator,
    /// The target only.
    Target,
    /// Both.
    Both,
}

/// When a key may be sent. `Io` and `Lo` are the standard's IO and LO; with one connection a session they are
/// the same to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// SecurityNegotiation only.
    Security,
    /// Initialize only: the operational stage of any login.
    Io,
    /// Leading only: the operational stage of a session's first login.
    Lo,
    /// Any stage of a login: the names.
    AnyStage,
    /// Operational stage and full feature phase.
    All,
    /// Full feature phase only.
    FullFeature,
}

/// In which sessions a key means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All sessions.
    Any,
    /// Irrelevant when SessionType=Discovery.
    NormalOnly,
}

/// How a value is found. Functions name our own limit and the parameter that takes the result.
#[derive(Debug)]
pub enum Rule {
    /// The smaller of both numbers; out of range is rejected.
    Minimum {
        /// What the standard allows.
        range: RangeInclusive<u32>,
        /// Our number.
        ours: fn(&Limits, &Params) -> u32,
        /// Where the result goes.
        slot: fn(&mut Params) -> &mut u32,
    },
    /// The greater of both numbers; out of range is rejected.
    Maximum {
        /// What the standard allows.
        range: RangeInclusive<u32>,
        /// Our number.
        ours: fn(&Limits, &Params) -> u32,
        /// Where the result goes.
        slot: fn(&mut Params) -> &mut u32,
    },
    /// Yes if both say Yes.
    And {
        /// Our word.
        ours: fn(&Limits) -> bool,
        /// Where the result goes.
        slot: fn(&mut Params) -> &mut bool,
    },
    /// Yes if one says Yes.
    Or {
        /// Our word.
        ours: fn(&Limits) -> bool,
        /// Where the result goes.
        slot: fn(&mut Params) -> &mut bool,
    },
    /// The first of the offered digests that we allow; none: no login.
    Digest {
        /// What we allow.
        ours: fn(&Limits) -> DigestOffer,
        /// Where the result goes.
        slot: fn(&mut Params) -> &mut Digest,
    },
    /// The one value that we support, if it is in the list; otherwise rejected.
    OneOf {
        /// The value.
        only: &'static str,
    },
    /// A number that is told, not negotiated; out of range ends the login.
    DeclaredNumber {
        /// What the standard allows.
        range: RangeInclusive<u32>,
        /// Where it goes.
        slot: fn(&mut Params) -> &mut u32,
    },
    /// Told, and of no consequence.
    Ignored,
    /// Answered `Reject`.
    Refused,
    /// Who logs in where: [`crate::login`] reads it.
    Login,
    /// Who the peer really is: [`crate::chap`] reads it.
    Chap,
    /// Only we send it; from an initiator it is an error.
    Ours,
}

/// What the standard allows for lengths of segments and bursts.
const LENGTHS: RangeInclusive<u32> = 512..=16_777_215;
/// What the standard allows for the two times, in seconds.
const SECONDS: RangeInclusive<u32> = 0..=3600;

impl Limits {
    /// MaxRecvDataSegmentLength within the standard's range, and not below the default, which holds until we
    /// have said another number.
    pub(crate) fn our_max_recv(&self) -> u32 {
        self.max_recv_data_segment_length.clamp(8192, *LENGTHS.end())
    }
}

/// The table.
pub static KEYS: [Key; 35] = [
    row("AuthMethod", Rule::Chap, Sender::Both, Phase::Security, "12.1"),
    row("CHAP_A", Rule::Chap, Sender::Both, Phase::Security, "12.1.3"),
    row("CHAP_I", Rule::Chap, Sender::Both, Phase::Security, "12.1.3"),
    row("CHAP_C", Rule::Chap, Sender::Both, Phase::Security, "12.1.3"),
    row("CHAP_N", Rule::Chap, Sender::Both, Phase::Security, "12.1.3"),
    row("CHAP_R", Rule::Chap, Sender::Both, Phase::Security, "12.1.3"),
    row("InitiatorName", Rule::Login, Sender::Initiator, Phase::AnyStage, "13.5"),
    row("InitiatorAlias", Rule::Login, Sender::Initiator, Phase::AnyStage, "13.7"),
    row("TargetName", Rule::Login, Sender::Both, Phase::AnyStage, "13.4"),
    row("SessionType", Rule::Login, Sender::Initiator, Phase::AnyStage, "13.21").default("Normal"),
    row("TargetAlias", Rule::Ours, Sender::Target, Phase::AnyStage, "13.6"),
    row("TargetAddress", Rule::Ours, Sender::Target, Phase::AnyStage, "13.8"),
    row("TargetPortalGroupTag", Rule::Ours, Sender::Target, Phase::AnyStage, "13.9"),
    row("SendTargets", Rule::Refused, Sender::Initiator, Phase::FullFeature, "13.3"),
    row(
        "HeaderDigest",
        Rule::Digest { ours: |l| l.header_digest, slot: |p| &mut p.header_digest },
        Sender::Both,
        Phase::Io,
        "13.1",
    )
    .default("None")
    .offered(),
    row(
        "DataDigest",
        Rule::Digest { ours: |l| l.data_digest, slot: |p| &mut p.data_digest },
        Sender::Both,
        Phase::Io,
        "13.1",
    )
    .default("None")
    .offered(),
    row(
        "MaxConnections",
        Rule::Minimum { range: 1..=65_535, ours: |_, _| 1, slot: |p| &mut p.max_connections },
        Sender::Both,
        Phase::Lo,
        "13.2",
    )
    .default("1")
    .normal_only(),
    row(
        "InitialR2T",
        Rule::Or { ours: |l| l.initial_r2t, slot: |p| &mut p.initial_r2t },
        Sender::Both,
        Phase::Lo,
        "13.10",
    )
    .default("Yes")
    .normal_only(),
    row(
        "ImmediateData",
        Rule::And { ours: |l| l.immediate_data, slot: |p| &mut p.immediate_data },
        Sender::Both,
        Phase::Lo,
        "13.11",
    )
    .default("Yes")
    .offered()
    .normal_only(),
    row(
        "MaxRecvDataSegmentLength",
        Rule::DeclaredNumber { range: LENGTHS, slot: |p| &mut p.max_recv_theirs },
        Sender::Both,
        Phase::All,
        "13.12",
    )
    .default("8192"),
    row(
        "MaxBurstLength",
        Rule::Minimum {
            range: LENGTHS,
            ours: |l, _| l.max_burst_length.clamp(*LENGTHS.start(), *LENGTHS.end()),
            slot: |p| &mut p.max_burst_length,
        },
        Sender::Both,
        Phase::Lo,
        "13.13",
    )
    .default("262144")
    .offered()
    .normal_only(),
    row(
        "FirstBurstLength",
        Rule::Minimum {
            range: LENGTHS,
            ours: |l, p| l.first_burst_length.clamp(*LENGTHS.start(), *LENGTHS.end()).min(p.max_burst_length),
            slot: |p| &mut p.first_burst_length,
        },
        Sender::Both,
        Phase::Lo,
        "13.14",
    )
    .default("65536")
    .offered()
    .normal_only(),
    row(
        "DefaultTime2Wait",
        Rule::Maximum {
            range: SECONDS,
            ours: |l, _| l.default_time2wait.min(*SECONDS.end()),
            slot: |p| &mut p.default_time2wait,
        },
        Sender::Both,
        Phase::Lo,
        "13.15",
    )
    .default("2"),
    row(
        "DefaultTime2Retain",
        Rule::Minimum {
            range: SECONDS,
            ours: |l, _| l.default_time2retain.min(*SECONDS.end()),
            slot: |p| &mut p.default_time2retain,
        },
        Sender::Both,
        Phase::Lo,
        "13.16",
    )
    .default("20"),
    row(
        "MaxOutstandingR2T",
        Rule::Minimum {
            range: 1..=65_535,
            ours: |l, _| l.max_outstanding_r2t.clamp(1, 65_535),
            slot: |p| &mut p.max_outstanding_r2t,
        },
        Sender::Both,
        Phase::Lo,
        "13.17",
    )
    .default("1")
    .normal_only(),
    row(
        "DataPDUInOrder",
        Rule::Or { ours: |_| true, slot: |p| &mut p.data_pdu_in_order },
        Sender::Both,
        Phase::Lo,
        "13.18",
    )
    .default("Yes")
    .normal_only(),
    row(
        "DataSequenceInOrder",
        Rule::Or { ours: |_| true, slot: |p| &mut p.data_sequence_in_order },
        Sender::Both,
        Phase::Lo,
        "13.19",
    )
    .default("Yes")
    .normal_only(),
    row(
        "ErrorRecoveryLevel",
        Rule::Minimum { range: 0..=2, ours: |_, _| 0, slot: |p| &mut p.error_recovery_level },
        Sender::Both,
        Phase::Lo,
        "13.20",
    )
    .default("0"),
    row("TaskReporting", Rule::OneOf { only: "RFC3720" }, Sender::Both, Phase::Lo, "13.23")
        .default("RFC3720")
        .normal_only(),
    row(
        "iSCSIProtocolLevel",
        Rule::Minimum { range: 0..=31, ours: |_, _| 1, slot: |p| &mut p.protocol_level },
        Sender::Both,
        Phase::Lo,
        "13.24",
    )
    .default("1")
    .normal_only(),
    row("IFMarker", Rule::Refused, Sender::Both, Phase::Io, "13.25"),
    row("OFMarker", Rule::Refused, Sender::Both, Phase::Io, "13.25"),
    row("IFMarkInt", Rule::Refused, Sender::Both, Phase::Io, "13.25"),
    row("OFMarkInt", Rule::Refused, Sender::Both, Phase::Io, "13.25"),
    row("X#NodeArchitecture", Rule::Ignored, Sender::Both, Phase::Lo, "13.26"),
];

const fn row(name: &'static str, rule: Rule, sender: Sender, phase: Phase, clause: &'static str) -> Key {
    Key { name, rule, sender, phase, scope: Scope::Any, default: None, offered: false, clause }
}

impl Key {
    const fn default(self, default: &'static str) -> Self {
        // Field by field: a constant function may not drop the old value that `..self` would leave.
        let Self { name, rule, sender, phase, scope, offered, clause, .. } = self;
        Self { name, rule, sender, phase, scope, default: Some(default), offered, clause }
    }

    const fn normal_only(self) -> Self {
        let Self { name, rule, sender, phase, default, offered, clause, .. } = self;
        Self { name, rule, sender, phase, scope: Scope::NormalOnly, default, offered, clause }
    }

    const fn offered(self) -> Self {
        let Self { name, rule, sender, phase, scope, default, clause, .. } = self;
        Self { name, rule, sender, phase, scope, default, offered: true, clause }
    }
}
