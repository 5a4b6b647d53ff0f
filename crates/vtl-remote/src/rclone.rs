//! rclone as a remote: every provider that it knows. Each call is a process of its own; arguments are a list and no shell
//! reads them.
//!
//! An object is sent from a file (`copyto`), which rclone itself compares with the hash that the provider tells. What is not a
//! file yet is written to the spool folder first. A crash leaves there what nobody needs, and at the provider what rclone
//! leaves: an upload that does not go on.

mod exit;
mod process;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;

use crate::body::{self, ByteStream, blocking};
use crate::content::{Content, Receipt, StoredHash, from_hex};
use crate::error::{Call, Class, Doing, Error};
use crate::listing::Pager;
use crate::name::{Folder, ObjectName, rclone_path};
use crate::random;
use crate::remote::{
    Abilities, Checkpoint, CreateOnly, HalfSent, Hashes, Head, Page, Put, Remote, Span, Streams,
};

pub use exit::DEFAULT_RETRY_EXIT_CODES;
use process::Program;

/// A larger object may go to the provider in parts (`rclone help flags`: `--azureblob-chunk-size` 4Mi is the least of all; `--s3-upload-cutoff` is 200Mi).
/// Then rclone computes the MD5 of the file here, has the provider keep it beside the object, and tells that.
const IN_ONE_REQUEST: u64 = 4 << 20;

/// Settings of an rclone remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcloneConfig {
    /// The name that the operator gave the remote.
    pub name: String,
    /// The program: a path, or a name that is looked for in `PATH`.
    pub program: PathBuf,
    /// A remote of rclone's configuration and a path on it: `gdrive:` or `gcloud:bucket/folder`.
    pub remote: String,
    /// Flags put on every call, such as `--config` with a path.
    pub flags: Vec<String>,
    /// Where bodies that are not files wait for their upload.
    pub spool: PathBuf,
    /// Exit codes after which a put may be tried again.
    pub retry_exit_codes: Vec<u8>,
}

/// A remote that rclone reaches.
#[derive(Debug, Clone)]
pub struct RcloneRemote {
    config: Arc<RcloneConfig>,
    program: Program,
}

impl RcloneRemote {
    /// Checks settings; nothing is started.
    ///
    /// # Errors
    ///
    /// [`Class::Misconfigured`] for a remote that is not `name:` or `name:path`, [`Class::Local`] for a spool folder that is not there.
    pub fn open(config: RcloneConfig) -> Result<Self, Error> {
        let refuse = |why: String| Error::new(Class::Misconfigured, Doing::Open, why).on(&config.name);
        if !is_named_remote(&config.remote) {
            return Err(refuse(format!(
                "'{}' is no rclone remote: write NAME: or NAME:PATH with a NAME that `rclone listremotes` shows",
                config.remote.escape_debug()
            ))
            .of_setting("rclone_remote"));
        }
        if config.flags.iter().any(|flag| flag.contains('\0')) {
            return Err(refuse("a flag has a zero byte".to_owned()).of_setting("rclone_flag"));
        }
        if !config.spool.is_dir() {
            let why = format!("the spool folder {} is not there", config.spool.display());
            return Err(Error::new(Class::Local, Doing::Open, why).on(&config.name));
        }
        let program = Program::new(&config.program, &config.flags, &config.retry_exit_codes);
        Ok(Self { config: Arc::new(config), program })
    }

    fn call(&self, doing: Doing, name: &ObjectName) -> Call {
        Call::new(&self.config.name, doing, name)
    }

    fn path(&self, name: &ObjectName) -> String {
        rclone_path(&self.config.remote, name.as_str())
    }

    /// Sends a file, in any case: rclone would skip one that seems the same by size and time.
    async fn copy(
        &self,
        from: &Path,
        to: &ObjectName,
        limit: Option<String>,
        call: &Call,
    ) -> Result<(), Error> {
        let limit = limit.map(|limit| format!("--bwlimit={limit}"));
        let from = from.to_str().ok_or_else(|| {
            call.fail(Class::Local, format!("the file's name {} is not UTF-8", from.display()))
        })?;
        let path = self.path(to);
        let mut words = vec!["copyto", "--ignore-times"];
        words.extend(limit.as_deref());
        words.extend(["--", from, &path]);
        self.program.run(&words, call).await.map(drop)
    }

    /// The body as a file: its own, or a copy in the spool. Checked against what is known of it.
    async fn spooled(&self, put: &Put<'_>, call: &Call) -> Result<Spooled, Error> {
        let mut stream = body::checked(put.body.open(), *put.content, Class::Source, call.clone());
        if let Some(path) = put.body.file() {
            while let Some(piece) = stream.next().await {
                piece?;
            }
            return Ok(Spooled::Own(path.to_owned()));
        }
        self.spool(stream, call).await
    }

    async fn spool(&self, mut stream: ByteStream, call: &Call) -> Result<Spooled, Error> {
        let local = |error: &std::io::Error| {
            let folder = self.config.spool.display();
            call.fail(Class::Local, format!("the spool folder {folder}: {error}"))
        };
        let name = random::hex().map_err(|why| call.fail(Class::Local, why))?;
        let path = self.config.spool.join(format!("rclone-{name}"));
        let mut file = blocking({
            let path = path.clone();
            move || create_private(&path)
        })
        .await?
        .map_err(|error| local(&error))?;
        let spooled = Spooled::Copy(path);
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            file = blocking(move || {
                use std::io::Write as _;
                file.write_all(&piece).map(|()| file)
            })
            .await?
            .map_err(|error| local(&error))?;
        }
        Ok(spooled)
    }

    /// What is under a name, `None` for nothing or a folder.
    async fn stat(&self, name: &ObjectName, call: &Call) -> Result<Option<Listed>, Error> {
        let path = self.path(name);
        let words = ["lsjson", "--stat", "--no-modtime", "--no-mimetype", "--", &path];
        // Whatever it is for, this only asks: what is not there is no fault of the settings.
        let asking = self.call(Doing::Head, name);
        let said = match self.program.run(&words, &asking).await {
            Ok(said) => said,
            Err(error) if error.class() == Class::NotThere => return Ok(None),
            Err(error) => return Err(call.name(error)),
        };
        let listed: Option<Listed> = serde_json::from_slice(&said)
            .map_err(|error| call.fail(Class::Refused, format!("lsjson said something else: {error}")))?;
        Ok(listed.filter(|listed| !listed.is_dir))
    }

    async fn size(&self, name: &ObjectName, call: &Call) -> Result<u64, Error> {
        let listed = self.stat(name, call).await?;
        let listed = listed.ok_or_else(|| call.fail(Class::NotThere, "there is no such object"))?;
        listed.size(call)
    }
}

/// `NAME:` or `NAME:PATH`, with what rclone allows in a name. A connection string could hold secrets, which every local
/// account reads in the list of processes.
fn is_named_remote(text: &str) -> bool {
    let Some((name, path)) = text.split_once(':') else { return false };
    let first = name.chars().next();
    let in_name = |c: char| c.is_ascii_alphanumeric() || "_-.+@ ".contains(c);
    first.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(in_name)
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|segment| segment == "..")
}

fn create_private(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A file to send. A copy is removed when it is dropped.
#[derive(Debug)]
enum Spooled {
    Own(PathBuf),
    Copy(PathBuf),
}

impl Spooled {
    fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::Copy(path) => path,
        }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Self::Copy(path) = self {
            // A start empties the spool, when this fails.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What lsjson tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    path: String,
    size: i64,
    is_dir: bool,
}

impl Listed {
    fn size(&self, call: &Call) -> Result<u64, Error> {
        u64::try_from(self.size).map_err(|_| call.fail(Class::Refused, "the provider does not tell the size"))
    }
}

#[async_trait]
impl Remote for RcloneRemote {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn abilities(&self) -> Abilities {
        Abilities { resumes: false, create: CreateOnly::Checked, hashes: Hashes::PerhapsSent, near: false }
    }

    /// The program is given a file.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        let call = self.call(Doing::Put, put.name);
        let spooled = self.spooled(&put, &call).await?;
        self.copy(spooled.path(), put.name, put.limiter.for_rclone(), &call).await?;
        put.watch.sent(put.content.size);
        Ok(Receipt::whole())
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        let call = self.call(Doing::Create, name);
        if self.stat(name, &call).await?.is_some() {
            return Err(call.fail(Class::AlreadyThere, "an object of this name is there"));
        }
        let content = Content::of(&bytes);
        let stream = body::Body::open(&body::BytesBody(bytes));
        let stream = body::checked(stream, content, Class::Source, call.clone());
        let spooled = self.spool(stream, &call).await?;
        self.copy(spooled.path(), name, None, &call).await
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        let call = self.call(Doing::Get, name);
        // rclone says nothing when a range ends after the object, and gives a folder's files one after the other.
        let size = self.size(name, &call).await?;
        let Some((start, length)) = span.within(size) else {
            return Err(call.fail(Class::OutOfRange, format!("it has {size} bytes")));
        };
        if length == 0 {
            return Ok(futures_util::stream::empty().boxed());
        }
        let (start, count) = (start.to_string(), length.to_string());
        let path = self.path(name);
        let words = ["cat", "--offset", &start, "--count", &count, "--", &path];
        let stream = self.program.stream(&words, &call)?;
        Ok(body::exact(stream, length, call))
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        Ok(Head { size: self.size(name, &self.call(Doing::Head, name)).await? })
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        let call = self.call(Doing::Hash, name);
        // A name with nothing under it, and a provider without MD5, fail alike.
        if self.size(name, &call).await? > IN_ONE_REQUEST {
            return Ok(Vec::new());
        }
        match self.program.run(&["md5sum", "--", &self.path(name)], &call).await {
            Ok(said) => Ok(md5_of(&said).map(StoredHash::Md5).into_iter().collect()),
            Err(error) if error.detail().contains("hash type not supported") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        let call = Call::on_folder(&self.config.name, Doing::List, folder);
        let path = rclone_path(&self.config.remote, folder.as_str().unwrap_or(""));
        let words = ["lsjson", "--recursive", "--files-only", "--no-modtime", "--no-mimetype", "--", &path];
        let mut pager = Pager::new(after, most);
        let mut take = |line: &[u8]| {
            let Some(listed) = listed(line, &call)? else { return Ok(()) };
            let name =
                folder.as_str().map_or_else(|| listed.path.clone(), |top| format!("{top}/{}", listed.path));
            match listed.size(&call) {
                Ok(size) => pager.take(&name, size),
                Err(_) => pager.take_foreign(&name),
            }
            Ok(())
        };
        match self.program.lines(&words, &call, &mut take).await {
            Err(error) if error.class() != Class::NotThere => Err(error),
            _ => Ok(pager.page()),
        }
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let call = self.call(Doing::Delete, name);
        if self.stat(name, &call).await?.is_none() {
            return Ok(());
        }
        match self.program.run(&["deletefile", "--", &self.path(name)], &call).await {
            Ok(_) => Ok(()),
            // It went in between.
            Err(_) if self.stat(name, &call).await?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn abandon(&self, _checkpoint: &Checkpoint) -> Result<(), Error> {
        Ok(())
    }

    async fn half_sent(&self, _folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        Ok(Vec::new())
    }
}

/// The hash in front of the name; blank when the provider has none for this object.
fn md5_of(said: &[u8]) -> Option<crate::content::Md5Bytes> {
    let said = std::str::from_utf8(said).ok()?;
    from_hex(said.split_whitespace().next()?)
}

/// An object in a line of lsjson, which writes one on each line of its array.
fn listed(line: &[u8], call: &Call) -> Result<Option<Listed>, Error> {
    let line = line.trim_ascii();
    let line = line.strip_suffix(b",").unwrap_or(line);
    if line.is_empty() || line == b"[" || line == b"]" {
        return Ok(None);
    }
    serde_json::from_slice(line)
        .map(Some)
        .map_err(|error| call.fail(Class::Refused, format!("lsjson said something else: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_is_a_name_of_rclones_configuration_and_a_path() {
        for text in ["gdrive:", "gcloud:vtlremote1", "a_b-c.d:x/y z", "my remote:"] {
            assert!(is_named_remote(text), "{text}");
        }
        for text in ["", "gdrive", ":s3,secret_access_key=x:b", "-x:", "a,b=c:", "a:x\n", "a:../x", "/a:b"] {
            assert!(!is_named_remote(text), "{text}");
        }
    }

    #[test]
    fn a_spool_folder_that_is_not_there_is_a_fault_of_this_machine() {
        let config = RcloneConfig {
            name: "cloud".to_owned(),
            program: "rclone".into(),
            remote: "gdrive:".to_owned(),
            flags: Vec::new(),
            spool: "/nonexistent/spool".into(),
            retry_exit_codes: DEFAULT_RETRY_EXIT_CODES.to_vec(),
        };
        assert_eq!(RcloneRemote::open(config).err().map(|error| error.class()), Some(Class::Local));
    }

    #[test]
    fn an_md5_is_read_from_its_line_and_a_blank_is_none() {
        let line = b"d0654a6e43d74389766f63c5870289ae  c.img\n";
        assert_eq!(md5_of(line).map(|md5| md5[0]), Some(0xd0));
        for line in [&b"                                  c.img\n"[..], b"UNSUPPORTED  c.img", b"", b"\xff"] {
            assert_eq!(md5_of(line), None);
        }
    }

    #[test]
    fn lines_of_a_listing_are_objects_or_its_brackets() {
        let call = Call::unnamed(Doing::List);
        for line in [&b"["[..], b"]\n", b"", b"\n"] {
            assert!(listed(line, &call).unwrap().is_none());
        }
        let line = b"{\"Path\":\"a/b\",\"Name\":\"b\",\"Size\":7,\"IsDir\":false},\n";
        let found = listed(line, &call).unwrap().unwrap();
        assert_eq!((found.path.as_str(), found.size), ("a/b", 7));
        assert!(listed(b"oops", &call).is_err());
    }
}
