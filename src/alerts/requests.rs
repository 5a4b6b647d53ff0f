//! What the API asks of alerts.

use vtl_alert::send::Notice;
use vtl_alert::{Alert, AlertId};
use vtl_api::{AlertInfo, AlertTest, ApiError, ErrorCode};

use crate::clock::{rfc3339, unix_seconds};
use crate::daemon::{Daemon, internal, invalid};

impl Daemon {
    /// Alerts of the last months, the newest last.
    pub(crate) fn alert_list(&self) -> Result<Vec<AlertInfo>, ApiError> {
        let all =
            self.meta.read(|tx| Ok(vtl_alert::all(tx)?)).map_err(|error| crate::api::refused(&error))?;
        Ok(all.iter().map(shown).collect())
    }

    /// Somebody knows of it.
    pub(crate) fn alert_acknowledge(&self, id: &str) -> Result<AlertInfo, ApiError> {
        let id: AlertId = id.parse().map_err(|why| invalid(why, "see vtl alert ls"))?;
        let known = self.meta.change(|tx| Ok(vtl_alert::acknowledge(tx, id, unix_seconds())?));
        match known.map_err(|error| crate::api::refused(&error))? {
            Some(alert) => Ok(shown(&alert)),
            None => {
                Err(ApiError::new(ErrorCode::NotFound, format!("there is no alert {id}"), "see vtl alert ls"))
            }
        }
    }

    /// Tells every receiver that nothing is wrong, all at once, and waits for what they say.
    pub(crate) fn alert_test(&self) -> Result<Vec<AlertTest>, ApiError> {
        let senders = self.alerts.senders();
        if senders.is_empty() {
            return Err(invalid(
                "there is no receiver of alerts".to_owned(),
                "set alerts.email, alerts.webhook or alerts.syslog in the configuration, then: vtl system reload",
            ));
        }
        let notice = Notice::test(unix_seconds());
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> = senders.iter().map(|sender| scope.spawn(|| sender.send(&notice))).collect();
            asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        let row =
            |(sender, outcome): (&std::sync::Arc<dyn vtl_alert::send::Sender>, std::thread::Result<_>)| {
                let outcome: Result<(), vtl_alert::send::NotSent> =
                    outcome.map_err(|_| internal("the sender has failed; see the log"))?;
                self.alerts.note(sender.name(), &outcome);
                let why = outcome.err().map(|error| error.to_string());
                Ok(AlertTest { receiver: sender.name().to_owned(), ok: why.is_none(), why })
            };
        senders.iter().zip(outcomes).map(row).collect()
    }

    /// Alerts that are not over, by rule and state.
    pub(crate) fn alerts_open(&self) -> Vec<Alert> {
        self.meta.read(|tx| Ok(vtl_alert::open(tx)?)).unwrap_or_default()
    }
}

pub(super) fn shown(alert: &Alert) -> AlertInfo {
    AlertInfo {
        id: alert.id.0,
        rule: alert.rule.word().to_owned(),
        severity: alert.rule.severity().word().to_owned(),
        state: alert.state.word().to_owned(),
        subject: alert.subject.clone(),
        message: alert.message.clone(),
        remedy: alert.remedy.clone(),
        raised: rfc3339(alert.raised_s),
        acknowledged: alert.acknowledged_s.map(rfc3339),
        cleared: alert.cleared_s.map(rfc3339),
    }
}
