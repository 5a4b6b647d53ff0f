//! From the configuration to senders.

use std::sync::Arc;

use vtl_alert::send::{Mail, MailTls, Origin, Place, Sender, Syslog, Webhook};
use vtl_conf::Alerts;

/// Those that can be used, and why the others cannot.
pub(super) fn of(config: &Alerts, installation: &str) -> (Vec<Arc<dyn Sender>>, Vec<String>) {
    let origin = || Origin { host: host(), installation: installation.to_owned() };
    let mut wanted: Vec<Result<Arc<dyn Sender>, String>> = Vec::new();
    if let Some(email) = &config.email {
        let tls = match email.tls {
            vtl_conf::MailTls::StartTls => MailTls::StartTls,
            vtl_conf::MailTls::Tls => MailTls::Tls,
            vtl_conf::MailTls::None => MailTls::None,
        };
        let server = (email.host.as_str(), email.port);
        let people = (email.from.as_str(), email.to.as_slice());
        let mail = Mail::new(server, tls, email.ca_file.as_deref(), email.login.as_ref(), people, origin());
        wanted.push(mail.map(|mail| Arc::new(mail) as _).map_err(|why| format!("email: {why}")));
    }
    if let Some(hook) = &config.webhook {
        let webhook = Webhook::new(hook.url.clone(), hook.secret.as_ref(), hook.ca_file.as_deref(), origin());
        wanted.push(webhook.map(|webhook| Arc::new(webhook) as _).map_err(|why| format!("webhook: {why}")));
    }
    if let Some(to) = &config.syslog {
        let place = match to {
            vtl_conf::Syslog::Unix(path) => Place::Unix(path.clone()),
            vtl_conf::Syslog::Udp(host, port) => Place::Udp(host.clone(), *port),
            vtl_conf::Syslog::Tcp(host, port) => Place::Tcp(host.clone(), *port),
        };
        wanted.push(Ok(Arc::new(Syslog { place, origin: origin() })));
    }
    let (usable, others): (Vec<_>, Vec<_>) = wanted.into_iter().partition(Result::is_ok);
    (
        usable.into_iter().filter_map(Result::ok).collect(),
        others.into_iter().filter_map(Result::err).collect(),
    )
}

/// The name of this machine.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
