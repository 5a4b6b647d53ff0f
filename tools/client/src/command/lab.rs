//! `vtl lab`.

use std::path::PathBuf;

use clap::Subcommand;

/// Verbs of `vtl lab`. They ask no server that is there: the lab has its own.
#[derive(Subcommand)]
pub enum LabVerb {
    /// Start two servers and show a tape's whole life: written, exported, lost, brought back on the other server, compared. They run on.
    Up {
        /// Where everything goes: a new folder; vtl-lab in the user's own state when left out.
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
        /// The server's program; the one beside vtl, or in PATH, when left out.
        #[arg(long, value_name = "FILE")]
        vtld: Option<PathBuf>,
    },
    /// What of the lab runs, and where it answers; fails unless all of it runs.
    Status {
        /// The lab's folder.
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// End the lab's processes and remove its folder.
    Down {
        /// The lab's folder.
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}
