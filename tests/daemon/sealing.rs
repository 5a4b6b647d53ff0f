//! Secrets of the server sealed at rest: what lay open is nowhere in the state folder any more, everything works on, a wrong key changes nothing,
//! and what is damaged or lost is told.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::initiator::LoginError;
use crate::support::{Initiator, LIB0, Login, Server};

const USER: &str = "backup-host";
const CHAP: &str = "made-up-chap-Zq7f";
const MUTUAL: &str = "made-up-mutual-Xk2p";
/// What `checkpoint.key` is, typed.
const CHECKPOINT: &[u8; 32] = b"made-up-checkpoint-key-32-bytes!";

fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn rsa_key(folder: &Path) -> PathBuf {
    let path = folder.join("key.pem");
    let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&path).arg("2048").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A line in the middle of a PEM.
fn line_of(pem: &Path) -> Vec<u8> {
    fs::read_to_string(pem).unwrap().lines().nth(3).unwrap().as_bytes().to_vec()
}

/// The last line but one of the private key in a file with a certificate before it.
fn private_line_of(pem: &Path) -> Vec<u8> {
    let text = fs::read_to_string(pem).unwrap();
    text.lines().rev().nth(1).unwrap().as_bytes().to_vec()
}

/// Files below a folder that have these bytes.
fn holding(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut grep = Command::new("grep");
    grep.args(["-rlaF", "-e"]).arg(OsStr::from_bytes(needle)).arg(folder);
    let found = grep.output().unwrap();
    assert!(matches!(found.status.code(), Some(0 | 1)), "{found:?}");
    String::from_utf8(found.stdout).unwrap().lines().map(PathBuf::from).collect()
}

fn gets_in(server: &Server, secret: &str) -> bool {
    match Initiator::login(server.portal, &Login::to(LIB0).chap(USER, secret)) {
        Ok(_) => true,
        Err(LoginError::Refused(0x02, _)) => false,
        Err(_) => panic!("neither let in nor refused"),
    }
}

fn set_chap(server: &Server, secret: &str) {
    let chap = json!({ "user": USER, "secret": secret, "mutual_user": "vtl", "mutual_secret": MUTUAL });
    server.api("PUT", "/iscsi/targets/lib0/chap", &chap);
}

/// A state with secrets of each kind that lie open, and what they look like on the disk. The server was killed, so that its journal is there.
fn with_open_secrets(folder: &Path) -> Vec<Vec<u8>> {
    let mut made = Server::start_at(folder, &["--set", "api.tls.self_signed=true"]);
    made.stop();
    let state = folder.join("state");
    file(&state, "checkpoint.key", CHECKPOINT);
    let key = rsa_key(folder);
    let mut server = Server::start_at(folder, &[]);
    set_chap(&server, "made-up-chap-of-before");
    set_chap(&server, CHAP);
    server.api("POST", "/keys", &json!({ "name": "off-site", "file": key }));
    let copy = folder.join("copy.db");
    server.api("POST", "/system/backup", &json!({ "file": copy }));
    server.api("POST", "/system/restore", &json!({ "file": copy }));
    server.stop();
    server.start_again();
    set_chap(&server, CHAP);
    server.kill();
    let secrets = vec![
        CHAP.as_bytes().to_vec(),
        MUTUAL.as_bytes().to_vec(),
        b"made-up-chap-of-before".to_vec(),
        CHECKPOINT.to_vec(),
        line_of(&key),
        private_line_of(&state.join("api.pem")),
    ];
    assert!(state.join("inventory.before-restore.db").exists());
    for secret in &secrets[..2] {
        assert!(!holding(&state, secret).is_empty(), "it lies open until it is sealed");
    }
    for secret in &secrets[3..] {
        assert_eq!(holding(&state, secret).len(), 1);
    }
    secrets
}

fn assert_none_open(state: &Path, secrets: &[Vec<u8>]) {
    for secret in secrets {
        assert_eq!(holding(state, secret), [] as [PathBuf; 0], "{}", String::from_utf8_lossy(secret));
    }
}

#[test]
fn sealing_leaves_no_secret_open_in_the_whole_state_folder_and_everything_works_on() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = with_open_secrets(folder.path());
    let state = folder.path().join("state");
    let open_key = fs::read(state.join("keys/off-site.key")).unwrap();
    let key = file(folder.path(), "sealing.key", b"made-up bytes of a key file, 32 or more");
    let set = format!("secrets.key_file={}", key.display());
    let arguments = ["--set", set.as_str()];

    let mut server = Server::start_at(folder.path(), &arguments);
    assert_none_open(&state, &secrets);
    assert!(gets_in(&server, CHAP) && !gets_in(&server, "made-up-chap-wrong"));
    assert_eq!(server.get("/keys")[0]["private"], json!(true));
    // What is new is sealed, too.
    set_chap(&server, "made-up-chap-newer");
    server.api("POST", "/keys/signer", &json!({}));
    let copy = folder.path().join("sealed-copy.db");
    server.api("POST", "/system/backup", &json!({ "file": copy }));
    let told = server.get("/system/diag").to_string() + &server.log() + &server.get("/keys").to_string();
    for secret in ["made-up-chap-newer", CHAP, MUTUAL] {
        assert!(!told.contains(secret));
        let bytes = fs::read(&copy).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "in the copy");
    }
    assert_eq!(holding(&state, b"made-up-chap-newer"), [] as [PathBuf; 0]);
    assert_eq!(holding(&state, b"PRIVATE KEY"), [] as [PathBuf; 0]);
    server.kill();

    // As a crash between two files leaves it: the keyring is made, and one key still lies open.
    file(&state.join("keys"), "off-site.key", &open_key);
    server.start_again();
    assert_none_open(&state, &secrets);
    assert!(gets_in(&server, "made-up-chap-newer") && !gets_in(&server, CHAP));
    let keys = server.get("/keys");
    assert!(keys.as_array().unwrap().iter().all(|key| key["private"] == json!(true)), "{keys}");
    assert_eq!(server.token().len(), 64, "vtl on this machine still reads it");
    drop(server);
    let secure = Server::start_at(folder.path(), &["--set", &set, "--set", "api.tls.self_signed=true"]);
    drop(secure);
    assert_none_open(&state, &secrets);
}

#[test]
fn a_wrong_key_or_none_ends_the_start_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    with_open_secrets(folder.path());
    let state = folder.path().join("state");
    let words = file(folder.path(), "words", b"made-up passphrase");
    let wrong = file(folder.path(), "wrong", b"another made-up passphrase");
    let set = |file: &Path| format!("secrets.passphrase_file={}", file.display());
    let mut server = Server::start_at(folder.path(), &["--set", &set(&words)]);
    // A restore that waits for the next start waits on.
    let copy = folder.path().join("sealed-copy.db");
    server.api("POST", "/system/backup", &json!({ "file": copy }));
    server.api("POST", "/system/restore", &json!({ "file": copy }));
    server.stop();
    drop(server);
    let sealed = || {
        let files = [
            "keys/off-site.key",
            "checkpoint.key",
            "api.pem",
            "secrets/keyring",
            "secrets/keyring.copy",
            "inventory.db",
            "inventory.restore",
        ];
        files.map(|name| fs::read(state.join(name)).unwrap())
    };
    let before = sealed();
    let (code, said) = Server::refused(folder.path(), &["--set", &set(&wrong)]);
    assert!(code == Some(1) && said.contains("this passphrase does not open it"), "{said}");
    let (code, said) = Server::refused(folder.path(), &[]);
    assert!(
        code == Some(1) && said.contains("secrets.key_file") && said.contains("--unseal-secrets"),
        "{said}"
    );
    let (code, said) = Server::refused(folder.path(), &["--unseal-secrets", "--set", &set(&wrong)]);
    assert!(code == Some(1) && said.contains("this passphrase does not open it"), "{said}");
    assert!(sealed() == before, "something has changed");
    let server = Server::start_at(folder.path(), &["--set", &set(&words)]);
    assert!(!state.join("inventory.restore").exists());
    assert!(gets_in(&server, CHAP));
}

#[test]
fn a_reload_says_that_another_key_waits_for_the_next_start_and_needs_the_one_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let words = file(folder.path(), "words", b"made-up passphrase");
    let text = format!("secrets.passphrase_file = \"{}\"\n", words.display());
    let config = file(folder.path(), "vtl.toml", b"");
    let server = Server::start_at(folder.path(), &["--config", &config.display().to_string()]);
    fs::write(&config, text).unwrap();
    for _ in 0..2 {
        let told = server.api("POST", "/system/reload", &Value::Null)["message"].clone();
        assert_eq!(told, "configuration read; secrets.passphrase_file changes at the next start");
    }
    assert!(!server.state().join("secrets").exists());
    fs::remove_file(&words).unwrap();
    let (status, told) = server.ask("POST", "/system/reload", &Value::Null);
    assert!(status == 400 && told.to_string().contains("secrets.passphrase_file"), "{told}");
}

#[test]
fn another_user_than_the_owner_of_the_state_folder_opens_no_secrets_and_leaves_nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    let is_root = std::os::unix::fs::chown(&state, Some(65534), None).is_ok();
    if !is_root {
        fs::remove_dir(&state).unwrap();
        std::os::unix::fs::symlink("/usr", &state).unwrap();
    }
    let (code, said) = Server::refused(folder.path(), &["--unseal-secrets"]);
    assert!(code == Some(1) && said.contains("runuser -u vtl -- vtld --unseal-secrets"), "{said}");
    assert!(!is_root || fs::read_dir(&state).unwrap().count() == 0);
}

#[test]
fn a_damaged_inventory_of_before_a_restore_stops_no_start_and_is_told_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    with_open_secrets(folder.path());
    let state = folder.path().join("state");
    let key = file(folder.path(), "sealing.key", b"made-up bytes of a key file, 32 or more");
    let set = format!("secrets.key_file={}", key.display());
    // With the journal that is kept beside it the pages would be whole again.
    drop(fs::remove_file(state.join("inventory.before-restore.db-wal")));
    let before = file(&state, "inventory.before-restore.db", &[0xa5; 8192]);
    let mut server = Server::start_at(folder.path(), &["--set", &set]);
    assert!(gets_in(&server, CHAP));
    let told = server.get("/system/status")["problems"].to_string();
    assert!(told.contains("inventory.before-restore.db") && told.contains("move it away"), "{told}");
    server.stop();
    drop(server);
    let unseal = || Server::refused(folder.path(), &["--unseal-secrets", "--set", &set]);
    let (code, said) = unseal();
    assert!(code == Some(1) && said.contains("inventory.before-restore.db: "), "{said}");
    assert!(said.contains("move the file away"), "{said}");
    fs::remove_file(before).unwrap();
    let (code, said) = unseal();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn an_inventory_that_another_keyring_has_sealed_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    with_open_secrets(folder.path());
    let state = folder.path().join("state");
    let key = file(folder.path(), "sealing.key", b"made-up bytes of a key file, 32 or more");
    let set = format!("secrets.key_file={}", key.display());
    let unseal = || Server::refused(folder.path(), &["--unseal-secrets", "--set", &set]);
    let copied = |name: &str| {
        let mut server = Server::start_at(folder.path(), &["--set", &set]);
        let copy = folder.path().join(name);
        server.api("POST", "/system/backup", &json!({ "file": copy }));
        server.stop();
        fs::read(copy).unwrap()
    };
    let put = |name: &str, bytes: &[u8]| {
        for side in ["-wal", "-shm"] {
            drop(fs::remove_file(state.join(format!("{name}{side}"))));
        }
        file(&state, name, bytes);
    };
    let other = copied("other.db");
    let (code, said) = unseal();
    assert_eq!(code, Some(0), "{said}");
    let own = copied("own.db");
    for (name, remedy) in [
        ("inventory.db", "vtl iscsi chap set LIBRARY"),
        ("inventory.before-restore.db", "move the file away"),
    ] {
        put(name, &other);
        let (code, said) = unseal();
        assert!(code == Some(1) && said.contains(&format!("{name}: the CHAP secret of ")), "{said}");
        assert!(said.contains(remedy), "{said}");
        put(name, &own);
    }
    let (code, said) = unseal();
    assert_eq!(code, Some(0), "{said}");
    assert!(gets_in(&Server::start_at(folder.path(), &[]), CHAP));
}

#[test]
fn the_named_step_lets_secrets_lie_open_again_and_needs_no_key_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    with_open_secrets(folder.path());
    let state = folder.path().join("state");
    let key = file(folder.path(), "sealing.key", b"made-up bytes of a key file, 32 or more");
    let set = format!("secrets.key_file={}", key.display());
    Server::start_at(folder.path(), &["--set", &set]).stop();
    let (code, said) = Server::refused(folder.path(), &["--unseal-secrets", "--set", &set]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read(state.join("checkpoint.key")).unwrap(), CHECKPOINT);
    assert_eq!(fs::read_dir(state.join("secrets")).unwrap().count(), 0);
    let (code, said) = Server::refused(folder.path(), &["--unseal-secrets", "--set", &set]);
    assert!(code == Some(1) && said.contains("are not sealed"), "{said}");
    let server = Server::start_at(folder.path(), &[]);
    assert!(gets_in(&server, CHAP));
    assert_eq!(server.get("/keys")[0]["private"], json!(true));
}

#[test]
fn a_damaged_secret_is_told_and_a_lost_keyring_ends_the_start_until_what_it_sealed_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    with_open_secrets(folder.path());
    let state = folder.path().join("state");
    let key = file(folder.path(), "sealing.key", b"made-up bytes of a key file, 32 or more");
    let set = format!("secrets.key_file={}", key.display());
    let mut server = Server::start_at(folder.path(), &["--set", &set]);
    server.stop();
    let kept = state.join("keys/off-site.key");
    let mut torn = fs::read(&kept).unwrap();
    torn.truncate(torn.len() / 2);
    file(&state.join("keys"), "off-site.key", &torn);
    server.start_again();
    assert!(server.get("/keys")[0]["problem"].as_str().unwrap().contains("damaged"));
    assert!(gets_in(&server, CHAP), "the others are not touched by it");
    server.stop();
    drop(server);

    for name in ["keyring", "keyring.copy"] {
        fs::remove_file(state.join("secrets").join(name)).unwrap();
    }
    let (code, said) = Server::refused(folder.path(), &["--set", &set]);
    assert!(code == Some(1) && said.contains("is lost") && said.contains("secrets/keyring"), "{said}");
    assert_eq!(fs::read_dir(state.join("secrets")).unwrap().count(), 0, "no new one in its place");
    for name in ["keys/off-site.key", "checkpoint.key", "api.pem"] {
        fs::remove_file(state.join(name)).unwrap();
    }
    // CHAP secrets are left, and nothing but them.
    let (code, said) = Server::refused(folder.path(), &["--set", &set]);
    assert!(
        code == Some(1) && said.contains("is lost") && said.contains("inventory.db are sealed"),
        "{said}"
    );
    assert_eq!(fs::read_dir(state.join("secrets")).unwrap().count(), 0, "no new one in its place");
    let mut server = Server::start_at(folder.path(), &[]);
    assert!(!gets_in(&server, CHAP), "an account that cannot be read lets nobody in");
    let open = Initiator::login(server.portal, &Login::to(LIB0));
    assert!(matches!(open, Err(LoginError::Refused(0x02, _))), "nor does it open the door");
    let told: Value = server.get("/system/status");
    assert!(told["problems"].to_string().contains("lib0"), "{told}");
    set_chap(&server, CHAP);
    assert!(gets_in(&server, CHAP));
    server.stop();
    drop(server);
    let server = Server::start_at(folder.path(), &["--set", &set]);
    assert!(gets_in(&server, CHAP));
    assert_eq!(holding(&state, CHAP.as_bytes()), [] as [PathBuf; 0], "sealed with a new keyring");
}
