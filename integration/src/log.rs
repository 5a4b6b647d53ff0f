//! One log for a case: every line of every guest and server with the seconds since the start, so that the order of
//! events on both sides can be read in one place.
//!
//! The thread that runs a case owns its log; threads that read for it take a copy of the handle along.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::{Result, Trouble};

/// The log of one case; without one, as in unit tests, lines are printed.
#[derive(Clone, Default)]
pub struct Log(Option<Arc<Open>>);

struct Open {
    file: Mutex<File>,
    start: Instant,
    shown: bool,
}

thread_local! {
    static CURRENT: RefCell<Log> = RefCell::default();
}

/// Begins a new log of this thread at `path`; `shown` also prints the lines as they come.
pub fn begin(path: &Path, shown: bool) -> Result<()> {
    let file = Mutex::new(File::create(path).map_err(Trouble::with(path.display().to_string()))?);
    CURRENT.replace(Log(Some(Arc::new(Open { file, start: Instant::now(), shown }))));
    Ok(())
}

/// This thread's log.
pub fn current() -> Log {
    CURRENT.with_borrow(Log::clone)
}

/// Adds one line of `who` to this thread's log.
pub fn line(who: &str, text: &str) {
    CURRENT.with_borrow(|log| log.line(who, text));
}

impl Log {
    /// Adds one line of `who`.
    pub fn line(&self, who: &str, text: &str) {
        let Some(open) = &self.0 else {
            println!("{who}| {text}");
            return;
        };
        let line = format!("{:8.2} {who}| {text}", open.start.elapsed().as_secs_f64());
        let _ = writeln!(open.file.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
        if open.shown {
            println!("{line}");
        }
    }
}
