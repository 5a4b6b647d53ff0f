//! The log: lines on standard error, as text or JSON, and the last of them in memory for a diagnostic bundle.
//!
//! Lines of a session or a job stand in its span, which carries a trace id of 32 hexadecimal digits.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use vtl_conf::{Log, LogFormat};

/// So many bytes of lines are kept.
const KEPT_BYTES: usize = 1 << 20;

/// The lines of this process: there is one log in it.
static RECENT: Recent = Recent::new(KEPT_BYTES);

/// Begins to log as the configuration says.
pub fn start(config: &Log) {
    let level = config.level.word().parse().unwrap_or(tracing::Level::INFO);
    let log = tracing_subscriber::fmt().with_writer(Tee).with_max_level(level).with_ansi(false);
    let begun = match config.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().with_current_span(false).with_span_list(true).try_init(),
    };
    if begun.is_err() {
        eprintln!("vtld: a log is already set up in this process");
    }
}

/// The last lines, oldest first.
pub fn recent() -> String {
    RECENT.text()
}

/// Lines up to a sum of bytes; the oldest go first.
struct Recent {
    most_bytes: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    const fn new(most_bytes: usize) -> Self {
        Self { most_bytes, kept: Mutex::new(Kept { lines: VecDeque::new(), bytes: 0 }) }
    }

    fn keep(&self, line: &str) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len();
        kept.lines.push_back(line.to_owned());
        while kept.bytes > self.most_bytes
            && let Some(oldest) = kept.lines.pop_front()
        {
            kept.bytes -= oldest.len();
        }
    }

    fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines.iter().map(String::as_str).collect()
    }
}

/// Standard error and memory. The formatter writes a line at once.
#[derive(Clone, Copy)]
struct Tee;

impl Write for Tee {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        RECENT.keep(&String::from_utf8_lossy(line));
        io::stderr().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Tee {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_when_there_are_too_many_bytes() {
        let recent = Recent::new(10);
        ["one\n", "two\n", "three\n"].into_iter().for_each(|line| recent.keep(line));
        assert_eq!(recent.text(), "two\nthree\n");
        recent.keep("a line longer than all\n");
        assert_eq!(recent.text(), "");
        recent.keep("four\n");
        assert_eq!(recent.text(), "four\n");
    }
}
