//! The operational parameters of a session, and the negotiation that finds them.
//!
//! [`Negotiation`] walks the table in [`crate::keys`]: each offered key is answered by its row's rule, and what
//! the initiator left out although its default is outside our limits is offered by us ([`Negotiation::offers`]).
//! A key is negotiated once; a second time is an error (RFC 7143, 6.3).

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    config::Limits,
    keys::{KEYS, Key, Rule, Scope},
    text::{self, Pair, TextWriter},
};

/// A digest of header or data segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digest {
    /// None.
    #[default]
    None,
    /// CRC32C.
    Crc32c,
}

impl Digest {
    /// The value's name in a text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Crc32c => "CRC32C",
        }
    }
}

/// How task management is reported (RFC 7143, 13.23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskReporting {
    /// The semantics of RFC 3720, the only ones we offer.
    #[default]
    Rfc3720,
}

/// What was agreed on; the default is the standard's default of every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// HeaderDigest.
    pub header_digest: Digest,
    /// DataDigest.
    pub data_digest: Digest,
    /// Our MaxRecvDataSegmentLength: the largest data segment that the initiator may send.
    pub max_recv_ours: u32,
    /// The initiator's MaxRecvDataSegmentLength: the largest data segment that we may send.
    pub max_recv_theirs: u32,
    /// MaxBurstLength.
    pub max_burst_length: u32,
    /// FirstBurstLength, never above MaxBurstLength.
    pub first_burst_length: u32,
    /// MaxOutstandingR2T.
    pub max_outstanding_r2t: u32,
    /// InitialR2T: `true` forbids unsolicited Data-Out.
    pub initial_r2t: bool,
    /// ImmediateData.
    pub immediate_data: bool,
    /// DefaultTime2Wait, seconds.
    pub default_time2wait: u32,
    /// DefaultTime2Retain, seconds.
    pub default_time2retain: u32,
    /// MaxConnections: 1.
    pub max_connections: u32,
    /// ErrorRecoveryLevel: 0.
    pub error_recovery_level: u32,
    /// DataPDUInOrder: yes.
    pub data_pdu_in_order: bool,
    /// DataSequenceInOrder: yes.
    pub data_sequence_in_order: bool,
    /// TaskReporting.
    pub task_reporting: TaskReporting,
    /// iSCSIProtocolLevel.
    pub protocol_level: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            header_digest: Digest::None,
            data_digest: Digest::None,
            max_recv_ours: 8192,
            max_recv_theirs: 8192,
            max_burst_length: 262_144,
            first_burst_length: 65_536,
            max_outstanding_r2t: 1,
            initial_r2t: true,
            immediate_data: true,
            default_time2wait: 2,
            default_time2retain: 20,
            max_connections: 1,
            error_recovery_level: 0,
            data_pdu_in_order: true,
            data_sequence_in_order: true,
            task_reporting: TaskReporting::Rfc3720,
            protocol_level: 1,
        }
    }
}

/// Which keys have a meaning: SendTargets is all that a discovery session can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionType {
    /// A list of targets and nothing else.
    Discovery,
    /// SCSI.
    Normal,
}

/// A text that breaks the rules of negotiation; it ends the login (RFC 7143, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacceptable;

/// Where one key's negotiation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Untouched,
    /// We offered it and wait for the answer.
    Offered,
    Settled,
}

/// The operational keys of one login.
#[derive(Debug)]
pub struct Negotiation {
    session: SessionType,
    limits: Limits,
    params: Params,
    progress: [Progress; KEYS.len()],
    declared: bool,
}

impl Negotiation {
    /// Nothing agreed on yet.
    pub fn new(session: SessionType, limits: Limits) -> Self {
        let progress = [Progress::Untouched; KEYS.len()];
        Self { session, limits, params: Params::default(), progress, declared: false }
    }

    /// The values so far. Both sides know that a first burst is no longer than a burst (RFC 7143, 13.14).
    pub fn params(&self) -> Params {
        let mut params = self.params.clone();
        params.first_burst_length = params.first_burst_length.min(params.max_burst_length);
        params
    }

    /// Takes the operational keys of one text and writes the answers, in the order of the table, so that a rule
    /// may look at the result of an earlier row. Unknown keys get `NotUnderstood`.
    pub fn receive(&mut self, pairs: &[Pair<'_>], answers: &mut TextWriter) -> Result<(), Unacceptable> {
        for (row, progress) in KEYS.iter().zip(0..) {
            for pair in pairs.iter().filter(|pair| pair.key == row.name) {
                self.key(row, progress, pair.value, answers)?;
            }
        }
        pairs.iter().filter(|p| Key::find(p.key).is_none()).for_each(|p| answers.push(p.key, NOT_UNDERSTOOD));
        Ok(())
    }

    /// Our MaxRecvDataSegmentLength, once.
    pub fn declare(&mut self, answers: &mut TextWriter) {
        if !self.declared {
            self.declared = true;
            self.params.max_recv_ours = self.limits.our_max_recv();
            answers.push("MaxRecvDataSegmentLength", self.params.max_recv_ours);
        }
    }

    /// Offers what the initiator left at a default that is outside our limits. True if there was something.
    pub fn offers(&mut self, out: &mut TextWriter) -> bool {
        let mut any = false;
        for (row, progress) in KEYS.iter().zip(&mut self.progress) {
            let relevant = row.scope == Scope::Any || self.session == SessionType::Normal;
            if *progress != Progress::Untouched || !relevant {
                continue;
            }
            if let Some(value) = row.offer(&self.limits, &self.params) {
                out.push(row.name, value);
                *progress = Progress::Offered;
                any = true;
            }
        }
        any
    }

    /// True while an offer of ours has no answer.
    pub fn waits(&self) -> bool {
        self.progress.contains(&Progress::Offered)
    }

    fn key(
        &mut self,
        row: &Key,
        index: usize,
        value: &str,
        answers: &mut TextWriter,
    ) -> Result<(), Unacceptable> {
        let progress = self.progress.get_mut(index).ok_or(Unacceptable)?;
        let before = core::mem::replace(progress, Progress::Settled);
        match before {
            Progress::Settled => Err(Unacceptable),
            Progress::Offered => row.rule.accept(&self.limits, &mut self.params, value),
            Progress::Untouched => self.answer(row, value, answers),
        }
    }

    fn answer(&mut self, row: &Key, value: &str, answers: &mut TextWriter) -> Result<(), Unacceptable> {
        if is_reserved(value) {
            return Err(Unacceptable);
        }
        if row.scope == Scope::NormalOnly && self.session == SessionType::Discovery {
            answers.push(row.name, IRRELEVANT);
            return Ok(());
        }
        match row.rule.answer(&self.limits, &mut self.params, value)? {
            Answer::Silence => {}
            Answer::Text(text) => answers.push(row.name, text),
            Answer::Number(number) => answers.push(row.name, number),
            // The default stays, so it must suit us.
            Answer::Reject if row.offer(&self.limits, &self.params).is_some() => return Err(Unacceptable),
            Answer::Reject => answers.push(row.name, REJECT),
        }
        Ok(())
    }
}

/// The three answers that are not values (RFC 7143, 6.2); none of them may be offered.
const NOT_UNDERSTOOD: &str = "NotUnderstood";
const IRRELEVANT: &str = "Irrelevant";
const REJECT: &str = "Reject";

fn is_reserved(value: &str) -> bool {
    [NOT_UNDERSTOOD, IRRELEVANT, REJECT].contains(&value)
}

impl Key {
    /// What we offer when the initiator does not; `None` if the default suits us, or matters to nobody.
    fn offer(&self, limits: &Limits, params: &Params) -> Option<String> {
        self.rule.better_than_default(limits, params).filter(|_| self.offered)
    }
}

/// What a rule has to say to an offer.
enum Answer {
    /// A declaration is not answered.
    Silence,
    Text(&'static str),
    Number(u32),
    /// The value is impossible; the key stays as it was.
    Reject,
}

impl Rule {
    /// Applies the rule to the initiator's offer.
    fn answer(&self, limits: &Limits, params: &mut Params, value: &str) -> Result<Answer, Unacceptable> {
        Ok(match self {
            Self::Minimum { range, ours, slot } | Self::Maximum { range, ours, slot } => {
                let Some(offered) = number_in(range, value) else { return Ok(Answer::Reject) };
                let agreed = self.of_both(offered, ours(limits, params));
                *slot(params) = agreed;
                Answer::Number(agreed)
            }
            Self::And { ours, slot } | Self::Or { ours, slot } => {
                let Some(offered) = text::boolean(value) else { return Ok(Answer::Reject) };
                let ours = ours(limits);
                let agreed = if matches!(self, Self::And { .. }) { offered && ours } else { offered || ours };
                *slot(params) = agreed;
                Answer::Text(text::yes_no(agreed))
            }
            Self::Digest { ours, slot } => {
                let supported = ours(limits).supported();
                let chosen = value.split(',').find_map(|v| supported.iter().find(|d| d.name() == v));
                match chosen {
                    Some(chosen) => {
                        *slot(params) = *chosen;
                        Answer::Text(chosen.name())
                    }
                    None if supported.contains(slot(params)) => Answer::Reject,
                    None => return Err(Unacceptable),
                }
            }
            Self::OneOf { only } => {
                if value.split(',').any(|v| v == *only) {
                    Answer::Text(only)
                } else {
                    Answer::Reject
                }
            }
            Self::DeclaredNumber { .. } => {
                self.declare(params, value)?;
                Answer::Silence
            }
            Self::Ignored => Answer::Silence,
            Self::Refused => Answer::Reject,
            Self::Login | Self::Chap | Self::Ours => return Err(Unacceptable),
        })
    }

    /// Takes a declaration outside of a negotiation.
    pub(crate) fn declare(&self, params: &mut Params, value: &str) -> Result<(), Unacceptable> {
        let Self::DeclaredNumber { range, slot } = self else { return Err(Unacceptable) };
        *slot(params) = number_in(range, value).ok_or(Unacceptable)?;
        Ok(())
    }

    /// Our value, if the default lies outside of it.
    fn better_than_default(&self, limits: &Limits, params: &Params) -> Option<String> {
        let mut default = Params::default();
        match self {
            Self::Minimum { ours, slot, .. } => {
                let ours = ours(limits, params);
                (*slot(&mut default) > ours).then(|| ours.to_string())
            }
            Self::And { ours, slot } => {
                (*slot(&mut default) && !ours(limits)).then(|| text::yes_no(false).to_string())
            }
            Self::Digest { ours, slot } => {
                let supported = ours(limits).supported();
                let names: Vec<&str> = supported.iter().map(|d| d.name()).collect();
                (!supported.contains(slot(&mut default))).then(|| names.join(","))
            }
            _ => None,
        }
    }

    /// Checks the initiator's answer to our offer.
    fn accept(&self, limits: &Limits, params: &mut Params, value: &str) -> Result<(), Unacceptable> {
        match self {
            Self::Minimum { range, ours, slot } => {
                // Against our limit alone: that a first burst is no longer than a burst is seen to in the end.
                let ours = ours(limits, &Params::default());
                let agreed = number_in(range, value).filter(|v| *v <= ours);
                *slot(params) = agreed.ok_or(Unacceptable)?;
            }
            Self::And { slot, .. } => {
                // We said No, so No it is, whatever a valid answer says.
                text::boolean(value).ok_or(Unacceptable)?;
                *slot(params) = false;
            }
            Self::Digest { ours, slot } => {
                let chosen = ours(limits).supported().iter().find(|d| d.name() == value);
                *slot(params) = *chosen.ok_or(Unacceptable)?;
            }
            _ => return Err(Unacceptable),
        }
        Ok(())
    }

    fn of_both(&self, offered: u32, ours: u32) -> u32 {
        if matches!(self, Self::Maximum { .. }) { offered.max(ours) } else { offered.min(ours) }
    }
}

fn number_in(range: &core::ops::RangeInclusive<u32>, value: &str) -> Option<u32> {
    text::number(value).and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n))
}
