//! `metrics.*` and `alerts.*`: who may read the metrics, when an alert is raised, and who is told.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Value;
use vtl_types::{Secret, SecretAddress};

use crate::check::{Checker, Parsed, absolute_path, boolean, list, text, within, word};

const SPACE_PERCENT: std::ops::RangeInclusive<u64> = 50..=99;
const CERTIFICATE_DAYS: std::ops::RangeInclusive<u64> = 1..=365;
const EXPORT_DAYS: std::ops::RangeInclusive<u64> = 1..=3650;
const SYSLOG_PORT: u16 = 514;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MetricsMirror {
    pub open: Option<Value>,
    pub token_file: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AlertsMirror {
    pub space_percent: Option<Value>,
    pub certificate_days: Option<Value>,
    pub export_days: Option<Value>,
    pub email: EmailMirror,
    pub webhook: WebhookMirror,
    pub syslog: SyslogMirror,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EmailMirror {
    pub server: Option<Value>,
    pub tls: Option<Value>,
    pub ca_file: Option<Value>,
    pub user: Option<Value>,
    pub password_file: Option<Value>,
    pub from: Option<Value>,
    pub to: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebhookMirror {
    pub url: Option<Value>,
    pub secret_file: Option<Value>,
    pub ca_file: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SyslogMirror {
    pub to: Option<Value>,
}

/// `metrics.*`
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Who comes from this machine needs no token.
    pub open: bool,
    /// A token that opens the metrics and nothing else.
    pub token: Option<Secret>,
}

/// `alerts.*`
#[derive(Clone, Debug)]
pub struct Alerts {
    /// From here on a pool is too full.
    pub space_percent: u8,
    /// So long before its end a certificate is told of.
    pub certificate_days: u32,
    /// A cartridge without a newer export is told of; `None`: none is.
    pub export_days: Option<u32>,
    /// By mail.
    pub email: Option<Email>,
    /// By HTTP.
    pub webhook: Option<Webhook>,
    /// To the system's log.
    pub syslog: Option<Syslog>,
}

/// `alerts.email.*`
#[derive(Clone, Debug)]
pub struct Email {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// Certificates to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Who logs in, and with what.
    pub login: Option<(String, Secret)>,
    /// The sender.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
}

/// How a mail goes to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// TLS begins after STARTTLS; a server that offers none gets nothing.
    StartTls,
    /// TLS from the first byte on.
    Tls,
    /// In clear.
    None,
}

/// `alerts.webhook.*`
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where alerts are posted.
    pub url: SecretAddress,
    /// What they are signed with.
    pub secret: Option<Secret>,
    /// Certificates to trust in place of the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// `alerts.syslog.to`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syslog {
    /// A datagram socket of this machine.
    Unix(PathBuf),
    /// Datagrams to host and port.
    Udp(String, u16),
    /// A connection to host and port, each message with its length in front (RFC 6587, 3.4.1).
    Tcp(String, u16),
}

impl Checker<'_> {
    pub(crate) fn metrics(&mut self, mirror: MetricsMirror) -> Option<Metrics> {
        let MetricsMirror { open, token_file } = mirror;
        let open = self.take("metrics.open", open, boolean);
        let token = self.file_secret(&["metrics", "token_file"], token_file);
        Some(Metrics { open: open?, token })
    }

    pub(crate) fn alerts(&mut self, mirror: AlertsMirror) -> Option<Alerts> {
        let AlertsMirror { space_percent, certificate_days, export_days, email, webhook, syslog } = mirror;
        let space_percent = self.number("alerts.space_percent", space_percent, SPACE_PERCENT);
        let certificate_days = self.number("alerts.certificate_days", certificate_days, CERTIFICATE_DAYS);
        let export_days = self.take("alerts.export_days", export_days, off_or_days);
        let email = self.email(email);
        let webhook = self.webhook(webhook);
        let SyslogMirror { to } = syslog;
        let syslog = self.take("alerts.syslog.to", to, syslog_to);
        Some(Alerts {
            space_percent: space_percent?,
            certificate_days: certificate_days?,
            export_days: export_days?,
            email,
            webhook,
            syslog,
        })
    }

    /// `None` without a server, or after an error.
    fn email(&mut self, mirror: EmailMirror) -> Option<Email> {
        let EmailMirror { server, tls, ca_file, user, password_file, from, to } = mirror;
        let others = [&ca_file, &user, &password_file, &from, &to];
        let wanted = server.is_some();
        let alone = others.iter().any(|key| key.is_some()) && !wanted;
        let server = self.take("alerts.email.server", server, host_and_port);
        let words = [("starttls", MailTls::StartTls), ("tls", MailTls::Tls), ("none", MailTls::None)];
        let tls = self.take("alerts.email.tls", tls, |value| word(value, &words));
        let ca_file = self.take("alerts.email.ca_file", ca_file, absolute_path);
        let user = self.take("alerts.email.user", user, some_text);
        let password = self.file_secret(&["alerts", "email", "password_file"], password_file);
        let from = self.take("alerts.email.from", from, mail_address);
        let to = self.take("alerts.email.to", to, |value| list(value, mail_address));
        if alone {
            self.missing("alerts.email.server", "there is no server for these mails");
        }
        if !wanted {
            return None;
        }
        let halves =
            [("alerts.email.password_file", user.is_some()), ("alerts.email.user", password.is_some())];
        if user.is_some() != password.is_some() {
            let lacks = halves.iter().find(|(_, other)| *other).map_or("alerts.email.user", |(key, _)| key);
            self.missing(lacks, "user and password_file belong together");
        }
        if user.is_some() && tls == Some(MailTls::None) {
            self.refuse(
                &["alerts", "email", "tls"],
                "\"none\"",
                "a password would cross the network in clear",
                Some("write \"starttls\" or \"tls\", or take user and password_file away"),
            );
        }
        for (key, there) in [("alerts.email.from", from.is_some()), ("alerts.email.to", to.is_some())] {
            if !there {
                self.missing(key, "a mail needs it");
            }
        }
        let (host, port) = server?;
        Some(Email { host, port, tls: tls?, ca_file, login: user.zip(password), from: from?, to: to? })
    }

    /// `None` without an address, or after an error.
    fn webhook(&mut self, mirror: WebhookMirror) -> Option<Webhook> {
        let WebhookMirror { url, secret_file, ca_file } = mirror;
        let alone = url.is_none() && (secret_file.is_some() || ca_file.is_some());
        let url = self.take("alerts.webhook.url", url, web_address);
        let secret = self.file_secret(&["alerts", "webhook", "secret_file"], secret_file);
        let ca_file = self.take("alerts.webhook.ca_file", ca_file, absolute_path);
        if alone {
            self.missing("alerts.webhook.url", "there is no address to post to");
        }
        Some(Webhook { url: url?, secret, ca_file })
    }

    pub(crate) fn missing(&mut self, key: &str, problem: &str) {
        let path: Vec<&str> = key.split('.').collect();
        self.refuse(&path, "", problem, None);
    }

    /// A secret that a key names the file of.
    fn file_secret(&mut self, path: &[&str], raw: Option<Value>) -> Option<Secret> {
        let raw = raw?;
        self.note(path, &raw);
        self.secret(path, &raw, Self::secret_file)
    }
}

fn off_or_days(value: &Value) -> Parsed<Option<u32>> {
    match value {
        Value::String(text) if text == "off" => Ok(None),
        value => {
            let days = crate::check::integer(value)?;
            within(days, &EXPORT_DAYS).map(|days| u32::try_from(days).ok())
        }
    }
}

fn some_text(value: &Value) -> Parsed<String> {
    match text(value)? {
        "" => Err("this is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Only so much that nothing can be slipped into a header; the mail server knows the rest.
fn mail_address(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    let odd = |c: char| c.is_control() || c.is_whitespace() || "<>,;\"".contains(c);
    match text.rsplit_once('@') {
        Some((user, host)) if !user.is_empty() && !host.is_empty() && !text.contains(odd) => {
            Ok(text.to_owned())
        }
        _ => Err("this is no mail address".to_owned()),
    }
}

/// HOST:PORT with a port in any case.
fn host_and_port(value: &Value) -> Parsed<(String, u16)> {
    split_host(text(value)?, None)
}

fn split_host(text: &str, default: Option<u16>) -> Parsed<(String, u16)> {
    let wrong = || "this is no host and port".to_owned();
    let (host, port) = match (text.rsplit_once(':'), default) {
        (Some((host, port)), _) if !host.contains(':') || host.starts_with('[') => {
            (host, port.parse().map_err(|_| wrong())?)
        }
        (None, Some(port)) => (text, port),
        _ => return Err(wrong()),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let usable = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    if bare.is_empty() || port == 0 || !bare.chars().all(usable) {
        Err(wrong())
    } else {
        Ok((bare.to_owned(), port))
    }
}

/// Who sends in clear says so with `http://`; a name and password in it would be printed.
fn web_address(value: &Value) -> Parsed<SecretAddress> {
    let text = text(value)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    match host {
        Some(host) if host.contains('@') => Err("a password in an address is shown to everybody".to_owned()),
        Some(host) if !host.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(SecretAddress::new(text.to_owned()))
        }
        _ => Err("this is no address of the web".to_owned()),
    }
}

fn syslog_to(value: &Value) -> Parsed<Syslog> {
    let text = text(value)?;
    let wrong = || "this is no place for logs".to_owned();
    let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
    match kind {
        "unix" if rest.starts_with('/') => Ok(Syslog::Unix(PathBuf::from(rest))),
        "udp" => split_host(rest, Some(SYSLOG_PORT)).map(|(host, port)| Syslog::Udp(host, port)),
        "tcp" => split_host(rest, Some(SYSLOG_PORT)).map(|(host, port)| Syslog::Tcp(host, port)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;
    use crate::{Assignment, ConfErrors, Config, Surroundings, load};

    fn with(set: &[&str]) -> Result<Config, ConfErrors> {
        let set: Vec<Assignment> = set.iter().map(|text| Assignment::parse(text).unwrap()).collect();
        load(None, &set, &Surroundings { root: true, ..Surroundings::default() })
    }

    #[track_caller]
    fn refused(set: &[&str], key: &str, problem: &str) {
        let errors = with(set).unwrap_err();
        let found = errors.0.iter().find(|error| error.key == key);
        assert!(found.is_some_and(|error| error.problem.contains(problem)), "{errors}");
    }

    fn secret(folder: &Path) -> String {
        let path = folder.join("secret");
        fs::write(&path, "made-up-secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    #[test]
    fn nobody_is_told_and_nothing_is_open_unless_somebody_says_so() {
        let config = with(&[]).unwrap();
        assert!(!config.metrics.open && config.metrics.token.is_none());
        let alerts = config.alerts;
        assert!(alerts.email.is_none() && alerts.webhook.is_none() && alerts.syslog.is_none());
        assert_eq!((alerts.space_percent, alerts.certificate_days, alerts.export_days), (90, 21, None));
    }

    #[test]
    fn a_mail_needs_a_server_a_sender_and_a_receiver_and_a_password_a_protected_way() {
        let folder = tempfile::tempdir().unwrap();
        let server = "alerts.email.server=\"mail.example.org:587\"";
        let from = "alerts.email.from=\"vtl@example.org\"";
        let to = "alerts.email.to=[\"ann@example.org\", \"bob@example.org\"]";
        let user = "alerts.email.user=vtl";
        let password = format!("alerts.email.password_file=\"{}\"", secret(folder.path()));
        let email = with(&[server, from, to, user, &password]).unwrap().alerts.email.unwrap();
        assert_eq!(
            (email.host.as_str(), email.port, email.tls),
            ("mail.example.org", 587, MailTls::StartTls)
        );
        assert_eq!(email.to, ["ann@example.org", "bob@example.org"]);
        assert_eq!(email.login.unwrap().1.expose(), b"made-up-secret");
        refused(&[from, to], "alerts.email.server", "no server");
        refused(&[server, to], "alerts.email.from", "needs it");
        refused(&[server, from, to, user], "alerts.email.password_file", "belong together");
        refused(
            &[server, from, to, user, &password, "alerts.email.tls=none"],
            "alerts.email.tls",
            "in clear",
        );
        refused(&[server, from, "alerts.email.to=\"a@b>, <c@d\""], "alerts.email.to", "no mail address");
        refused(
            &["alerts.email.server=\"mail.example.org\"", from, to],
            "alerts.email.server",
            "no host and port",
        );
    }

    #[test]
    fn a_webhook_has_an_address_without_a_password_in_it() {
        let hook =
            with(&["alerts.webhook.url=\"https://alerts.example.org/vtl\""]).unwrap().alerts.webhook.unwrap();
        assert_eq!(hook.url.expose(), "https://alerts.example.org/vtl");
        assert!(!format!("{hook:?}").contains("/vtl"), "{hook:?}");
        let told = with(&["alerts.webhook.url=\"https://alerts.example.org/T0/made-up\""]).unwrap();
        let told: Vec<String> = told.effective().iter().map(ToString::to_string).collect();
        let line = "alerts.webhook.url = \"https://alerts.example.org/***\"  # --set alerts.webhook.url";
        assert!(told.iter().any(|one| one == line), "{told:?}");
        let wrong =
            with(&["alerts.webhook.url=\"htps://alerts.example.org/made-up\""]).unwrap_err().to_string();
        assert!(wrong.contains("htps://alerts.example.org/***") && !wrong.contains("made-up"), "{wrong}");
        refused(
            &["alerts.webhook.url=\"https://user:word@example.org/\""],
            "alerts.webhook.url",
            "shown to everybody",
        );
        refused(&["alerts.webhook.url=\"ftp://example.org/\""], "alerts.webhook.url", "no address");
        refused(&["alerts.webhook.ca_file=\"/etc/ca.pem\""], "alerts.webhook.url", "no address to post to");
    }

    #[test]
    fn syslog_goes_to_a_socket_or_to_a_host_with_the_registered_port_unless_another_is_named() {
        let to = |text: &str| {
            with(&[&format!("alerts.syslog.to=\"{text}\"")]).map(|config| config.alerts.syslog.unwrap())
        };
        assert_eq!(to("unix:/dev/log").unwrap(), Syslog::Unix("/dev/log".into()));
        assert_eq!(to("udp:logs.example.org").unwrap(), Syslog::Udp("logs.example.org".to_owned(), 514));
        assert_eq!(to("tcp:[2001:db8::1]:6514").unwrap(), Syslog::Tcp("2001:db8::1".to_owned(), 6514));
        for wrong in ["unix:dev/log", "logs.example.org", "udp:", "tcp:host:0", "udp:2001:db8::1"] {
            assert!(to(wrong).is_err(), "{wrong}");
        }
    }
}
