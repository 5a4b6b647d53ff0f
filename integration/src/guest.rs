//! One guest: Debian's user-mode Linux as an ordinary process on a read-only view of the host's root.
//!
//! Or on a fresh Debian, whose systemd then runs the script (`guest/debian.sh`).
//!
//! The guest sees its share (a folder outside /tmp) read-write at `/run/share`; `guest/init.sh` describes the files
//! in it. The script's exit status comes back in `status`: a guest without it has crashed or was stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::{Network, guest_address, tap};
use crate::page::{Page, folder_name};
use crate::process::Running;
use crate::{Result, Trouble, here};

/// Enough for /usr/lib unpacked in pieces in its tmpfs; two guests fit a small machine.
const MEMORY: &str = "1024M";

/// What to boot.
pub struct Plan<'a> {
    /// Shown before each console line.
    pub name: &'a str,
    /// Its number in the network: tap device and address follow.
    pub number: usize,
    /// The folder that is its root: a fresh Debian; none for the host's.
    pub root: Option<&'a Path>,
    /// The share, an empty folder that the caller owns.
    pub share: &'a Path,
    /// The script to run.
    pub job: &'a Path,
    /// Variables for the script.
    pub env: &'a [(String, String)],
    /// Pages of `docs/` for `guest/page.sh`.
    pub pages: &'a [String],
    /// A disk image that becomes `/dev/ubda` in the guest.
    pub disk: Option<&'a Path>,
}

/// A booted guest.
pub struct Guest {
    share: PathBuf,
    running: Running,
}

/// A request that the script wrote and waits on.
pub struct Ask {
    id: String,
    /// Its words, as given to `host`.
    pub words: Vec<String>,
}

/// What goes back: an exit status and text.
pub struct Answer {
    /// Zero for success.
    pub status: u8,
    /// Standard output for the script.
    pub text: String,
}

impl Guest {
    /// Fills the share and boots.
    pub fn boot(net: &Network, plan: &Plan<'_>) -> Result<Self> {
        fill(plan).map_err(Trouble::with("guest's share"))?;
        let mut command = net.command("linux.uml");
        command.args(["root=/dev/root", "rootfstype=hostfs", "ro", "quiet"]);
        command.arg(format!("rootflags={}", plan.root.unwrap_or(Path::new("/")).display()));
        command.args(["con=null", "con0=null,fd:1", "panic=1"]);
        command.arg(format!("mem={MEMORY}"));
        command.arg(format!("vec0:transport=tap,ifname={},depth=128,gro=1", tap(plan.number)));
        command.arg(format!("init={}", first_process(plan)?.display()));
        // What the kernel does not know becomes a variable of the first process.
        command.arg(format!("VTL_SHARE={}", plan.share.display()));
        command.args(plan.disk.map(|disk| format!("ubd0={}", disk.display())));
        let running = Running::start(plan.name, &mut command)?;
        Ok(Self { share: plan.share.to_owned(), running })
    }

    /// The script's exit status once the guest has switched itself off; `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        if self.running.ended()?.is_none() {
            return Ok(None);
        }
        let status = std::fs::read_to_string(self.share.join("status"))
            .map_err(Trouble::with("the guest ended without a status"))?;
        status.trim().parse().map(Some).map_err(Trouble::with("status of the guest's script"))
    }

    /// Waits for a console line that begins with `start`.
    pub fn wait_for_line(&mut self, start: &str, limit: Duration) -> Result<String> {
        self.running.wait_for_line(start, limit)
    }

    /// Cuts its power.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// The console so far.
    pub fn console(&self) -> Vec<String> {
        self.running.lines()
    }

    /// Requests that nobody has answered yet, oldest first.
    pub fn asks(&self) -> Vec<Ask> {
        let mut asks: Vec<Ask> = std::fs::read_dir(self.share.join("ask"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|id| !id.ends_with(".part") && !self.share.join("answer").join(id).exists())
            .filter_map(|id| {
                let text = std::fs::read_to_string(self.share.join("ask").join(&id)).ok()?;
                Some(Ask { id, words: text.lines().map(str::to_owned).collect() })
            })
            .collect();
        asks.sort_by(|a, b| a.id.cmp(&b.id));
        asks
    }

    /// Answers a request; the file appears whole, under its name only when complete.
    pub fn answer(&self, ask: &Ask, answer: &Answer) -> Result<()> {
        let part = self.share.join("answer").join(format!("{}.part", ask.id));
        let whole = self.share.join("answer").join(&ask.id);
        std::fs::write(&part, format!("{}\n{}", answer.status, answer.text))
            .and_then(|()| std::fs::rename(&part, &whole))
            .map_err(Trouble::with("answer to the guest"))
    }
}

/// The file that the guest starts as its first process, as the guest sees it.
fn first_process(plan: &Plan<'_>) -> Result<PathBuf> {
    let Some(root) = plan.root else { return Ok(plan.share.join("guest/init.sh")) };
    let from = here().join("guest/debian.sh");
    std::fs::copy(&from, root.join("debian.sh")).map_err(Trouble::with(from.display().to_string()))?;
    Ok(PathBuf::from("/debian.sh"))
}

fn fill(plan: &Plan<'_>) -> std::io::Result<()> {
    for folder in ["ask", "answer", "out", "guest", "data"] {
        std::fs::create_dir_all(plan.share.join(folder))?;
    }
    copy_files(&here().join("guest"), &plan.share.join("guest"))?;
    copy_files(&here().join("data"), &plan.share.join("data"))?;
    std::fs::copy(plan.job, plan.share.join("job.sh"))?;
    for page in plan.pages {
        put_page(page, &plan.share.join("pages"))?;
    }
    let _ = std::fs::remove_file(plan.share.join("status"));
    let mut env = format!("GUEST_NAME={}\nGUEST_ADDRESS={}\n", plan.name, guest_address(plan.number));
    for (key, value) in plan.env {
        env.push_str(&format!("{key}='{value}'\n"));
    }
    std::fs::write(plan.share.join("env"), env)
}

/// The commands of a page, block by block.
fn put_page(name: &str, folder: &Path) -> std::io::Result<()> {
    let page = Page::of_docs(name).map_err(std::io::Error::other)?;
    page.write(name, &folder.join(folder_name(name)))
}

/// Files only, with their permissions; the folders are flat.
fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
