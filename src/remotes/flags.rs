//! Which flags of rclone a definition may have. rclone runs as our user: a flag that starts a program, reads or writes a file, opens a
//! port, sends the log-in of rclone.conf to another host, or weakens TLS would make whoever defines remotes as good as that user.
//!
//! So only what tunes is allowed, by name; the machine's owner allows more in the configuration (`remotes.rclone_flags`).

use super::RemoteRefused;
use super::definition::refuse;

const KEY: &str = "rclone_flag";
/// Far more than anybody tunes.
const MAX_FLAGS: usize = 64;
const MORE: &str = "put them into rclone.conf, or let who owns the machine allow it: remotes.rclone_flags in the configuration file";

const IN_ONE_WORD: &str = "write --name=value in one word";

/// Switches: alone, or with `=true` or `=false`. Source: `rclone help flags` of 1.60 and rclone.org/flags of 1.72; flags without a type.
#[rustfmt::skip]
const SWITCHES: &[&str] = &[
    "--azureblob-disable-checksum", "--azureblob-no-check-container", "--azureblob-no-head-object", "--b2-disable-checksum",
    "--disable-http-keep-alives", "--disable-http2", "--drive-disable-http2", "--drive-stop-on-download-limit",
    "--drive-stop-on-upload-limit", "--fast-list", "--gcs-no-check-bucket", "--no-gzip-encoding", "--no-traverse", "--s3-disable-checksum",
    "--s3-disable-http2", "--s3-force-path-style", "--s3-leave-parts-on-error", "--s3-no-check-bucket", "--s3-no-head",
    "--s3-no-head-object", "--s3-no-system-metadata", "--s3-requester-pays", "--s3-use-accelerate-endpoint", "--s3-use-dual-stack",
    "--s3-use-presigned-request", "--sftp-disable-concurrent-reads", "--sftp-disable-concurrent-writes", "--sftp-disable-hashcheck",
    "--sftp-set-modtime", "--sftp-use-fstat", "--swift-no-chunk", "--swift-no-large-objects", "--use-cookies", "--use-mmap",
    "--use-server-modtime",
];

/// Flags that need a value: `--name=value`. Same source; numbers, sizes, times, and words that name no host and no file.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "--azureblob-access-tier", "--azureblob-chunk-size", "--azureblob-list-chunk", "--azureblob-upload-concurrency",
    "--azurefiles-chunk-size", "--azurefiles-upload-concurrency", "--b2-chunk-size", "--b2-copy-cutoff", "--b2-lifecycle",
    "--b2-upload-concurrency", "--b2-upload-cutoff", "--box-commit-retries", "--box-list-chunk", "--box-upload-cutoff", "--buffer-size",
    "--bwlimit", "--bwlimit-file", "--checkers", "--contimeout", "--cutoff-mode", "--drive-chunk-size", "--drive-list-chunk",
    "--drive-pacer-burst", "--drive-pacer-min-sleep", "--drive-upload-cutoff", "--dropbox-batch-mode", "--dropbox-batch-size",
    "--dropbox-batch-timeout", "--dropbox-chunk-size", "--dropbox-pacer-min-sleep", "--dscp", "--expect-continue-timeout",
    "--ftp-close-timeout", "--ftp-concurrency", "--ftp-idle-timeout", "--ftp-shut-timeout", "--gcs-storage-class",
    "--hidrive-chunk-size", "--hidrive-upload-concurrency", "--hidrive-upload-cutoff", "--jottacloud-upload-resume-limit",
    "--low-level-retries", "--max-buffer-memory", "--max-connections", "--max-duration", "--max-transfer", "--multi-thread-chunk-size",
    "--multi-thread-cutoff", "--multi-thread-streams", "--multi-thread-write-buffer-size", "--onedrive-chunk-size",
    "--onedrive-list-chunk", "--opendrive-chunk-size", "--pikpak-chunk-size", "--pikpak-upload-concurrency", "--pikpak-upload-cutoff",
    "--qingstor-chunk-size", "--qingstor-connection-retries", "--qingstor-upload-concurrency", "--qingstor-upload-cutoff", "--retries",
    "--retries-sleep", "--s3-chunk-size", "--s3-copy-cutoff", "--s3-list-chunk", "--s3-list-url-encode", "--s3-list-version",
    "--s3-max-upload-parts", "--s3-might-gzip", "--s3-server-side-encryption", "--s3-sign-accept-encoding", "--s3-storage-class",
    "--s3-upload-concurrency", "--s3-upload-cutoff", "--s3-use-accept-encoding-gzip", "--s3-use-already-exists",
    "--s3-use-data-integrity-protections", "--s3-use-multipart-etag", "--s3-use-multipart-uploads", "--s3-use-unsigned-payload",
    "--s3-use-x-id", "--sftp-chunk-size", "--sftp-concurrency", "--sftp-idle-timeout", "--sharefile-chunk-size",
    "--sharefile-upload-cutoff", "--smb-idle-timeout", "--streaming-upload-cutoff", "--swift-chunk-size", "--timeout", "--tpslimit",
    "--tpslimit-burst", "--transfers", "--user-agent",
];

/// Flags of a remote that is to be defined or opened. `also`: names that the configuration allows.
///
/// # Errors
/// The first that is not allowed, by its name: a value may be a secret and is not repeated.
pub(super) fn check(flags: &[String], also: &[String]) -> Result<(), RemoteRefused> {
    if flags.len() > MAX_FLAGS {
        return Err(refuse(KEY, "", "there are more than 64 flags", "put them into rclone.conf"));
    }
    flags.iter().try_for_each(|flag| check_one(flag, also))
}

fn check_one(flag: &str, also: &[String]) -> Result<(), RemoteRefused> {
    let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
    let known = |names: &[&str]| names.contains(&name);
    match value {
        _ if !name.starts_with("--") => {
            // It may be the value of the flag before it, hence a secret.
            Err(refuse(KEY, "", "what does not begin with -- is no flag", IN_ONE_WORD))
        }
        _ if also.iter().any(|other| other == name) => Ok(()),
        Some("true" | "false") | None if known(SWITCHES) => Ok(()),
        _ if known(SWITCHES) => {
            Err(refuse(KEY, name, "it is a switch", "write it alone, or with =true or =false"))
        }
        Some(_) if known(VALUES) => Ok(()),
        None if known(VALUES) => Err(refuse(KEY, name, "it needs a value", IN_ONE_WORD)),
        _ => Err(refuse(KEY, shown(name), "it is not among the flags that only tune rclone", MORE)),
    }
}

/// So much of a name as one can have: what was meant for a value may stand in its place.
fn shown(name: &str) -> &str {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.len() <= 64 && name.chars().all(is_usual) { name } else { "--…" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remotes::definition::told;

    fn flags(all: &[&str]) -> Vec<String> {
        all.iter().map(|flag| (*flag).to_owned()).collect()
    }

    fn why(flag: &str) -> String {
        told(check(&flags(&[flag]), &[]).unwrap_err())
    }

    #[test]
    fn what_only_tunes_is_taken() {
        for flag in [
            "--bwlimit=10M",
            "--timeout=5m",
            "--contimeout=30s",
            "--tpslimit=4",
            "--tpslimit-burst=8",
            "--user-agent=vtl",
            "--transfers=2",
            "--s3-chunk-size=64Mi",
            "--s3-upload-concurrency=4",
            "--s3-storage-class=GLACIER",
            "--drive-chunk-size=64Mi",
            "--b2-chunk-size=96Mi",
            "--fast-list",
            "--s3-no-check-bucket=true",
        ] {
            assert!(check(&flags(&[flag]), &[]).is_ok(), "{flag}");
        }
    }

    /// Of `rclone help flags`, typed: what starts programs, names files, opens ports, shows secrets, weakens TLS, or goes to another host.
    const HARMFUL: [&str; 50] = [
        "--password-command=/tmp/run",
        "--config=/etc/r.conf",
        "--log-file=/tmp/l",
        "--backup-dir=/tmp",
        "--dump=auth",
        "--dump-headers",
        "--dump-bodies",
        "--rc",
        "--rc-addr=:1",
        "--rc-files=/",
        "--rc-no-auth",
        "--metrics-addr=:1",
        "--cache-dir=/tmp",
        "--temp-dir=/tmp",
        "--cache-db-path=/tmp",
        "--cache-chunk-path=/tmp",
        "--sftp-ssh=/tmp/run",
        "--sftp-server-command=/tmp/run",
        "--sftp-md5sum-command=/tmp/run",
        "--sftp-key-file=/k",
        "--sftp-host=elsewhere",
        "--sftp-use-insecure-cipher",
        "--webdav-bearer-token-command=/tmp/run",
        "--webdav-url=http://elsewhere",
        "--metadata-mapper=/tmp/run",
        "--no-check-certificate",
        "--ca-cert=/tmp/ca",
        "--client-key=/k",
        "--http-proxy=http://elsewhere",
        "--http-url=http://elsewhere",
        "--s3-endpoint=http://elsewhere",
        "--s3-region=elsewhere/",
        "--s3-shared-credentials-file=/k",
        "--s3-acl=public-read",
        "--s3-env-auth",
        "--drive-service-account-file=/k",
        "--drive-token-url=http://elsewhere",
        "--gcs-object-acl=publicRead",
        "--azureblob-use-az",
        "--files-from=/etc/passwd",
        "--exclude-from=/etc/passwd",
        "--copy-dest=/etc",
        "--compare-dest=/etc",
        "--memprofile=/tmp/m",
        "--cpuprofile=/tmp/c",
        "--syslog",
        "--copy-links",
        "--header=Authorization: x",
        "--dry-run",
        "-P",
    ];

    #[test]
    fn what_starts_programs_names_files_or_goes_elsewhere_is_refused_by_its_name_with_the_remedy() {
        for flag in HARMFUL {
            let why = why(flag);
            let name = flag.split('=').next().unwrap();
            assert!(name == "-P" || (why.contains(name) && why.contains("remotes.rclone_flags")), "{why}");
            // Neither other letters nor a switch's value open it.
            for other in [flag.to_uppercase(), format!("{name}=true"), name.replace('-', "_")] {
                assert!(check(&[other], &[]).is_err(), "{flag}");
            }
        }
    }

    #[test]
    fn a_flag_takes_no_word_beside_it_for_its_value_and_a_switch_no_other_value() {
        assert!(why("--bwlimit").contains("'--bwlimit': it needs a value"));
        assert!(why("--fast-list=/tmp/x").contains("=true or =false"));
        for word in ["/etc/r.conf", "hunter2", "", "-vv", "config"] {
            let why = why(word);
            assert!(why.contains("is no flag") && !why.contains("hunter2"), "{why}");
        }
        let many = vec!["--fast-list".to_owned(); 65];
        assert!(told(check(&many, &[]).unwrap_err()).contains("more than 64"));
    }

    #[test]
    fn a_secret_among_the_flags_is_refused_and_not_repeated() {
        for flag in
            ["--s3-secret-access-key=hunter2", "--sftp-pass=hunter2", "--drive-token=hunter2", "--hunter2 x"]
        {
            let why = why(flag);
            assert!(why.contains("rclone.conf") && !why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn the_machines_owner_allows_more_by_the_whole_name() {
        let also = flags(&["--config", "--password-command"]);
        let fine = flags(&["--config=/etc/r.conf", "--password-command=pass show x", "--bwlimit=1M"]);
        assert!(check(&fine, &also).is_ok());
        for flag in ["--config-x=/a", "--conf=/a", "--rc"] {
            assert!(check(&flags(&[flag]), &also).is_err(), "{flag}");
        }
    }

    #[test]
    fn names_of_flags_stand_once_in_their_order() {
        for names in [SWITCHES, VALUES] {
            assert!(names.is_sorted_by(|one, next| one < next));
        }
        assert!(!SWITCHES.iter().any(|name| VALUES.contains(name)));
    }
}
