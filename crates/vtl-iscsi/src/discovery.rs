//! Text Requests of the full feature phase: SendTargets, and the few keys that may be told there.

use alloc::{format, string::String, vec::Vec};

use crate::{
    config::{Portal, TargetConfig},
    keys::{Key, Phase, Rule},
    login::SessionKind,
    params::Params,
    text::{self, Pair, TextError, TextWriter},
};

/// The session that asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// What it is logged in to.
    pub portal: &'a Portal,
    /// The initiator's name, from the login.
    pub initiator: &'a str,
    /// Discovery, or the one target.
    pub kind: &'a SessionKind,
    /// The address that the connection came to, `ADDRESS:PORT`.
    pub local_address: &'a str,
}

/// Answers one complete text. A declared MaxRecvDataSegmentLength goes into `params`.
///
/// # Errors
/// The text is not one, or a key is there twice, or a declaration is impossible; the request is to be rejected.
pub fn answer(asker: Asker<'_>, params: &mut Params, text: &[u8]) -> Result<Vec<u8>, TextError> {
    let pairs = text::pairs(text)?;
    let twice = pairs.iter().zip(0..).any(|(p, i)| pairs.iter().take(i).any(|earlier| earlier.key == p.key));
    if twice {
        return Err(TextError::Syntax);
    }
    let mut answers = TextWriter::new();
    for pair in pairs {
        one(asker, params, pair, &mut answers)?;
    }
    Ok(answers.into_bytes())
}

fn one(
    asker: Asker<'_>,
    params: &mut Params,
    pair: Pair<'_>,
    answers: &mut TextWriter,
) -> Result<(), TextError> {
    let Some(row) = Key::find(pair.key) else {
        answers.push(pair.key, "NotUnderstood");
        return Ok(());
    };
    match (row.name, &row.rule) {
        ("SendTargets", _) => asker.send_targets(pair.value, answers),
        ("InitiatorAlias", _) => {}
        (_, Rule::DeclaredNumber { .. }) if row.phase == Phase::All => {
            row.rule.declare(params, pair.value).map_err(|_| TextError::Syntax)?;
        }
        _ => answers.push(row.name, "Reject"),
    }
    Ok(())
}

impl Asker<'_> {
    /// Appendix C of RFC 7143. Only targets that the initiator may log in to are told; a name that is not among
    /// them gives an empty answer, whether or not there is such a target.
    fn send_targets(self, value: &str, answers: &mut TextWriter) {
        match (self.kind, value) {
            (SessionKind::Discovery, "All") => self.visible().for_each(|target| self.tell(target, answers)),
            (SessionKind::Discovery, "") | (SessionKind::Normal { .. }, "All") => {
                answers.push("SendTargets", "Reject");
            }
            (SessionKind::Normal { target }, "") => self.tell_named(target, answers),
            (SessionKind::Discovery, name) => self.tell_named(name, answers),
            (SessionKind::Normal { target }, name) => {
                if self.portal.target(name).is_some_and(|asked| asked.is_named(target)) {
                    self.tell_named(target, answers);
                }
            }
        }
    }

    fn tell_named(self, name: &str, answers: &mut TextWriter) {
        if let Some(target) = self.visible().find(|target| target.is_named(name)) {
            self.tell(target, answers);
        }
    }

    fn visible(&self) -> impl Iterator<Item = &TargetConfig> {
        self.portal.targets.iter().filter(|target| target.admits(self.initiator))
    }

    fn tell(&self, target: &TargetConfig, answers: &mut TextWriter) {
        answers.push("TargetName", &target.name);
        let local = [String::from(self.local_address)];
        let addresses = if target.portals.is_empty() { &local[..] } else { &target.portals[..] };
        for address in addresses {
            if address.contains(',') {
                answers.push("TargetAddress", address);
            } else {
                answers.push("TargetAddress", format!("{address},{}", target.portal_group_tag));
            }
        }
    }
}
