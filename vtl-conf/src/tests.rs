//! What an operator sees: defaults, refusals word for word, what is in effect and why.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    Assignment, Collections, ConfErrors, Config, DefaultLibrary, Digest, DirectIo, ForeignBundles, KEYS,
    LogLevel, Origin, StoreEncryption, Surroundings, TargetDoor, load,
};
use tempfile::TempDir;
use vtl_types::ByteCount;

/// A folder with a configuration file and secrets.
struct Desk {
    folder: TempDir,
    surroundings: Surroundings,
}

impl Desk {
    fn new() -> Self {
        let environment = [("HOME", "/home/op"), ("VTL_CHAP", "from-the-environment")];
        let environment: BTreeMap<_, _> =
            environment.into_iter().map(|(k, v)| (k.to_owned(), OsString::from(v))).collect();
        Self { folder: TempDir::new().unwrap(), surroundings: Surroundings { root: false, environment } }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("vtl.toml")
    }

    fn secret(&self, name: &str, content: &str, mode: u32) -> &Self {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load(&self, text: &str, command_line: &[&str]) -> Result<Config, ConfErrors> {
        fs::write(self.file(), text).unwrap();
        let assignments: Vec<_> = command_line.iter().map(|a| Assignment::parse(a).unwrap()).collect();
        load(Some(&self.file()), &assignments, &self.surroundings)
    }

    /// The errors with the folder's name taken out.
    fn errors(&self, text: &str) -> Vec<String> {
        self.tell(self.load(text, &[]))
    }

    fn tell(&self, result: Result<Config, ConfErrors>) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        result.expect_err("must be refused").0.iter().map(|e| e.to_string().replace(&folder, "")).collect()
    }
}

fn refused(text: &str) -> String {
    let errors = Desk::new().errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.into_iter().next().unwrap()
}

#[test]
fn without_a_file_the_defaults_are_those_that_the_surface_promises() {
    let config = load(None, &[], &Desk::new().surroundings).unwrap();
    assert_eq!(config.state, Path::new("/home/op/.local/state/vtl"));
    assert_eq!(config.store.path, Path::new("/home/op/.local/state/vtl/store"));
    assert_eq!(config.iscsi.listen, ["127.0.0.1:3260".parse().unwrap()]);
    assert_eq!(config.api.listen, "127.0.0.1:8460".parse().unwrap());
    assert!(!config.iscsi.allow_any_initiator);
    assert_eq!(config.iscsi.diagnostic_disk, None);
    assert_eq!(config.library.default, DefaultLibrary::Lib0);
    assert_eq!(config.cartridge.size, None);
    assert_eq!(config.iscsi.header_digest, [Digest::Crc32c, Digest::None]);
    assert_eq!(config.log.level, LogLevel::Info);
    assert_eq!(config.store.compression_level, 1);
    assert!(config.store.dedupe);
    assert_eq!((config.store.chunk_size, config.store.memory), (ByteCount(16 << 10), ByteCount(512 << 20)));
    assert_eq!(config.store.gc, Collections::Auto);
    assert!(config.check_doors(&[]).is_ok());
}

#[test]
fn the_store_is_set_up_as_the_file_says() {
    let text = "[store]\ndedupe = false\nchunk_size = \"64k\"\nmemory = \"1g\"\ngc = \"manual\"\n";
    let store = Desk::new().load(text, &[]).unwrap().store;
    assert_eq!((store.dedupe, store.gc), (false, Collections::Manual));
    assert_eq!((store.chunk_size, store.memory), (ByteCount(65_536), ByteCount(1 << 30)));
    let store =
        Desk::new().load("", &["store.folders=[\"/d2\", \"/d3\"]", "store.degraded=true"]).unwrap().store;
    assert_eq!((store.folders, store.degraded), (vec!["/d2".into(), "/d3".into()], true));
    let store = Desk::new().load("store.folders = \"/d2\"\n", &[]).unwrap().store;
    assert_eq!((store.folders, store.degraded), (vec!["/d2".into()], false));
    for (text, direct_io) in [
        ("", DirectIo::Auto),
        ("store.direct_io = \"on\"", DirectIo::On),
        ("store.direct_io = \"off\"", DirectIo::Off),
    ] {
        assert_eq!(Desk::new().load(text, &[]).unwrap().store.direct_io, direct_io, "{text}");
    }
    let store = Desk::new().load("", &["store.chunk_size=8k", "store.gc=manual"]).unwrap().store;
    assert_eq!((store.chunk_size, store.gc), (ByteCount(8192), Collections::Manual));
}

#[test]
fn the_state_goes_where_the_surroundings_say() {
    let mut surroundings = Desk::new().surroundings;
    surroundings.environment.insert("XDG_STATE_HOME".to_owned(), "/x/state".into());
    assert_eq!(load(None, &[], &surroundings).unwrap().state, Path::new("/x/state/vtl"));
    surroundings.environment.insert("XDG_STATE_HOME".to_owned(), "relative".into());
    assert_eq!(load(None, &[], &surroundings).unwrap().state, Path::new("/home/op/.local/state/vtl"));
    surroundings.root = true;
    assert_eq!(load(None, &[], &surroundings).unwrap().state, Path::new("/var/lib/vtl"));
    let nowhere = load(None, &[], &Surroundings::default()).unwrap_err().to_string();
    assert_eq!(
        nowhere,
        "default: state: there is no home folder to put the state in; \
         write an absolute path, such as \"/var/lib/vtl\""
    );
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_the_keys_that_there_are() {
    let error = refused("\n[log]\nlevel = \"info\"\nlevl = \"debug\"\n");
    assert_eq!(error, "vtl.toml:4: log.levl: unknown field `levl`; expected `level` or `format`");
    let error = refused("[iscsi.target.\"iqn.2026-11.internal.vtl:lib0\"]\nsecret = \"in the file\"\n");
    assert!(
        error.starts_with("vtl.toml:2: iscsi.target.\"iqn.2026-11.internal.vtl:lib0\".secret: unknown field")
    );
    let error = refused("[iscsl]\n");
    assert!(
        error.starts_with("vtl.toml:1: iscsl: unknown field `iscsl`; expected one of `state`, `iscsi`,"),
        "{error}"
    );
}

#[test]
fn a_text_that_is_no_toml_is_told_with_its_line() {
    assert!(refused("[log]\nlevel = \n").starts_with("vtl.toml:2: "));
    assert!(
        refused("log.level = 'info'\nlog.level = 'warn'\n")
            .starts_with("vtl.toml:2: duplicate key at 'level'")
    );
}

/// File text, and the whole error.
const REFUSALS: &[(&str, &str)] = &[
    (
        "state = \"relative\"",
        "vtl.toml:1: state = \"relative\": this is no absolute path; write an absolute path, such as \"/var/lib/vtl\"",
    ),
    (
        "[iscsi]\n\nlisten = \"localhost\"",
        "vtl.toml:3: iscsi.listen = \"localhost\": this is no address and port; \
         write an address and port such as \"127.0.0.1:3260\" or \"[::1]:3260\", or a list of them",
    ),
    (
        "iscsi.listen = []",
        "vtl.toml:1: iscsi.listen = []: the list is empty; \
         write an address and port such as \"127.0.0.1:3260\" or \"[::1]:3260\", or a list of them",
    ),
    (
        "iscsi.allow_any_initiator = \"yes\"",
        "vtl.toml:1: iscsi.allow_any_initiator = \"yes\": this is not a boolean, its type is string; write true or false",
    ),
    (
        "iscsi.diagnostic_disk = \"5g\"",
        "vtl.toml:1: iscsi.diagnostic_disk = \"5g\": this is outside 1m to 4g; \
         write \"off\" or a size from 1m to 4g, such as \"64m\"",
    ),
    (
        "iscsi.max_sessions = 0",
        "vtl.toml:1: iscsi.max_sessions = 0: this is outside 1 to 4k; write a number from 1 to 4096",
    ),
    (
        "iscsi.max_sessions = 200",
        "vtl.toml:1: iscsi.max_sessions = 200: this is more than iscsi.max_connections (128); \
         lower it, or raise iscsi.max_connections",
    ),
    (
        "iscsi.login_timeout_s = -1",
        "vtl.toml:1: iscsi.login_timeout_s = -1: this is negative; write seconds, from 1 to 300",
    ),
    (
        "iscsi.login_timeout_s = 1.5",
        "vtl.toml:1: iscsi.login_timeout_s = 1.5: this is not a number, its type is float; write seconds, from 1 to 300",
    ),
    (
        "iscsi.max_bytes_in_flight_session = \"1m\"",
        "vtl.toml:1: iscsi.max_bytes_in_flight_session = \"1m\": this is outside 16m to 4g; \
         write a size from 16m to 4g, not less than iscsi.max_burst_length",
    ),
    (
        "iscsi.max_bytes_in_flight = \"16m\"",
        "default: iscsi.max_bytes_in_flight_session = 33554432: this is more than iscsi.max_bytes_in_flight (16777216); \
         lower it, or raise iscsi.max_bytes_in_flight",
    ),
    (
        "iscsi.header_digest = [\"CRC32\"]",
        "vtl.toml:1: iscsi.header_digest = [\"CRC32\"]: there is no such choice; \
         write a list of \"CRC32C\" and \"None\"; what is not in it is refused to initiators",
    ),
    (
        "iscsi.data_digest = []",
        "vtl.toml:1: iscsi.data_digest = []: the list is empty; \
         write a list of \"CRC32C\" and \"None\"; what is not in it is refused to initiators",
    ),
    (
        "iscsi.max_recv_data_segment_length = \"16m\"",
        "vtl.toml:1: iscsi.max_recv_data_segment_length = \"16m\": this is outside 512 to 16777215; \
         write a size from 512 to 16777215",
    ),
    (
        "[iscsi]\nfirst_burst_length = \"2m\"",
        "vtl.toml:2: iscsi.first_burst_length = 2097152: this is more than iscsi.max_burst_length (1048576); \
         lower it, or raise iscsi.max_burst_length",
    ),
    (
        "iscsi.max_burst_length = 511",
        "vtl.toml:1: iscsi.max_burst_length = 511: this is outside 512 to 16777215; \
         write a size from 512 to 16777215, not less than iscsi.first_burst_length",
    ),
    (
        "iscsi.max_outstanding_r2t = 65",
        "vtl.toml:1: iscsi.max_outstanding_r2t = 65: this is outside 1 to 64; write a number from 1 to 64",
    ),
    (
        "iscsi.command_window = 0",
        "vtl.toml:1: iscsi.command_window = 0: this is outside 1 to 1k; write a number from 1 to 1024",
    ),
    (
        "api.listen = \"0.0.0.0:8460\"",
        "vtl.toml:1: api.listen = \"0.0.0.0:8460\": the API is reachable from other machines only with TLS: \
         passwords and tokens must not cross a network in clear; set api.tls.cert and api.tls.key, or api.tls.self_signed = true; \
         write an address and port, such as \"127.0.0.1:8460\", or with TLS \"0.0.0.0:8460\"",
    ),
    (
        "api.hosts = [\"vtl.example.com:8460\"]",
        "vtl.toml:1: api.hosts = [\"vtl.example.com:8460\"]: this is no name of a machine; write a list of names without ports, \
         such as [\"vtl.example.com\"]",
    ),
    (
        "api.tls.cert = \"cert.pem\"",
        "vtl.toml:1: api.tls.cert: there is no api.tls.key for it; set api.tls.cert and api.tls.key, or \
         api.tls.self_signed = true, or none of them",
    ),
    (
        "access.two_person = \"yes\"",
        "vtl.toml:1: access.two_person = \"yes\": this is not a boolean, its type is string; write true or false",
    ),
    (
        "library.default = \"lib1\"",
        "vtl.toml:1: library.default = \"lib1\": there is no such choice; write \"lib0\" or \"none\"",
    ),
    (
        "cartridge.size = \"12x\"",
        "vtl.toml:1: cartridge.size = \"12x\": '12x' is not a size: write a whole number and k, m, g or t, such as 64m; \
         write \"native\" or a size from 1m to 64t, such as \"100g\"",
    ),
    (
        "cartridge.early_warning = 5",
        "vtl.toml:1: cartridge.early_warning = 5: this is outside 1m to 64g; write a size from 1m to 64g",
    ),
    (
        "remotes.rclone_flags = [\"--config=/etc/r.conf\"]",
        "vtl.toml:1: remotes.rclone_flags = [\"--config=/etc/r.conf\"]: a flag is named without a value, in small letters; \
         write a list of flags of rclone by name, such as [\"--config\"]",
    ),
    (
        "remotes.rclone_flags = [\"-P\"]",
        "vtl.toml:1: remotes.rclone_flags = [\"-P\"]: a flag begins with --; \
         write a list of flags of rclone by name, such as [\"--config\"]",
    ),
    (
        "remotes.rclone_flags = [\"--sftp-pass\"]",
        "vtl.toml:1: remotes.rclone_flags = [\"--sftp-pass\"]: --sftp-pass carries a secret, which every account would see on the \
         command line: put it into rclone.conf (mode 0600); write a list of flags of rclone by name, such as [\"--config\"]",
    ),
    (
        "store.path = \"store\"",
        "vtl.toml:1: store.path = \"store\": this is no absolute path; write an absolute path",
    ),
    (
        "store.folders = [\"/disk2\", \"disk3\"]",
        "vtl.toml:1: store.folders = [\"/disk2\", \"disk3\"]: this is no absolute path; \
         write a list of absolute paths of folders, each empty or one of this pool's",
    ),
    (
        "store.degraded = 1",
        "vtl.toml:1: store.degraded = 1: this is not a boolean, its type is integer; write true or false",
    ),
    (
        "store.direct_io = true",
        "vtl.toml:1: store.direct_io = true: this is not a string, its type is boolean; write \"auto\", \"on\" or \"off\"",
    ),
    (
        "store.direct_io = \"yes\"",
        "vtl.toml:1: store.direct_io = \"yes\": there is no such choice; write \"auto\", \"on\" or \"off\"",
    ),
    (
        "store.compression_level = 20",
        "vtl.toml:1: store.compression_level = 20: this is outside 1 to 19; write a zstd level from 1 to 19",
    ),
    (
        "store.dedupe = \"on\"",
        "vtl.toml:1: store.dedupe = \"on\": this is not a boolean, its type is string; write true or false",
    ),
    (
        "store.chunk_size = \"12k\"",
        "vtl.toml:1: store.chunk_size = \"12k\": there is no such choice; write \"8k\", \"16k\", \"32k\" or \"64k\"",
    ),
    (
        "migrate.chunk_size = 1048575",
        "vtl.toml:1: migrate.chunk_size = 1048575: this has no unit; write a size with its unit from 1m to 1t, such as \"10240m\"",
    ),
    (
        "migrate.chunk_size = \"512\"",
        "vtl.toml:1: migrate.chunk_size = \"512\": this has no unit; write a size with its unit from 1m to 1t, such as \"10240m\"",
    ),
    (
        "migrate.chunk_size = 1099511627777",
        "vtl.toml:1: migrate.chunk_size = 1099511627777: this is outside 1m to 1t; write a size with its unit from 1m to 1t, such as \"10240m\"",
    ),
    (
        "migrate.chunk_size = \"0m\"",
        "vtl.toml:1: migrate.chunk_size = \"0m\": this is outside 1m to 1t; write a size with its unit from 1m to 1t, such as \"10240m\"",
    ),
    (
        "store.memory = \"16m\"",
        "vtl.toml:1: store.memory = \"16m\": this is outside 64m to 256g; write a size from 64m to 256g",
    ),
    (
        "store.gc = \"never\"",
        "vtl.toml:1: store.gc = \"never\": there is no such choice; write \"auto\" or \"manual\"",
    ),
    (
        "log.level = \"loud\"",
        "vtl.toml:1: log.level = \"loud\": there is no such choice; \
         write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    ),
    (
        "[iscsi.discovery_chap]\nuser = \"op\"",
        "vtl.toml:2: iscsi.discovery_chap.user = \"op\": there is no secret for this user; add secret_file or secret_env",
    ),
    (
        "[iscsi.discovery_chap]\nsecret_env = \"VTL_CHAP\"",
        "vtl.toml:2: iscsi.discovery_chap.secret_env = \"VTL_CHAP\": there is no user for this secret; add user",
    ),
    (
        "[iscsi.discovery_chap]\nuser = \"op\"\nsecret_env = \"VTL_CHAP\"\nsecret_file = \"x\"",
        "vtl.toml:4: iscsi.discovery_chap.secret_file = \"x\": there are two secrets; \
         keep one of secret_file and secret_env",
    ),
    (
        "[iscsi.discovery_chap]\nuser = \"op\"\nsecret_env = \"NOT_SET\"",
        "vtl.toml:3: iscsi.discovery_chap.secret_env = \"NOT_SET\": this environment variable is not set; \
         name an environment variable that holds the secret",
    ),
    (
        "[iscsi.discovery_chap]\nmutual_user = \"vtl\"\nmutual_secret_env = \"VTL_CHAP\"",
        "vtl.toml:2: iscsi.discovery_chap.mutual_user: \
         the target would prove itself to an initiator that proves nothing; set user and secret_file, too",
    ),
    (
        "[iscsi.discovery_chap]\nuser = \"op\"\nsecret_env = \"VTL_CHAP\"\n\
         mutual_user = \"vtl\"\nmutual_secret_env = \"VTL_CHAP\"",
        "vtl.toml:4: iscsi.discovery_chap.mutual_user: \
         the two directions of CHAP need two different secrets; give one of them another secret",
    ),
    (
        "[iscsi.discovery_chap]\nuser = \"\"\nsecret_env = \"VTL_CHAP\"",
        "vtl.toml:2: iscsi.discovery_chap.user = \"\": \
         a CHAP user name has 1 to 255 bytes and no control characters; write 1 to 255 characters",
    ),
    (
        "[iscsi.target.\"lib0\"]\ninitiators = [\"iqn.1993-08.org.debian:01:abc\"]",
        "vtl.toml:1: iscsi.target.lib0: 'lib0' is no iSCSI name; name a target as vtld prints it",
    ),
    (
        "[iscsi.target.\"iqn.2026-11.internal.vtl:lib0\"]\ninitiators = []",
        "vtl.toml:2: iscsi.target.\"iqn.2026-11.internal.vtl:lib0\".initiators = []: the list is empty; \
         write a list of initiator names, such as [\"iqn.1993-08.org.debian:01:abc\"]",
    ),
];

#[test]
fn one_target_written_in_two_ways_is_refused() {
    let error = refused(
        "[iscsi.target.\"iqn.2026-11.internal.vtl:LIB0\"]\n[iscsi.target.\"iqn.2026-11.internal.vtl:lib0\"]",
    );
    assert_eq!(
        error,
        "vtl.toml:2: iscsi.target.\"iqn.2026-11.internal.vtl:lib0\": this target stands here twice; join the two sections"
    );
}

#[test]
fn each_refusal_names_file_line_key_value_and_remedy() {
    for (text, expected) in REFUSALS {
        assert_eq!(refused(text), *expected, "{text}");
    }
}

#[test]
fn all_errors_of_a_file_are_told_at_once() {
    let errors = Desk::new().errors("log.level = 1\nstore.compression_level = 99\nlibrary.default = true\n");
    let lines: Vec<_> = errors.iter().map(|e| e.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["vtl.toml:3", "vtl.toml:2", "vtl.toml:1"]);
}

#[test]
fn a_missing_file_is_told() {
    let desk = Desk::new();
    let errors = desk.tell(load(Some(&desk.file()), &[], &desk.surroundings));
    assert_eq!(
        errors,
        ["vtl.toml: cannot read the configuration file: No such file or directory (os error 2); \
          name a readable file with --config"]
    );
}

#[test]
fn what_is_no_regular_file_or_has_no_end_is_no_configuration() {
    let desk = Desk::new();
    let told = |file: &Path| load(Some(file), &[], &desk.surroundings).unwrap_err().to_string();
    let pipe = desk.folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for file in [Path::new("/dev/zero"), pipe.as_path(), desk.folder.path()] {
        let expected =
            format!("{}: this is no regular file; name a file of text with --config", file.display());
        assert_eq!(told(file), expected);
    }
    for (len, is_too_long) in [(1 << 20, false), ((1 << 20) + 1, true)] {
        fs::write(desk.file(), "#".repeat(len)).unwrap();
        let loaded = load(Some(&desk.file()), &[], &desk.surroundings);
        assert_eq!(loaded.is_err(), is_too_long, "{len}");
    }
    assert!(told(&desk.file()).ends_with("the file is longer than 1 MiB; a configuration has at most 1 MiB"));
}

#[test]
fn each_file_with_a_secret_is_listed_with_the_folder_of_the_configuration_before_it() {
    let desk = Desk::new();
    for name in ["chap", "mail", "tls.key"] {
        desk.secret(name, "twelve-bytes-and-more\n", 0o600);
    }
    let text = with_secret_file("chap")
        + "[api]\ntls.cert = \"tls.crt\"\ntls.key = \"tls.key\"\n"
        + "[alerts]\nwebhook.url = \"https://alerts.example.org/\"\nwebhook.secret_file = \"mail\"\n"
        + "webhook.ca_file = \"/etc/ca.pem\"\n";
    let config = desk.load(&text, &[]).unwrap();
    let mut found = config.secret_files().to_vec();
    found.sort();
    assert_eq!(found, ["chap", "mail", "tls.key"].map(|name| desk.folder.path().join(name)));
}

const TARGET: &str = "iqn.2026-11.internal.vtl:lib0";

fn with_secret_file(name: &str) -> String {
    format!("[iscsi.target.\"{TARGET}\"]\nuser = \"op\"\nsecret_file = \"{name}\"\n")
}

#[test]
fn a_secret_file_that_others_can_use_is_refused() {
    let desk = Desk::new();
    desk.secret("chap", "twelve-bytes-and-more\n", 0o640);
    let folder = desk.folder.path().display().to_string();
    let error = desk.load(&with_secret_file("chap"), &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{folder}/vtl.toml:3: iscsi.target.\"{TARGET}\".secret_file = \"chap\": \
             others can use the secret file, its mode is 0640; chmod 600 {folder}/chap"
        )
    );
}

#[test]
fn a_secret_of_the_wrong_length_is_refused_and_never_shown() {
    let desk = Desk::new();
    for (content, len) in [("elevenbytes\n", 11), (&*"x".repeat(256), 256)] {
        desk.secret("chap", content, 0o600);
        let error = desk.load(&with_secret_file("chap"), &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("a CHAP secret has 12 to 255 bytes, this one has {len}")), "{error}");
        assert!(!error.contains("elevenbytes"));
    }
}

#[test]
fn secrets_come_from_a_file_without_its_line_end_or_from_the_environment() {
    let desk = Desk::new();
    desk.secret("chap", "from-the-file!\n", 0o600);
    let text = with_secret_file("chap") + "mutual_user = \"vtl\"\nmutual_secret_env = \"VTL_CHAP\"\n";
    let config = desk.load(&text, &[]).unwrap();
    let account = config.iscsi.targets[&TARGET.parse().unwrap()].chap.as_ref().unwrap();
    assert_eq!(account.login().user(), "op");
    assert_eq!(account.login().secret().expose(), b"from-the-file!");
    assert_eq!(account.mutual().unwrap().secret().expose(), b"from-the-environment");
    let shown = format!("{config:?}");
    assert!(!shown.contains("from-the-"), "{shown}");
    assert!(shown.contains("***"));
}

#[test]
fn an_encrypted_store_needs_exactly_one_key_and_one_that_is_not_needs_none() {
    let desk = Desk::new();
    desk.secret("key", &"k".repeat(32), 0o600);
    let sealed = |rest: &str| format!("[store]\nencryption = \"aes-256-gcm\"\n{rest}\n");
    for (text, told) in [
        (
            sealed(""),
            "store.encryption = \"aes-256-gcm\": there is no key for the store; \
             add store.key_file, store.passphrase_file or store.passphrase_env",
        ),
        (
            sealed("key_file = \"key\"\npassphrase_env = \"VTL_CHAP\""),
            "vtl.toml:3: store.key_file = \"key\": there are two keys; keep one of key_file and passphrase_env",
        ),
        (
            "[store]\nkey_file = \"key\"\n".to_owned(),
            "vtl.toml:2: store.key_file = \"key\": the store is not encrypted and needs no key; \
             take it out, or set store.encryption = \"aes-256-gcm\" if the pool is encrypted",
        ),
        ("[store]\nencryption = \"rot13\"\n".to_owned(), "write \"none\" or \"aes-256-gcm\""),
        (sealed("passphrase_env = \"NOT_SET\""), "this environment variable is not set"),
    ] {
        let errors = desk.errors(&text);
        assert!(errors.len() == 1 && errors[0].contains(told), "{errors:?}");
    }
}

#[test]
fn a_key_of_the_store_that_others_can_read_or_of_a_wrong_length_is_refused_and_never_shown() {
    let desk = Desk::new();
    let refused = |name: &str, content: &str, mode: u32| {
        desk.secret("secret", content, mode);
        let text = format!("[store]\nencryption = \"aes-256-gcm\"\n{name} = \"secret\"\n");
        let errors = desk.errors(&text);
        assert!(!errors[0].contains("made-up"), "{errors:?}");
        errors[0].clone()
    };
    let error = refused("key_file", &"made-up ".repeat(8), 0o644);
    assert!(error.contains("others can use the secret file, its mode is 0644; chmod 600"), "{error}");
    let error = refused("key_file", "made-up and too short", 0o600);
    assert!(error.contains("a key file has 32 to 4096 bytes, this one has 21"), "{error}");
    let error = refused("key_file", &"made-up ".repeat(513), 0o600);
    assert!(error.contains("32 to 4096 bytes, this one has more"), "{error}");
    let error = refused("passphrase_file", "made-up\n", 0o600);
    assert!(error.contains("a passphrase has 12 to 1024 bytes, this one has 7"), "{error}");
}

#[test]
fn a_key_file_counts_with_its_line_end_and_a_passphrase_without() {
    let desk = Desk::new();
    let with = |rest: &str| {
        desk.load(&format!("[store]\nencryption = \"aes-256-gcm\"\n{rest}\n"), &[]).unwrap().store.encryption
    };
    let content = "made-up words that nobody else has\n";
    desk.secret("secret", content, 0o600);
    let StoreEncryption::KeyFile(key) = with("key_file = \"secret\"") else { panic!("no key file") };
    assert_eq!(key.expose(), content.as_bytes());
    let StoreEncryption::Passphrase(words) = with("passphrase_file = \"secret\"") else { panic!("no words") };
    assert_eq!(words.expose(), content.trim().as_bytes());
    let env = with("passphrase_env = \"VTL_CHAP\"");
    assert!(!format!("{env:?}").contains("environment"), "{env:?}");
    let StoreEncryption::Passphrase(words) = &env else { panic!("no words") };
    assert_eq!(words.expose(), b"from-the-environment");
    assert!(env == with("passphrase_env = \"VTL_CHAP\"") && env != with("key_file = \"secret\""));
}

#[test]
fn a_flag_of_rclone_is_refused_when_it_carries_a_secret_and_taken_when_it_says_where_one_is() {
    let desk = Desk::new();
    let list = |flag: &str| format!("remotes.rclone_flags = [\"{flag}\"]\n");
    for flag in [
        "--sftp-key-pem",
        "--crypt-password2",
        "--storj-passphrase",
        "--storj-access-grant",
        "--azureblob-connection-string",
        "--sugarsync-authorization",
        "--iclouddrive-cookies",
        "--b2-key",
        "--s3-sse-customer-key",
        "--gcs-service-account-credentials",
        "--azureblob-sas-url",
        "--header",
        "--header-upload",
        "--webdav-headers",
        "--s3-secret-access-key",
        "--drive-token",
    ] {
        let errors = desk.errors(&list(flag));
        assert!(errors.len() == 1 && errors[0].contains(&format!("{flag} carries a secret")), "{errors:?}");
    }
    for flag in [
        "--config",
        "--client-key",
        "--sftp-key-file",
        "--gcs-service-account-file",
        "--s3-shared-credentials-file",
        "--password-command",
        "--webdav-bearer-token-command",
        "--drive-token-url",
        "--webdav-url",
    ] {
        let config = desk.load(&list(flag), &[]).unwrap();
        assert_eq!(config.remotes.rclone_flags, [flag]);
    }
}

#[test]
fn secrets_are_sealed_with_one_key_that_is_outside_the_state_folder_and_is_never_shown() {
    let desk = Desk::new();
    desk.secret("key", &"made-up ".repeat(8), 0o600).secret("words", "made-up passphrase\n", 0o600);
    let with = |rest: &str| desk.load(&format!("[secrets]\n{rest}\n"), &[]).unwrap().secrets;
    assert_eq!(with(""), StoreEncryption::None);
    let StoreEncryption::KeyFile(key) = with("key_file = \"key\"") else { panic!("no key file") };
    assert_eq!(key.len(), 64);
    let StoreEncryption::Passphrase(words) = with("passphrase_file = \"words\"") else { panic!("no words") };
    assert_eq!(words.expose(), b"made-up passphrase");
    let StoreEncryption::Passphrase(words) = with("passphrase_env = \"VTL_CHAP\"") else {
        panic!("no words")
    };
    assert_eq!(words.expose(), b"from-the-environment");

    let state = desk.folder.path().display();
    std::os::unix::fs::symlink(desk.folder.path().join("key"), desk.folder.path().join("link")).unwrap();
    for (text, told) in [
        (
            "[secrets]\nkey_file = \"key\"\npassphrase_env = \"VTL_CHAP\"\n".to_owned(),
            "vtl.toml:2: secrets.key_file = \"key\": there are two keys; keep one of key_file and passphrase_env",
        ),
        (
            format!("state = \"{state}\"\n[secrets]\nkey_file = \"link\"\n"),
            "secrets.key_file = \"link\": it lies in the state folder, beside what it seals; keep it elsewhere",
        ),
        (
            format!("state = \"{state}\"\n[secrets]\npassphrase_file = \"words\"\n"),
            "it lies in the state folder",
        ),
        ("[secrets]\nkey_file = \"words\"\n".to_owned(), "a key file has 32 to 4096 bytes, this one has 19"),
        ("[secrets]\npassphrase_env = \"NOT_SET\"\n".to_owned(), "this environment variable is not set"),
    ] {
        let errors = desk.errors(&text);
        assert!(errors.len() == 1 && errors[0].contains(told), "{errors:?}");
        assert!(!errors[0].contains("made-up"), "{errors:?}");
    }
}

#[test]
fn a_wide_iscsi_listener_is_refused_until_somebody_decided() {
    let desk = Desk::new();
    let wide = "iscsi.listen = [\"127.0.0.1:3260\", \"0.0.0.0:3260\"]\n";
    let config = desk.load(wide, &[]).unwrap();
    let expected = format!(
        "{}:1: iscsi.listen = [\"127.0.0.1:3260\", \"0.0.0.0:3260\"]: \
         0.0.0.0:3260 is reachable from other machines, and every target is open to all who reach it; \
         set CHAP or an initiator list ([iscsi.target.\"IQN\"] with user and secret_file, or initiators; \
         or vtl iscsi chap set), or iscsi.allow_any_initiator = true, or listen on 127.0.0.1",
        desk.file().display()
    );
    assert_eq!(config.check_doors(&[]).unwrap_err().to_string(), expected);

    let anyone = format!("{wide}iscsi.allow_any_initiator = true\n");
    let list = format!("{wide}[iscsi.target.\"{TARGET}\"]\ninitiators = \"iqn.1993-08.org.debian:01:abc\"\n");
    let chap = format!("{wide}[iscsi.target.\"{TARGET}\"]\nuser = \"op\"\nsecret_env = \"VTL_CHAP\"\n");
    let door = |guarded| [TargetDoor { target: TARGET.parse().unwrap(), guarded }];
    for text in [anyone, list, chap] {
        let config = desk.load(&text, &[]).unwrap();
        assert!(config.check_doors(&[]).is_ok() && config.check_doors(&door(false)).is_ok(), "{text}");
    }
    assert!(config.check_doors(&door(true)).is_ok());
    assert!(
        config
            .check_doors(&door(false))
            .unwrap_err()
            .to_string()
            .contains(&format!("target {TARGET} is open"))
    );
}

#[test]
fn a_listener_that_is_not_in_the_file_obeys_the_same_rule() {
    let door = |guarded| [TargetDoor { target: TARGET.parse().unwrap(), guarded }];
    let (wide, narrow) = ("192.0.2.1:3260".parse().unwrap(), "[::1]:3261".parse().unwrap());
    let config = Desk::new().load("", &[]).unwrap();
    assert!(config.check_listener(&wide, &door(true)).is_ok());
    assert!(config.check_listener(&narrow, &door(false)).is_ok());
    let refused = config.check_listener(&wide, &door(false)).unwrap_err();
    assert!(refused.to_string().contains("192.0.2.1:3260 is reachable from other machines"), "{refused}");
    assert!(config.check_listener(&wide, &[]).is_err());
    let config = Desk::new().load("iscsi.allow_any_initiator = true", &[]).unwrap();
    assert!(config.check_listener(&wide, &door(false)).is_ok());
}

#[test]
fn chap_for_discovery_alone_does_not_open_a_wide_listener() {
    let text =
        "iscsi.listen = \"[::]:3260\"\n[iscsi.discovery_chap]\nuser = \"op\"\nsecret_env = \"VTL_CHAP\"\n";
    let config = Desk::new().load(text, &[]).unwrap();
    assert!(config.iscsi.discovery_chap.is_some());
    assert!(config.check_doors(&[]).is_err());
}

#[test]
fn one_guarded_target_does_not_guard_another() {
    let text = format!(
        "iscsi.listen = \"192.0.2.1:3260\"\n[iscsi.target.\"{TARGET}\"]\nuser = \"op\"\nsecret_env = \"VTL_CHAP\"\n"
    );
    let config = Desk::new().load(&text, &[]).unwrap();
    let doors = [TARGET, "iqn.2026-11.internal.vtl:diag"]
        .map(|name| TargetDoor { target: name.parse().unwrap(), guarded: false });
    let errors = config.check_doors(&doors).unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert!(errors.to_string().contains("vtl:diag is open to all"));
}

#[test]
fn the_api_listens_wider_than_loopback_only_with_tls() {
    let desk = Desk::new();
    let with =
        |tls: &str| desk.load(&format!("api.listen = \"0.0.0.0:8460\"\n{tls}"), &[]).map(|c| c.api.tls);
    assert!(with("").is_err());
    assert!(with("api.tls.self_signed = false").is_err());
    assert_eq!(with("api.tls.self_signed = true").unwrap(), Some(crate::Tls::SelfSigned));
    let files = with("api.tls.cert = \"cert.pem\"\napi.tls.key = \"/keep/key.pem\"").unwrap();
    let folder = desk.file().parent().unwrap().to_owned();
    let wanted = crate::Tls::Files { cert: folder.join("cert.pem"), key: "/keep/key.pem".into() };
    assert_eq!(files, Some(wanted), "a relative path is relative to the file");
    let both = "api.tls.cert = \"a\"\napi.tls.key = \"b\"\napi.tls.self_signed = true";
    assert!(with(both).unwrap_err().to_string().contains("there is a certificate, too"));
    assert!(desk.load("api.hosts = [\"VTL.example.com\", \"2001:db8::1\"]", &[]).is_ok());
}

#[test]
fn every_way_to_write_loopback_is_loopback() {
    for address in ["127.0.0.1:1", "127.5.5.5:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "127.0.0.1:0"] {
        let text = format!("iscsi.listen = \"{address}\"\napi.listen = \"{address}\"\n");
        assert!(Desk::new().load(&text, &[]).unwrap().check_doors(&[]).is_ok(), "{address}");
    }
}

#[test]
fn the_command_line_has_the_last_word_and_the_last_argument_over_all() {
    let text = "log.level = \"warn\"\nlibrary.default = \"lib0\"\n";
    let config =
        Desk::new().load(text, &["log.level=debug", "library.default=none", "log.level=\"error\""]).unwrap();
    assert_eq!(config.log.level, LogLevel::Error);
    assert_eq!(config.library.default, DefaultLibrary::None);
}

#[test]
fn a_set_value_is_toml_or_else_a_plain_word() {
    let desk = Desk::new();
    let set = |arguments: &[&str]| desk.load("", arguments).unwrap();
    assert_eq!(set(&["iscsi.listen=127.0.0.1:0"]).iscsi.listen, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(set(&["iscsi.listen=[\"127.0.0.1:1\", \"[::1]:2\"]"]).iscsi.listen.len(), 2);
    assert_eq!(set(&["iscsi.diagnostic_disk=64m"]).iscsi.diagnostic_disk, Some(ByteCount(64 << 20)));
    assert_eq!(set(&["iscsi.diagnostic_disk = 67108864"]).iscsi.diagnostic_disk, Some(ByteCount(64 << 20)));
    assert!(set(&["iscsi.allow_any_initiator=true"]).iscsi.allow_any_initiator);
    assert_eq!(set(&["state=/srv/a=b"]).state, Path::new("/srv/a=b"));
    let iqn = format!("iscsi.target.\"{TARGET}\".initiators=iqn.2000-01.com.example:a");
    assert_eq!(set(&[&iqn]).iscsi.targets.len(), 1);
}

#[test]
fn a_set_value_cannot_smuggle_another_key_in() {
    let error = Desk::new().load("", &["log.level=\"info\"\niscsi.allow_any_initiator = true"]).unwrap_err();
    assert!(error.to_string().contains("log.level = "), "{error}");
    for text in ["log.level", "=x", "\n=x", "a\nb=1", ""] {
        assert!(Assignment::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_wrong_argument_is_told_as_it_was_given() {
    let error = Desk::new().load("log.level = \"warn\"", &["log.level=loud"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--set log.level=loud: log.level = \"loud\": there is no such choice; \
         write \"error\", \"warn\", \"info\", \"debug\" or \"trace\""
    );
    let error = Desk::new().load("", &["log.levl=info"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--set log.levl=info: log.levl: unknown field `levl`; expected `level` or `format`"
    );
    let error = Desk::new().load("", &["log=info"]).unwrap_err().to_string();
    assert!(error.starts_with("--set log=info: "), "{error}");
}

#[test]
fn what_is_in_effect_is_printed_with_its_origin_and_reads_back_the_same() {
    let desk = Desk::new();
    desk.secret("chap", "from-the-file!\n", 0o600);
    let text = format!("log.level = \"warn\"\n{}", with_secret_file("chap"));
    let config = desk.load(&text, &["cartridge.size=64m"]).unwrap();
    let printed: Vec<_> = config.effective().iter().map(ToString::to_string).collect();
    let file = desk.file().display().to_string();
    for line in [
        format!("log.level = \"warn\"  # {file}:1"),
        "cartridge.size = \"64m\"  # --set cartridge.size=64m".to_owned(),
        "api.listen = \"127.0.0.1:8460\"  # default".to_owned(),
        format!("iscsi.target.\"{TARGET}\".secret_file = \"chap\"  # {file}:4"),
    ] {
        assert!(printed.contains(&line), "{line} in {printed:#?}");
    }
    assert!(!printed.concat().contains("from-the-file!"));
    let again = desk.load(&printed.join("\n"), &[]).unwrap();
    let values =
        |c: &Config| c.effective().iter().map(|s| (s.key.clone(), s.value.clone())).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&config));
}

#[test]
fn every_key_with_a_default_is_in_effect_and_nothing_else() {
    let config = load(None, &[], &Desk::new().surroundings).unwrap();
    let effective: Vec<_> = config.effective().iter().map(|s| s.key.as_str()).collect();
    let in_table: Vec<_> = KEYS
        .iter()
        .filter(|k| k.default.is_some() || ["state", "store.path"].contains(&k.name))
        .map(|k| k.name)
        .collect();
    assert_eq!(effective, in_table);
    assert!(config.effective().iter().all(|s| s.origin == Origin::Default));
}

#[test]
fn the_page_of_the_manual_has_every_key_with_its_default_and_reason() {
    let page = include_str!("../../docs/configuration.md");
    for key in KEYS {
        let default = key.default.map_or("–".to_owned(), |text| format!("`{text}`"));
        let row = format!("| `{}` | {default} | {} | {} |", key.name, key.expects, key.reason);
        assert!(page.lines().any(|line| line == row), "docs/configuration.md lacks:\n{row}");
    }
}

#[test]
fn a_time_is_a_whole_number_with_its_unit_within_its_limits() {
    let desk = Desk::new();
    let keep =
        |text: &str| desk.load(&format!("jobs.history_keep = {text}"), &[]).map(|c| c.jobs.history_keep);
    for (text, seconds) in
        [("\"90d\"", 7_776_000), ("\"12h\"", 43_200), ("\"60m\"", 3600), ("\"3600s\"", 3600)]
    {
        assert_eq!(keep(text).unwrap().as_secs(), seconds, "{text}");
    }
    for wrong in
        ["\"90\"", "90", "\"d\"", "\"+2d\"", "\"59m\"", "\"3651d\"", "\"99999999999999999999d\"", "\"1.5d\""]
    {
        let errors = keep(wrong).unwrap_err();
        assert_eq!((errors.0[0].key.as_str(), errors.0.len()), ("jobs.history_keep", 1), "{wrong}");
        assert!(errors.0[0].remedy.contains("1h to 3650d"), "{errors}");
    }
}

#[test]
fn a_bandwidth_is_a_rate_or_rates_in_the_order_of_their_times() {
    let desk = Desk::new();
    let load = |text: &str| desk.load(&format!("transfer.bandwidth = \"{text}\""), &[]);
    for right in ["off", "10m", "08:00,512k 19:00,10m 23:00,off"] {
        assert_eq!(load(right).unwrap().transfer.bandwidth, right);
    }
    for wrong in ["", "0", "fast", "19:00,1m 08:00,2m", "24:00,1m", "08:60,1m", "08:00", "08:00,1m 2m"] {
        assert_eq!(load(wrong).unwrap_err().0[0].key, "transfer.bandwidth", "{wrong}");
    }
}

#[test]
fn the_first_pause_is_not_longer_than_the_longest_and_what_is_not_set_of_exports_is_nobodys_decision() {
    let desk = Desk::new();
    let text = "transfer.retry.pause = \"10m\"\ntransfer.retry.max_pause = \"5m\"";
    let errors = desk.load(text, &[]).unwrap_err();
    assert_eq!(errors.0[0].key, "transfer.retry.pause");
    let migrate = desk.load("", &[]).unwrap().migrate;
    assert_eq!((migrate.remote, migrate.key, migrate.staging_dir), (None, None, None));
    assert_eq!((migrate.chunk_size, migrate.delete_after_export), (ByteCount(10_737_418_240), false));
    let text =
        "migrate.triggers = [\"full\", \"idle:12h\", \"schedule:0 3,15 * * *\"]\nmigrate.create_spare = true";
    let migrate = desk.load(text, &[]).unwrap().migrate;
    assert_eq!(crate::triggers_text(&migrate.triggers), "full,idle:12h,schedule:0 3,15 * * *");
    assert!(migrate.create_spare && !migrate.delete_clean_import);
    for (text, key) in [
        ("migrate.key = \"a\"", "a"),
        ("migrate.key = \"a, b\"", "a,b"),
        ("migrate.key = [\"a\", \"b\"]", "a,b"),
    ] {
        assert_eq!(desk.load(text, &[]).unwrap().migrate.key.as_deref(), Some(key), "{text}");
    }
    let signed = desk.load("[migrate]\nsign_with = \"s\"\nforeign_bundles = \"quarantine\"", &[]);
    let signed = signed.unwrap().migrate;
    assert_eq!(signed.sign_with.as_deref(), Some("s"));
    assert_eq!(signed.foreign_bundles, ForeignBundles::Quarantine);
    assert_eq!((migrate.sign_with, migrate.foreign_bundles), (None, ForeignBundles::Accept));
    let many = format!("migrate.key = \"{}\"", ["k"; 17].join(","));
    for wrong in [
        many.as_str(),
        "migrate.key = \"a,,b\"",
        "migrate.key = []",
        "migrate.foreign_bundles = \"maybe\"",
        "migrate.remote = \"\"",
        "migrate.staging_dir = \"here\"",
        "migrate.chunk_size = \"1k\"",
        "migrate.verify = \"md5\"",
        "migrate.spare_label = \"SPARE\"",
        "migrate.triggers = \"never\"",
        "migrate.triggers = [\"full\", \"full\"]",
        "migrate.triggers = \"schedule:0 0 31 2 *\"",
    ] {
        assert!(desk.load(wrong, &[]).is_err(), "{wrong}");
    }
}

#[test]
fn a_size_of_objects_without_a_unit_is_taken_where_it_can_only_be_bytes() {
    let desk = Desk::new();
    for (text, bytes) in [
        ("10737418240", 10_737_418_240),
        ("\"10737418240\"", 10_737_418_240),
        ("1048576", 1 << 20),
        ("\"512m\"", 512 << 20),
    ] {
        let migrate = desk.load(&format!("migrate.chunk_size = {text}"), &[]).unwrap().migrate;
        assert_eq!(migrate.chunk_size, ByteCount(bytes), "{text}");
    }
}

#[test]
fn early_warning_never_takes_more_than_an_eighth_of_a_small_cartridge() {
    let defaults = load(None, &[], &Desk::new().surroundings).unwrap().cartridge;
    assert_eq!(defaults.early_warning(ByteCount(12_000_000_000_000)), ByteCount(800 << 20));
    assert_eq!(defaults.early_warning(ByteCount(64 << 20)), ByteCount(8 << 20));
}

#[test]
fn a_path_of_the_command_line_is_relative_to_where_the_program_was_started() {
    let state = Assignment::path("--state", "state", Path::new("some/where")).unwrap();
    let config = load(None, &[state], &Desk::new().surroundings).unwrap();
    assert_eq!(config.state, std::env::current_dir().unwrap().join("some/where"));
    assert_eq!(config.effective()[0].origin, Origin::CommandLine("--state".to_owned()));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    #[test]
    fn an_option_sets_exactly_its_key_to_exactly_its_value(text in "/\\PC*|/(?s:.)*") {
        let surroundings = Desk::new().surroundings;
        let config = load(None, &[Assignment::string("--state", "state", &text)], &surroundings).unwrap();
        proptest::prop_assert_eq!(config.state.to_str(), Some(text.as_str()));
        let spoken: Vec<_> = config.effective().iter().filter(|s| s.origin != Origin::Default).collect();
        proptest::prop_assert_eq!(spoken.len(), 1);
        proptest::prop_assert!(!spoken[0].value.contains('\n'));
    }

    #[test]
    fn no_text_is_too_odd_for_a_file_or_an_argument(
        text in "(?s:.)*|([a-z.]{0,12}( ?= ?|\\[|\\]|\n|\"|[0-9]{1,22}|iscsi|target|listen|true|,|\\{|\\})){0,20}"
    ) {
        let desk = Desk::new();
        if let Err(errors) = desk.load(&text, &[]) {
            proptest::prop_assert!(!errors.0.is_empty() && errors.0.iter().all(|e| !e.remedy.is_empty()));
        }
        if let Ok(assignment) = Assignment::parse(&text) {
            let _ = load(None, &[assignment], &desk.surroundings);
        }
    }
}

#[test]
fn a_hook_is_a_file_that_can_be_run_and_that_only_its_owner_can_change() {
    let desk = Desk::new();
    let path = desk.folder.path().join("hook");
    let hook = |mode| {
        desk.secret("hook", "#!/bin/sh\n", mode);
        desk.load(&format!("hooks.post_vault = {path:?}"), &[]).map(|c| c.hooks.post_vault)
    };
    assert_eq!(hook(0o755).unwrap(), Some(path.clone()));
    for (mode, remedy) in [(0o644, "chmod +x"), (0o775, "chmod go-w"), (0o757, "chmod go-w")] {
        let errors = hook(mode).unwrap_err();
        assert_eq!((errors.0[0].key.as_str(), errors.0.len()), ("hooks.post_vault", 1));
        assert!(errors.0[0].problem.contains(remedy), "{errors}");
    }
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let errors = desk.load(&format!("hooks.post_vault = {path:?}"), &[]).unwrap_err();
        assert!(errors.0[0].problem.contains("user 65534 owns it"), "{errors}");
    }
    let refused = |text: &str| desk.load(text, &[]).unwrap_err().to_string();
    assert!(refused("hooks.post_vault = \"/nowhere/hook\"").contains("No such file"));
    assert!(refused("hooks.post_vault = \"hook\"").contains("no absolute path"));
    assert!(refused("hooks.post_vault = \"/\"").contains("not a file"));
}
