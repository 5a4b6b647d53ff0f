//! What all drivers that speak HTTP are set up with: where the server is, whom to trust, how long to wait.

use std::path::Path;
use std::time::Duration;

use crate::error::{Class, Doing, Error};

/// How long a connection may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may come: also the time for sending one part: of 8 MiB at 28 KB/s at least, of 128 MiB at
/// 450 KB/s.
pub(crate) const SILENCE: Duration = Duration::from_secs(300);
/// The largest file of certificates that is read, in bytes.
const MAX_CA_FILE: u64 = 1 << 20;

/// What may come after the host of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing but a port.
    HostOnly,
    /// A path, too.
    Path,
}

/// Settings that cannot work.
pub(crate) fn refuse(why: impl AsRef<str>) -> Error {
    Error::new(Class::Misconfigured, Doing::Open, why)
}

/// Checks an endpoint: `https://HOST`, with a port perhaps, or `http://` when that is allowed.
pub(crate) fn check_endpoint(endpoint: &str, allow_http: bool, after: After) -> Result<(), Error> {
    is_endpoint(endpoint, allow_http, after).map_err(|error| error.of_setting("endpoint"))
}

fn is_endpoint(endpoint: &str, allow_http: bool, after: After) -> Result<(), Error> {
    let shown = shown(endpoint);
    if authority(endpoint).contains('@') {
        return Err(refuse("the endpoint has credentials in it: they belong into files of their own"));
    }
    let host = match (endpoint.strip_prefix("https://"), endpoint.strip_prefix("http://")) {
        (Some(host), _) => host,
        (None, Some(_)) if !allow_http => {
            return Err(refuse(format!(
                "the endpoint{shown} would send everything in clear: write https://, or set allow_http"
            )));
        }
        (None, Some(host)) => host,
        (None, None) => {
            return Err(refuse(format!(
                "the endpoint{shown} is no address: write https://HOST or https://HOST:PORT"
            )));
        }
    };
    let (host, path) = host.split_once('/').unwrap_or((host, ""));
    let in_host = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
    if host.is_empty() || !host.chars().all(in_host) {
        return Err(refuse(format!(
            "the endpoint{shown} has no host: write https://HOST or https://HOST:PORT"
        )));
    }
    match after {
        After::HostOnly if !path.is_empty() => Err(refuse(format!(
            "the endpoint{shown} has more than a host and a port: the bucket and the prefix are settings of their own"
        ))),
        After::Path if path.chars().any(|c| c.is_control() || "?#\\".contains(c)) => Err(refuse(format!(
            "the endpoint{shown} has more than a host and a path: leave out what comes after ? and #"
        ))),
        _ => Ok(()),
    }
}

/// What stands where the host does: all before the path.
fn authority(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// An endpoint as it stands in an error: nothing of one with an `@`, since a password with a `/` looks like a path, nor what comes after `?`.
pub(crate) fn shown(endpoint: &str) -> String {
    match endpoint.contains('@') {
        true => String::new(),
        false => format!(" '{}'", without_query(endpoint).escape_debug()),
    }
}

/// An address without what comes after `?` and `#`, where keys may stand.
pub(crate) fn without_query(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or(address)
}

/// Certificates of authorities as PEM, and what to call them in an error.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |why: String| wrong_certificates(path, &why);
    let about = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !about.is_file() || about.len() > MAX_CA_FILE {
        return Err(wrong("it is no file of at most 1 MiB".to_owned()));
    }
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
        return Err(wrong("there is none; PEM begins with -----BEGIN CERTIFICATE-----".to_owned()));
    }
    Ok(pem)
}

/// Certificates that cannot be used.
pub(crate) fn wrong_certificates(path: &Path, why: &str) -> Error {
    refuse(format!("the certificates in {}: {why}", path.display())).of_setting("ca_file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_where_it_may_be_a_path_and_no_secret_in_it_is_repeated() {
        for endpoint in ["https://h", "https://h:9000/", "https://[::1]:9000"] {
            assert!(check_endpoint(endpoint, false, After::HostOnly).is_ok(), "{endpoint}");
        }
        for endpoint in ["http://h/dav/a b", "https://h/remote.php/dav/files/me@home/tapes"] {
            assert!(check_endpoint(endpoint, true, After::Path).is_ok(), "{endpoint}");
        }
        for (endpoint, allow_http, after, why) in [
            ("http://h", false, After::HostOnly, "allow_http"),
            ("h:9000", true, After::HostOnly, "https://HOST"),
            ("https://", true, After::HostOnly, "no host"),
            ("https:///x", true, After::Path, "no host"),
            ("https://u:hush@h", true, After::Path, "files of their own"),
            ("http://u:hush@h", false, After::Path, "files of their own"),
            ("u:hush@h", true, After::Path, "files of their own"),
            ("ftp://u:hush@h", true, After::Path, "files of their own"),
            ("https://u:1/hush@h", true, After::HostOnly, "settings of their own"),
            ("https://h/a?key=hush", true, After::Path, "after ?"),
            ("https://h/bucket", true, After::HostOnly, "settings of their own"),
            ("https://h/a?b", true, After::Path, "after ?"),
            ("https://h/a#b", true, After::Path, "after ?"),
        ] {
            let error = check_endpoint(endpoint, allow_http, after).unwrap_err();
            assert_eq!((error.class(), error.setting()), (Class::Misconfigured, Some("endpoint")));
            assert!(error.to_string().contains(why), "{endpoint}: {error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
