//! From the mirror to the checked value: each field is taken out once, checked, and written down with its origin.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Value;
use vtl_types::{
    ByteCount, ChapAccount, ChapError, ChapLogin, IscsiName, LabelTemplate, Secret, SecretAddress,
};

use crate::{
    Surroundings,
    config::{
        Access, Api, CartridgeDefaults, Collections, Compress, Config, DefaultLibrary, Digest, DirectIo,
        ForeignBundles, Hooks, Iscsi, Jobs, Library, Log, LogFormat, LogLevel, Migrate, Retention, Setting,
        Store, StoreEncryption, TargetAccess, Tls, Transfer,
    },
    document::{self, Documents, one_line},
    doors,
    error::{ConfError, ConfErrors, Origin},
    hooks, keys,
    mirror::{
        AccessMirror, ApiMirror, CartridgeMirror, ChapMirror, HooksMirror, IscsiMirror, JobsMirror,
        LibraryMirror, LogMirror, MigrateMirror, Mirror, RetentionMirror, RetryMirror, StoreMirror,
        TargetMirror, TlsMirror, TransferMirror,
    },
    oidc,
    secrets::{self, Wrong},
    trigger::{self, Trigger},
};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;
const T: u64 = 1 << 40;
/// What a cartridge can be made to hold.
pub const CARTRIDGE_BYTES: RangeInclusive<u64> = M..=64 * T;
/// A week: more would let a clock that is set forward over a restart free what has long to go.
const LONGEST_CLOCK_STEP_S: u64 = 7 * 24 * 60 * 60;
const HOUR_S: u64 = 60 * 60;
const DAY_S: u64 = 24 * HOUR_S;
/// For so many keys one export can be encrypted (docs/formats/bundle.md).
const MAX_RECIPIENTS: usize = 16;
/// Ten years.
const LONGEST_HISTORY_S: u64 = 3650 * DAY_S;
/// RFC 7143, 13.12 to 13.14: 512 to 2^24 - 1.
const ISCSI_LENGTHS: RangeInclusive<u64> = 512..=0x00ff_ffff;

/// Keys that hold an address of which only the host is shown.
const SHOWN_TO_THE_HOST: &[&str] = &["alerts.webhook.url"];

/// A value as it is printed.
fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::String(address) if SHOWN_TO_THE_HOST.contains(&key) => {
            one_line(&Value::String(SecretAddress::new(address.clone()).to_string()))
        }
        value => one_line(value),
    }
}

pub(crate) fn check(documents: Documents, surroundings: &Surroundings) -> Result<Config, ConfErrors> {
    let mut checker = Checker {
        documents,
        surroundings,
        errors: Vec::new(),
        settings: Vec::new(),
        secret_files: Vec::new(),
    };
    let mirror: Mirror = match checker.documents.merged.clone().try_into() {
        Ok(mirror) => mirror,
        Err(error) => return Err(checker.impossible(&error).into()),
    };
    match checker.config(mirror) {
        Some(config) if checker.errors.is_empty() => {
            let Checker { settings, secret_files, .. } = checker;
            Ok(Config { settings, secret_files, ..config })
        }
        _ => Err(ConfErrors(checker.errors)),
    }
}

pub(crate) struct Checker<'s> {
    documents: Documents,
    surroundings: &'s Surroundings,
    errors: Vec<ConfError>,
    settings: Vec<Setting>,
    secret_files: Vec<PathBuf>,
}

/// Whether a key names a file with a secret, by how such keys are called.
fn names_a_secret(path: &[&str]) -> bool {
    let is_secret = |word: &&str| word.ends_with("_file") && *word != "ca_file";
    path == ["api", "tls", "key"] || path.last().is_some_and(is_secret)
}

/// A parser's complaint.
pub(crate) type Parsed<T> = Result<T, String>;

impl Checker<'_> {
    /// `None` only after an error was noted. Each part is checked before the first `?`, so that all errors show.
    fn config(&mut self, mirror: Mirror) -> Option<Config> {
        let Mirror {
            state,
            iscsi,
            api,
            access,
            secrets,
            library,
            cartridge,
            store,
            jobs,
            remotes,
            transfer,
            migrate,
            hooks,
            retention,
            log,
            metrics,
            alerts,
        } = mirror;
        let state = self.state(state);
        let iscsi = self.iscsi(iscsi);
        let api = self.api(api);
        let access = self.access(access);
        self.way_back(api.as_ref(), access.as_ref().and_then(|access| access.oidc.as_ref()));
        let secrets = self.sealing(secrets, state.as_deref());
        let library = self.library(library);
        let cartridge = self.cartridge(cartridge);
        let store = self.store(store, state.as_deref());
        let jobs = self.jobs(jobs);
        let remotes = self.remotes(remotes);
        let transfer = self.transfer(transfer);
        let migrate = self.migrate(migrate);
        let hooks = self.hooks(hooks);
        let retention = self.retention(retention);
        let log = self.log(log);
        let metrics = self.metrics(metrics);
        let alerts = self.alerts(alerts);
        Some(Config {
            state: state?,
            iscsi: iscsi?,
            api: api?,
            access: access?,
            secrets: secrets?,
            library: library?,
            cartridge: cartridge?,
            store: store?,
            jobs: jobs?,
            remotes: remotes?,
            transfer: transfer?,
            migrate: migrate?,
            hooks: hooks?,
            retention: retention?,
            log: log?,
            metrics: metrics?,
            alerts: alerts?,
            settings: Vec::new(),
            secret_files: Vec::new(),
            waiting: Vec::new(),
        })
    }

    fn state(&mut self, raw: Option<Value>) -> Option<PathBuf> {
        let default = default_state(self.surroundings);
        match (raw, default) {
            (None, None) => {
                self.refuse(&["state"], "", "there is no home folder to put the state in", None);
                None
            }
            (raw, default) => self.take("state", raw.or_else(|| default.map(Value::String)), absolute_path),
        }
    }

    fn iscsi(&mut self, mirror: IscsiMirror) -> Option<Iscsi> {
        let IscsiMirror {
            listen,
            allow_any_initiator,
            diagnostic_disk,
            max_sessions,
            max_connections,
            login_timeout_s,
            max_bytes_in_flight_session,
            max_bytes_in_flight,
            header_digest,
            data_digest,
            max_recv_data_segment_length,
            max_burst_length,
            first_burst_length,
            max_outstanding_r2t,
            command_window,
            discovery_chap,
            target,
        } = mirror;
        let listen = self.take("iscsi.listen", listen, addresses);
        let allow_any_initiator = self.take("iscsi.allow_any_initiator", allow_any_initiator, boolean);
        let diagnostic_disk = self
            .take("iscsi.diagnostic_disk", diagnostic_disk, |value| word_or_size(value, "off", M..=4 * G));
        let max_sessions = self.number("iscsi.max_sessions", max_sessions, 1..=4096);
        let max_connections = self.number("iscsi.max_connections", max_connections, 1..=8192);
        let login_timeout_s: Option<u32> = self.number("iscsi.login_timeout_s", login_timeout_s, 1..=300);
        let per_session =
            self.size("iscsi.max_bytes_in_flight_session", max_bytes_in_flight_session, 16 * M..=4 * G);
        let in_all = self.size("iscsi.max_bytes_in_flight", max_bytes_in_flight, 16 * M..=64 * G);
        let header_digest = self.take("iscsi.header_digest", header_digest, digests);
        let data_digest = self.take("iscsi.data_digest", data_digest, digests);
        let segment = self.length("iscsi.max_recv_data_segment_length", max_recv_data_segment_length);
        let max_burst = self.length("iscsi.max_burst_length", max_burst_length);
        let first_burst = self.length("iscsi.first_burst_length", first_burst_length);
        let max_outstanding_r2t = self.number("iscsi.max_outstanding_r2t", max_outstanding_r2t, 1..=64);
        let command_window = self.number("iscsi.command_window", command_window, 1..=1024);
        let discovery_chap = self.chap(&["iscsi", "discovery_chap"], discovery_chap);
        let targets = self.targets(target);

        self.not_more("iscsi.max_sessions", max_sessions, "iscsi.max_connections", max_connections);
        self.not_more("iscsi.first_burst_length", first_burst, "iscsi.max_burst_length", max_burst);
        let burst = max_burst.map(u64::from);
        let (session_bytes, all_bytes) = (per_session.map(|s| s.0), in_all.map(|s| s.0));
        let session_key = "iscsi.max_bytes_in_flight_session";
        self.not_more("iscsi.max_burst_length", burst, session_key, session_bytes);
        self.not_more(session_key, session_bytes, "iscsi.max_bytes_in_flight", all_bytes);
        Some(Iscsi {
            listen: listen?,
            allow_any_initiator: allow_any_initiator?,
            diagnostic_disk: diagnostic_disk?,
            max_sessions: max_sessions?,
            max_connections: max_connections?,
            login_timeout: Duration::from_secs(login_timeout_s?.into()),
            max_bytes_in_flight_session: per_session?,
            max_bytes_in_flight: in_all?,
            header_digest: header_digest?,
            data_digest: data_digest?,
            max_recv_data_segment_length: segment?,
            max_burst_length: max_burst?,
            first_burst_length: first_burst?,
            max_outstanding_r2t: max_outstanding_r2t?,
            command_window: command_window?,
            discovery_chap,
            targets,
        })
    }

    fn targets(&mut self, mirrors: BTreeMap<String, TargetMirror>) -> BTreeMap<IscsiName, TargetAccess> {
        let mut targets = BTreeMap::new();
        for (text, mirror) in mirrors {
            let path = ["iscsi", "target", text.as_str()];
            let (chap, initiators) = mirror.split();
            let chap = self.chap(&path, chap);
            let initiators = self.initiators(&path, initiators);
            match text.parse::<IscsiName>() {
                Ok(name) if targets.contains_key(&name) => {
                    self.refuse(&path, "", "this target stands here twice", Some("join the two sections"));
                }
                Ok(name) => {
                    targets.insert(name, TargetAccess { chap, initiators });
                }
                Err(error) => {
                    self.refuse(&path, "", &error.to_string(), Some("name a target as vtld prints it"))
                }
            }
        }
        targets
    }

    fn initiators(&mut self, section: &[&str], raw: Option<Value>) -> BTreeSet<IscsiName> {
        let path = [section, &["initiators"]].concat();
        let Some(raw) = raw else { return BTreeSet::new() };
        self.note(&path, &raw);
        match names(&raw) {
            Ok(names) => names,
            Err(problem) => {
                self.refuse(&path, &one_line(&raw), &problem, None);
                BTreeSet::new()
            }
        }
    }

    /// A section with CHAP keys; `None` when it has none, or after an error.
    fn chap(&mut self, section: &[&str], mirror: ChapMirror) -> Option<ChapAccount> {
        let ChapMirror { user, secret_file, secret_env, mutual_user, mutual_secret_file, mutual_secret_env } =
            mirror;
        let names = ["user", "secret_file", "secret_env"];
        let login = self.login(section, names, [user, secret_file, secret_env]);
        let names = ["mutual_user", "mutual_secret_file", "mutual_secret_env"];
        let mutual = self.login(section, names, [mutual_user, mutual_secret_file, mutual_secret_env]);
        match (login, mutual) {
            (None, None) => None,
            (None, Some(_)) => {
                let path = [section, &["mutual_user"]].concat();
                let problem = "the target would prove itself to an initiator that proves nothing";
                self.refuse(&path, "", problem, Some("set user and secret_file, too"));
                None
            }
            (Some(login), mutual) => self.account(section, login, mutual),
        }
    }

    fn account(
        &mut self,
        section: &[&str],
        login: ChapLogin,
        mutual: Option<ChapLogin>,
    ) -> Option<ChapAccount> {
        let made = ChapAccount::new(login, mutual);
        if let Err(error) = &made {
            let path = [section, &["mutual_user"]].concat();
            self.refuse(&path, "", &error.to_string(), Some("give one of them another secret"));
        }
        made.ok()
    }

    /// One direction: a user and exactly one place for the secret, or none of the three.
    fn login(&mut self, section: &[&str], names: [&str; 3], raw: [Option<Value>; 3]) -> Option<ChapLogin> {
        let paths = names.map(|name| [section, &[name]].concat());
        for (path, value) in paths.iter().zip(&raw) {
            if let Some(value) = value {
                self.note(path, value);
            }
        }
        let [user_path, file_path, env_path] = &paths;
        let [user_name, file_name, env_name] = names;
        match raw {
            [None, None, None] => None,
            [Some(user), Some(file), None] => {
                let secret = self.secret(file_path, &file, Self::secret_file)?;
                self.named(user_path, &user, file_path, &file, secret)
            }
            [Some(user), None, Some(env)] => {
                let secret = self.secret(env_path, &env, Self::secret_env)?;
                self.named(user_path, &user, env_path, &env, secret)
            }
            [Some(user), None, None] => {
                let remedy = format!("add {file_name} or {env_name}");
                self.refuse(user_path, &one_line(&user), "there is no secret for this user", Some(&remedy));
                None
            }
            [_, Some(file), Some(_)] => {
                let remedy = format!("keep one of {file_name} and {env_name}");
                self.refuse(file_path, &one_line(&file), "there are two secrets", Some(&remedy));
                None
            }
            [None, file, env] => {
                let (path, value) = if file.is_some() { (file_path, file) } else { (env_path, env) };
                let value = value.map(|v| one_line(&v)).unwrap_or_default();
                self.refuse(
                    path,
                    &value,
                    "there is no user for this secret",
                    Some(&format!("add {user_name}")),
                );
                None
            }
        }
    }

    pub(crate) fn secret(
        &mut self,
        path: &[&str],
        raw: &Value,
        fetch: impl Fn(&Self, &str) -> Result<Secret, Wrong>,
    ) -> Option<Secret> {
        let fetched = match raw.as_str() {
            Some(text) => fetch(self, text),
            None => Err((not_a("string", raw), None)),
        };
        fetched
            .map_err(|(problem, remedy)| self.refuse(path, &one_line(raw), &problem, remedy.as_deref()))
            .ok()
    }

    pub(crate) fn secret_file(&self, text: &str) -> Result<Secret, Wrong> {
        secrets::from_file(&self.beside(text))
    }

    /// A path as it is meant in the configuration file.
    pub(crate) fn beside(&self, text: &str) -> PathBuf {
        self.documents.folder.as_deref().unwrap_or(Path::new("")).join(text)
    }

    pub(crate) fn secret_env(&self, text: &str) -> Result<Secret, Wrong> {
        secrets::from_environment(text, self.surroundings)
    }

    fn named(
        &mut self,
        user_path: &[&str],
        user: &Value,
        secret_path: &[&str],
        secret_from: &Value,
        secret: Secret,
    ) -> Option<ChapLogin> {
        let Some(name) = user.as_str() else {
            self.refuse(user_path, &one_line(user), &not_a("string", user), None);
            return None;
        };
        let made = ChapLogin::new(name, secret);
        match &made {
            Err(ChapError::User) => {
                self.refuse(user_path, &one_line(user), &ChapError::User.to_string(), None);
            }
            Err(error) => {
                let remedy = "put a longer or shorter secret there";
                self.refuse(secret_path, &one_line(secret_from), &error.to_string(), Some(remedy));
            }
            Ok(_) => {}
        }
        made.ok()
    }

    fn api(&mut self, mirror: ApiMirror) -> Option<Api> {
        let ApiMirror { listen, hosts, tls, public_url } = mirror;
        let hosts = self.take("api.hosts", hosts, host_names);
        let tls = self.tls(tls);
        let has_tls = !matches!(tls, Some(None));
        let listen = self.take("api.listen", listen, |value| {
            let address = address(value)?;
            match has_tls || doors::is_loopback(&address) {
                true => Ok(address),
                false => {
                    Err("the API is reachable from other machines only with TLS: passwords and tokens must not cross \
                         a network in clear; set api.tls.cert and api.tls.key, or api.tls.self_signed = true"
                        .to_owned())
                }
            }
        });
        let known = hosts.clone().unwrap_or_default();
        let is_wide = listen.as_ref().is_none_or(|address| !doors::is_loopback(address));
        let answers = oidc::Answers { has_tls, is_wide, hosts: &known };
        let public_url =
            self.optional("api.public_url", public_url, |value| oidc::public_address(value, &answers));
        Some(Api { listen: listen?, hosts: hosts?, tls: tls?, public_url: public_url? })
    }

    /// `None` only after an error.
    fn tls(&mut self, mirror: TlsMirror) -> Option<Option<Tls>> {
        let TlsMirror { cert, key, self_signed } = mirror;
        let self_signed = self.take("api.tls.self_signed", self_signed, boolean)?;
        let mut file = |name: &'static str, raw: Option<Value>| {
            let path = raw.map(|raw| self.take(name, Some(raw), plain_text));
            path.map(|text| text.map(|text| self.beside(&text)))
        };
        let (cert, key) = (file("api.tls.cert", cert), file("api.tls.key", key));
        match (cert, key, self_signed) {
            (None, None, false) => Some(None),
            (None, None, true) => Some(Some(Tls::SelfSigned)),
            (Some(cert), Some(key), false) => Some(Some(Tls::Files { cert: cert?, key: key? })),
            (Some(_), Some(_), true) => self.refuse_tls("api.tls.self_signed", "there is a certificate, too"),
            (Some(_), None, _) => self.refuse_tls("api.tls.cert", "there is no api.tls.key for it"),
            (None, Some(_), _) => self.refuse_tls("api.tls.key", "there is no api.tls.cert for it"),
        }
    }

    fn refuse_tls<T>(&mut self, key: &'static str, problem: &str) -> Option<T> {
        let path: Vec<&str> = key.split('.').collect();
        let remedy = "set api.tls.cert and api.tls.key, or api.tls.self_signed = true, or none of them";
        self.refuse(&path, "", problem, Some(remedy));
        None
    }

    fn access(&mut self, mirror: AccessMirror) -> Option<Access> {
        let AccessMirror { two_person, oidc } = mirror;
        let two_person = self.take("access.two_person", two_person, boolean);
        let oidc = self.oidc(oidc);
        Some(Access { two_person: two_person?, oidc: oidc? })
    }

    fn library(&mut self, mirror: LibraryMirror) -> Option<Library> {
        let LibraryMirror { default } = mirror;
        let words = [("lib0", DefaultLibrary::Lib0), ("none", DefaultLibrary::None)];
        Some(Library { default: self.take("library.default", default, |value| word(value, &words))? })
    }

    fn cartridge(&mut self, mirror: CartridgeMirror) -> Option<CartridgeDefaults> {
        let CartridgeMirror { size, early_warning } = mirror;
        let size = self.take("cartridge.size", size, |value| word_or_size(value, "native", CARTRIDGE_BYTES));
        let early_warning = self.size("cartridge.early_warning", early_warning, M..=64 * G);
        Some(CartridgeDefaults { size: size?, early_warning: early_warning? })
    }

    fn store(&mut self, mirror: StoreMirror, state: Option<&Path>) -> Option<Store> {
        let StoreMirror {
            path,
            size,
            folders,
            degraded,
            direct_io,
            compression_level,
            dedupe,
            chunk_size,
            encryption,
            key_file,
            passphrase_file,
            passphrase_env,
            memory,
            gc,
            scrub_days,
            scrub_rate,
        } = mirror;
        let default = state.map(|state| Value::String(state.join("store").display().to_string()));
        // Without a state folder there is an error already, and no default.
        let path = match path.or(default) {
            Some(path) => self.take("store.path", Some(path), absolute_path),
            None => None,
        };
        let size = self.take("store.size", size, |value| word_or_size(value, "unlimited", 64 * M..=1024 * T));
        let folders = self.take("store.folders", folders, folder_list);
        let degraded = self.take("store.degraded", degraded, boolean);
        let ways = [("auto", DirectIo::Auto), ("on", DirectIo::On), ("off", DirectIo::Off)];
        let direct_io = self.take("store.direct_io", direct_io, |value| word(value, &ways));
        let compression_level = self.number("store.compression_level", compression_level, 1..=19);
        let dedupe = self.take("store.dedupe", dedupe, boolean);
        let chunk_size = self.take("store.chunk_size", chunk_size, chunk_length);
        let is_encrypted = self.take("store.encryption", encryption, |value| {
            word(value, &[("none", false), ("aes-256-gcm", true)])
        });
        let encryption = self.store_key(is_encrypted, [key_file, passphrase_file, passphrase_env]);
        let memory = self.size("store.memory", memory, 64 * M..=256 * G);
        let words = [("auto", Collections::Auto), ("manual", Collections::Manual)];
        let gc = self.take("store.gc", gc, |value| word(value, &words));
        let scrub_days = self.number("store.scrub_days", scrub_days, 1..=365);
        let scrub_rate = self.size("store.scrub_rate", scrub_rate, M..=64 * G);
        Some(Store {
            path: path?,
            size: size?,
            folders: folders?,
            degraded: degraded?,
            direct_io: direct_io?,
            compression_level: compression_level?,
            dedupe: dedupe?,
            chunk_size: chunk_size?,
            encryption: encryption?,
            memory: memory?,
            gc: gc?,
            scrub_days: scrub_days?,
            scrub_rate: scrub_rate?,
        })
    }

    fn jobs(&mut self, mirror: JobsMirror) -> Option<Jobs> {
        let JobsMirror { max_running, history_keep, max_transfers } = mirror;
        let max_running = self.number("jobs.max_running", max_running, 1..=64);
        let history_keep =
            self.take("jobs.history_keep", history_keep, |value| time(value, HOUR_S..=LONGEST_HISTORY_S));
        let max_transfers = self.number("jobs.max_transfers", max_transfers, 1..=64);
        Some(Jobs { max_running: max_running?, history_keep: history_keep?, max_transfers: max_transfers? })
    }

    fn transfer(&mut self, mirror: TransferMirror) -> Option<Transfer> {
        let TransferMirror { retry: RetryMirror { attempts, pause, max_pause, on_exit_codes }, bandwidth } =
            mirror;
        let retry_attempts = self.number("transfer.retry.attempts", attempts, 1..=1000);
        let retry_pause = self.take("transfer.retry.pause", pause, |value| time(value, 1..=DAY_S));
        let retry_max_pause =
            self.take("transfer.retry.max_pause", max_pause, |value| time(value, 1..=7 * DAY_S));
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        self.not_more(
            "transfer.retry.pause",
            seconds(retry_pause),
            "transfer.retry.max_pause",
            seconds(retry_max_pause),
        );
        let retry_on_exit_codes = self.take("transfer.retry.on_exit_codes", on_exit_codes, exit_codes);
        let bandwidth = self.take("transfer.bandwidth", bandwidth, rates);
        Some(Transfer {
            retry_attempts: retry_attempts?,
            retry_pause: retry_pause?,
            retry_max_pause: retry_max_pause?,
            retry_on_exit_codes: retry_on_exit_codes?,
            bandwidth: bandwidth?,
        })
    }

    fn migrate(&mut self, mirror: MigrateMirror) -> Option<Migrate> {
        let MigrateMirror {
            remote,
            key,
            sign_with,
            foreign_bundles,
            chunk_size,
            compress,
            verify,
            delete_after_export,
            delete_clean_import,
            create_spare,
            spare_label,
            triggers,
            staging_dir,
            read_wait,
        } = mirror;
        let remote = self.optional("migrate.remote", remote, name);
        let key = self.optional("migrate.key", key, key_names);
        let sign_with = self.optional("migrate.sign_with", sign_with, name);
        let ways = [
            ("accept", ForeignBundles::Accept),
            ("quarantine", ForeignBundles::Quarantine),
            ("refuse", ForeignBundles::Refuse),
        ];
        let foreign_bundles =
            self.take("migrate.foreign_bundles", foreign_bundles, |value| word(value, &ways));
        let chunk_size = self.take("migrate.chunk_size", chunk_size, |value| object_size(value, &(M..=T)));
        let codecs = [("zstd", Compress::Zstd), ("lz4", Compress::Lz4), ("none", Compress::None)];
        let compress = self.take("migrate.compress", compress, |value| word(value, &codecs));
        let ways = ["remote-hash", "readback", "none"].map(|way| (way, way));
        let verify = self.take("migrate.verify", verify, |value| word(value, &ways));
        let delete_after_export = self.take("migrate.delete_after_export", delete_after_export, boolean);
        let delete_clean_import = self.take("migrate.delete_clean_import", delete_clean_import, boolean);
        let create_spare = self.take("migrate.create_spare", create_spare, boolean);
        let spare_label = self.take("migrate.spare_label", spare_label, template);
        let triggers = self.take("migrate.triggers", triggers, triggers_of);
        let staging_dir = self.optional("migrate.staging_dir", staging_dir, absolute_path);
        let read_wait = self.take("migrate.read_wait", read_wait, |value| time(value, 1..=600));
        Some(Migrate {
            remote: remote?,
            key: key?,
            sign_with: sign_with?,
            foreign_bundles: foreign_bundles?,
            chunk_size: chunk_size?,
            compress: compress?,
            verify: verify?,
            delete_after_export: delete_after_export?,
            delete_clean_import: delete_clean_import?,
            create_spare: create_spare?,
            spare_label: spare_label?,
            triggers: triggers?,
            staging_dir: staging_dir?,
            read_wait: read_wait?,
        })
    }

    /// A key that need not be set.
    fn optional<V>(
        &mut self,
        name: &'static str,
        raw: Option<Value>,
        parse: impl Fn(&Value) -> Parsed<V>,
    ) -> Option<Option<V>> {
        match raw {
            None => Some(None),
            raw => self.take(name, raw, parse).map(Some),
        }
    }

    fn hooks(&mut self, mirror: HooksMirror) -> Option<Hooks> {
        let HooksMirror { post_vault, time_limit } = mirror;
        let time_limit = self.take("hooks.time_limit", time_limit, |value| time(value, 1..=7 * DAY_S));
        let post_vault = match post_vault {
            None => None,
            set => Some(self.take("hooks.post_vault", set, |value| hooks::program(absolute_path(value)?))?),
        };
        Some(Hooks { post_vault, time_limit: time_limit? })
    }

    fn retention(&mut self, mirror: RetentionMirror) -> Option<Retention> {
        let RetentionMirror { max_clock_step_s } = mirror;
        let max_clock_step_s =
            self.number("retention.max_clock_step_s", max_clock_step_s, 0..=LONGEST_CLOCK_STEP_S)?;
        Some(Retention { max_clock_step_s })
    }

    /// Exactly one place for the key when the store is encrypted, none when it is not.
    fn store_key(&mut self, is_encrypted: Option<bool>, raw: [Option<Value>; 3]) -> Option<StoreEncryption> {
        const NAMES: [&str; 3] = ["key_file", "passphrase_file", "passphrase_env"];
        let paths = NAMES.map(|name| ["store", name]);
        for (path, value) in paths.iter().zip(&raw) {
            if let Some(value) = value {
                self.note(path, value);
            }
        }
        let mut given = paths
            .iter()
            .zip(NAMES)
            .zip(&raw)
            .filter_map(|((path, name), value)| Some((path, name, value.as_ref()?)));
        match (is_encrypted?, given.next(), given.next()) {
            (false, None, _) => Some(StoreEncryption::None),
            (true, None, _) => {
                let remedy = "add store.key_file, store.passphrase_file or store.passphrase_env";
                self.refuse(
                    &["store", "encryption"],
                    "\"aes-256-gcm\"",
                    "there is no key for the store",
                    Some(remedy),
                );
                None
            }
            (false, Some((path, _, value)), _) => {
                let remedy =
                    "take it out, or set store.encryption = \"aes-256-gcm\" if the pool is encrypted";
                self.refuse(
                    path,
                    &one_line(value),
                    "the store is not encrypted and needs no key",
                    Some(remedy),
                );
                None
            }
            (true, Some((path, first, value)), Some((_, second, _))) => {
                let remedy = format!("keep one of {first} and {second}");
                self.refuse(path, &one_line(value), "there are two keys", Some(&remedy));
                None
            }
            (true, Some((path, "key_file", value)), None) => self
                .secret(path, value, |this, text| secrets::key_file(&this.beside(text)))
                .map(StoreEncryption::KeyFile),
            (true, Some((path, "passphrase_file", value)), None) => self
                .secret(path, value, |this, text| secrets::passphrase_file(&this.beside(text)))
                .map(StoreEncryption::Passphrase),
            (true, Some((path, _, value)), None) => self
                .secret(path, value, |this, text| this.secret_env(text).and_then(secrets::passphrase))
                .map(StoreEncryption::Passphrase),
        }
    }

    fn log(&mut self, mirror: LogMirror) -> Option<Log> {
        let LogMirror { level, format } = mirror;
        let level = self.take("log.level", level, |value| word(value, &LogLevel::WORDS));
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let format = self.take("log.format", format, |value| word(value, &formats));
        Some(Log { level: level?, format: format? })
    }

    /// The value of a key, or its default, checked and noted.
    pub(crate) fn take<V>(
        &mut self,
        name: &'static str,
        raw: Option<Value>,
        parse: impl Fn(&Value) -> Parsed<V>,
    ) -> Option<V> {
        let path: Vec<&str> = name.split('.').collect();
        let raw = raw.or_else(|| default_value(name))?;
        self.note(&path, &raw);
        parse(&raw).map_err(|problem| self.refuse(&path, &shown(name, &raw), &problem, None)).ok()
    }

    pub(crate) fn number<N: TryFrom<u64>>(
        &mut self,
        name: &'static str,
        raw: Option<Value>,
        range: RangeInclusive<u64>,
    ) -> Option<N> {
        self.take(name, raw, |value| {
            let number = within(integer(value)?, &range)?;
            N::try_from(number).map_err(|_| outside(&range))
        })
    }

    fn size(
        &mut self,
        name: &'static str,
        raw: Option<Value>,
        range: RangeInclusive<u64>,
    ) -> Option<ByteCount> {
        self.take(name, raw, |value| within(size(value)?, &range).map(ByteCount))
    }

    /// A length that iSCSI negotiates.
    fn length(&mut self, name: &'static str, raw: Option<Value>) -> Option<u32> {
        self.size(name, raw, ISCSI_LENGTHS).and_then(|size| u32::try_from(size.0).ok())
    }

    /// One key must not exceed another.
    fn not_more<N: PartialOrd + std::fmt::Display>(
        &mut self,
        small: &'static str,
        small_value: Option<N>,
        large: &'static str,
        large_value: Option<N>,
    ) {
        if let (Some(a), Some(b)) = (small_value, large_value)
            && a > b
        {
            let path: Vec<&str> = small.split('.').collect();
            let remedy = format!("lower it, or raise {large}");
            self.refuse(&path, &a.to_string(), &format!("this is more than {large} ({b})"), Some(&remedy));
        }
    }

    pub(crate) fn note(&mut self, path: &[&str], value: &Value) {
        if let Some(file) = value.as_str().filter(|_| names_a_secret(path)) {
            let file = self.beside(file);
            self.secret_files.push(file);
        }
        let key = document::dotted(path);
        let (value, origin) = (shown(&key, value), self.origin(path));
        self.settings.push(Setting { key, value, origin });
    }

    /// Who said so. An argument is repeated unless its value is not to be shown.
    fn origin(&self, path: &[&str]) -> Origin {
        let key = document::dotted(path);
        match self.documents.origin(path) {
            Origin::CommandLine(_) if SHOWN_TO_THE_HOST.contains(&key.as_str()) => {
                Origin::CommandLine(format!("--set {key}"))
            }
            origin => origin,
        }
    }

    /// Without a remedy of its own, the key's.
    pub(crate) fn refuse(&mut self, path: &[&str], value: &str, problem: &str, remedy: Option<&str>) {
        let remedy = remedy.or_else(|| keys::row(&general(path)).map(|key| key.expects));
        let origin = self.origin(path);
        self.errors.push(ConfError {
            origin,
            key: document::dotted(path),
            value: value.to_owned(),
            problem: problem.to_owned(),
            remedy: remedy.unwrap_or("see docs/configuration.md").to_owned(),
        });
    }

    /// Each text fitted the mirror, so their sum does; if not, it is told all the same.
    fn impossible(&self, error: &toml::de::Error) -> ConfError {
        ConfError {
            origin: Origin::Default,
            key: String::new(),
            value: String::new(),
            problem: error.message().to_owned(),
            remedy: "see that file and command line do not use one key as a section and as a value"
                .to_owned(),
        }
    }
}

/// The key's name in the table, with `IQN` for a target's name.
fn general(path: &[&str]) -> String {
    match path {
        ["iscsi", "target", _, rest @ ..] => {
            ["iscsi", "target", "IQN"].into_iter().chain(rest.iter().copied()).collect::<Vec<_>>().join(".")
        }
        _ => path.join("."),
    }
}

fn default_value(name: &str) -> Option<Value> {
    let text = keys::row(name)?.default?;
    toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?.remove("value")
}

fn default_state(surroundings: &Surroundings) -> Option<String> {
    if surroundings.root {
        return Some("/var/lib/vtl".to_owned());
    }
    let folder = |name: &str| {
        let path = PathBuf::from(surroundings.environment.get(name)?);
        path.is_absolute().then_some(path) // a relative one is ignored, as the XDG specification says
    };
    let path = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(path.join("vtl").display().to_string())
}

fn not_a(wanted: &str, value: &Value) -> String {
    format!("this is not a {wanted}, its type is {}", value.type_str())
}

fn outside(range: &RangeInclusive<u64>) -> String {
    format!("this is outside {} to {}", show(*range.start()), show(*range.end()))
}

/// Small limits as numbers, large ones as sizes.
fn show(limit: u64) -> String {
    if limit >= K { ByteCount(limit).to_string() } else { limit.to_string() }
}

pub(crate) fn within(number: u64, range: &RangeInclusive<u64>) -> Parsed<u64> {
    if range.contains(&number) { Ok(number) } else { Err(outside(range)) }
}

pub(crate) fn boolean(value: &Value) -> Parsed<bool> {
    value.as_bool().ok_or_else(|| not_a("boolean", value))
}

pub(crate) fn integer(value: &Value) -> Parsed<u64> {
    let number = value.as_integer().ok_or_else(|| not_a("number", value))?;
    u64::try_from(number).map_err(|_| "this is negative".to_owned())
}

pub(crate) fn text(value: &Value) -> Parsed<&str> {
    value.as_str().ok_or_else(|| not_a("string", value))
}

fn size(value: &Value) -> Parsed<u64> {
    match value {
        Value::String(text) => text.parse::<ByteCount>().map(|size| size.0).map_err(|e| e.to_string()),
        _ => integer(value),
    }
}

/// A number alone may mean bytes to one and megabytes to another. From the least size on it means bytes: so many
/// megabytes would be the greatest size, or more.
fn object_size(value: &Value, range: &RangeInclusive<u64>) -> Parsed<ByteCount> {
    let is_bare = value.is_integer() || value.as_str().is_some_and(|text| text.trim().parse::<u64>().is_ok());
    let bytes = size(value)?;
    if is_bare && bytes < *range.start() {
        return Err("this has no unit".to_owned());
    }
    within(bytes, range).map(ByteCount)
}

/// A number with its unit: s, m, h or d.
fn time(value: &Value, range: RangeInclusive<u64>) -> Parsed<Duration> {
    match trigger::seconds(text(value)?)? {
        found if range.contains(&found) => Ok(Duration::from_secs(found)),
        _ => Err("this is too short or too long".to_owned()),
    }
}

fn template(value: &Value) -> Parsed<LabelTemplate> {
    text(value)?.parse().map_err(|_| "this is no template of labels".to_owned())
}

fn triggers_of(value: &Value) -> Parsed<Vec<Trigger>> {
    match value {
        Value::Array(values) if values.is_empty() => Ok(Vec::new()),
        value => {
            let all = list(value, |one| text(one)?.parse())?;
            trigger::not_twice(&all)?;
            Ok(all)
        }
    }
}

/// None, one, or a list of them; 0 is no failure.
fn exit_codes(value: &Value) -> Parsed<Vec<u8>> {
    let code =
        |value: &Value| within(integer(value)?, &(1..=255)).map(|code| u8::try_from(code).unwrap_or(u8::MAX));
    match value {
        Value::Array(values) if values.is_empty() => Ok(Vec::new()),
        value => list(value, code),
    }
}

/// The name of something that an operator has defined.
fn name(value: &Value) -> Parsed<String> {
    match text(value)? {
        "" => Err("this is no name".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// One name, or several in a list or with commas between them; as text with commas.
fn key_names(value: &Value) -> Parsed<String> {
    let names = list(value, name)?.join(",");
    let parts: Vec<&str> = names.split(',').map(str::trim).collect();
    match (parts.len() <= MAX_RECIPIENTS, parts.iter().any(|part| part.is_empty())) {
        (false, _) => Err(format!("these are {} names", parts.len())),
        (true, true) => Err("one of the names is empty".to_owned()),
        (true, false) => Ok(parts.join(",")),
    }
}

/// A rate, or rates by time of day in the order of their times.
fn rates(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    let rate = |text: &str| text == "off" || text.parse::<ByteCount>().is_ok_and(|rate| rate.0 > 0);
    let minute = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    };
    let rule =
        |rule: &str| rule.split_once(',').filter(|(_, text)| rate(text)).and_then(|(time, _)| minute(time));
    let times: Option<Vec<u16>> = text.split_whitespace().map(rule).collect();
    let rising = times.is_some_and(|times| !times.is_empty() && times.is_sorted_by(|one, next| one < next));
    if rate(text) || rising { Ok(text.to_owned()) } else { Err("this is no rate".to_owned()) }
}

fn word_or_size(value: &Value, word: &str, range: RangeInclusive<u64>) -> Parsed<Option<ByteCount>> {
    match value.as_str() {
        Some(text) if text == word => Ok(None),
        _ => within(size(value)?, &range).map(|bytes| Some(ByteCount(bytes))),
    }
}

/// What a pool can be made with.
fn chunk_length(value: &Value) -> Parsed<ByteCount> {
    let length = size(value)?;
    let found = [8 * K, 16 * K, 32 * K, 64 * K].into_iter().find(|known| *known == length);
    found.map(ByteCount).ok_or_else(|| "there is no such choice".to_owned())
}

pub(crate) fn word<V: Copy>(value: &Value, words: &[(&str, V)]) -> Parsed<V> {
    let text = text(value)?;
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| "there is no such choice".to_owned())
}

pub(crate) fn absolute_path(value: &Value) -> Parsed<PathBuf> {
    let path = PathBuf::from(text(value)?);
    if path.is_absolute() { Ok(path) } else { Err("this is no absolute path".to_owned()) }
}

/// No folder, one, or a list of them.
fn folder_list(value: &Value) -> Parsed<Vec<PathBuf>> {
    match value {
        Value::Array(values) if values.is_empty() => Ok(Vec::new()),
        value => list(value, absolute_path),
    }
}

fn address(value: &Value) -> Parsed<SocketAddr> {
    text(value)?.parse().map_err(|_| "this is no address and port".to_owned())
}

/// A list, or one value that stands for a list of one.
pub(crate) fn list<V>(value: &Value, one: impl Fn(&Value) -> Parsed<V>) -> Parsed<Vec<V>> {
    let values = match value {
        Value::Array(values) if values.is_empty() => return Err("the list is empty".to_owned()),
        Value::Array(values) => values.as_slice(),
        single => std::slice::from_ref(single),
    };
    values.iter().map(one).collect()
}

fn addresses(value: &Value) -> Parsed<Vec<SocketAddr>> {
    list(value, address)
}

fn digests(value: &Value) -> Parsed<Vec<Digest>> {
    let words = [("CRC32C", Digest::Crc32c), ("None", Digest::None)];
    list(value, |one| word(one, &words))
}

/// Names by which a machine is called, without a port; an empty list is no mistake.
fn host_names(value: &Value) -> Parsed<Vec<String>> {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    let one = |value: &Value| {
        let name = text(value)?.to_ascii_lowercase();
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        match (1..=253).contains(&name.len())
            && name.chars().all(is_usual)
            && (is_address || !name.contains(':'))
        {
            true => Ok(name),
            false => Err("this is no name of a machine".to_owned()),
        }
    };
    match value {
        Value::Array(values) if values.is_empty() => Ok(Vec::new()),
        value => list(value, one),
    }
}

fn plain_text(value: &Value) -> Parsed<String> {
    text(value).map(str::to_owned)
}

fn names(value: &Value) -> Parsed<BTreeSet<IscsiName>> {
    let names = list(value, |one| text(one)?.parse::<IscsiName>().map_err(|e| e.to_string()))?;
    Ok(names.into_iter().collect())
}
