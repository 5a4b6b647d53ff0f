//! RFC 5424 messages: over a socket of this machine, as datagrams (RFC 5426), or over TCP with the length in front (RFC 6587, 3.4.1).

use std::io::Write as _;
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::{Event, NotSent, Notice, Origin, Sender, TIME_LIMIT};

/// Facility 3: system daemons.
const FACILITY: u8 = 3;
/// Severities of RFC 5424, 6.2.1.
const CRITICAL: u8 = 2;
const WARNING: u8 = 4;
const NOTICE: u8 = 5;
/// Private enterprise number of examples (RFC 5612): we have none of our own.
const ELEMENT: &str = "vtl@32473";

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A datagram socket of this machine.
    Unix(PathBuf),
    /// Host and port.
    Udp(String, u16),
    /// Host and port.
    Tcp(String, u16),
}

/// Tells a syslog.
#[derive(Debug)]
pub struct Syslog {
    /// Where.
    pub place: Place,
    /// Who.
    pub origin: Origin,
}

impl Sender for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn send(&self, notice: &Notice) -> Result<(), NotSent> {
        let message = message(notice, &self.origin);
        match &self.place {
            Place::Unix(path) => UnixDatagram::unbound().and_then(|socket| {
                socket.set_write_timeout(Some(TIME_LIMIT))?;
                socket.send_to(message.as_bytes(), path).map(drop)
            }),
            Place::Udp(host, port) => udp(host, *port, &message),
            Place::Tcp(host, port) => tcp(host, *port, &message),
        }
        .map_err(NotSent::may_pass)
    }
}

fn udp(host: &str, port: u16, message: &str) -> std::io::Result<()> {
    let to = (host, port).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(from)?.send_to(message.as_bytes(), to).map(drop)
}

fn tcp(host: &str, port: u16, message: &str) -> std::io::Result<()> {
    let to = (host, port).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut socket = TcpStream::connect_timeout(&to, TIME_LIMIT)?;
    socket.set_write_timeout(Some(TIME_LIMIT))?;
    socket.write_all(format!("{} {message}", message.len()).as_bytes())?;
    socket.shutdown(Shutdown::Write)
}

/// One message (RFC 5424, 6).
fn message(notice: &Notice, origin: &Origin) -> String {
    let severity = match (notice.event, notice.severity.as_str()) {
        (Event::Raised, "critical") => CRITICAL,
        (Event::Raised, _) => WARNING,
        _ => NOTICE,
    };
    let told = match notice.remedy.as_str() {
        "" => notice.message.clone(),
        remedy => format!("{}; {remedy}", notice.message),
    };
    format!(
        "<{}>1 {} {} vtld {} alert [{ELEMENT} event=\"{}\" id=\"{}\" rule=\"{}\" severity=\"{}\" subject=\"{}\" installation=\"{}\"] \u{feff}{}: {}",
        FACILITY * 8 + severity,
        notice.time(),
        header(&origin.host),
        std::process::id(),
        notice.event.word(),
        notice.id,
        value(&notice.rule),
        value(&notice.severity),
        value(&notice.subject),
        value(&origin.installation),
        one_line(&notice.subject),
        one_line(&told),
    )
}

/// Printable ASCII without spaces, or nothing (6.2.4).
fn header(text: &str) -> String {
    let printable: String = text.chars().filter(char::is_ascii_graphic).take(255).collect();
    if printable.is_empty() { "-".to_owned() } else { printable }
}

/// The value of a parameter (6.3.3).
fn value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A message must not begin another one.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    fn origin() -> Origin {
        Origin { host: "tapes".to_owned(), installation: "00ff".to_owned() }
    }

    fn notice() -> Notice {
        Notice {
            event: Event::Raised,
            id: 7,
            rule: "space".to_owned(),
            severity: "critical".to_owned(),
            subject: "pool \"a]\\b\"".to_owned(),
            message: "92 % used\n<0>1 forged".to_owned(),
            remedy: "remove cartridges".to_owned(),
            at_s: 1_774_224_000,
        }
    }

    fn expected() -> String {
        format!(
            "<26>1 2026-03-23T00:00:00Z tapes vtld {} alert [vtl@32473 event=\"raised\" id=\"7\" rule=\"space\" severity=\"critical\" \
             subject=\"pool \\\"a\\]\\\\b\\\"\" installation=\"00ff\"] \u{feff}pool \"a]\\b\": 92 % used <0>1 forged; remove cartridges",
            std::process::id()
        )
    }

    #[test]
    fn a_message_is_as_the_standard_draws_it_and_cannot_begin_another_one() {
        assert_eq!(message(&notice(), &origin()), expected());
        let over = Notice { event: Event::Cleared, ..notice() };
        assert!(message(&over, &origin()).starts_with("<29>1 "));
        let odd = Origin { host: "ta pes\n".to_owned(), ..origin() };
        assert!(message(&notice(), &odd).contains(" tapes vtld "));
    }

    #[test]
    fn a_socket_of_this_machine_gets_the_message_as_a_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog { place: Place::Unix(path), origin: origin() };
        syslog.send(&notice()).unwrap();
        let mut bytes = [0xa5; 4096];
        let length = receiver.recv(&mut bytes).unwrap();
        assert_eq!(str::from_utf8(&bytes[..length]).unwrap(), expected());
        drop(receiver);
        std::fs::remove_file(folder.path().join("log")).unwrap();
        assert!(!syslog.send(&notice()).unwrap_err().is_permanent);
    }

    #[test]
    fn datagrams_and_connections_get_it_over_the_network() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = receiver.local_addr().unwrap().port();
        let udp = Syslog { place: Place::Udp("127.0.0.1".to_owned(), port), origin: origin() };
        udp.send(&notice()).unwrap();
        let mut bytes = [0xa5; 4096];
        let length = receiver.recv(&mut bytes).unwrap();
        assert_eq!(str::from_utf8(&bytes[..length]).unwrap(), expected());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tcp = Syslog { place: Place::Tcp("127.0.0.1".to_owned(), port), origin: origin() };
        tcp.send(&notice()).unwrap();
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("{} {}", expected().len(), expected()));
    }
}
