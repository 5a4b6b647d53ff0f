use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use vtl_durable::{Fault, SimDisk};

use super::*;

/// Files as `openssl` makes them, mode 0600.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.openssl(&["genrsa", "-out", "key.pem", "2048"]);
        files.openssl(&["rsa", "-in", "key.pem", "-pubout", "-out", "pub.pem"]);
        files
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl").args(args).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        if let Some(at) = args.iter().position(|arg| *arg == "-out") {
            self.mode(args[at + 1], 0o600);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

const STATE: &str = "/";

fn keys(disk: &SimDisk) -> Keys {
    Keys::open(Arc::new(disk.clone()), Path::new(STATE), Sealing::default()).unwrap()
}

/// Names, and whether the private part is there.
fn names(keys: &Keys) -> Vec<(String, bool)> {
    keys.all().unwrap().into_iter().map(|(name, key)| (name.to_string(), key.unwrap().is_private())).collect()
}

fn said<T>(refused: Result<T, KeyRefused>) -> String {
    refused.map(drop).unwrap_err().to_string()
}

#[test]
fn a_key_opens_what_its_public_part_has_wrapped_after_a_power_cut_too() {
    let (files, disk) = (Files::new(), SimDisk::new(1));
    keys(&disk).import(&files.path("key.pem"), "off-site").unwrap();
    let keys = keys(&disk.after_crash(1));
    assert_eq!(names(&keys), [("off-site".to_owned(), true)]);
    let data_key = vtl_codec::Key::new([7; 32]);
    let wrapped = keys.public("off-site").unwrap().wrap(&data_key).unwrap();
    assert_eq!(keys.private("off-site").unwrap().unwrap(&wrapped).unwrap().expose(), &[7; 32]);
    let pem = std::fs::read_to_string(files.path("pub.pem")).unwrap();
    assert_eq!(keys.public("off-site").unwrap().to_pem(), pem);
}

#[test]
fn both_forms_of_private_keys_and_a_public_one_are_taken_and_the_private_part_joins_the_public_one() {
    let (files, disk) = (Files::new(), SimDisk::new(1));
    files.openssl(&["rsa", "-in", "key.pem", "-traditional", "-out", "old.pem"]);
    files.mode("pub.pem", 0o644);
    let keys = keys(&disk);
    keys.import(&files.path("old.pem"), "old").unwrap();
    keys.import(&files.path("pub.pem"), "half").unwrap();
    assert_eq!(names(&keys), [("half".to_owned(), false), ("old".to_owned(), true)]);
    assert!(said(keys.private("half")).contains("only the public part"));
    keys.import(&files.path("key.pem"), "half").unwrap();
    assert!(keys.private("half").is_ok());
    // The other way round the private part would be lost.
    assert!(matches!(keys.import(&files.path("pub.pem"), "half"), Err(KeyRefused::Exists(_))));
    files.openssl(&["genrsa", "-out", "other.pem", "2048"]);
    assert!(matches!(keys.import(&files.path("other.pem"), "half"), Err(KeyRefused::Exists(_))));
}

#[test]
fn a_file_that_others_can_read_or_that_is_no_key_is_refused_with_what_would_be_right() {
    let (files, keys) = (Files::new(), keys(&SimDisk::new(1)));
    let import = |file: &str| said(keys.import(&files.path(file), "k"));
    for mode in [0o640, 0o604, 0o660] {
        files.mode("key.pem", mode);
        assert!(import("key.pem").contains("chmod 600"), "{mode:o}");
    }
    files.mode("key.pem", 0o600);
    files.openssl(&["genrsa", "-out", "short.pem", "1024"]);
    files.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.pem"]);
    files.openssl(&["pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:made-up", "-out", "locked.pem"]);
    std::fs::write(files.path("note"), "no key").unwrap();
    assert!(import("short.pem").contains("2048"));
    assert!(import("ec.pem").contains("RSA"));
    assert!(import("locked.pem").contains("passphrase"));
    assert!(import("note").contains("openssl genrsa"));
    assert!(import("missing").contains("No such file"));
    assert!(import(".").contains("not a file"));
    assert!(said(keys.import(Path::new("key.pem"), "k")).contains("absolute path"));
    for name in ["", "a/b", "../k", ".."] {
        assert!(said(keys.import(&files.path("key.pem"), name)).contains("is no name"), "{name}");
        assert!(said(keys.private(name)).contains("is no name"), "{name}");
    }
    assert_eq!(names(&keys), []);
}

#[test]
fn a_key_that_signs_is_made_or_imported_and_each_sort_is_refused_where_the_other_is_needed() {
    let (files, disk) = (Files::new(), SimDisk::new(1));
    files.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "sign.pem"]);
    files.openssl(&["pkey", "-in", "sign.pem", "-pubout", "-out", "sign.pub"]);
    let first = keys(&disk);
    let made = first.create("made", &Randomness::system()).unwrap();
    assert_eq!((made.sort(), made.is_private(), made.bits()), (Sort::Ed25519, true, 256));
    assert!(matches!(first.create("made", &Randomness::system()), Err(KeyRefused::Exists(_))));
    assert!(matches!(first.import(&files.path("sign.pem"), "made"), Err(KeyRefused::Exists(_))));
    first.import(&files.path("sign.pub"), "theirs").unwrap();
    first.import(&files.path("key.pem"), "rsa").unwrap();
    files.mode("sign.pem", 0o640);
    assert!(said(first.import(&files.path("sign.pem"), "theirs")).contains("chmod 600"));

    let keys = keys(&disk.after_crash(1));
    let known: Vec<String> = keys.signers().unwrap().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(known, ["made", "theirs"]);
    let signature = keys.signing("made").unwrap().sign(b"manifest").unwrap();
    assert!(made.verifying().unwrap().verifies(b"manifest", &signature));
    assert!(said(keys.signing("theirs")).contains("only the public part"));
    assert!(said(keys.signing("rsa")).contains("is an RSA key"));
    for refused in [said(keys.public("made")), said(keys.private("theirs"))] {
        assert!(refused.contains("is an Ed25519 key"), "{refused}");
    }
    let pem = std::fs::read_to_string(files.path("sign.pub")).unwrap();
    assert_eq!(keys.any("theirs").unwrap().public_pem(), pem);
    files.mode("sign.pem", 0o600);
    keys.import(&files.path("sign.pem"), "theirs").unwrap();
    assert!(keys.signing("theirs").is_ok(), "the private part joins the public one");
    assert_eq!(keys.publics("rsa,rsa").unwrap().len(), 2);
    for blank in [" rsa", "rsa ", "rsa, rsa", "rsa,\trsa"] {
        assert!(said(keys.publics(blank).map(drop)).ends_with("' is no name"), "{blank}");
    }
    assert!(said(keys.publics("rsa,nobody").map(drop)).contains("no key 'nobody'"));
}

#[test]
fn a_key_that_cannot_be_made_or_kept_is_not_there_or_whole() {
    let broken = Randomness::from_fn(|_| Err(std::io::Error::other("no chance")));
    assert!(said(keys(&SimDisk::new(1)).create("k", &broken)).contains("no random bytes"));
    for call in 1.. {
        let disk = SimDisk::new(1);
        let keys = keys(&disk);
        disk.fail_call(disk.calls() + call, Fault::Eio);
        let made = keys.create("k", &Randomness::system());
        if !disk.has_failed() {
            assert!(made.is_ok() && call > 3, "write, sync, rename, sync of the folder: {call}");
            break;
        }
        disk.heal();
        assert!(made.is_ok() || matches!(made, Err(KeyRefused::Disk(_))), "{made:?}");
        // After the rename it may be there, and is whole then.
        assert!(names(&keys).len() <= 1, "{call}");
    }
}

#[test]
fn a_disk_that_fails_or_dies_at_any_step_leaves_the_old_key_or_the_new_one() {
    let files = Files::new();
    let base = || {
        let disk = SimDisk::new(1);
        keys(&disk).import(&files.path("pub.pem"), "k").unwrap();
        disk
    };
    let whole = |disk: &SimDisk, about: &str| {
        let found = names(&keys(disk));
        assert!(found.len() == 1 && found[0].0 == "k", "{about}: {found:?}");
    };
    let mut crashes = 0;
    for step in 1.. {
        let disk = base();
        disk.crash_at(disk.steps() + step);
        let _ = Keys::open(Arc::new(disk.clone()), Path::new(STATE), Sealing::default())
            .map(|keys| keys.import(&files.path("key.pem"), "k").map(drop));
        if !disk.has_crashed() {
            break;
        }
        crashes += 1;
        whole(&disk.after_crash(step), &format!("crash at step {step}"));
    }
    assert!(crashes >= 4, "write, sync, rename, sync of the folder: {crashes}");
    for call in 1.. {
        let disk = base();
        let keys = keys(&disk);
        disk.fail_call(disk.calls() + call, Fault::Eio);
        let imported = keys.import(&files.path("key.pem"), "k");
        if !disk.has_failed() {
            assert!(imported.is_ok());
            break;
        }
        disk.heal();
        assert!(imported.is_ok() || matches!(imported, Err(KeyRefused::Disk(_))), "{imported:?}");
        whole(&disk, &format!("failure of call {call}"));
    }
}

#[test]
fn a_removed_key_stays_removed_and_a_damaged_one_is_named_beside_the_others() {
    let (files, disk) = (Files::new(), SimDisk::new(1));
    let first = keys(&disk);
    for name in ["a", "b", "c"] {
        first.import(&files.path("key.pem"), name).unwrap();
    }
    first.remove(&"b".parse().unwrap()).unwrap();
    assert!(matches!(first.remove(&"b".parse().unwrap()), Err(KeyRefused::Unknown(_))));
    disk.flip_bit(Path::new("/keys/c.key"), 100, 3);
    let all = keys(&disk.after_crash(1)).all().unwrap();
    let told = all.iter().map(|(name, key)| (name.as_str(), key.is_ok())).collect::<Vec<_>>();
    assert_eq!(told, [("a", true), ("c", false)]);
    assert!(matches!(&all[1].1, Err(KeyRefused::Damaged { .. })));
    assert!(!format!("{all:?}").contains("PRIVATE"), "nothing secret is printed");
}

#[test]
fn the_files_of_keys_are_for_their_owner_alone() {
    let (files, state) = (Files::new(), tempfile::tempdir().unwrap());
    let keys = Keys::open(Arc::new(vtl_durable::RealDisk::new()), state.path(), Sealing::default()).unwrap();
    keys.import(&files.path("key.pem"), "k").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&state.path().join("keys")), mode(&state.path().join("keys/k.key"))), (0o700, 0o600));
}

/// More than sealing two keys takes.
const MOST_STEPS: u64 = 200;

#[test]
fn a_disk_that_fails_or_dies_at_any_step_of_sealing_or_opening_leaves_every_key_readable() {
    let files = Files(tempfile::tempdir().unwrap());
    files.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]);
    files.openssl(&["pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem"]);
    let sealing = |disk: &SimDisk| {
        let key = vtl_conf::StoreEncryption::KeyFile(vtl_types::Secret::new(vec![1; 32]));
        Sealing::open(&key, disk, Path::new(STATE)).unwrap()
    };
    let keys_of =
        |disk: &SimDisk| Keys::open(Arc::new(disk.clone()), Path::new(STATE), sealing(disk)).unwrap();
    for is_to_be_sealed in [true, false] {
        let base = || {
            let disk = SimDisk::new(1);
            let open = keys(&disk);
            open.import(&files.path("key.pem"), "a").unwrap();
            open.import(&files.path("pub.pem"), "b").unwrap();
            let all = keys_of(&disk);
            if !is_to_be_sealed {
                assert_eq!(all.reseal(&all.sealing).unwrap(), 2);
            }
            disk
        };
        let into = |keys: &Keys| if is_to_be_sealed { keys.sealing.clone() } else { Sealing::default() };
        let expected = [("a".to_owned(), true), ("b".to_owned(), false)];
        let (mut crashes, mut ends) = (0, 0);
        for step in 1..MOST_STEPS {
            let disk = base();
            let all = keys_of(&disk);
            disk.crash_at(disk.steps() + step);
            let done = all.reseal(&into(&all));
            let has_crashed = disk.has_crashed();
            let after = keys_of(&disk.after_crash(step));
            assert_eq!(names(&after), expected, "step {step}");
            if !has_crashed {
                assert_eq!(done.unwrap(), 2);
                assert_eq!(after.reseal(&into(&after)).unwrap(), 0, "nothing is left to do");
                ends += 1;
                break;
            }
            crashes += 1;
        }
        assert!(crashes >= 8, "two files, each written, synced, renamed: {crashes}");
        for call in 1..MOST_STEPS {
            let disk = base();
            let all = keys_of(&disk);
            disk.fail_call(disk.calls() + call, Fault::Eio);
            let done = all.reseal(&into(&all));
            if !disk.has_failed() {
                assert_eq!(done.unwrap(), 2);
                ends += 1;
                break;
            }
            disk.heal();
            assert_eq!(names(&keys_of(&disk)), expected, "call {call}");
        }
        assert_eq!(ends, 2, "there are no more steps than {MOST_STEPS}");
    }
}

#[test]
fn a_sealed_key_shows_nothing_on_the_disk_and_opens_under_its_own_name_only() {
    let (files, disk) = (Files::new(), SimDisk::new(1));
    let key = vtl_conf::StoreEncryption::KeyFile(vtl_types::Secret::new(vec![1; 32]));
    let sealing = Sealing::open(&key, &disk, Path::new(STATE)).unwrap();
    let keys = Keys::open(Arc::new(disk.clone()), Path::new(STATE), sealing).unwrap();
    keys.import(&files.path("key.pem"), "a").unwrap();
    let bytes = disk.contents(Path::new("/keys/a.key")).unwrap();
    assert!(!bytes.windows(11).any(|part| part == b"PRIVATE KEY"));
    let elsewhere = Path::new("/keys/b.key");
    let copy = disk.open(elsewhere, vtl_durable::Open::Create).unwrap();
    copy.append(&[std::io::IoSlice::new(&bytes)]).unwrap();
    assert!(keys.private("a").is_ok());
    assert!(said(keys.private("b")).contains("is damaged: it is not what was sealed here"));
    let without = Keys::open(Arc::new(disk.clone()), Path::new(STATE), Sealing::default()).unwrap();
    assert!(said(without.private("a")).contains("no key for it is configured"));
}
