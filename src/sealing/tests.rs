use std::path::Path;

use vtl_durable::SimDisk;
use vtl_types::{ChapAccount, ChapLogin, IscsiName, Secret};

use super::*;

const STATE: &str = "/";

fn key(byte: u8) -> StoreEncryption {
    StoreEncryption::KeyFile(Secret::new(vec![byte; 32]))
}

fn open(disk: &SimDisk, configured: &StoreEncryption) -> Result<Sealing, String> {
    Sealing::open(configured, disk, Path::new(STATE))
}

/// Sealed by another program (Python, `cryptography` 48 and `blake3`), as docs/formats/sealing.md says: data key 80h to 9Fh, nonce A0h to ABh, key
/// `off-site` with the text `made-up`.
#[rustfmt::skip]
const TYPED: [u8; 35] = [
    0x9e, 0xe3, 0x4b, 0x1d, 0x55, 0x8f, 0x7b, 0xaa, 0x40, 0x14, 0xb0, 0x25,
    0x92, 0xa2, 0xa2, 0x66, 0x06, 0xbe, 0x4b, 0xa5, 0x12, 0x7d, 0x55, 0xa0,
    0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab,
];

#[test]
fn sealed_bytes_are_those_that_another_program_made() {
    let random = Randomness::from_fn(|bytes| {
        bytes.iter_mut().zip(0xa0..).for_each(|(byte, value)| *byte = value);
        Ok(())
    });
    let sealing = Sealing::with(&Key::new(std::array::from_fn(|at| 0x80 + at as u8)), random);
    assert_eq!(sealing.seal(What::Key, "off-site", b"made-up").unwrap().unwrap(), TYPED);
    assert_eq!(*sealing.open_bytes(What::Key, "off-site", TYPED.to_vec()).unwrap(), b"made-up");
}

#[test]
fn a_secret_opens_in_its_own_place_only_and_not_when_any_bit_is_turned() {
    let disk = SimDisk::new(1);
    let sealing = open(&disk, &key(1)).unwrap();
    let sealed = sealing.seal(What::Key, "a", b"made-up").unwrap().unwrap();
    assert!(!sealed.windows(7).any(|part| part == b"made-up"));
    for (what, name) in [(What::Key, "b"), (What::Key, "a "), (What::Chap, "a"), (What::Checkpoint, "a")] {
        assert_eq!(sealing.open_bytes(what, name, sealed.clone()), Err(NoSecret::Wrong), "{what:?} {name}");
    }
    for bit in 0..sealed.len() * 8 {
        let mut wrong = sealed.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(sealing.open_bytes(What::Key, "a", wrong), Err(NoSecret::Wrong), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert!(sealing.open_bytes(What::Key, "a", sealed[..len].to_vec()).is_err(), "{len} bytes");
    }
    assert_eq!(Sealing::default().open_bytes(What::Key, "a", sealed), Err(NoSecret::Off));
    assert!(!format!("{sealing:?}").contains("made-up"));
}

#[test]
fn a_wrong_key_another_kind_of_key_and_none_are_refused_and_change_nothing() {
    let disk = SimDisk::new(1);
    open(&disk, &key(1)).unwrap();
    let before = Keyring::FILES.map(|name| disk.contents(&Path::new("/secrets").join(name)).unwrap());
    let why = |configured: &StoreEncryption| open(&disk, configured).map(drop).unwrap_err();
    let wrong = why(&key(2));
    assert!(wrong.contains("the sealed secrets in /: this key file does not open it"), "{wrong}");
    let other = why(&StoreEncryption::Passphrase(Secret::new(b"made-up passphrase".to_vec())));
    assert!(other.contains("it opens with a key file, and a passphrase was given"), "{other}");
    let none = why(&StoreEncryption::None);
    assert!(none.contains("secrets.key_file") && none.contains("--unseal-secrets"), "{none}");
    let after = Keyring::FILES.map(|name| disk.contents(&Path::new("/secrets").join(name)).unwrap());
    assert_eq!(after, before);
    assert!(open(&disk, &key(1)).is_ok());
}

#[test]
fn a_lost_keyring_is_never_replaced_by_a_new_one_while_something_is_sealed() {
    let disk = SimDisk::new(1);
    let sealing = open(&disk, &key(1)).unwrap();
    let sealed = sealing.seal(What::Checkpoint, "checkpoint.key", &[7; 32]).unwrap().unwrap();
    let root = Path::new(STATE);
    vtl_durable::sealed::replace(&disk, root, "checkpoint.key", SEALED, &sealed).unwrap();
    for name in Keyring::FILES {
        disk.unlink(&Path::new("/secrets").join(name)).unwrap();
    }
    for configured in [key(1), key(2), StoreEncryption::None] {
        let why = open(&disk, &configured).map(drop).unwrap_err();
        let told = why.contains("/checkpoint.key is sealed") && why.contains("/secrets/keyring");
        assert!(told || why.contains("no key is configured"), "{why}");
    }
    assert_eq!(disk.list(Path::new("/secrets")).unwrap().len(), 0, "nothing was made");
}

#[test]
fn half_a_file_that_a_crash_has_left_is_nothing_that_a_lost_keyring_had_sealed() {
    let disk = SimDisk::new(1);
    disk.create_folder(Path::new("/keys")).unwrap();
    disk.create_folder(Path::new("/keys/a.key")).unwrap();
    let half = disk.open(Path::new("/keys/b.key.tmp"), vtl_durable::Open::Create).unwrap();
    half.append(&[std::io::IoSlice::new(&SEALED.magic)]).unwrap();
    assert!(open(&disk, &key(1)).is_ok());
}

#[test]
fn a_power_cut_while_sealing_is_switched_on_leaves_a_state_that_the_same_key_opens() {
    let mut cuts = 0;
    for step in 1.. {
        let disk = SimDisk::new(step);
        disk.crash_at(disk.steps() + step);
        let made = open(&disk, &key(1));
        let after = disk.after_crash(step);
        assert!(open(&after, &key(1)).is_ok(), "step {step}");
        if made.is_ok() {
            break;
        }
        cuts += 1;
    }
    assert!(cuts >= 8, "two files, each written, synced, renamed: {cuts}");
}

fn account(secret: &str, mutual: Option<&str>) -> ChapAccount {
    let login =
        |user: &str, secret: &str| ChapLogin::new(user, Secret::new(secret.as_bytes().to_vec())).unwrap();
    ChapAccount::new(login("op", secret), mutual.map(|secret| login("vtl", secret))).unwrap()
}

#[test]
fn chap_secrets_of_every_length_are_sealed_equally_long_for_their_target_and_side() {
    let sealing = open(&SimDisk::new(1), &key(1)).unwrap();
    let iqn: IscsiName = "iqn.2026-11.internal.vtl:lib0".parse().unwrap();
    let other: IscsiName = "iqn.2026-11.internal.vtl:lib1".parse().unwrap();
    for len in [12, 16, 100, 255] {
        let secret = "s".repeat(len);
        let kept = sealing.keep_chap(&iqn, &account(&secret, Some("made-up-mutual"))).unwrap();
        assert_eq!((kept.secret.len(), kept.mutual.as_ref().unwrap().1.len()), (284, 284));
        let opened = sealing.chap(&iqn, kept.clone()).unwrap();
        assert_eq!(opened.login().secret().expose(), secret.as_bytes());
        assert_eq!(opened.mutual().unwrap().secret().expose(), b"made-up-mutual");
        assert!(sealing.chap(&other, kept.clone()).is_err(), "another target's");
        let (user, mutual) = kept.mutual.clone().unwrap();
        let swapped =
            vtl_library::KeptChap { secret: mutual, mutual: Some((user, kept.secret.clone())), ..kept };
        assert!(sealing.chap(&iqn, swapped).is_err(), "the other side's");
    }
    let open = Sealing::default().keep_chap(&iqn, &account("made-up-secret", None)).unwrap();
    assert_eq!(open.secret.expose(), b"made-up-secret", "off: as it is");
    assert!(sealing.chap(&iqn, open).is_ok(), "what lies open is read until it is sealed");
}

#[test]
fn a_lost_keyring_is_never_replaced_while_chap_secrets_of_the_inventory_or_of_a_staged_one_are_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = crate::daemon::tests::open(folder.path(), &[]);
    let state = daemon.state.path().to_owned();
    let iqn: IscsiName = daemon.libraries()[0].target.name.parse().unwrap();
    let why = || {
        let opened = open_real(&state, &key(1));
        assert!(opened.is_ok() || !state.join(FOLDER).exists(), "nothing is made");
        opened.map(drop).unwrap_err()
    };
    let kept = |bytes| vtl_library::KeptChap {
        user: "op".to_owned(),
        secret: Secret::new(vec![7; bytes]),
        mutual: None,
    };
    daemon.meta.change(|tx| vtl_library::set_chap(tx, &iqn, &kept(284))).unwrap();
    let told = why();
    assert!(told.contains("/inventory.db are sealed, and the keyring") && told.contains("is lost"), "{told}");
    assert!(told.contains("/secrets/keyring back"), "{told}");
    let staged = state.join("inventory.restore");
    daemon.meta.with(|meta| meta.copy_to(&staged)).unwrap();
    daemon.meta.change(|tx| vtl_library::set_chap(tx, &iqn, &kept(255))).unwrap();
    let told = why();
    assert!(told.contains("/inventory.restore are sealed"), "{told}");
    // Without a key nothing is made, and secrets can be set anew.
    assert!(!open_real(&state, &StoreEncryption::None).unwrap().is_on());
    std::fs::remove_file(staged).unwrap();
    assert!(open_real(&state, &key(1)).unwrap().is_on());
    daemon.stop();
}

fn open_real(state: &Path, configured: &StoreEncryption) -> Result<Sealing, String> {
    Sealing::open(configured, &vtl_durable::RealDisk::new(), state)
}
