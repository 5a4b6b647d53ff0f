//! The command line of the daemon.

use std::path::PathBuf;

use clap::Parser;
use vtl_conf::{Assignment, ConfErrors};

/// A virtual tape library over iSCSI.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "vtld", version)]
pub struct Args {
    /// Folder for all state.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address for iSCSI; may be given several times.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<String>,
    /// Address for the management API.
    #[arg(long, value_name = "ADDR:PORT")]
    pub api: Option<String>,
    /// Sets one key of the configuration.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print which versions of formats lie in the state and what a start would do with them; change nothing.
    #[arg(long)]
    pub upgrade_plan: bool,
    /// Say whether a start would take the configuration and, at a glance, the formats of the state; change nothing. An upgrade of the package asks this.
    #[arg(long)]
    pub check: bool,
    /// Let the sealed secrets of the state folder lie open again, and end; needs their key in the configuration.
    #[arg(long)]
    pub unseal_secrets: bool,
    /// Write manual page and completions into a folder, for packages.
    #[arg(long, value_name = "DIR", hide = true)]
    pub write_manual: Option<PathBuf>,
}

impl Args {
    /// The keys that the command line sets, in the order in which they win.
    ///
    /// # Errors
    /// A `--set` that is not KEY=VALUE.
    pub fn assignments(&self) -> Result<Vec<Assignment>, ConfErrors> {
        let mut all = self.set.iter().map(|text| Assignment::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if let Some(state) = &self.state {
            let state = std::path::absolute(state).unwrap_or_else(|_| state.clone());
            all.push(Assignment::string("--state", "state", &state.display().to_string()));
        }
        if !self.listen.is_empty() {
            all.push(Assignment::strings("--listen", "iscsi.listen", &self.listen));
        }
        if let Some(api) = &self.api {
            all.push(Assignment::string("--api", "api.listen", api));
        }
        Ok(all)
    }
}
