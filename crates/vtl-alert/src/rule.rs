//! When an alert is raised and when it is over: a decision about values, made again with each look.

use std::collections::BTreeMap;

use crate::rows::{Alert, AlertId};

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A pool is too full.
    Space,
    /// A job has failed.
    JobFailed,
    /// Something stored is damaged.
    Damage,
    /// A pool cannot be used, or takes no writes.
    Pool,
    /// A certificate ends soon.
    Certificate,
    /// A drive has raised TapeAlert flags.
    TapeAlert,
    /// A remote cannot be reached.
    RemoteAway,
    /// A cartridge has had no export for too long.
    NoExport,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Data is lost, or soon will be.
    Critical,
    /// Somebody should look in working hours.
    Warning,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// What is known of a rule.
struct Terms {
    rule: Rule,
    word: &'static str,
    severity: Severity,
    /// It must have been bad for so long.
    raise_after_s: u64,
    /// It must have been good for so long.
    clear_after_s: u64,
}

const fn terms(rule: Rule, word: &'static str, severity: Severity, times_s: [u64; 2]) -> Terms {
    let [raise_after_s, clear_after_s] = times_s;
    Terms { rule, word, severity, raise_after_s, clear_after_s }
}

/// The only place for words, severities and times. A remote may restart without anybody being woken; what comes and goes is one alert, not ten.
const TERMS: [Terms; 8] = [
    terms(Rule::Space, "space", Severity::Critical, [0, 60]),
    terms(Rule::JobFailed, "job-failed", Severity::Warning, [0, 0]),
    terms(Rule::Damage, "damage", Severity::Critical, [0, 0]),
    terms(Rule::Pool, "pool", Severity::Critical, [0, 300]),
    terms(Rule::Certificate, "certificate", Severity::Warning, [0, 0]),
    terms(Rule::TapeAlert, "tape-alert", Severity::Warning, [0, 300]),
    terms(Rule::RemoteAway, "remote-away", Severity::Warning, [120, 60]),
    terms(Rule::NoExport, "no-export", Severity::Warning, [0, 0]),
];

impl Rule {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Space,
        Self::JobFailed,
        Self::Damage,
        Self::Pool,
        Self::Certificate,
        Self::TapeAlert,
        Self::RemoteAway,
        Self::NoExport,
    ];

    fn terms(self) -> &'static Terms {
        let [space, job, damage, pool, certificate, tape, remote, export] = &TERMS;
        match self {
            Self::Space => space,
            Self::JobFailed => job,
            Self::Damage => damage,
            Self::Pool => pool,
            Self::Certificate => certificate,
            Self::TapeAlert => tape,
            Self::RemoteAway => remote,
            Self::NoExport => export,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.terms().word
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.terms().severity
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        TERMS.iter().find(|terms| terms.word == word).map(|terms| terms.rule)
    }
}

/// How something is that was looked at. What is not among the findings of a look is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Beyond its limit.
    Bad,
    /// Between the limit for raising and the one for clearing: what is raised stays, what is not is not.
    Between,
    /// It could not be looked at. The same follows, and what is raised keeps its words.
    Unknown,
}

/// Something that a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// By which rule.
    pub rule: Rule,
    /// What it is about; with the rule this names an alert.
    pub subject: String,
    /// How it is.
    pub reading: Reading,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// What cannot be told now.
    #[must_use]
    pub fn unknown(rule: Rule, subject: String) -> Self {
        Self { rule, subject, reading: Reading::Unknown, message: String::new(), remedy: String::new() }
    }
}

/// What follows from a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new alert, which is told.
    Raise(Finding),
    /// Another message for one that is open; nobody is told again.
    Reword(AlertId, String),
    /// It is over, which is told.
    Clear(AlertId),
}

/// Remembers since when something is as it is, between looks.
#[derive(Debug, Default)]
pub struct Judge {
    /// Bad and not raised yet, since.
    bad_since_s: BTreeMap<(Rule, String), u64>,
    /// Raised and good, since.
    good_since_s: BTreeMap<AlertId, u64>,
}

impl Judge {
    /// What follows from `findings`, which are all that a look by the rules `looked` found. An alert of another rule is left as it is.
    pub fn judge(
        &mut self,
        open: &[Alert],
        looked: &[Rule],
        findings: &[Finding],
        now_s: u64,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for finding in findings {
            match open.iter().find(|alert| alert.is_about(finding)) {
                Some(alert) => {
                    self.good_since_s.remove(&alert.id);
                    if finding.reading != Reading::Unknown && alert.message != finding.message {
                        changes.push(Change::Reword(alert.id, finding.message.clone()));
                    }
                }
                None if finding.reading == Reading::Bad && self.is_bad_long_enough(finding, now_s) => {
                    changes.push(Change::Raise(finding.clone()));
                }
                None => {}
            }
        }
        let is_bad = |rule: Rule, subject: &str| {
            findings.iter().any(|f| f.rule == rule && f.subject == subject && f.reading == Reading::Bad)
        };
        self.bad_since_s.retain(|(rule, subject), _| !looked.contains(rule) || is_bad(*rule, subject));
        self.good_since_s.retain(|id, _| open.iter().any(|alert| alert.id == *id));
        for alert in open.iter().filter(|alert| looked.contains(&alert.rule)) {
            if !findings.iter().any(|finding| alert.is_about(finding))
                && self.is_good_long_enough(alert, now_s)
            {
                changes.push(Change::Clear(alert.id));
            }
        }
        changes
    }

    fn is_bad_long_enough(&mut self, finding: &Finding, now_s: u64) -> bool {
        let key = (finding.rule, finding.subject.clone());
        let since = *self.bad_since_s.entry(key.clone()).or_insert(now_s);
        let enough = now_s.saturating_sub(since) >= finding.rule.terms().raise_after_s;
        if enough {
            self.bad_since_s.remove(&key);
        }
        enough
    }

    fn is_good_long_enough(&mut self, alert: &Alert, now_s: u64) -> bool {
        let since = *self.good_since_s.entry(alert.id).or_insert(now_s);
        let enough = now_s.saturating_sub(since) >= alert.rule.terms().clear_after_s;
        if enough {
            self.good_since_s.remove(&alert.id);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::State;

    fn finding(rule: Rule, subject: &str, reading: Reading) -> Finding {
        let (message, remedy) = (format!("{subject} is bad"), "look".to_owned());
        Finding { rule, subject: subject.to_owned(), reading, message, remedy }
    }

    fn alert(id: u64, of: &Finding) -> Alert {
        Alert {
            id: AlertId(id),
            rule: of.rule,
            subject: of.subject.clone(),
            state: State::Raised,
            message: of.message.clone(),
            remedy: of.remedy.clone(),
            raised_s: 0,
            acknowledged_s: None,
            cleared_s: None,
        }
    }

    #[test]
    fn every_rule_has_the_row_of_terms_that_is_its_own() {
        for rule in Rule::ALL {
            assert_eq!((rule.terms().rule, Rule::from_word(rule.word())), (rule, Some(rule)));
        }
    }

    #[test]
    fn what_is_raised_is_told_once_and_not_again_while_it_lasts() {
        let mut judge = Judge::default();
        let full = finding(Rule::Space, "store", Reading::Bad);
        let looked = [Rule::Space];
        assert_eq!(judge.judge(&[], &looked, std::slice::from_ref(&full), 0), [Change::Raise(full.clone())]);
        let mut open = alert(1, &full);
        for now_s in [10, 20, 30] {
            assert_eq!(
                judge.judge(std::slice::from_ref(&open), &looked, std::slice::from_ref(&full), now_s),
                []
            );
        }
        open.state = State::Acknowledged;
        assert_eq!(judge.judge(&[open], &looked, &[full], 40), []);
    }

    #[test]
    fn between_the_limits_nothing_is_raised_and_nothing_is_over() {
        let mut judge = Judge::default();
        let between = finding(Rule::Space, "store", Reading::Between);
        let looked = [Rule::Space];
        assert_eq!(judge.judge(&[], &looked, std::slice::from_ref(&between), 0), []);
        let open = alert(1, &between);
        assert_eq!(judge.judge(std::slice::from_ref(&open), &looked, &[between], 1_000), []);
        assert_eq!(
            judge.judge(std::slice::from_ref(&open), &looked, &[], 1_001),
            [],
            "it must stay good for a minute"
        );
        assert_eq!(judge.judge(&[open], &looked, &[], 1_061), [Change::Clear(AlertId(1))]);
    }

    #[test]
    fn what_cannot_be_looked_at_is_neither_raised_nor_over_nor_told_in_other_words() {
        let mut judge = Judge::default();
        let looked = [Rule::Damage];
        let unknown = Finding::unknown(Rule::Damage, "pool far".to_owned());
        assert_eq!(judge.judge(&[], &looked, std::slice::from_ref(&unknown), 0), []);
        let open = [alert(3, &finding(Rule::Damage, "pool far", Reading::Bad))];
        for now_s in [10, 1_000] {
            assert_eq!(judge.judge(&open, &looked, std::slice::from_ref(&unknown), now_s), []);
        }
        assert_eq!(judge.judge(&open, &looked, &[], 1_001), [Change::Clear(AlertId(3))]);
    }

    #[test]
    fn a_remote_that_is_away_for_a_moment_raises_nothing_and_one_that_comes_and_goes_is_one_alert() {
        let mut judge = Judge::default();
        let away = finding(Rule::RemoteAway, "cloud", Reading::Bad);
        let looked = [Rule::RemoteAway];
        assert_eq!(judge.judge(&[], &looked, std::slice::from_ref(&away), 0), []);
        assert_eq!(judge.judge(&[], &looked, &[], 60), []);
        assert_eq!(judge.judge(&[], &looked, std::slice::from_ref(&away), 120), [], "its time begins anew");
        assert_eq!(
            judge.judge(&[], &looked, std::slice::from_ref(&away), 240),
            [Change::Raise(away.clone())]
        );
        let open = [alert(1, &away)];
        assert_eq!(judge.judge(&open, &looked, &[], 300), []);
        assert_eq!(judge.judge(&open, &looked, &[away], 350), []);
        assert_eq!(judge.judge(&open, &looked, &[], 400), []);
        assert_eq!(judge.judge(&open, &looked, &[], 460), [Change::Clear(AlertId(1))]);
    }

    #[test]
    fn a_pool_whose_disks_are_slow_now_and_then_is_one_alert_which_is_over_after_five_minutes_without() {
        let mut judge = Judge::default();
        let hangs = finding(Rule::Pool, "store", Reading::Bad);
        let looked = [Rule::Pool];
        assert_eq!(
            judge.judge(&[], &looked, std::slice::from_ref(&hangs), 0),
            [Change::Raise(hangs.clone())]
        );
        let open = [alert(1, &hangs)];
        assert_eq!(judge.judge(&open, &looked, &[], 10), []);
        assert_eq!(judge.judge(&open, &looked, &[], 309), []);
        assert_eq!(judge.judge(&open, &looked, &[hangs], 310), []);
        assert_eq!(judge.judge(&open, &looked, &[], 320), []);
        assert_eq!(judge.judge(&open, &looked, &[], 619), []);
        assert_eq!(judge.judge(&open, &looked, &[], 620), [Change::Clear(AlertId(1))]);
    }

    #[test]
    fn what_was_not_looked_at_stays_as_it_is_and_another_message_is_no_other_alert() {
        let mut judge = Judge::default();
        let mut damage = finding(Rule::Damage, "store", Reading::Bad);
        let open = [alert(7, &damage)];
        assert_eq!(judge.judge(&open, &[Rule::Space], &[], 0), []);
        damage.message = "three chunks".to_owned();
        let reworded = [Change::Reword(AlertId(7), "three chunks".to_owned())];
        assert_eq!(judge.judge(&open, &[Rule::Damage], &[damage], 1), reworded);
        assert_eq!(judge.judge(&open, &[Rule::Damage], &[], 2), [Change::Clear(AlertId(7))]);
    }
}
