//! Every key, its default and why: the one table. A default is TOML text and goes through the same checks as a
//! value that an operator wrote.

use CountsFrom::{Reload, Start};

/// How the keys of a target begin.
const TARGET: &str = "iscsi.target.";

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Dotted; `IQN` stands for a target's name.
    pub name: &'static str,
    /// The default as TOML; `None` when it is made from the surroundings or the key is simply not set.
    pub default: Option<&'static str>,
    /// What a right value looks like; ends every error about the key.
    pub expects: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
    /// From when on another value counts.
    pub counts_from: CountsFrom,
}

/// From when on a value that has changed counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountsFrom {
    /// A reload.
    Reload,
    /// The next start: a server that runs keeps the value that it was started with.
    Start,
}

const fn key(
    name: &'static str,
    counts_from: CountsFrom,
    default: &'static str,
    expects: &'static str,
    reason: &'static str,
) -> Key {
    Key { name, default: Some(default), expects, reason, counts_from }
}

const fn unset(
    name: &'static str,
    counts_from: CountsFrom,
    expects: &'static str,
    reason: &'static str,
) -> Key {
    Key { name, default: None, expects, reason, counts_from }
}

/// All keys, in the order in which they are documented and printed.
pub const KEYS: &[Key] = &[
    unset(
        "state",
        Start,
        "write an absolute path, such as \"/var/lib/vtl\"",
        "$XDG_STATE_HOME/vtl, or ~/.local/state/vtl without it; /var/lib/vtl for root: where such data belongs",
    ),
    key(
        "iscsi.listen",
        Start,
        "[\"127.0.0.1:3260\"]",
        "write an address and port such as \"127.0.0.1:3260\" or \"[::1]:3260\", or a list of them",
        "loopback: a first start opens nothing to the network; 3260 is iSCSI's registered port",
    ),
    key(
        "iscsi.allow_any_initiator",
        Reload,
        "false",
        "write true or false",
        "a tape that everybody on the network can read must be somebody's decision",
    ),
    key(
        "iscsi.diagnostic_disk",
        Start,
        "\"off\"",
        "write \"off\" or a size from 1m to 4g, such as \"64m\"",
        "only conformance programs need it; it lives in memory",
    ),
    key(
        "iscsi.max_sessions",
        Reload,
        "64",
        "write a number from 1 to 4096",
        "more hosts than one small server can feed, few enough to bound memory",
    ),
    key(
        "iscsi.max_connections",
        Start,
        "128",
        "write a number from 1 to 8192, not less than iscsi.max_sessions",
        "TCP connections in all, also those that are still logging in: twice the sessions",
    ),
    key(
        "iscsi.login_timeout_s",
        Reload,
        "15",
        "write seconds, from 1 to 300",
        "what open-iscsi gives a login; who is slower only holds a place",
    ),
    key(
        "iscsi.max_bytes_in_flight_session",
        Reload,
        "\"32m\"",
        "write a size from 16m to 4g, not less than iscsi.max_burst_length",
        "four of the largest blocks (8m): one drive keeps streaming while the next block arrives",
    ),
    key(
        "iscsi.max_bytes_in_flight",
        Reload,
        "\"256m\"",
        "write a size from 16m to 64g, not less than iscsi.max_bytes_in_flight_session",
        "eight busy sessions; a machine with 1 GiB stays up",
    ),
    key(
        "iscsi.header_digest",
        Reload,
        "[\"CRC32C\", \"None\"]",
        "write a list of \"CRC32C\" and \"None\"; what is not in it is refused to initiators",
        "the initiator's order decides (RFC 7143, 6.2.1); both are fine with us",
    ),
    key(
        "iscsi.data_digest",
        Reload,
        "[\"CRC32C\", \"None\"]",
        "write a list of \"CRC32C\" and \"None\"; what is not in it is refused to initiators",
        "as for the header; CRC32C runs at memory speed here",
    ),
    key(
        "iscsi.max_recv_data_segment_length",
        Reload,
        "\"256k\"",
        "write a size from 512 to 16777215",
        "one tape block of usual size in one PDU; larger gains nothing and costs memory",
    ),
    key(
        "iscsi.max_burst_length",
        Reload,
        "\"1m\"",
        "write a size from 512 to 16777215, not less than iscsi.first_burst_length",
        "one round trip (R2T) for a 1 MiB block, the largest that Linux st sends by default",
    ),
    key(
        "iscsi.first_burst_length",
        Reload,
        "\"256k\"",
        "write a size from 512 to 16777215, not more than iscsi.max_burst_length",
        "a block of usual size needs no R2T at all",
    ),
    key(
        "iscsi.max_outstanding_r2t",
        Reload,
        "4",
        "write a number from 1 to 64",
        "hides a round trip on large blocks; open-iscsi asks for 1 and gets it",
    ),
    key(
        "iscsi.command_window",
        Reload,
        "128",
        "write a number from 1 to 1024",
        "a tape runs one command at a time, but the next ones are on their way: as many as Linux queues for a session",
    ),
    unset(
        "iscsi.discovery_chap.user",
        Reload,
        "write 1 to 255 characters",
        "discovery shows names only; off",
    ),
    unset(
        "iscsi.discovery_chap.secret_file",
        Reload,
        "name a file of mode 0600 that holds the secret",
        "a secret never stands in the configuration file",
    ),
    unset(
        "iscsi.discovery_chap.secret_env",
        Reload,
        "name an environment variable that holds the secret",
        "for containers, instead of a file",
    ),
    unset(
        "iscsi.discovery_chap.mutual_user",
        Reload,
        "write 1 to 255 characters",
        "one direction is enough for most",
    ),
    unset(
        "iscsi.discovery_chap.mutual_secret_file",
        Reload,
        "name a file of mode 0600 that holds the secret",
        "as secret_file",
    ),
    unset(
        "iscsi.discovery_chap.mutual_secret_env",
        Reload,
        "name an environment variable that holds the secret",
        "as secret_env",
    ),
    unset(
        "iscsi.target.IQN.user",
        Reload,
        "write 1 to 255 characters",
        "what stands here for a target replaces what `vtl iscsi chap set` kept for it",
    ),
    unset(
        "iscsi.target.IQN.secret_file",
        Reload,
        "name a file of mode 0600 that holds the secret",
        "a secret never stands in the configuration file",
    ),
    unset(
        "iscsi.target.IQN.secret_env",
        Reload,
        "name an environment variable that holds the secret",
        "for containers, instead of a file",
    ),
    unset(
        "iscsi.target.IQN.mutual_user",
        Reload,
        "write 1 to 255 characters",
        "one direction is enough for most",
    ),
    unset(
        "iscsi.target.IQN.mutual_secret_file",
        Reload,
        "name a file of mode 0600 that holds the secret",
        "as secret_file",
    ),
    unset(
        "iscsi.target.IQN.mutual_secret_env",
        Reload,
        "name an environment variable that holds the secret",
        "as secret_env",
    ),
    unset(
        "iscsi.target.IQN.initiators",
        Reload,
        "write a list of initiator names, such as [\"iqn.1993-08.org.debian:01:abc\"]",
        "a name alone proves nothing: use it beside CHAP; adds to what `vtl iscsi initiator add` kept",
    ),
    key(
        "api.hosts",
        Reload,
        "[]",
        "write a list of names without ports, such as [\"vtl.example.com\"]",
        "a name that nobody has said is this machine could be any page's on the Internet (DNS rebinding)",
    ),
    unset(
        "api.tls.cert",
        Reload,
        "name a PEM file with the certificate of this machine and its chain",
        "with api.tls.key: the API speaks TLS only",
    ),
    unset(
        "api.tls.key",
        Reload,
        "name a PEM file with the certificate's private key, mode 0600",
        "as api.tls.cert; a reload (SIGHUP) reads both again",
    ),
    key(
        "api.tls.self_signed",
        Reload,
        "false",
        "write true or false",
        "true: a certificate is made and kept in the state folder; clients trust it by its fingerprint",
    ),
    key(
        "api.listen",
        Start,
        "\"127.0.0.1:8460\"",
        "write an address and port, such as \"127.0.0.1:8460\", or with TLS \"0.0.0.0:8460\"",
        "loopback: a first start opens nothing to the network; another address wants api.tls",
    ),
    unset(
        "api.public_url",
        Reload,
        "write the address of the pages as browsers know it, such as \"https://vtl.example.com:8460\"",
        "only log-in by OIDC needs it: the provider sends browsers back there",
    ),
    key(
        "access.two_person",
        Reload,
        "false",
        "write true or false",
        "a site with one operator could delete nothing; true: deletion, key export and retention want a second security officer",
    ),
    unset(
        "access.oidc.issuer",
        Reload,
        "write the issuer's address, such as \"https://id.example.org/realms/vtl\"; http only to this machine",
        "users are the server's own unless somebody says who else vouches for people",
    ),
    unset(
        "access.oidc.name",
        Reload,
        "write what the log-in page calls the provider, such as \"Example Corp\"",
        "the host of the issuer's address",
    ),
    unset(
        "access.oidc.client_id",
        Reload,
        "write the id that the provider has given this server",
        "there is none before somebody registers the server there",
    ),
    unset(
        "access.oidc.client_secret_file",
        Reload,
        "name a file of mode 0600 that holds the client's secret",
        "a public client has none: PKCE guards its log-ins, as it does those of others",
    ),
    unset(
        "access.oidc.ca_file",
        Reload,
        "write the absolute path of a file with certificates, PEM",
        "the system's certificates are trusted; with this file only those in it",
    ),
    key(
        "access.oidc.scopes",
        Reload,
        "[\"openid\", \"profile\"]",
        "write a list of scopes, \"openid\" among them",
        "what brings the name; some providers want one more for groups",
    ),
    key(
        "access.oidc.name_claim",
        Reload,
        "\"preferred_username\"",
        "write the name of a claim of the ID token",
        "what people type there; only shown, since providers let people change it",
    ),
    key(
        "access.oidc.groups_claim",
        Reload,
        "\"groups\"",
        "write the name of a claim of the ID token that is a text or a list of texts",
        "what most providers call it",
    ),
    key(
        "access.oidc.roles.viewer",
        Reload,
        "[]",
        "write a list of groups, such as [\"tape-readers\"]; without any role for any group nobody can log in",
        "who has no role here does not get in, whoever vouches for him",
    ),
    key("access.oidc.roles.operator", Reload, "[]", "write a list of groups", "as for viewer"),
    key("access.oidc.roles.administrator", Reload, "[]", "write a list of groups", "as for viewer"),
    key(
        "access.oidc.roles.security-officer",
        Reload,
        "[]",
        "write a list of groups",
        "as for viewer; whoever governs such a group there governs deletion here",
    ),
    unset(
        "secrets.key_file",
        Start,
        "name a file of mode 0600 with 32 to 4096 random bytes, outside the state folder",
        "who seals the secrets of the server must keep a key, or loses them: that is somebody's decision; all its bytes are the key",
    ),
    unset(
        "secrets.passphrase_file",
        Start,
        "name a file of mode 0600 that holds a passphrase of 12 to 1024 bytes, outside the state folder",
        "a passphrase can be written down and kept apart from the machine",
    ),
    unset(
        "secrets.passphrase_env",
        Start,
        "name an environment variable that holds a passphrase of 12 to 1024 bytes",
        "for containers, instead of a file",
    ),
    key(
        "library.default",
        Start,
        "\"lib0\"",
        "write \"lib0\" or \"none\"",
        "an empty state gets one library with blank cartridges, so that the first login sees a working one",
    ),
    key(
        "cartridge.size",
        Reload,
        "\"native\"",
        "write \"native\" or a size from 1m to 64t, such as \"100g\"",
        "native: what a cartridge of that generation holds, such as 12 TB for LTO-8; space is taken as data comes",
    ),
    key(
        "cartridge.early_warning",
        Start,
        "\"800m\"",
        "write a size from 1m to 64g",
        "room to finish a file and write labels after the warning; never more than an eighth of the cartridge",
    ),
    unset("store.path", Start, "write an absolute path", "`store` in the state folder: one disk, one backup"),
    key(
        "store.size",
        Start,
        "\"unlimited\"",
        "write \"unlimited\" or a size from 64m to 1024t, such as \"2t\"",
        "the most that packs may take: what is stored after deduplication and compression; unlimited: the file system decides, less 128 MiB",
    ),
    key(
        "store.folders",
        Start,
        "[]",
        "write a list of absolute paths of folders, each empty or one of this pool's",
        "none: packs lie in store.path; further folders, on other disks, take packs in the proportion of their free space",
    ),
    key(
        "store.degraded",
        Start,
        "false",
        "write true or false",
        "a folder that is missing stops the start: its disk may only not be mounted; true opens the pool without it, for reading what is left",
    ),
    key(
        "store.direct_io",
        Start,
        "\"auto\"",
        "write \"auto\", \"on\" or \"off\"",
        "past the page cache where the file system can do that: new data pushes nothing else out of memory; auto: through it as long as an eighth of the memory lies idle, so that what was just written is read back from there, but for imports and ingests; off: always through it",
    ),
    key(
        "store.compression_level",
        Start,
        "1",
        "write a zstd level from 1 to 19",
        "level 3 costs half as much time again and stores 2 % less: compression is what limits a drive",
    ),
    key(
        "store.dedupe",
        Start,
        "true",
        "write true or false",
        "what came before is stored once; off only to compare, or for data known to be encrypted or unique",
    ),
    key(
        "store.chunk_size",
        Start,
        "\"16k\"",
        "write \"8k\", \"16k\", \"32k\" or \"64k\"",
        "average length of what is compared: shorter finds more and needs a larger index; taken when a pool is made, later the pool's own counts",
    ),
    key(
        "store.encryption",
        Start,
        "\"none\"",
        "write \"none\" or \"aes-256-gcm\"",
        "who encrypts must keep a key, or loses everything: that is somebody's decision; taken when a pool is made",
    ),
    unset(
        "store.key_file",
        Start,
        "name a file of mode 0600 with 32 to 4096 random bytes",
        "all its bytes are the key, a line end too; opens the pool quicker than a passphrase",
    ),
    unset(
        "store.passphrase_file",
        Start,
        "name a file of mode 0600 that holds a passphrase of 12 to 1024 bytes",
        "a passphrase can be written down and kept apart from the machine",
    ),
    unset(
        "store.passphrase_env",
        Start,
        "name an environment variable that holds a passphrase of 12 to 1024 bytes",
        "for containers, instead of a file",
    ),
    key(
        "store.memory",
        Start,
        "\"512m\"",
        "write a size from 64m to 256g",
        "hard ceiling for index and caches of all pools, not taken at once; with less a drive waits for the disk more often, and loses nothing",
    ),
    key(
        "store.gc",
        Reload,
        "\"auto\"",
        "write \"auto\" or \"manual\"",
        "a removed cartridge's space comes back by itself; manual: only when `vtl store gc` says so",
    ),
    key(
        "store.scrub_days",
        Reload,
        "30",
        "write days, from 1 to 365",
        "damage that is found within a month is found while most backups still have another copy; 100 TB cost 39 MB a second",
    ),
    key(
        "store.scrub_rate",
        Reload,
        "\"50m\"",
        "write a size from 1m to 64g: bytes a second",
        "a tenth of what one disk reads, so that no drive notices; a pool of more than 135 TB wants more",
    ),
    key(
        "jobs.max_running",
        Reload,
        "2",
        "write a number from 1 to 64",
        "one that is slow does not hold up the next, and a small machine still has time for its drives",
    ),
    key(
        "jobs.history_keep",
        Reload,
        "\"90d\"",
        "write a time from 1h to 3650d, such as \"90d\" or \"12h\"",
        "a quarter's reports can still be made; what has ended takes disk only, a few hundred bytes each",
    ),
    key(
        "jobs.max_transfers",
        Reload,
        "4",
        "write a number from 1 to 64",
        "over all jobs: enough to fill a line whose answers take long, few enough that each gets on; a job stages one object more",
    ),
    key(
        "remotes.rclone_flags",
        Reload,
        "[]",
        "write a list of flags of rclone by name, such as [\"--config\"]",
        "who defines remotes chooses among flags that only tune; one that starts a program or names a file is allowed here, by who owns the machine",
    ),
    key(
        "transfer.retry.attempts",
        Reload,
        "5",
        "write a number from 1 to 1000",
        "with pauses that double they last seven to nine minutes: a remote that restarts is back by then; an attempt that got further is not counted",
    ),
    key(
        "transfer.retry.pause",
        Reload,
        "\"30s\"",
        "write a time from 1s to 1d, such as \"30s\"",
        "what passes by itself has often passed by then; it doubles with each attempt",
    ),
    key(
        "transfer.retry.max_pause",
        Reload,
        "\"30m\"",
        "write a time from 1s to 7d, not less than transfer.retry.pause",
        "longer nobody wants to wait for a remote that is back",
    ),
    key(
        "transfer.retry.on_exit_codes",
        Reload,
        "[2, 5]",
        "write a list of exit codes from 1 to 255, such as [2, 5]",
        "what rclone says of trouble that may pass; hooks ask for another attempt with the same codes",
    ),
    key(
        "transfer.bandwidth",
        Reload,
        "\"off\"",
        "write \"off\", a rate such as \"10m\", or rates by time of day such as \"08:00,512k 19:00,off\"",
        "bytes a second for all transfers together; who shares a line knows what it bears",
    ),
    unset(
        "migrate.remote",
        Reload,
        "write the name of a remote",
        "where an export goes that does not say it: somebody's decision",
    ),
    unset(
        "migrate.key",
        Reload,
        "write the name of a key, or up to 16 names as a list or with commas between them",
        "for whom an export is encrypted that does not say it; without one it is not encrypted",
    ),
    unset(
        "migrate.sign_with",
        Reload,
        "write the name of an Ed25519 key whose private part is here",
        "an export says who made it when somebody has made a key for that: vtl key create NAME",
    ),
    key(
        "migrate.foreign_bundles",
        Reload,
        "\"accept\"",
        "write \"accept\", \"quarantine\" or \"refuse\"",
        "an import names its folder, and on the day of a disaster it has to work on a server that knows nobody yet; quarantine or refuse where others can write to the remote",
    ),
    key(
        "migrate.chunk_size",
        Reload,
        "\"10240m\"",
        "write a size with its unit from 1m to 1t, such as \"10240m\"",
        "few objects for a full tape, and one that failed is not sent for days; each job stages as many as jobs.max_transfers, and one more",
    ),
    key(
        "migrate.compress",
        Reload,
        "\"zstd\"",
        "write \"zstd\", \"lz4\" or \"none\"",
        "bytes that are not sent cost neither time nor rent; what does not compress is found out and left as it is",
    ),
    key(
        "migrate.verify",
        Reload,
        "\"remote-hash\"",
        "write \"remote-hash\", \"readback\" or \"none\"",
        "the remote's own hash costs nothing; readback trusts nobody and fetches all again",
    ),
    key(
        "migrate.delete_after_export",
        Reload,
        "false",
        "write true or false",
        "a copy elsewhere is no reason to give up the one here, unless somebody says so",
    ),
    key(
        "migrate.delete_clean_import",
        Reload,
        "false",
        "write true or false",
        "what is not changed since its import stays until somebody removes it; true: it goes when it is put out and its copy is proved",
    ),
    key(
        "migrate.create_spare",
        Reload,
        "false",
        "write true or false",
        "how many blank cartridges a library has is somebody's decision; true: each cartridge that is exported is followed by a new one",
    ),
    key(
        "migrate.spare_label",
        Reload,
        "\"series\"",
        "write \"series\", or six characters of A-Z, 0-9 and #, such as \"SPR###\"",
        "the digits of the exported cartridge's label count on; each # is a digit of a number",
    ),
    key(
        "migrate.triggers",
        Reload,
        "[\"mailslot\"]",
        "write a list of \"mailslot\", \"full\", \"idle:TIME\" such as \"idle:7d\", and \"schedule:[TZ=ZONE ]CRON\" such as \"schedule:0 3 * * *\"; or []",
        "who puts a tape into a mailslot wants it elsewhere; nothing happens without migrate.remote",
    ),
    unset(
        "migrate.staging_dir",
        Reload,
        "write an absolute path",
        "`staging` in the state folder: objects stay there until they are sent",
    ),
    key(
        "migrate.read_wait",
        Reload,
        "\"30s\"",
        "write a time from 1s to 10m, such as \"30s\"",
        "a read of a block that is not here waits so long for its remote, and less than hosts wait for a drive (sg: 60 s)",
    ),
    unset(
        "hooks.post_vault",
        Reload,
        "write the absolute path of an executable file that only root or the server's user can change",
        "nothing of the site's own runs unless somebody says what",
    ),
    key(
        "hooks.time_limit",
        Reload,
        "\"10m\"",
        "write a time from 1s to 7d, such as \"10m\"",
        "a hook that hangs holds one of few places for jobs; what takes longer belongs into a queue of the site's own",
    ),
    key(
        "retention.max_clock_step_s",
        Start,
        "86400",
        "write seconds, from 0 to 604800",
        "a machine that was off for a day need not keep retained cartridges longer; a clock set forward over a restart frees nothing that has more than this to go",
    ),
    key(
        "log.level",
        Start,
        "\"info\"",
        "write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        "what an operator acts on, not every command",
    ),
    key(
        "log.format",
        Start,
        "\"text\"",
        "write \"text\" or \"json\"",
        "text is for people and for journalctl; json is one object a line, for programs that collect logs",
    ),
    key(
        "metrics.open",
        Reload,
        "false",
        "write true or false",
        "who can read the metrics knows how much is written and when; true: from this machine no token is asked for",
    ),
    unset(
        "metrics.token_file",
        Reload,
        "name a file of mode 0600 that holds a token for /metrics",
        "a program that collects metrics should not have the token that removes tapes",
    ),
    key(
        "alerts.space_percent",
        Reload,
        "90",
        "write percent, from 50 to 99",
        "a tenth of a pool is days of backups in most places; over when five percent less are used",
    ),
    key(
        "alerts.certificate_days",
        Reload,
        "21",
        "write days, from 1 to 365",
        "three weeks are enough to get a new one, holidays included",
    ),
    key(
        "alerts.export_days",
        Reload,
        "\"off\"",
        "write \"off\" or days, from 1 to 3650",
        "not every site exports; a number: cartridges with data whose last export is older, or that have none, are told of",
    ),
    unset(
        "alerts.email.server",
        Reload,
        "write HOST:PORT, such as \"mail.example.org:587\"",
        "nobody is told by mail before somebody says where mail goes",
    ),
    key(
        "alerts.email.tls",
        Reload,
        "\"starttls\"",
        "write \"starttls\", \"tls\" or \"none\"",
        "what port 587 speaks; a server that does not offer it gets no mail",
    ),
    unset(
        "alerts.email.ca_file",
        Reload,
        "write the absolute path of a file with certificates, PEM",
        "the system's certificates are trusted; a site's own authority is named here",
    ),
    unset("alerts.email.user", Reload, "write a user's name", "servers of a site often ask for none"),
    unset(
        "alerts.email.password_file",
        Reload,
        "name a file of mode 0600 that holds the password",
        "a secret never stands in the configuration file",
    ),
    unset(
        "alerts.email.from",
        Reload,
        "write a mail address, such as \"vtl@example.org\"",
        "servers refuse mail without one",
    ),
    unset(
        "alerts.email.to",
        Reload,
        "write a mail address or a list of them, such as [\"backup@example.org\"]",
        "who acts on alerts is the site's to say",
    ),
    unset(
        "alerts.webhook.url",
        Reload,
        "write an address such as \"https://alerts.example.org/vtl\"",
        "nothing is posted anywhere before somebody says where",
    ),
    unset(
        "alerts.webhook.secret_file",
        Reload,
        "name a file of mode 0600 that holds the secret",
        "with it each post is signed (HMAC-SHA-256), so that the receiver knows who sent it",
    ),
    unset(
        "alerts.webhook.ca_file",
        Reload,
        "write the absolute path of a file with certificates, PEM",
        "the system's certificates are trusted; with this file only those in it",
    ),
    unset(
        "alerts.syslog.to",
        Reload,
        "write \"unix:/dev/log\", \"udp:HOST[:PORT]\" or \"tcp:HOST[:PORT]\"",
        "the journal has the log already; another place is somebody's decision",
    ),
];

/// The row of a key; `IQN` has been put in for a target's name.
pub(crate) fn row(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Where a key that is in effect stands in the table; those of targets stand together.
pub(crate) fn place(key: &str) -> Option<usize> {
    let is_of = |row: &Key| row.name == key || (row.name.starts_with(TARGET) && key.starts_with(TARGET));
    KEYS.iter().position(is_of)
}
