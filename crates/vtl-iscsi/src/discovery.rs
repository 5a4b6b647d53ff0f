//! Text Requests of the full feature phase: SendTargets, and the few keys that may be told there.

use alloc::{format, string::String, vec::Vec};

use crate::{
    config::{self, Portal, TargetConfig},
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
    ///
    /// In a normal session the standard has `All` refused; open initiators ask nevertheless, and an answer with
    /// nothing but the session's own target gives away no more than the empty value does.
    fn send_targets(self, value: &str, answers: &mut TextWriter) {
        match (self.kind, value) {
            (SessionKind::Discovery, "All") => self.visible().for_each(|target| self.tell(target, answers)),
            (SessionKind::Normal { target }, "All" | "") => self.tell_named(target, answers),
            (_, name) if config::normalised(name).is_none() => answers.push("SendTargets", "Reject"),
            (SessionKind::Normal { target }, name) if !config::same_name(target, name) => {}
            (_, name) => self.tell_named(name, answers),
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

#[cfg(test)]
mod tests {
    use std::{string::ToString, vec};

    use super::*;
    use crate::config::Auth;

    const HOST: &str = "iqn.1993-08.org.debian:01:3bf2a2b5c1a";
    const LIB0: &str = "iqn.2026-11.internal.vtl:lib0";
    const LIB1: &str = "iqn.2026-11.internal.vtl:lib1";

    fn target(name: &str, initiators: Option<&str>, portals: &[&str]) -> TargetConfig {
        TargetConfig {
            name: name.into(),
            alias: None,
            portal_group_tag: 1,
            auth: Auth::default(),
            initiators: initiators.map(|name| vec![name.into()]),
            portals: portals.iter().map(ToString::to_string).collect(),
        }
    }

    fn portal() -> Portal {
        let elsewhere = target(LIB1, None, &["10.0.0.1:3260,1", "[2001:db8::1]:3260,2", "10.0.0.3:3260"]);
        let others = target("iqn.2026-11.internal.vtl:lib2", Some("iqn.2001-04.com.example:other"), &[]);
        Portal { targets: vec![target(LIB0, Some(HOST), &[]), elsewhere, others], ..Portal::default() }
    }

    fn ask(kind: &SessionKind, request: &str) -> Result<String, TextError> {
        let portal = portal();
        let asker = Asker { portal: &portal, initiator: HOST, kind, local_address: "[::1]:3260" };
        answer(asker, &mut Params::default(), request.as_bytes()).map(|a| String::from_utf8(a).unwrap())
    }

    fn normal() -> SessionKind {
        SessionKind::Normal { target: LIB0.into() }
    }

    const ANSWER_0: &str = "TargetName=iqn.2026-11.internal.vtl:lib0\0TargetAddress=[::1]:3260,1\0";
    const ANSWER_1: &str = "TargetName=iqn.2026-11.internal.vtl:lib1\0TargetAddress=10.0.0.1:3260,1\0\
                            TargetAddress=[2001:db8::1]:3260,2\0TargetAddress=10.0.0.3:3260,1\0";

    #[test]
    fn all_targets_that_an_initiator_may_use_are_told() {
        let answer = ask(&SessionKind::Discovery, "SendTargets=All\0").unwrap();
        assert_eq!(answer, [ANSWER_0, ANSWER_1].concat());
    }

    #[test]
    fn one_target_is_told_by_its_name() {
        let ask_for = |name: &str| ask(&SessionKind::Discovery, &format!("SendTargets={name}\0")).unwrap();
        assert_eq!(ask_for(LIB1), ANSWER_1);
        assert_eq!(ask_for("IQN.2026-11.internal.vtl:LIB1"), ANSWER_1);
        assert_eq!(ask_for("iqn.2026-11.internal.vtl:lib2"), "", "not for this initiator");
        assert_eq!(ask_for("iqn.2026-11.internal.vtl:lib9"), "", "not there");
        assert_eq!(ask_for(""), "SendTargets=Reject\0");
    }

    #[test]
    fn a_normal_session_learns_of_its_own_target_only() {
        let ask_for = |name: &str| ask(&normal(), &format!("SendTargets={name}\0")).unwrap();
        assert_eq!(ask_for(""), ANSWER_0);
        assert_eq!(ask_for("All"), ANSWER_0);
        assert_eq!(ask_for(LIB0), ANSWER_0);
        assert_eq!(ask_for(LIB1), "");
    }

    /// The cases of libiscsi's iSCSISendTargets.Invalid.
    #[test]
    fn what_is_almost_send_targets_gets_no_list() {
        for kind in [SessionKind::Discovery, normal()] {
            let ask_for = |request: &str| ask(&kind, request).unwrap();
            assert_eq!(ask_for("SendTargetsPlease=All\0"), "SendTargetsPlease=NotUnderstood\0");
            assert_eq!(ask_for("SendTargets=Alle\0"), "SendTargets=Reject\0");
            assert_eq!(ask_for("SendTargets=A\0"), "SendTargets=Reject\0");
            assert_eq!(ask_for("sENDtARGETS=aLL\0"), "sENDtARGETS=NotUnderstood\0");
        }
    }

    #[test]
    fn a_new_segment_length_may_be_told_at_any_time() {
        let portal = portal();
        let kind = normal();
        let asker = Asker { portal: &portal, initiator: HOST, kind: &kind, local_address: "" };
        let mut params = Params::default();
        assert_eq!(answer(asker, &mut params, b"MaxRecvDataSegmentLength=65536\0"), Ok(Vec::new()));
        assert_eq!(params.max_recv_theirs, 65_536);
        for bad in [&b"MaxRecvDataSegmentLength=511\0"[..], b"MaxRecvDataSegmentLength=16777216\0"] {
            assert_eq!(answer(asker, &mut params, bad), Err(TextError::Syntax));
        }
        assert_eq!(params.max_recv_theirs, 65_536);
    }

    #[test]
    fn what_only_a_login_may_negotiate_is_rejected_afterwards() {
        let request = "MaxBurstLength=512\0HeaderDigest=None\0InitiatorAlias=x\0X-com.example.a=1\0";
        let answer = "MaxBurstLength=Reject\0HeaderDigest=Reject\0X-com.example.a=NotUnderstood\0";
        assert_eq!(ask(&normal(), request).as_deref(), Ok(answer));
    }

    #[test]
    fn a_text_that_is_none_is_an_error() {
        for bad in ["SendTargets=All", "SendTargets\0", "SendTargets=All\0SendTargets=All\0"] {
            assert_eq!(ask(&SessionKind::Discovery, bad), Err(TextError::Syntax), "{bad:?}");
        }
    }
}
