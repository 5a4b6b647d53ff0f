//! What the service manager hears of the server: systemd's protocol of `sd_notify(3)`, one datagram to the socket that `NOTIFY_SOCKET` names.
//! With `Type=notify` in the unit `systemctl start` ends when the server serves, and what is typed behind it finds it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the socket's name stands; started by hand nobody has set it.
const VARIABLE: &str = "NOTIFY_SOCKET";
const READY: &[u8] = b"READY=1";

/// Listeners are open and requests are answered. Does nothing when no service manager asks for it.
pub(crate) fn tell_ready() -> io::Result<()> {
    match std::env::var_os(VARIABLE) {
        None => Ok(()),
        Some(name) => tell(&name, READY),
    }
}

fn tell(name: &OsStr, state: &[u8]) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to_addr(state, &address(name)?).map(drop)
}

/// A path, or behind `@` a name in the abstract space.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0xa5; 64];
        let length = by.recv(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn a_socket_in_a_folder_hears_what_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        tell(path.as_os_str(), READY).unwrap();
        assert_eq!(heard(&manager), *b"READY=1");
    }

    #[test]
    fn a_socket_with_an_abstract_name_hears_what_is_told() {
        let name = format!("vtld-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tell(OsStr::new(&format!("@{name}")), READY).unwrap();
        assert_eq!(heard(&manager), *b"READY=1");
    }

    #[test]
    fn a_socket_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(tell(folder.path().join("notify").as_os_str(), READY).is_err());
    }
}
