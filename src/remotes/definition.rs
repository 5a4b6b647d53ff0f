//! What a remote is: its type and its settings. One reader checks what operators ask and what rows hold.

use std::fmt;
use std::path::{Path, PathBuf};

use vtl_api::CreateRemote;
use vtl_remote::{AzureConfig, DEFAULT_PART_SIZE, GcsConfig, MAX_PART_SIZE, Style, WebDavConfig};

use super::rehearsal::Rehearsal;
use super::{RemoteRefused, clouds};
use crate::own_files::no_secret_of_ours;

/// A remote as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// A folder of this machine.
    Folder {
        /// Absolute.
        path: PathBuf,
    },
    /// A bucket, or a prefix in one.
    S3(Bucket),
    /// Whatever rclone reaches.
    Rclone {
        /// `NAME:` or `NAME:PATH`, with a name of rclone's configuration.
        remote: String,
        /// On every call; whether they are allowed is asked when it is opened, so that an old definition is still listed.
        flags: Vec<String>,
    },
    /// A container of Azure, or a prefix in one.
    Azure(AzureConfig),
    /// A bucket of Google, or a prefix in one.
    Gcs(GcsConfig),
    /// A folder on a WebDAV server.
    WebDav(WebDavConfig),
    /// Another remote, with faults.
    Faulty(Rehearsal),
}

/// Settings of an S3 remote. Credentials are in files that are named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) style: Style,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) allow_http: bool,
    pub(super) checksums: bool,
    /// In bytes.
    pub(super) part_size: u64,
    pub(super) access_key_file: PathBuf,
    pub(super) secret_key_file: PathBuf,
}

const STYLES: [(&str, Style); 2] = [("path", Style::Path), ("virtual-host", Style::VirtualHost)];
const TYPES: &str = "write folder, s3, azure, gcs, webdav, rclone or faulty";
/// What helps where the settings do not make a remote.
pub(super) const SEE_SETTINGS: &str = "docs/remotes.md has the settings of each type";
const DEFAULT_REGION: &str = "us-east-1";
/// Settings that end so name a file.
const FILE: &str = "_file";
/// Settings are names and paths.
const MAX_VALUE: usize = 4096;

/// Settings by key; a key may come several times.
pub(super) type Rows = Vec<(String, String)>;

/// Members of a request whose settings have other keys: rows have one value each, and sizes without a unit. All others are called by their keys.
const OTHERWISE: [(&str, &str); 3] =
    [("part_size_bytes", "part_size"), ("rclone_flags", "rclone_flag"), ("faults", "fault")];

/// The key of what a member of a request sets.
fn key_of(member: &str) -> &str {
    OTHERWISE.iter().find(|(own, _)| *own == member).map_or(member, |(_, key)| key)
}

/// The member of a request that sets what has this key.
pub(super) fn member_of(key: &str) -> &str {
    OTHERWISE.iter().find(|(_, own)| *own == key).map_or(key, |(member, _)| member)
}

impl Definition {
    /// What an operator asks for.
    pub(super) fn asked(request: &CreateRemote) -> Result<Self, RemoteRefused> {
        let definition = Self::read(&request.kind, given(request))?;
        match request.part_size_bytes {
            Some(size) if size > MAX_PART_SIZE => Err(too_large(size)),
            _ => Ok(definition),
        }
    }

    /// From type and settings.
    pub(super) fn read(kind: &str, rows: Rows) -> Result<Self, RemoteRefused> {
        let mut settings = Settings { kind, rows };
        let definition = match kind {
            "folder" => Self::Folder { path: settings.path("path")? },
            "s3" => Self::S3(Bucket::read(&mut settings)?),
            "rclone" => {
                Self::Rclone { remote: settings.need("rclone_remote")?, flags: settings.all("rclone_flag")? }
            }
            "azure" => Self::Azure(clouds::read_azure(&mut settings)?),
            "gcs" => Self::Gcs(clouds::read_gcs(&mut settings)?),
            "webdav" => Self::WebDav(clouds::read_webdav(&mut settings)?),
            "faulty" => Self::Faulty(Rehearsal::read(&mut settings)?),
            _ => return Err(refuse("type", kind, "there is no such type", TYPES)),
        };
        settings.end()?;
        Ok(definition)
    }

    /// The word for its type.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "folder",
            Self::S3(_) => "s3",
            Self::Rclone { .. } => "rclone",
            Self::Azure(_) => "azure",
            Self::Gcs(_) => "gcs",
            Self::WebDav(_) => "webdav",
            Self::Faulty(_) => "faulty",
        }
    }

    /// The same with the real paths of its files, to open it with: none of them is the server's own, whatever links say
    /// meanwhile. `secrets`: files with secrets of the server beside the state folder.
    pub(super) fn with_files(&self, state: &Path, secrets: &[PathBuf]) -> Result<Self, RemoteRefused> {
        let real = |(key, value): (String, String)| {
            if !key.ends_with(FILE) {
                return Ok((key, value));
            }
            let real = no_secret_of_ours(state, secrets, Path::new(&value)).and_then(|real| {
                real.into_os_string().into_string().map_err(|_| "its real path is no UTF-8".to_owned())
            });
            match real {
                Ok(real) => Ok((key, real)),
                Err(why) => {
                    let help = "name a file that is for this remote alone by its whole path, in a folder of your own";
                    Err(refuse(&key, &value, &why, help))
                }
            }
        };
        let rows = self.rows().into_iter().map(real).collect::<Result<Rows, _>>()?;
        Self::read(self.kind(), rows)
    }

    /// The type and the settings that say where it is, in words; credentials and what tunes are none of them. The user of a WebDAV
    /// server is: each may have a folder of his own there.
    pub(super) fn place(&self) -> String {
        let user = match self {
            Self::WebDav(WebDavConfig { login: Some((user, _)), .. }) => format!(" as {user}"),
            _ => String::new(),
        };
        let place = self.to_string();
        format!("{} {}{user}", self.kind(), place.trim_end_matches('/'))
    }

    /// All settings, those that were left out with their defaults.
    pub(super) fn rows(&self) -> Rows {
        let row = |key: &str, value: String| (key.to_owned(), value);
        match self {
            Self::Folder { path } => vec![row("path", text_of(path))],
            Self::S3(bucket) => bucket.rows(),
            Self::Rclone { remote, flags } => std::iter::once(row("rclone_remote", remote.clone()))
                .chain(flags.iter().map(|flag| row("rclone_flag", flag.clone())))
                .collect(),
            Self::Azure(config) => clouds::azure_rows(config),
            Self::Gcs(config) => clouds::gcs_rows(config),
            Self::WebDav(config) => clouds::webdav_rows(config),
            Self::Faulty(rehearsal) => rehearsal.rows(),
        }
    }
}

/// Where it is, in one word.
impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path } => path.display().fmt(f),
            Self::S3(bucket) => {
                let endpoint = bucket.endpoint.trim_end_matches('/');
                let slash = if bucket.prefix.is_empty() { "" } else { "/" };
                write!(f, "{endpoint}/{}{slash}{}", bucket.bucket, bucket.prefix)
            }
            Self::Rclone { remote, .. } => f.write_str(remote),
            Self::Azure(AzureConfig { account, container, prefix, endpoint, .. }) => {
                let default = format!("https://{account}.blob.core.windows.net");
                f.write_str(&clouds::place(endpoint.as_deref(), &default, [container, prefix]))
            }
            Self::Gcs(GcsConfig { bucket, prefix, endpoint, .. }) => {
                f.write_str(&clouds::place(endpoint.as_deref(), "gs:/", [bucket, prefix]))
            }
            Self::WebDav(WebDavConfig { endpoint, .. }) => f.write_str(endpoint),
            Self::Faulty(rehearsal) => write!(f, "{}, with faults", rehearsal.over),
        }
    }
}

impl Bucket {
    fn read(settings: &mut Settings<'_>) -> Result<Self, RemoteRefused> {
        Ok(Self {
            endpoint: settings.need("endpoint")?,
            region: settings.take("region")?.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            bucket: settings.need("bucket")?,
            prefix: settings.take("prefix")?.unwrap_or_default(),
            style: settings.style()?,
            ca_file: settings.maybe_path("ca_file")?,
            allow_http: settings.switch("allow_http", false)?,
            checksums: settings.switch("checksums", true)?,
            part_size: settings.part_size()?,
            access_key_file: settings.path("access_key_file")?,
            secret_key_file: settings.path("secret_key_file")?,
        })
    }

    fn rows(&self) -> Rows {
        let style = STYLES.iter().find(|(_, style)| *style == self.style).map_or("path", |(word, _)| word);
        let rows = [
            ("endpoint", Some(self.endpoint.clone())),
            ("region", Some(self.region.clone())),
            ("bucket", Some(self.bucket.clone())),
            ("prefix", Some(self.prefix.clone())),
            ("style", Some(style.to_owned())),
            ("ca_file", self.ca_file.as_deref().map(text_of)),
            ("allow_http", Some(self.allow_http.to_string())),
            ("checksums", Some(self.checksums.to_string())),
            ("part_size", Some(self.part_size.to_string())),
            ("access_key_file", Some(text_of(&self.access_key_file))),
            ("secret_key_file", Some(text_of(&self.secret_key_file))),
        ];
        rows.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

/// Paths come from texts, so they are texts.
pub(super) fn text_of(path: &Path) -> String {
    path.display().to_string()
}

/// What a request sets, by the members that set it.
fn given(request: &CreateRemote) -> Rows {
    let CreateRemote {
        name: _,
        kind: _,
        known_exports: _,
        path,
        endpoint,
        region,
        bucket,
        prefix,
        style,
        ca_file,
        allow_http,
        checksums,
        part_size_bytes,
        access_key_file,
        secret_key_file,
        rclone_remote,
        rclone_flags,
        account,
        container,
        credentials_file,
        user,
        password_file,
        over,
        faults,
        seed,
    } = request;
    let texts = [
        ("path", path),
        ("endpoint", endpoint),
        ("region", region),
        ("bucket", bucket),
        ("prefix", prefix),
        ("style", style),
        ("ca_file", ca_file),
        ("access_key_file", access_key_file),
        ("secret_key_file", secret_key_file),
        ("rclone_remote", rclone_remote),
        ("account", account),
        ("container", container),
        ("credentials_file", credentials_file),
        ("user", user),
        ("password_file", password_file),
        ("over", over),
    ];
    let others = [
        ("allow_http", allow_http.map(|on| on.to_string())),
        ("checksums", checksums.map(|on| on.to_string())),
        ("part_size_bytes", part_size_bytes.map(|bytes| bytes.to_string())),
        ("seed", seed.map(|seed| seed.to_string())),
    ];
    let flags = rclone_flags.iter().map(|flag| ("rclone_flags", Some(flag.clone())));
    let faults = faults.iter().map(|fault| ("faults", Some(fault.clone())));
    let lists = flags.chain(faults);
    let all = texts.into_iter().map(|(member, value)| (member, value.clone())).chain(others).chain(lists);
    all.filter_map(|(member, value)| Some((key_of(member).to_owned(), value?))).collect()
}

pub(super) fn refuse(key: &str, value: &str, why: &str, remedy: &str) -> RemoteRefused {
    RemoteRefused::Setting {
        key: key.to_owned(),
        value: value.to_owned(),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// Rows that have such a size are read: with them the largest parts are sent.
fn too_large(part_size: u64) -> RemoteRefused {
    let most = MAX_PART_SIZE >> 20;
    let why = format!("a part is sent from memory, where it may have {most} MiB");
    refuse("part_size", &part_size.to_string(), &why, &format!("write a size from 5m to {most}m"))
}

/// All that is told of it.
#[cfg(test)]
pub(super) fn told(error: RemoteRefused) -> String {
    let told = super::refused(error);
    format!("{}; {}", told.message, told.remedy.unwrap())
}

/// Settings that nobody has taken yet.
pub(super) struct Settings<'k> {
    kind: &'k str,
    rows: Rows,
}

impl Settings<'_> {
    pub(super) fn take(&mut self, key: &str) -> Result<Option<String>, RemoteRefused> {
        let mut found = self.all(key)?;
        match (found.pop(), found.pop()) {
            (Some(_), Some(second)) => Err(refuse(key, &second, "it is given twice", "keep one")),
            (only, _) => Ok(only),
        }
    }

    pub(super) fn all(&mut self, key: &str) -> Result<Vec<String>, RemoteRefused> {
        let found: Vec<String> =
            self.rows.extract_if(.., |(own, _)| own == key).map(|(_, value)| value).collect();
        let bad = |value: &&String| value.len() > MAX_VALUE || value.chars().any(char::is_control);
        match found.iter().find(bad) {
            Some(_) => {
                let why = "it is longer than 4 KiB or has control characters";
                Err(refuse(key, "", why, "write a shorter one, of characters that can be seen"))
            }
            None => Ok(found),
        }
    }

    pub(super) fn need(&mut self, key: &str) -> Result<String, RemoteRefused> {
        match self.take(key)? {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(refuse(key, "", &format!("a remote of type {} needs it", self.kind), SEE_SETTINGS)),
        }
    }

    pub(super) fn path(&mut self, key: &str) -> Result<PathBuf, RemoteRefused> {
        let path = self.need(key)?;
        absolute(key, &path)
    }

    pub(super) fn maybe_path(&mut self, key: &str) -> Result<Option<PathBuf>, RemoteRefused> {
        self.take(key)?.map(|path| absolute(key, &path)).transpose()
    }

    pub(super) fn switch(&mut self, key: &str, default: bool) -> Result<bool, RemoteRefused> {
        match self.take(key)?.as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(refuse(key, other, "it is on or off", "write true or false")),
        }
    }

    fn style(&mut self) -> Result<Style, RemoteRefused> {
        let Some(asked) = self.take("style")? else { return Ok(Style::default()) };
        let found = STYLES.iter().find(|(word, _)| *word == asked).map(|(_, style)| *style);
        found.ok_or_else(|| refuse("style", &asked, "there is no such style", "write path or virtual-host"))
    }

    pub(super) fn part_size(&mut self) -> Result<u64, RemoteRefused> {
        let Some(asked) = self.take("part_size")? else { return Ok(DEFAULT_PART_SIZE) };
        asked.parse().map_err(|_| refuse("part_size", &asked, "this is no size", "write one such as 16m"))
    }

    fn end(self) -> Result<(), RemoteRefused> {
        match self.rows.first() {
            None => Ok(()),
            Some((key, _)) => Err(refuse(
                key,
                "",
                &format!("a remote of type {} has no such setting", self.kind),
                "leave it out",
            )),
        }
    }
}

fn absolute(key: &str, text: &str) -> Result<PathBuf, RemoteRefused> {
    let path = PathBuf::from(text);
    match path.is_absolute() {
        true => Ok(path),
        false => {
            let remedy = "write an absolute path, since the server has its own working folder";
            Err(refuse(key, text, "this is no absolute path", remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pairs: &[(&str, &str)]) -> Rows {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn why(kind: &str, pairs: &[(&str, &str)]) -> String {
        told(Definition::read(kind, rows(pairs)).unwrap_err())
    }

    const S3: [(&str, &str); 4] = [
        ("endpoint", "https://s3.example"),
        ("bucket", "tapes"),
        ("access_key_file", "/k/id"),
        ("secret_key_file", "/k/secret"),
    ];

    #[test]
    fn what_is_left_out_has_its_default_and_comes_back_from_its_rows() {
        let read = Definition::read("s3", rows(&S3)).unwrap();
        let expected = rows(&[
            ("endpoint", "https://s3.example"),
            ("region", "us-east-1"),
            ("bucket", "tapes"),
            ("prefix", ""),
            ("style", "path"),
            ("allow_http", "false"),
            ("checksums", "true"),
            ("part_size", "8388608"),
            ("access_key_file", "/k/id"),
            ("secret_key_file", "/k/secret"),
        ]);
        assert_eq!(read.rows(), expected);
        assert_eq!(Definition::read("s3", expected).unwrap(), read);
        assert_eq!(read.to_string(), "https://s3.example/tapes");
        let rclone =
            rows(&[("rclone_remote", "g:x"), ("rclone_flag", "--config"), ("rclone_flag", "/etc/r.conf")]);
        assert_eq!(Definition::read("rclone", rclone.clone()).unwrap().rows(), rclone);
    }

    #[test]
    fn parts_that_are_too_large_are_refused_to_who_asks_for_them_and_read_where_they_are_kept() {
        let setting =
            |key: &str| S3.iter().find(|(own, _)| *own == key).map(|(_, value)| (*value).to_owned());
        let asked = |part_size_bytes| {
            Definition::asked(&CreateRemote {
                kind: "s3".to_owned(),
                endpoint: setting("endpoint"),
                bucket: setting("bucket"),
                access_key_file: setting("access_key_file"),
                secret_key_file: setting("secret_key_file"),
                part_size_bytes,
                ..CreateRemote::default()
            })
        };
        assert!(asked(None).is_ok() && asked(Some(MAX_PART_SIZE)).is_ok());
        let told = told(asked(Some(MAX_PART_SIZE + 1)).unwrap_err());
        assert!(told.contains("part_size '134217729'") && told.contains("from 5m to 128m"), "{told}");
        assert!(Definition::read("s3", rows(&[&S3[..], &[("part_size", "1073741824")]].concat())).is_ok());
    }

    #[test]
    fn a_setting_has_the_name_of_the_member_that_sets_it() {
        let request = CreateRemote {
            path: Some("/x".to_owned()),
            part_size_bytes: Some(1),
            rclone_flags: vec!["--fast-list".to_owned()],
            faults: vec!["drop:1%".to_owned()],
            ..CreateRemote::default()
        };
        let given = given(&request);
        let names: Vec<_> = given.iter().map(|(key, _)| (key.as_str(), member_of(key))).collect();
        assert_eq!(
            names,
            [
                ("path", "path"),
                ("part_size", "part_size_bytes"),
                ("rclone_flag", "rclone_flags"),
                ("fault", "faults"),
            ]
        );
    }

    #[test]
    fn each_type_comes_back_from_its_rows_and_says_where_it_is() {
        for (kind, pairs, place) in [
            (
                "azure",
                &[("account", "tapes"), ("container", "c"), ("prefix", "p"), ("secret_key_file", "/k")][..],
                "https://tapes.blob.core.windows.net/c/p",
            ),
            ("gcs", &[("bucket", "tapes"), ("credentials_file", "/k.json")], "gs://tapes"),
            (
                "webdav",
                &[("endpoint", "https://h/dav"), ("user", "u"), ("password_file", "/p")],
                "https://h/dav",
            ),
            (
                "faulty",
                &[("over", "cloud"), ("fault", "drop:5%"), ("fault", "slow:1%:2s")],
                "cloud, with faults",
            ),
        ] {
            let read = Definition::read(kind, rows(pairs)).unwrap();
            assert_eq!((read.kind(), read.to_string().as_str()), (kind, place));
            assert_eq!(Definition::read(kind, read.rows()).unwrap(), read);
        }
        let dav = [("endpoint", "https://h")];
        assert!(
            why("webdav", &[&dav[..], &[("user", "u")]].concat()).contains("password_file: a user needs one")
        );
        assert!(why("webdav", &[&dav[..], &[("password_file", "/p")]].concat()).contains("name the user"));
        assert!(why("faulty", &[("over", "x")]).contains("such as drop:5%"));
        assert!(why("azure", &[("container", "c")]).contains("account: a remote of type azure needs it"));
    }

    #[test]
    fn credentials_and_what_tunes_say_nothing_of_the_place_and_what_leads_there_does() {
        let folder = [("path", "/srv/tapes")];
        let dav = [("endpoint", "https://h/dav"), ("user", "u"), ("password_file", "/p")];
        let gcs = [("bucket", "tapes"), ("credentials_file", "/k.json")];
        let azure = [("account", "tapes"), ("container", "c"), ("secret_key_file", "/k")];
        let rclone = [("rclone_remote", "disk:tapes")];
        let place = |kind: &str, base: &[(&str, &str)], (key, value): (&str, &str)| {
            let others = base.iter().copied().filter(|(own, _)| *own != key);
            Definition::read(kind, rows(&others.chain([(key, value)]).collect::<Vec<_>>())).unwrap().place()
        };
        for (kind, base, key, value, is_same) in [
            ("folder", &folder[..], "path", "/srv/tapes/", true),
            ("folder", &folder, "path", "/srv/other", false),
            ("s3", &S3, "endpoint", "https://s3.example/", true),
            ("s3", &S3, "access_key_file", "/k/other", true),
            ("s3", &S3, "secret_key_file", "/k/other", true),
            ("s3", &S3, "ca_file", "/ca.pem", true),
            ("s3", &S3, "part_size", "16777216", true),
            ("s3", &S3, "checksums", "false", true),
            ("s3", &S3, "style", "virtual-host", true),
            ("s3", &S3, "endpoint", "https://other.example", false),
            ("s3", &S3, "bucket", "other", false),
            ("s3", &S3, "prefix", "p", false),
            ("azure", &azure, "secret_key_file", "/other", true),
            ("azure", &azure, "account", "other", false),
            ("azure", &azure, "container", "other", false),
            ("gcs", &gcs, "credentials_file", "/other.json", true),
            ("gcs", &gcs, "bucket", "other", false),
            ("webdav", &dav, "password_file", "/other", true),
            ("webdav", &dav, "user", "other", false),
            ("webdav", &dav, "endpoint", "https://h/other", false),
            ("rclone", &rclone, "rclone_flag", "--bwlimit=1M", true),
            ("rclone", &rclone, "rclone_remote", "disk:other", false),
        ] {
            let first = Definition::read(kind, rows(base)).unwrap().place();
            assert!(first.starts_with(kind), "{first}");
            assert_eq!(place(kind, base, (key, value)) == first, is_same, "{kind} {key} {value}: {first}");
        }
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_would_be_right() {
        assert!(why("tape", &[]).contains("write folder, s3, azure, gcs, webdav, rclone or faulty"));
        assert!(why("folder", &[]).contains("path: a remote of type folder needs it"));
        assert!(why("folder", &[("path", "here")]).contains("'here': this is no absolute path; write an"));
        assert!(
            why("folder", &[("path", "/x"), ("bucket", "b")])
                .contains("bucket: a remote of type folder has no such setting")
        );
        assert!(why("folder", &[("path", "/x"), ("path", "/y")]).contains("given twice"));
        assert!(why("folder", &[("path", "/x\n")]).contains("control characters"));
        let with = |key, value| [&S3[..], &[(key, value)]].concat();
        assert!(why("s3", &with("style", "dns")).contains("write path or virtual-host"));
        assert!(why("s3", &with("allow_http", "yes")).contains("write true or false"));
        assert!(why("s3", &with("ca_file", "ca.pem")).contains("absolute"));
    }

    /// Type, settings, and which of them names a file.
    type WithFiles = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
    const WITH_FILES: [WithFiles; 4] = [
        (
            "s3",
            &[("endpoint", "http://h"), ("bucket", "tapes")],
            &["access_key_file", "secret_key_file", "ca_file"],
        ),
        ("azure", &[("account", "tapes"), ("container", "c")], &["secret_key_file", "ca_file"]),
        ("gcs", &[("bucket", "tapes")], &["credentials_file", "ca_file"]),
        ("webdav", &[("endpoint", "http://h"), ("user", "u")], &["password_file", "ca_file"]),
    ];

    #[test]
    fn no_file_of_the_state_folder_is_a_credential_of_a_remote_by_its_path_or_by_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (token, id) = (state.join("api.token"), folder.path().join("id"));
        std::fs::create_dir(&state).unwrap();
        std::fs::write(&token, "made-up").unwrap();
        std::fs::write(&id, "made-up").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&id, &link).unwrap();
        for (kind, others, files) in WITH_FILES {
            let defined = |bad: &str, path: &Path| {
                let file = |name: &&'static str| (*name, text_of(if *name == bad { path } else { &id }));
                let files: Vec<_> = files.iter().map(file).collect();
                let files = files.iter().map(|(name, path)| (*name, path.as_str()));
                Definition::read(kind, rows(&others.iter().copied().chain(files).collect::<Vec<_>>()))
                    .unwrap()
            };
            for name in files {
                let refused = told(defined(name, &token).with_files(&state, &[]).unwrap_err());
                assert!(refused.starts_with(name) && refused.contains("a folder of your own"), "{refused}");
            }
            // Defined with a link that was fine, which shows the token when the remote is opened.
            let linked = defined(files[0], &link);
            let opened = linked.with_files(&state, &[]).unwrap();
            assert!(
                !opened.rows().iter().any(|(_, value)| *value == text_of(&link)),
                "the file, not the link"
            );
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(&token, &link).unwrap();
            assert!(linked.with_files(&state, &[]).is_err(), "{kind}");
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(&id, &link).unwrap();
        }
    }
}
