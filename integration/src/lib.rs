//! Foreign clients against the daemon: a harness that gives software which we did not write a real Linux
//! initiator, and a server to talk to.
//!
//! - [`net`]: a network namespace of this run's own, with a bridge that guests hang on;
//! - [`guest`]: user-mode Linux on a read-only view of the host's root, running one shell script;
//! - [`server`]: the target under test, [`server::Vtld`], or Debian's `tgt`, by which the harness is proved;
//!   ([`vtld_guest::VtldInGuest`] is ours on a disk whose power can be cut);
//! - [`store_kind`]: the kind of store that ours is started with;
//! - [`page`]: a page of `docs/`, whose commands a case runs as they stand there;
//! - [`debian`]: a fresh Debian and our package, for what shall not depend on the host's root;
//! - [`case`]: a test, which is one shell file in `cases/` with a few settings at its head;
//! - [`run`]: brings the four together and answers what the script asks of the host;
//! - [`process`]: children that cannot outlive the test; [`log`]: what they all said, in order.
//!
//! Nothing here listens outside the namespace, and only processes started here are ended. What a killed run left
//! behind is swept by the next one, see [`sweep`].

pub mod case;
pub mod company;
pub mod debian;
pub mod guest;
pub mod log;
pub mod net;
pub mod page;
pub mod process;
pub mod run;
pub mod server;
pub mod store_kind;
pub mod sweep;
pub mod vtld_guest;

use std::path::PathBuf;

/// What went wrong with a run, in words for the person who reads the test's output.
#[derive(Debug)]
pub struct Trouble(pub String);

impl Trouble {
    /// A closure for `map_err`: keeps the cause behind the words.
    pub fn with<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |cause| Self(format!("{what}: {cause}"))
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// Shorthand of this crate.
pub type Result<T, E = Trouble> = std::result::Result<T, E>;

/// The folder of this crate in the checkout; scripts and tables are read from there.
pub fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The checkout, as a guest sees it, too.
pub fn checkout() -> PathBuf {
    let folder = here().join("..");
    folder.canonicalize().unwrap_or(folder)
}

/// Where `vtld` and `vtl` lie: `VTL_BIN_DIR`, or the release folder that `cargo xtask test` fills.
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("VTL_BIN_DIR") {
        return PathBuf::from(dir);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here().join("../target"), PathBuf::from);
    let dir = target.join("release");
    // Cases change their folder, so the path must not depend on ours.
    std::path::absolute(&dir).unwrap_or(dir)
}

/// True when the counts that an issue states are wanted, rather than those of CI.
pub fn long() -> bool {
    std::env::var_os("VTL_LONG").is_some_and(|v| v == "1")
}
