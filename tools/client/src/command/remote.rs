//! `vtl remote`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use vtl_api::CreateRemote;

use super::{Call, call, get, parse_size, path, post};
use crate::http::{Failure, Method, Request, segment};
use crate::print::View;

/// Verbs of `vtl remote`.
#[derive(Subcommand)]
pub enum RemoteVerb {
    /// List remotes; or the objects of one, or of a folder on it.
    Ls {
        /// The remote, and perhaps a folder on it.
        #[arg(value_name = "REMOTE[/FOLDER]")]
        what: Option<String>,
        /// Objects after this name on the remote.
        #[arg(long, value_name = "NAME", requires = "what")]
        after: Option<String>,
    },
    /// One remote with its settings and who uses it.
    Show {
        /// Its name.
        name: String,
    },
    /// Define a remote; nothing is sent. Files and folders are absolute paths on the machine of vtld.
    Create(Box<NewRemote>),
    /// Create, read, hash, list, replace and delete one small object, and tell what works.
    Test {
        /// Its name.
        name: String,
    },
    /// Forget a remote that nothing uses; what lies there stays.
    Rm {
        /// Its name.
        name: String,
    },
}

/// What a remote is.
#[derive(Args)]
pub struct NewRemote {
    /// Its name.
    name: String,
    /// What it is.
    #[arg(long = "type")]
    kind: Type,
    /// What becomes of exports that are known under this name and were made at another place.
    #[arg(long, value_name = "WHAT")]
    known_exports: Option<KnownExports>,
    /// folder: the folder, which must be there.
    #[arg(long, value_name = "DIR")]
    path: Option<String>,
    /// s3, azure, gcs: https://HOST[:PORT], without the bucket; webdav: https://HOST/PATH of the folder.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// s3: part of every signature; us-east-1 when left out.
    #[arg(long)]
    region: Option<String>,
    /// s3, gcs: the bucket, which must be there.
    #[arg(long)]
    bucket: Option<String>,
    /// s3, azure, gcs: in front of every object's name.
    #[arg(long)]
    prefix: Option<String>,
    /// s3: where the bucket's name stands: path or virtual-host.
    #[arg(long)]
    style: Option<String>,
    /// s3, azure, gcs, webdav: certificates to trust beside the system's, PEM.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// s3, azure, gcs, webdav: allow http://, so that everybody on the way can read.
    #[arg(long)]
    allow_http: bool,
    /// s3: send no checksum header, for servers that refuse it.
    #[arg(long)]
    no_checksums: bool,
    /// s3, azure, gcs: size of the parts of large objects, from 5m to 128m; 8m when left out.
    #[arg(long, value_name = "SIZE")]
    part_size: Option<String>,
    /// s3: file with the access key id, mode 0600.
    #[arg(long, value_name = "FILE")]
    access_key_file: Option<String>,
    /// s3: file with the secret key; azure: with a key of the account. Mode 0600.
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<String>,
    /// rclone: a remote of rclone's configuration and a path on it.
    #[arg(long, value_name = "X:PATH")]
    rclone_remote: Option<String>,
    /// rclone: a flag on every call; may be given several times.
    #[arg(long = "rclone-flag", value_name = "FLAG", allow_hyphen_values = true)]
    rclone_flags: Vec<String>,
    /// azure: the storage account.
    #[arg(long)]
    account: Option<String>,
    /// azure: the container, which must be there.
    #[arg(long)]
    container: Option<String>,
    /// gcs: key file of a service account, mode 0600.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<String>,
    /// webdav: who logs in.
    #[arg(long)]
    user: Option<String>,
    /// webdav: file with the user's password, mode 0600.
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// faulty: the remote that faults are put on, for rehearsals.
    #[arg(long, value_name = "REMOTE")]
    over: Option<String>,
    /// faulty: drop, drop-answer, throttle, error, corrupt, half or lose with a chance (drop:5%), or slow:5%:2s; several times.
    #[arg(long = "fault", value_name = "FAULT:PERCENT")]
    faults: Vec<String>,
    /// faulty: where the sequence of faults begins; 1 when left out.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// What becomes of them.
#[derive(Clone, Copy, ValueEnum)]
enum KnownExports {
    /// The same objects are at the place of this remote.
    Keep,
    /// They are not.
    Forget,
}

impl KnownExports {
    const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Forget => "forget",
        }
    }
}

/// Types of remotes.
#[derive(Clone, Copy, ValueEnum)]
enum Type {
    /// A folder of that machine.
    Folder,
    /// S3 and what speaks like it.
    S3,
    /// Azure's blob storage.
    Azure,
    /// Google's cloud storage.
    Gcs,
    /// A folder on a WebDAV server.
    Webdav,
    /// Whatever rclone reaches.
    Rclone,
    /// Another remote, with faults: for rehearsals.
    Faulty,
}

impl Type {
    const fn word(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::S3 => "s3",
            Self::Azure => "azure",
            Self::Gcs => "gcs",
            Self::Webdav => "webdav",
            Self::Rclone => "rclone",
            Self::Faulty => "faulty",
        }
    }
}

impl NewRemote {
    fn request(&self) -> Result<CreateRemote, Failure> {
        Ok(CreateRemote {
            name: self.name.clone(),
            kind: self.kind.word().to_owned(),
            known_exports: self.known_exports.map(|what| what.word().to_owned()),
            path: self.path.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            style: self.style.clone(),
            ca_file: self.ca_file.clone(),
            allow_http: self.allow_http.then_some(true),
            checksums: self.no_checksums.then_some(false),
            part_size_bytes: self.part_size.as_deref().map(parse_size).transpose()?,
            access_key_file: self.access_key_file.clone(),
            secret_key_file: self.secret_key_file.clone(),
            rclone_remote: self.rclone_remote.clone(),
            rclone_flags: self.rclone_flags.clone(),
            account: self.account.clone(),
            container: self.container.clone(),
            credentials_file: self.credentials_file.clone(),
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            over: self.over.clone(),
            faults: self.faults.clone(),
            seed: self.seed,
        })
    }
}

/// Objects of a remote, or of a folder on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectsOf<'a> {
    /// The remote, and perhaps a folder on it: `REMOTE[/FOLDER]`.
    pub what: &'a str,
    /// Only those after this name on the remote.
    pub after: Option<&'a str>,
}

impl ObjectsOf<'_> {
    /// What asks for the first page of them.
    #[must_use]
    pub fn request(&self) -> Request {
        Request { method: Method::Get, path: objects(self.what, self.after), body: None }
    }
}

/// What lies there, and whether there is more.
const OBJECTS: View = View::FieldsAndTable("objects", &["size_bytes", "name"]);

fn objects(what: &str, after: Option<&str>) -> String {
    let (remote, folder) = what.split_once('/').unwrap_or((what, ""));
    let query = [("folder", folder), ("after", after.unwrap_or_default())]
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", segment(value)))
        .collect::<Vec<_>>()
        .join("&");
    let question = if query.is_empty() { "" } else { "?" };
    format!("{}/objects{question}{query}", path("remotes", remote))
}

impl RemoteVerb {
    /// The objects to list, when it is that.
    pub(super) fn objects(&self) -> Option<ObjectsOf<'_>> {
        match self {
            Self::Ls { what: Some(what), after } => Some(ObjectsOf { what, after: after.as_deref() }),
            _ => None,
        }
    }

    pub(super) fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Ls { what: None, .. } => {
                get("/remotes", View::Table(&["name", "type", "place", "created"]))
            }
            // There may be more pages: see `objects`.
            Self::Ls { what: Some(what), after } => get(&objects(what, after.as_deref()), OBJECTS),
            Self::Show { name } => get(&path("remotes", name), View::FieldsAndInner("settings")),
            Self::Create(new) => post("/remotes".to_owned(), &new.request()?),
            Self::Test { name } => call(
                Method::Post,
                format!("{}/test", path("remotes", name)),
                Some(json!({})),
                View::Trial("usable", "steps", &["step", "finding", "why"]),
            ),
            Self::Rm { name } => call(Method::Delete, path("remotes", name), None, View::Message),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;
    use super::*;

    fn body(line: &str) -> serde_json::Value {
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
        let request = cli.command.call().unwrap_or_else(|e| panic!("{line}: {e:?}")).request;
        assert_eq!((request.method, request.path.as_str()), (Method::Post, "/remotes"));
        request.body.unwrap()
    }

    #[test]
    fn a_folder_of_a_remote_is_in_the_question() {
        let path = |line: &str| {
            Cli::try_parse_from(line.split_whitespace()).unwrap().command.call().unwrap().request.path
        };
        assert_eq!(path("vtl remote ls"), "/remotes");
        assert_eq!(path("vtl remote ls off-site"), "/remotes/off-site/objects");
        assert_eq!(path("vtl remote ls off-site/a/b"), "/remotes/off-site/objects?folder=a%2Fb");
        assert_eq!(path("vtl remote ls off-site --after x/y"), "/remotes/off-site/objects?after=x%2Fy");
    }

    #[test]
    fn each_type_of_remote_is_in_the_request_as_it_was_typed() {
        assert_eq!(
            body("vtl remote create here --type folder --path some/where"),
            json!({ "name": "here", "type": "folder", "path": "some/where" })
        );
        assert_eq!(
            body("vtl remote create here --type folder --path /p --known-exports forget"),
            json!({ "name": "here", "type": "folder", "path": "/p", "known_exports": "forget" })
        );
        assert_eq!(
            body(
                "vtl remote create s --type s3 --endpoint http://h:9000 --bucket b --prefix p --allow-http --part-size 16m --access-key-file /a --secret-key-file /s"
            ),
            json!({
                "name": "s", "type": "s3", "endpoint": "http://h:9000", "bucket": "b", "prefix": "p", "allow_http": true,
                "part_size_bytes": 16_777_216, "access_key_file": "/a", "secret_key_file": "/s"
            })
        );
        assert_eq!(
            body(
                "vtl remote create r --type rclone --rclone-remote x:b --rclone-flag --fast-list --rclone-flag --config=/etc/r.conf"
            ),
            json!({ "name": "r", "type": "rclone", "rclone_remote": "x:b", "rclone_flags": ["--fast-list", "--config=/etc/r.conf"] })
        );
        assert_eq!(
            body("vtl remote create a --type azure --account t --container c --secret-key-file /k"),
            json!({ "name": "a", "type": "azure", "account": "t", "container": "c", "secret_key_file": "/k" })
        );
        assert_eq!(
            body("vtl remote create g --type gcs --bucket b --credentials-file /k.json"),
            json!({ "name": "g", "type": "gcs", "bucket": "b", "credentials_file": "/k.json" })
        );
        assert_eq!(
            body("vtl remote create w --type webdav --endpoint https://h/d --user u --password-file /p"),
            json!({ "name": "w", "type": "webdav", "endpoint": "https://h/d", "user": "u", "password_file": "/p" })
        );
        assert_eq!(
            body("vtl remote create f --type faulty --over s --fault drop:5% --fault slow:1%:2s --seed 7"),
            json!({ "name": "f", "type": "faulty", "over": "s", "faults": ["drop:5%", "slow:1%:2s"], "seed": 7 })
        );
        assert!(Cli::try_parse_from(["vtl", "remote", "create", "x", "--type", "tape"]).is_err());
    }
}
