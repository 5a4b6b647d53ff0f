//! `vtl alert`.

use clap::Subcommand;
use serde_json::json;

use super::{Call, call, get, path};
use crate::http::Method;
use crate::print::View;

const COLUMNS: &[&str] =
    &["id", "state", "severity", "rule", "subject", "raised", "cleared", "message", "remedy"];

/// Verbs of `vtl alert`.
#[derive(Subcommand)]
pub enum AlertVerb {
    /// List alerts, those of the last months that are over too.
    Ls,
    /// Say that somebody knows of an alert; it stays in the list until what is wrong is over.
    Ack {
        /// Its number.
        id: String,
    },
    /// Tell every receiver that nothing is wrong, and print whether they took it.
    Test,
}

impl AlertVerb {
    pub(super) fn call(&self) -> Call {
        match self {
            Self::Ls => get("/alerts", View::Table(COLUMNS)),
            Self::Ack { id } => {
                call(Method::Post, format!("{}/ack", path("alerts", id)), Some(json!({})), View::Fields)
            }
            Self::Test => {
                let view = View::AllOk(&["receiver", "ok", "why"]);
                call(Method::Post, "/alerts/test".to_owned(), Some(json!({})), view)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn an_alert_is_acknowledged_by_its_number() {
        let call = |line: &str| Cli::try_parse_from(line.split_whitespace()).unwrap().command.call().unwrap();
        let ack = call("vtl alert ack 12").request;
        assert_eq!((ack.method, ack.path.as_str()), (Method::Post, "/alerts/12/ack"));
        assert_eq!(call("vtl alert test").request.path, "/alerts/test");
        assert_eq!(call("vtl alert ls").request.method, Method::Get);
    }
}
