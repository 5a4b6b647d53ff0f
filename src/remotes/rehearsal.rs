//! Remotes for rehearsals: another remote, and faults with their chances.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vtl_remote::{Fault, Plan, SharedPlan};

use super::RemoteRefused;
use super::definition::{Rows, Settings, refuse};

/// Faults by their words. The slow one is `slow:PERCENT:SECONDS`.
const FAULTS: [(&str, Fault); 7] = [
    ("drop", Fault::Drop),
    ("drop-answer", Fault::DropAnswer),
    ("throttle", Fault::Throttle),
    ("error", Fault::ServerError),
    ("corrupt", Fault::Corrupt),
    ("half", Fault::Half),
    ("lose", Fault::Lose),
];
const SLOW: &str = "slow";
/// Nobody waits longer for a rehearsal.
const MAX_SLOW_S: u64 = 3_600;
const MAX_FAULTS: usize = 32;
const DEFAULT_SEED: u64 = 1;

/// A remote for rehearsals as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// The remote that works.
    pub(super) over: String,
    /// As they were written.
    faults: Vec<String>,
    seed: u64,
}

impl Rehearsal {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, RemoteRefused> {
        let over = settings.need("over")?;
        let faults = settings.all("fault")?;
        if faults.is_empty() || faults.len() > MAX_FAULTS {
            return Err(refuse(
                "fault",
                "",
                "a remote of type faulty needs 1 to 32 of them",
                "write each as FAULT:PERCENT, such as drop:5%",
            ));
        }
        faults.iter().try_for_each(|fault| parse(fault).map(drop))?;
        let seed = match settings.take("seed")? {
            None => DEFAULT_SEED,
            Some(seed) => {
                seed.parse().map_err(|_| refuse("seed", &seed, "this is no number", "write one"))?
            }
        };
        Ok(Self { over, faults, seed })
    }

    pub(super) fn rows(&self) -> Rows {
        let faults = self.faults.iter().map(|fault| ("fault".to_owned(), fault.clone()));
        let over = std::iter::once(("over".to_owned(), self.over.clone()));
        over.chain(faults).chain(std::iter::once(("seed".to_owned(), self.seed.to_string()))).collect()
    }

    fn plan(&self) -> Result<Plan, RemoteRefused> {
        let chances = self.faults.iter().map(|fault| parse(fault)).collect::<Result<_, _>>()?;
        Ok(Plan::Chances { seed: self.seed, chances })
    }
}

/// The fault and its chance in a thousand.
fn parse(text: &str) -> Result<(Fault, u16), RemoteRefused> {
    let wrong = || {
        let words = FAULTS.map(|(word, _)| word).join(", ");
        refuse(
            "fault",
            text,
            "this is no fault",
            &format!("write FAULT:PERCENT, such as drop:5%, with one of {words}; or slow:PERCENT:SECONDS"),
        )
    };
    let (word, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (percent, seconds) = match (word, rest.split_once(':')) {
        (SLOW, Some((percent, seconds))) => (percent, Some(seconds)),
        (SLOW, None) | (_, Some(_)) => return Err(wrong()),
        (_, None) => (rest, None),
    };
    let fault = match seconds {
        Some(seconds) => {
            let seconds = seconds.strip_suffix('s').unwrap_or(seconds).parse().ok();
            let seconds: u64 = seconds.filter(|seconds| *seconds <= MAX_SLOW_S).ok_or_else(wrong)?;
            Fault::Slow(Duration::from_secs(seconds))
        }
        None => FAULTS.iter().find(|(own, _)| *own == word).map(|(_, fault)| *fault).ok_or_else(wrong)?,
    };
    let per_mille = per_mille(percent.strip_suffix('%').unwrap_or(percent)).ok_or_else(wrong)?;
    Ok((fault, per_mille))
}

/// `5` and `0.5`, up to 100.
fn per_mille(percent: &str) -> Option<u16> {
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if !is_number(whole) || !is_number(tenth) || whole.len() > 3 || tenth.len() > 1 {
        return None;
    }
    let per_mille = whole.parse::<u16>().ok()? * 10 + tenth.parse::<u16>().ok()?;
    (per_mille <= 1_000).then_some(per_mille)
}

/// Plans of rehearsals since the start, by the remote's name: each goes on where the last use of it ended, so that an attempt does not meet the
/// faults of the one before once more.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<BTreeMap<String, (Rehearsal, SharedPlan)>>);

impl Plans {
    pub(super) fn of(&self, name: &str, rehearsal: &Rehearsal) -> Result<SharedPlan, RemoteRefused> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((own, plan)) = plans.get(name)
            && own == rehearsal
        {
            return Ok(Arc::clone(plan));
        }
        let plan = SharedPlan::from(Mutex::new(rehearsal.plan()?));
        plans.insert(name.to_owned(), (rehearsal.clone(), Arc::clone(&plan)));
        Ok(plan)
    }

    pub(super) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remotes::definition::told;

    #[test]
    fn a_fault_is_a_word_and_a_chance() {
        for (text, fault, per_mille) in [
            ("drop:5%", Fault::Drop, 50),
            ("drop-answer:0.5%", Fault::DropAnswer, 5),
            ("half:100", Fault::Half, 1_000),
            ("slow:12.5%:3s", Fault::Slow(Duration::from_secs(3)), 125),
        ] {
            assert_eq!(parse(text).unwrap(), (fault, per_mille), "{text}");
        }
        for text in [
            "",
            "drop",
            "drop:",
            "drop:101",
            "drop:5%:1s",
            "slow:5%",
            "slow:5%:x",
            "slow:1:9999",
            "melt:5%",
            "drop:-1",
            "drop:1.23",
        ] {
            let why = told(parse(text).unwrap_err());
            assert!(why.contains("drop:5%"), "{text}: {why}");
        }
    }
}
