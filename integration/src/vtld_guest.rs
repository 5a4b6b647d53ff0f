//! Our daemon in a guest of its own, on an ext4 image, so that its power can be cut.
//!
//! The image's file on the host gets what the guest's kernel has written to its disk, and with a flush what must
//! last. Killing the guest's process loses the guest's page cache: everything that was not synced, as a power cut
//! does. The next start checks the file system first, as a machine's boot does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::guest::{Answer, Guest, Plan};
use crate::net::{Network, guest_address};
use crate::process::output;
use crate::server::{START_LIMIT, STOP_LIMIT, Server, VTLD_DRIVES, VTLD_TARGET, binary};
use crate::store_kind::StoreKind;
use crate::{Result, Trouble, here};

/// The image is sparse; this is what the file system thinks it has.
const IMAGE: &str = "4G";
/// Boot and file system check come before the daemon's own start.
const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// The daemon and its machine.
pub struct VtldInGuest {
    net: Rc<Network>,
    dir: PathBuf,
    args: Vec<String>,
    number: usize,
    guest: Option<Guest>,
}

impl VtldInGuest {
    /// Not started yet; `number` is its place in the network.
    pub fn new(net: &Rc<Network>, dir: &Path, args: &[String], number: usize) -> Self {
        Self { net: Rc::clone(net), dir: dir.to_owned(), args: args.to_vec(), number, guest: None }
    }

    fn image(&self) -> PathBuf {
        self.dir.join("disk.ext4")
    }

    fn share(&self) -> PathBuf {
        self.dir.join("share")
    }

    fn make_image(&self) -> Result<()> {
        let image = self.image();
        if image.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(self.share()).map_err(Trouble::with("folder of the server's guest"))?;
        make_disk(&image)
    }

    /// The program itself goes through the share: the checkout may lie where the guest has a tmpfs.
    fn copy_program(&self) -> Result<()> {
        let to = self.share().join("vtld");
        std::fs::copy(binary("vtld")?, to).map(drop).map_err(Trouble::with("vtld for the guest"))
    }
}

/// A sparse image with an empty file system on it.
pub(crate) fn make_disk(image: &Path) -> Result<()> {
    output(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image).arg(IMAGE)).map(drop)
}

impl Server for VtldInGuest {
    fn start(&mut self) -> Result<()> {
        self.make_image()?;
        self.copy_program()?;
        let _ = std::fs::remove_file(self.share().join("stop"));
        let (name, value) = StoreKind::env();
        let env =
            [("VTLD_ARGS", self.args.join(" ")), (name, value.to_owned())].map(|(k, v)| (k.to_owned(), v));
        let (job, image, share) = (here().join("guest/vtld.sh"), self.image(), self.share());
        let plan = Plan {
            name: "server",
            number: self.number,
            root: None,
            share: &share,
            job: &job,
            env: &env,
            pages: &[],
            disk: Some(&image),
        };
        let mut guest = Guest::boot(&self.net, &plan)?;
        guest.wait_for_line("ready", BOOT_LIMIT + START_LIMIT)?;
        self.guest = Some(guest);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut guest) = self.guest.take() {
            guest.kill();
        }
    }

    fn stop(&mut self) -> Result<()> {
        let Some(mut guest) = self.guest.take() else { return Ok(()) };
        std::fs::write(self.share().join("stop"), "").map_err(Trouble::with("order to stop"))?;
        let end = Instant::now() + STOP_LIMIT + BOOT_LIMIT;
        while Instant::now() < end {
            match guest.ended()? {
                None => std::thread::sleep(Duration::from_millis(50)),
                Some(0) => return Ok(()),
                Some(status) => return Err(Trouble(format!("stopped by SIGTERM, it ended with {status}"))),
            }
        }
        Err(Trouble("the server's guest did not stop in time".to_owned()))
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.guest.as_mut().map(Guest::ended) {
            None | Some(Ok(None)) => Ok(()),
            Some(Ok(Some(status))) => Err(Trouble(format!("the server's guest ended by itself: {status}"))),
            Some(Err(trouble)) => Err(trouble),
        }
    }

    fn client(&self, _: &[String]) -> Answer {
        Answer { status: 1, text: "the API of a server in a guest is not reachable from the host".to_owned() }
    }

    fn target(&self) -> &'static str {
        VTLD_TARGET
    }

    fn portal(&self) -> String {
        guest_address(self.number)
    }

    fn drives(&self) -> u32 {
        VTLD_DRIVES
    }
}
