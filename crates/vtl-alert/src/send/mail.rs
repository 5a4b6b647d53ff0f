//! A notice as a mail, handed to one server of the site.

use std::fs;
use std::path::Path;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use vtl_types::Secret;

use super::{Event, NotSent, Notice, Origin, Sender, TIME_LIMIT};

/// How the way to the server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// TLS after STARTTLS, or nothing is sent.
    StartTls,
    /// TLS from the first byte on.
    Tls,
    /// In clear.
    None,
}

/// Mails to the people who act on alerts.
pub struct Mail {
    transport: SmtpTransport,
    from: Mailbox,
    to: Vec<Mailbox>,
    origin: Origin,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

impl Mail {
    /// Through this server, with a login when there is one. `server`: host and port.
    ///
    /// # Errors
    /// An address or a certificate cannot be used.
    pub fn new(
        server: (&str, u16),
        tls: MailTls,
        ca_file: Option<&Path>,
        login: Option<&(String, Secret)>,
        people: (&str, &[String]),
        origin: Origin,
    ) -> Result<Self, String> {
        let (host, port) = server;
        if login.is_some() && tls == MailTls::None {
            return Err("a password would cross the network in clear: use TLS, or no log-in".to_owned());
        }
        let protection = match tls {
            MailTls::None => Tls::None,
            MailTls::StartTls => Tls::Required(parameters(host, ca_file)?),
            MailTls::Tls => Tls::Wrapper(parameters(host, ca_file)?),
        };
        let mut builder =
            SmtpTransport::builder_dangerous(host).port(port).tls(protection).timeout(Some(TIME_LIMIT));
        if let Some((user, password)) = login {
            let password = String::from_utf8_lossy(password.expose()).into_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        let (from, to) = people;
        let to = to.iter().map(|one| mailbox(one)).collect::<Result<_, _>>()?;
        Ok(Self { transport: builder.build(), from: mailbox(from)?, to, origin })
    }

    fn message(&self, notice: &Notice) -> Result<Message, NotSent> {
        let builder = Message::builder().from(self.from.clone()).subject(title(notice, &self.origin));
        let builder = self.to.iter().fold(builder, |builder, to| builder.to(to.clone()));
        builder.header(ContentType::TEXT_PLAIN).body(text(notice, &self.origin)).map_err(NotSent::for_good)
    }
}

fn mailbox(address: &str) -> Result<Mailbox, String> {
    address.parse().map_err(|error| format!("'{address}' is no mail address: {error}"))
}

fn parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = ca_file {
        let bad = |why: String| format!("{}: {why}", file.display());
        let pem = fs::read(file).map_err(|error| bad(error.to_string()))?;
        if CertificateDer::pem_slice_iter(&pem).next().is_none() {
            return Err(bad("there is no certificate in it".to_owned()));
        }
        let certificate = Certificate::from_pem(&pem).map_err(|error| bad(error.to_string()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| error.to_string())
}

/// One line; the message builder encodes what is not ASCII.
fn title(notice: &Notice, origin: &Origin) -> String {
    let word = match notice.event {
        Event::Raised => notice.severity.as_str(),
        Event::Cleared => "over",
        Event::Test => "test",
    };
    let title = format!("[vtl {}] {word}: {} {}", origin.host, notice.rule, notice.subject);
    title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn text(notice: &Notice, origin: &Origin) -> String {
    let Notice { event, id, rule, severity, subject, message, remedy, .. } = notice;
    let mut lines = vec![message.clone(), String::new()];
    if !remedy.is_empty() {
        lines.extend([format!("What to do: {remedy}"), String::new()]);
    }
    lines.push(format!("event:        {}", event.word()));
    lines.push(format!("alert:        {id}, rule {rule}, {severity}"));
    lines.push(format!("subject:      {subject}"));
    lines.push(format!("at:           {}", notice.time()));
    lines.push(format!("server:       {}, installation {}", origin.host, origin.installation));
    if *event == Event::Raised {
        lines.push(format!("acknowledge:  vtl alert ack {id}"));
    }
    lines.push(String::new());
    lines.join("\r\n")
}

impl Sender for Mail {
    fn name(&self) -> &'static str {
        "email"
    }

    fn send(&self, notice: &Notice) -> Result<(), NotSent> {
        let message = self.message(notice)?;
        self.transport.send(&message).map(drop).map_err(|error| {
            let why = with_cause(&error);
            if error.is_permanent() { NotSent::for_good(why) } else { NotSent::may_pass(why) }
        })
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) if !error.to_string().contains(&cause.to_string()) => {
            format!("{error}: {}", with_cause(cause))
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_says_what_is_wrong_what_to_do_and_where_and_no_line_of_it_is_a_header() {
        let origin = Origin { host: "tapes".to_owned(), installation: "00ff".to_owned() };
        let to = ["ann@example.org".to_owned(), "bob@example.org".to_owned()];
        let mail =
            Mail::new(("127.0.0.1", 1), MailTls::None, None, None, ("vtl@example.org", &to), origin).unwrap();
        let notice = Notice {
            event: Event::Raised,
            id: 7,
            rule: "space".to_owned(),
            severity: "critical".to_owned(),
            subject: "pool a\r\nBcc: eve@example.org".to_owned(),
            message: "92 % are used".to_owned(),
            remedy: "remove cartridges".to_owned(),
            at_s: 1_774_224_000,
        };
        let formatted = String::from_utf8(mail.message(&notice).unwrap().formatted()).unwrap();
        let (head, body) = formatted.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Subject: [vtl tapes] critical: space pool a"), "{head}");
        assert!(head.contains("To: ann@example.org, bob@example.org"), "{head}");
        assert!(!head.lines().any(|line| line.starts_with("Bcc:")), "{head}");
        for line in ["92 % are used", "What to do: remove cartridges", "acknowledge:  vtl alert ack 7"] {
            assert!(body.contains(line), "{line} in {body}");
        }
        assert!(body.contains("2026-03-23T00:00:00Z"), "{body}");
    }
}
