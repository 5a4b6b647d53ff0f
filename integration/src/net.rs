//! A network namespace of our own: bridge `br0` with 10.99.0.1/24 for servers, one tap device per guest.
//!
//! The name holds the process id of the test, so that [`crate::sweep`] knows whose it was. Dropping the network
//! ends every process in it, which can only be ours, and removes it.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::Result;
use crate::process::{bound, output};

/// The server's address in the namespace.
pub const SERVER_ADDRESS: &str = "10.99.0.1";
/// Names of our namespaces begin with this, then process id and a running number.
pub const NAME_PREFIX: &str = "vtl-it-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The namespace; see the module's head.
pub struct Network {
    name: String,
}

impl Network {
    /// Makes the namespace with `guests` tap devices, `tap0` and up.
    pub fn new(guests: usize) -> Result<Self> {
        let name = format!("{NAME_PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name])?;
        let net = Self { name };
        let server = format!("{SERVER_ADDRESS}/24");
        net.ip(&["link", "set", "lo", "up"])?;
        net.ip(&["link", "add", "br0", "type", "bridge"])?;
        net.ip(&["addr", "add", &server, "dev", "br0"])?;
        net.ip(&["link", "set", "br0", "up"])?;
        for guest in 0..guests {
            let tap = tap(guest);
            net.ip(&["tuntap", "add", &tap, "mode", "tap"])?;
            net.ip(&["link", "set", &tap, "master", "br0", "up"])?;
        }
        Ok(net)
    }

    /// A command that runs inside; it dies with the calling thread.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = bound();
        command.args(["ip", "netns", "exec", &self.name]).arg(program);
        command
    }

    /// Takes a guest's cable out (`down`) or puts it back (`up`), at the bridge: the guest's own end does not notice, as
    /// with a switch that fails.
    pub fn set_tap(&self, guest: usize, state: &str) -> Result<()> {
        match state {
            "down" => self.ip(&["link", "set", &tap(guest), "nomaster"]),
            _ => self.ip(&["link", "set", &tap(guest), "master", "br0"]),
        }
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend(args);
        ip(&all)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// The tap device of guest number `guest`.
pub fn tap(guest: usize) -> String {
    format!("tap{guest}")
}

/// The address of guest number `guest`.
pub fn guest_address(guest: usize) -> String {
    format!("10.99.0.{}", guest + 2)
}

/// Ends all processes in a namespace of ours and removes it. Never fails: it runs while things fall apart.
pub fn remove(name: &str) {
    for _ in 0..50 {
        let pids = output(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
        if pids.trim().is_empty() {
            break;
        }
        let _ = output(Command::new("kill").args(["-s", "KILL", "--"]).args(pids.split_whitespace()));
        sleep(Duration::from_millis(20));
    }
    let _ = ip(&["netns", "del", name]);
}

fn ip(args: &[&str]) -> Result<()> {
    output(Command::new("ip").args(args)).map(drop)
}
