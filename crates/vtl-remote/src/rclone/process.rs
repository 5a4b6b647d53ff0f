//! One run of rclone: started without a shell, its output taken as it comes, what it says kept up to a limit. A run
//! whose caller goes away is ended.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::mpsc;

use super::exit;
use crate::body::{ByteStream, PIECE, from_channel};
use crate::error::{Call, Class, Error, printable};

/// Answers of calls that give a few lines; listings and objects are taken piece by piece.
const MAX_ANSWER: u64 = 64 << 10;
/// The longest line of a listing.
const MAX_LINE: u64 = 64 << 10;
/// So much of what rclone says last is kept.
const MAX_SAID: usize = 16 << 10;
/// Of that, so many characters go into an error.
const MAX_SHOWN: usize = 600;
/// Pieces of an object that wait for their reader.
const PIECES_AHEAD: usize = 2;

/// One try and no more: retries are the caller's. Nothing is asked on a terminal.
const OWN_FLAGS: &[&str] = &["--retries=1", "--low-level-retries=1", "--ask-password=false"];

/// What rclone gets of our environment: nothing that could hold a secret of ours.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "TZ",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// rclone, and what stands on each of its command lines.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    flags: Vec<String>,
    retry: Vec<u8>,
}

impl Program {
    pub fn new(path: &Path, flags: &[String], retry: &[u8]) -> Self {
        Self { path: path.to_owned(), flags: flags.to_vec(), retry: retry.to_vec() }
    }

    /// Runs it; what it wrote to its output.
    pub async fn run(&self, words: &[&str], call: &Call) -> Result<Vec<u8>, Error> {
        let Run { child, output, mut errors } = self.start(words, call)?;
        let read = async move {
            // The pipe is closed then, so that a run with more to say ends.
            let (mut output, mut answer) = (output.take(MAX_ANSWER), Vec::new());
            output.read_to_end(&mut answer).await.map(|_| answer)
        };
        let (read, said) = tokio::join!(read, tail(&mut errors));
        self.end(child, &said, call).await?;
        read.map_err(|error| call.fail(Class::Interrupted, format!("rclone's output: {error}")))
    }

    /// Runs it and gives each line of its output to `take`.
    pub async fn lines(
        &self,
        words: &[&str],
        call: &Call,
        take: &mut (dyn FnMut(&[u8]) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        let Run { child, output, mut errors } = self.start(words, call)?;
        let (read, said) = tokio::join!(each_line(output, call, take), tail(&mut errors));
        // How it ended explains more than what its output lacks.
        self.end(child, &said, call).await.and(read)
    }

    /// Runs it; its output as a stream, which fails at its end when rclone did.
    pub fn stream(&self, words: &[&str], call: &Call) -> Result<ByteStream, Error> {
        let run = self.start(words, call)?;
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let (program, call) = (self.clone(), call.clone());
        tokio::spawn(async move {
            if let Err(error) = program.pump(run, &sender, &call).await {
                // A receiver that is gone wants to know nothing.
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(from_channel(receiver))
    }

    async fn pump(
        &self,
        run: Run,
        sender: &mpsc::Sender<Result<Bytes, Error>>,
        call: &Call,
    ) -> Result<(), Error> {
        let Run { child, mut output, mut errors } = run;
        let copy = async {
            loop {
                let mut piece = BytesMut::with_capacity(PIECE);
                let read = output.read_buf(&mut piece).await;
                match read {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => {
                        return Err(call.fail(Class::Interrupted, format!("rclone's output: {error}")));
                    }
                }
                if sender.send(Ok(piece.freeze())).await.is_err() {
                    return Ok(());
                }
            }
        };
        let gone = sender.closed();
        let both = async { tokio::join!(copy, tail(&mut errors)) };
        // Whoever stops reading ends the run: dropping the child kills it.
        let (copied, said) = tokio::select! {
            both = both => both,
            () = gone => return Ok(()),
        };
        self.end(child, &said, call).await.and(copied)
    }

    fn start(&self, words: &[&str], call: &Call) -> Result<Run, Error> {
        let kept = |name: &&str| std::env::var_os(name).map(|value| (OsString::from(name), value));
        let (command, rest) =
            words.split_first().map_or(("", [].as_slice()), |(command, rest)| (*command, rest));
        let mut child = Command::new(&self.path)
            .arg(command)
            .args(OWN_FLAGS)
            .args(&self.flags)
            .args(rest)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(kept))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.not_started(&error, call))?;
        match (child.stdout.take(), child.stderr.take()) {
            (Some(output), Some(errors)) => Ok(Run { child, output, errors }),
            _ => Err(call.fail(Class::Local, "rclone was started without pipes")),
        }
    }

    fn not_started(&self, error: &std::io::Error, call: &Call) -> Error {
        use std::io::ErrorKind as Kind;
        let class = match error.kind() {
            Kind::NotFound | Kind::PermissionDenied => Class::Misconfigured,
            // No memory, no processes: it may be better later.
            _ => Class::Unavailable,
        };
        let program = self.path.display();
        call.fail(class, format!("{program} cannot be started: {error}; install rclone or set its path"))
    }

    /// Waits for the end; an exit code other than 0 is an error with what rclone said last.
    async fn end(&self, mut child: Child, said: &[u8], call: &Call) -> Result<(), Error> {
        let status = child
            .wait()
            .await
            .map_err(|error| call.fail(Class::Local, format!("waiting for rclone: {error}")))?;
        if status.success() { Ok(()) } else { Err(self.failed(status, said, call)) }
    }

    fn failed(&self, status: ExitStatus, said: &[u8], call: &Call) -> Error {
        let said = printable(&String::from_utf8_lossy(said), MAX_SHOWN);
        let Some(code) = status.code().and_then(|code| u8::try_from(code).ok()) else {
            return call.fail(Class::Unavailable, format!("rclone ended by a signal ({status}): {said}"));
        };
        let (class, text) = exit::class(code, call.doing, &self.retry);
        call.fail(class, format!("rclone: {text}: {said}")).with_exit_code(code)
    }
}

/// A run in progress.
struct Run {
    child: Child,
    output: ChildStdout,
    errors: ChildStderr,
}

async fn each_line(
    output: ChildStdout,
    call: &Call,
    take: &mut (dyn FnMut(&[u8]) -> Result<(), Error> + Send),
) -> Result<(), Error> {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut output).take(MAX_LINE).read_until(b'\n', &mut line).await;
        match read {
            Ok(0) => return Ok(()),
            Ok(count) if count as u64 == MAX_LINE => {
                return Err(call.fail(Class::Refused, "rclone wrote a line of more than 64 KiB"));
            }
            Ok(_) => take(&line)?,
            Err(error) => return Err(call.fail(Class::Interrupted, format!("rclone's output: {error}"))),
        }
    }
}

/// The last of what comes, up to the limit; all of it is read, so that the writer is never held up.
async fn tail(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        kept.extend(piece.iter().take(count));
        let excess = kept.len().saturating_sub(MAX_SAID);
        kept.drain(..excess);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_is_kept_up_to_a_limit_and_its_end_wins() {
        let said = [vec![b'x'; 100_000], b"the end".to_vec()].concat();
        let kept = tail(&mut said.as_slice()).await;
        assert_eq!(kept.len(), MAX_SAID);
        assert!(kept.ends_with(b"the end"));
    }
}
