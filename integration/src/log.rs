//! One log for a case: every line of every guest and server with the seconds since the start, so that the order of
//! events on both sides can be read in one place.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::{Result, Trouble};

struct Log {
    file: File,
    start: Instant,
    shown: bool,
}

static LOG: Mutex<Option<Log>> = Mutex::new(None);

/// Begins a new log at `path`; `shown` also prints the lines as they come.
pub fn begin(path: &Path, shown: bool) -> Result<()> {
    let file = File::create(path).map_err(Trouble::with(path.display().to_string()))?;
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(Log { file, start: Instant::now(), shown });
    Ok(())
}

/// Adds one line of `who`; printed when no log was begun, as in unit tests.
pub fn line(who: &str, text: &str) {
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(log) = log.as_mut() else {
        println!("{who}| {text}");
        return;
    };
    let line = format!("{:8.2} {who}| {text}", log.start.elapsed().as_secs_f64());
    let _ = writeln!(log.file, "{line}");
    if log.shown {
        println!("{line}");
    }
}
