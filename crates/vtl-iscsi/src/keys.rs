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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, format, string::String, string::ToString, vec::Vec};

    use super::*;
    use crate::params::{Negotiation, SessionType, Unacceptable};
    use crate::text::{Pair, TextWriter, pairs};

    const DOC: &str = include_str!("../../../docs/iscsi-keys.md");

    /// Our numbers in these tests: none is a default of the standard or of [`Limits`].
    fn limits() -> Limits {
        Limits {
            max_recv_data_segment_length: 1_000_000,
            max_burst_length: 900_000,
            first_burst_length: 80_000,
            max_outstanding_r2t: 7,
            initial_r2t: false,
            immediate_data: true,
            default_time2wait: 4,
            default_time2retain: 11,
            ..Limits::default()
        }
    }

    /// Offers one text in a fresh negotiation.
    fn offer(session: SessionType, limits: Limits, offers: &str) -> Result<(String, Params), Unacceptable> {
        let mut negotiation = Negotiation::new(session, limits);
        let mut answers = TextWriter::new();
        let text = offers.replace(' ', "\0") + "\0";
        negotiation.receive(&pairs(text.as_bytes()).unwrap(), &mut answers)?;
        let answers = String::from_utf8(answers.into_bytes()).unwrap();
        Ok((answers.trim_end_matches('\0').replace('\0', " "), negotiation.params()))
    }

    fn answer(offers: &str) -> Result<String, Unacceptable> {
        offer(SessionType::Normal, limits(), offers).map(|(answers, _)| answers)
    }

    const ERR: Result<&str, Unacceptable> = Err(Unacceptable);

    /// (offered, answered) for every row; the names and CHAP have their tests in `login` and `chap`, here they
    /// must be refused by the operational stage.
    const CASES: [(&str, Result<&str, Unacceptable>); 92] = [
        ("AuthMethod=None", ERR),
        ("CHAP_A=5", ERR),
        ("CHAP_I=1", ERR),
        ("CHAP_C=0x00", ERR),
        ("CHAP_N=host", ERR),
        ("CHAP_R=0x00", ERR),
        ("InitiatorName=iqn.2001-04.com.example", ERR),
        ("InitiatorAlias=host", ERR),
        ("TargetName=iqn.2001-04.com.example", ERR),
        ("SessionType=Normal", ERR),
        ("TargetAlias=x", ERR),
        ("TargetAddress=10.0.0.1:3260,1", ERR),
        ("TargetPortalGroupTag=1", ERR),
        ("SendTargets=All", Ok("SendTargets=Reject")),
        ("HeaderDigest=None", Ok("HeaderDigest=None")),
        ("HeaderDigest=CRC32C", Ok("HeaderDigest=CRC32C")),
        ("HeaderDigest=None,CRC32C", Ok("HeaderDigest=None")),
        ("HeaderDigest=CRC32C,None", Ok("HeaderDigest=CRC32C")),
        ("HeaderDigest=X-sum,CRC32C", Ok("HeaderDigest=CRC32C")),
        ("HeaderDigest=X-sum", Ok("HeaderDigest=Reject")),
        ("HeaderDigest=crc32c", Ok("HeaderDigest=Reject")),
        ("HeaderDigest=", Ok("HeaderDigest=Reject")),
        ("DataDigest=None", Ok("DataDigest=None")),
        ("DataDigest=CRC32C,None", Ok("DataDigest=CRC32C")),
        ("DataDigest=None,CRC32C", Ok("DataDigest=None")),
        ("MaxConnections=1", Ok("MaxConnections=1")),
        ("MaxConnections=8", Ok("MaxConnections=1")),
        ("MaxConnections=65535", Ok("MaxConnections=1")),
        ("MaxConnections=0", Ok("MaxConnections=Reject")),
        ("MaxConnections=65536", Ok("MaxConnections=Reject")),
        ("InitialR2T=Yes", Ok("InitialR2T=Yes")),
        ("InitialR2T=No", Ok("InitialR2T=No")),
        ("InitialR2T=no", Ok("InitialR2T=Reject")),
        ("ImmediateData=Yes", Ok("ImmediateData=Yes")),
        ("ImmediateData=No", Ok("ImmediateData=No")),
        ("ImmediateData=1", Ok("ImmediateData=Reject")),
        ("MaxRecvDataSegmentLength=512", Ok("")),
        ("MaxRecvDataSegmentLength=16777215", Ok("")),
        ("MaxRecvDataSegmentLength=511", ERR),
        ("MaxRecvDataSegmentLength=16777216", ERR),
        ("MaxRecvDataSegmentLength=lots", ERR),
        ("MaxBurstLength=899999", Ok("MaxBurstLength=899999")),
        ("MaxBurstLength=16777215", Ok("MaxBurstLength=900000")),
        ("MaxBurstLength=0x200", Ok("MaxBurstLength=512")),
        ("MaxBurstLength=511", Ok("MaxBurstLength=Reject")),
        ("MaxBurstLength=16777216", Ok("MaxBurstLength=Reject")),
        ("MaxBurstLength=4294967808", Ok("MaxBurstLength=Reject")),
        ("MaxBurstLength=-1", Ok("MaxBurstLength=Reject")),
        ("FirstBurstLength=512", Ok("FirstBurstLength=512")),
        ("FirstBurstLength=262144", Ok("FirstBurstLength=80000")),
        ("FirstBurstLength=511", Ok("FirstBurstLength=Reject")),
        ("FirstBurstLength=70000 MaxBurstLength=60000", Ok("MaxBurstLength=60000 FirstBurstLength=60000")),
        ("DefaultTime2Wait=0", Ok("DefaultTime2Wait=4")),
        ("DefaultTime2Wait=5", Ok("DefaultTime2Wait=5")),
        ("DefaultTime2Wait=3600", Ok("DefaultTime2Wait=3600")),
        ("DefaultTime2Wait=3601", Ok("DefaultTime2Wait=Reject")),
        ("DefaultTime2Retain=0", Ok("DefaultTime2Retain=0")),
        ("DefaultTime2Retain=20", Ok("DefaultTime2Retain=11")),
        ("DefaultTime2Retain=3601", Ok("DefaultTime2Retain=Reject")),
        ("MaxOutstandingR2T=1", Ok("MaxOutstandingR2T=1")),
        ("MaxOutstandingR2T=16", Ok("MaxOutstandingR2T=7")),
        ("MaxOutstandingR2T=0", Ok("MaxOutstandingR2T=Reject")),
        ("DataPDUInOrder=Yes", Ok("DataPDUInOrder=Yes")),
        ("DataPDUInOrder=No", Ok("DataPDUInOrder=Yes")),
        ("DataSequenceInOrder=Yes", Ok("DataSequenceInOrder=Yes")),
        ("DataSequenceInOrder=No", Ok("DataSequenceInOrder=Yes")),
        ("ErrorRecoveryLevel=0", Ok("ErrorRecoveryLevel=0")),
        ("ErrorRecoveryLevel=2", Ok("ErrorRecoveryLevel=0")),
        ("ErrorRecoveryLevel=3", Ok("ErrorRecoveryLevel=Reject")),
        ("TaskReporting=RFC3720", Ok("TaskReporting=RFC3720")),
        ("TaskReporting=FastAbort,ResponseFence,RFC3720", Ok("TaskReporting=RFC3720")),
        ("TaskReporting=FastAbort", Ok("TaskReporting=Reject")),
        ("iSCSIProtocolLevel=0", Ok("iSCSIProtocolLevel=0")),
        ("iSCSIProtocolLevel=1", Ok("iSCSIProtocolLevel=1")),
        ("iSCSIProtocolLevel=2", Ok("iSCSIProtocolLevel=1")),
        ("iSCSIProtocolLevel=32", Ok("iSCSIProtocolLevel=Reject")),
        ("IFMarker=No", Ok("IFMarker=Reject")),
        ("IFMarker=Yes", Ok("IFMarker=Reject")),
        ("OFMarker=No", Ok("OFMarker=Reject")),
        ("IFMarkInt=2048~8192", Ok("IFMarkInt=Reject")),
        ("OFMarkInt=2048~8192", Ok("OFMarkInt=Reject")),
        ("X#NodeArchitecture=ExampleOS,2.0", Ok("")),
        ("X-com.example.key=1", Ok("X-com.example.key=NotUnderstood")),
        ("X#Unknown=1", Ok("X#Unknown=NotUnderstood")),
        ("RDMAExtensions=Yes", Ok("RDMAExtensions=NotUnderstood")),
        ("maxburstlength=512", Ok("maxburstlength=NotUnderstood")),
        ("KRB_AP_REQ=0x00", Ok("KRB_AP_REQ=NotUnderstood")),
        ("MaxBurstLength=Irrelevant", ERR),
        ("MaxBurstLength=NotUnderstood", ERR),
        ("MaxBurstLength=Reject", ERR),
        ("HeaderDigest=Reject", ERR),
        ("MaxBurstLength=512 MaxBurstLength=512", ERR),
    ];

    #[test]
    fn every_offer_gets_its_answer() {
        for (offered, answered) in CASES {
            assert_eq!(answer(offered), answered.map(ToString::to_string), "{offered}");
        }
    }

    #[test]
    fn every_row_has_a_case() {
        let tried: BTreeSet<&str> = CASES.iter().filter_map(|(offer, _)| offer.split('=').next()).collect();
        let missing: Vec<&str> =
            KEYS.iter().map(|key| key.name).filter(|name| !tried.contains(name)).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn names_stand_once() {
        let names: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
    }

    #[test]
    fn what_means_nothing_for_a_discovery_session_is_irrelevant_there() {
        let irrelevant = [
            "MaxConnections=1",
            "InitialR2T=Yes",
            "ImmediateData=Yes",
            "MaxBurstLength=262144",
            "FirstBurstLength=65536",
            "MaxOutstandingR2T=1",
            "DataPDUInOrder=Yes",
            "DataSequenceInOrder=Yes",
            "TaskReporting=RFC3720",
            "iSCSIProtocolLevel=1",
        ];
        for offered in irrelevant {
            let name = offered.split('=').next().unwrap();
            let (answer, params) = offer(SessionType::Discovery, limits(), offered).unwrap();
            assert_eq!(answer, format!("{name}=Irrelevant"));
            assert_eq!(params, Params::default());
        }
        let named: BTreeSet<&str> = irrelevant.iter().filter_map(|offer| offer.split('=').next()).collect();
        let rows = KEYS.iter().filter(|key| key.scope == Scope::NormalOnly).map(|key| key.name).collect();
        assert_eq!(named, rows);
        let (answer, _) = offer(SessionType::Discovery, limits(), "HeaderDigest=CRC32C").unwrap();
        assert_eq!(answer, "HeaderDigest=CRC32C");
    }

    #[test]
    fn the_results_go_where_they_belong() {
        let offers = "HeaderDigest=CRC32C DataDigest=None,CRC32C MaxRecvDataSegmentLength=524288 InitialR2T=No \
                      ImmediateData=No MaxBurstLength=500000 FirstBurstLength=70000 DefaultTime2Wait=9 \
                      DefaultTime2Retain=8 MaxOutstandingR2T=3";
        let offers = offers.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, params) = offer(SessionType::Normal, limits(), &offers).unwrap();
        let expected = Params {
            header_digest: Digest::Crc32c,
            data_digest: Digest::None,
            max_recv_theirs: 524_288,
            initial_r2t: false,
            immediate_data: false,
            max_burst_length: 500_000,
            first_burst_length: 70_000,
            default_time2wait: 9,
            default_time2retain: 8,
            max_outstanding_r2t: 3,
            ..Params::default()
        };
        assert_eq!(params, expected);
    }

    #[test]
    fn a_required_digest_refuses_an_initiator_that_will_not() {
        let strict = Limits { header_digest: DigestOffer::Required, ..limits() };
        let ask = |offers| offer(SessionType::Normal, strict, offers).map(|(answers, _)| answers);
        assert_eq!(ask("HeaderDigest=None"), Err(Unacceptable));
        assert_eq!(ask("HeaderDigest=None,CRC32C").as_deref(), Ok("HeaderDigest=CRC32C"));
        let off = Limits { header_digest: DigestOffer::Off, ..limits() };
        let ask = |offers| offer(SessionType::Normal, off, offers).map(|(answers, _)| answers);
        assert_eq!(ask("HeaderDigest=CRC32C,None").as_deref(), Ok("HeaderDigest=None"));
        assert_eq!(ask("HeaderDigest=CRC32C").as_deref(), Ok("HeaderDigest=Reject"));
    }

    #[test]
    fn the_defaults_are_the_standards() {
        let params = &mut Params::default();
        for key in &KEYS {
            let default = match &key.rule {
                Rule::Minimum { slot, .. }
                | Rule::Maximum { slot, .. }
                | Rule::DeclaredNumber { slot, .. } => slot(params).to_string(),
                Rule::And { slot, .. } | Rule::Or { slot, .. } => {
                    crate::text::yes_no(*slot(params)).to_string()
                }
                Rule::Digest { slot, .. } => slot(params).name().to_string(),
                _ => continue,
            };
            assert_eq!(key.default, Some(default.as_str()), "{}", key.name);
        }
    }

    /// Type, sender, phase, scope, default and clause as `docs/iscsi-keys.md` writes them.
    fn doc_columns(key: &Key) -> [String; 6] {
        let range = |range: &RangeInclusive<u32>| format!("{}..{}", range.start(), range.end());
        let kind = match &key.rule {
            Rule::Minimum { range: r, .. } => format!("min {}", range(r)),
            Rule::Maximum { range: r, .. } => format!("max {}", range(r)),
            Rule::DeclaredNumber { range: r, .. } => format!("told {}", range(r)),
            Rule::OneOf { only } => format!("one of {only}"),
            Rule::And { .. } => "and".into(),
            Rule::Or { .. } => "or".into(),
            Rule::Digest { .. } => "digest".into(),
            Rule::Ignored => "told".into(),
            Rule::Refused => "refused".into(),
            Rule::Login => "names".into(),
            Rule::Chap => "proof".into(),
            Rule::Ours => "ours".into(),
        };
        let sender = match key.sender {
            Sender::Initiator => "I",
            Sender::Target => "T",
            Sender::Both => "I T",
        };
        let phase = match key.phase {
            Phase::Security => "security",
            Phase::Io => "IO",
            Phase::Lo => "LO",
            Phase::AnyStage => "login",
            Phase::All => "ALL",
            Phase::FullFeature => "FFP",
        };
        let scope = if key.scope == Scope::NormalOnly { "normal" } else { "all" };
        [
            kind,
            sender.into(),
            phase.into(),
            scope.into(),
            key.default.unwrap_or("–").into(),
            key.clause.into(),
        ]
    }

    #[test]
    fn the_document_has_the_rows_of_the_table() {
        let rows: Vec<Vec<&str>> = DOC
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| key "))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
        assert_eq!(names, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
        for (row, key) in rows.iter().zip(&KEYS) {
            let [name, kind, sender, phase, scope, default, ours, answer, clause] = row[..] else {
                panic!("nine columns: {row:?}")
            };
            assert_eq!([kind, sender, phase, scope, default, clause], doc_columns(key), "{name}");
            assert_eq!(ours.contains("**offered**"), key.offered, "{name}");
            assert!(!answer.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_document_has_the_default_limits() {
        let limits = Limits::default();
        let texts = [
            format!("*max_recv_data_segment_length*: {}", limits.max_recv_data_segment_length),
            format!("*max_burst_length*: {}", limits.max_burst_length),
            format!("*first_burst_length*: {}", limits.first_burst_length),
            format!("*default_time2wait*: {}", limits.default_time2wait),
            format!("*default_time2retain*: {}", limits.default_time2retain),
            format!("*max_outstanding_r2t*: {}", limits.max_outstanding_r2t),
            format!("*initial_r2t*: {}", crate::text::yes_no(limits.initial_r2t)),
            format!("*immediate_data*: {}", crate::text::yes_no(limits.immediate_data)),
        ];
        texts.iter().for_each(|text| assert!(DOC.contains(text.as_str()), "{text}"));
        assert_eq!(limits.max_text_bytes, 65_536);
    }

    #[test]
    fn a_key_has_a_name_that_a_text_can_carry() {
        for key in &KEYS {
            let text = format!("{}=\0", key.name);
            let expected = Pair { key: key.name, value: "" };
            assert_eq!(pairs(text.as_bytes()).as_deref(), Ok(&[expected][..]));
        }
    }
}
