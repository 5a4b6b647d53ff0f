//! Keys that `openssl` writes, and what it says of what is wrapped and signed with them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

use std::path::Path;
use std::process::Command;

use vtl_codec::{Key, KeyError, PrivateKey, PublicKey, Randomness, SigningKey, VerifyingKey};

/// Runs in the folder; what came out.
fn openssl(folder: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

fn data_key() -> Key {
    Key::new(std::array::from_fn(|at| at as u8 + 1))
}

const OAEP: [&str; 4] = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"];

/// Both forms of the private key, both of the public one, and the other program's word in both directions.
fn check(folder: &Path, bits: usize) {
    openssl(folder, &["rsa", "-in", "key.pem", "-traditional", "-out", "old.pem"]);
    openssl(folder, &["rsa", "-in", "key.pem", "-pubout", "-out", "pub.pem"]);
    openssl(folder, &["rsa", "-in", "key.pem", "-RSAPublicKey_out", "-out", "oldpub.pem"]);
    assert!(read(folder, "old.pem").starts_with(b"-----BEGIN RSA PRIVATE KEY"));
    assert!(read(folder, "oldpub.pem").starts_with(b"-----BEGIN RSA PUBLIC KEY"));

    let publics = ["pub.pem", "oldpub.pem"].map(|name| PublicKey::from_pem(&read(folder, name)).unwrap());
    let privates = ["key.pem", "old.pem"].map(|name| PrivateKey::from_pem(&read(folder, name)).unwrap());
    for public in &publics {
        assert_eq!(public.bits(), bits);
        assert_eq!(public.to_pem().as_bytes(), read(folder, "pub.pem"), "as openssl writes it");
        let wrapped = public.wrap(&data_key()).unwrap();
        assert_eq!(wrapped.len(), bits / 8);
        for private in &privates {
            assert_eq!(private.public().fingerprint(), public.fingerprint());
            assert_eq!(private.unwrap(&wrapped).unwrap().expose(), data_key().expose());
        }
        std::fs::write(folder.join("wrapped"), &wrapped).unwrap();
        let decrypt = [&["pkeyutl", "-decrypt", "-inkey", "key.pem", "-in", "wrapped"][..], &OAEP].concat();
        assert_eq!(openssl(folder, &decrypt), data_key().expose());
    }
    std::fs::write(folder.join("text"), data_key().expose()).unwrap();
    let encrypt =
        [&["pkeyutl", "-encrypt", "-pubin", "-inkey", "pub.pem", "-in", "text"][..], &OAEP].concat();
    assert_eq!(privates[0].unwrap(&openssl(folder, &encrypt)).unwrap().expose(), data_key().expose());
}

#[test]
fn rsa_keys_of_2048_to_4096_bits_wrap_and_unwrap_as_openssl_does() {
    for bits in [2048, 3072, 4096] {
        let scratch = tempfile::tempdir().unwrap();
        openssl(scratch.path(), &["genrsa", "-out", "key.pem", &bits.to_string()]);
        check(scratch.path(), bits);
    }
}

/// Making one takes minutes, so there is one, made up for this test.
#[test]
fn an_rsa_key_of_8192_bits_wraps_and_unwraps_as_openssl_does() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("key.pem"), include_bytes!("data/made-up-key-8192.pem")).unwrap();
    check(scratch.path(), 8192);
}

#[test]
fn a_key_that_is_too_short_of_another_sort_or_not_the_right_one_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    openssl(folder, &["genrsa", "-out", "short.pem", "1024"]);
    openssl(folder, &["rsa", "-in", "short.pem", "-pubout", "-out", "short.pub"]);
    openssl(folder, &["genpkey", "-algorithm", "ed25519", "-out", "ed.pem"]);
    openssl(folder, &["genrsa", "-out", "one.pem", "2048"]);
    openssl(folder, &["genrsa", "-out", "two.pem", "2048"]);
    openssl(folder, &["pkcs8", "-topk8", "-in", "one.pem", "-passout", "pass:made-up", "-out", "locked.pem"]);
    assert!(PublicKey::from_pem(&read(folder, "short.pub")).is_err());
    for name in ["short.pem", "ed.pem", "short.pub"] {
        assert!(PrivateKey::from_pem(&read(folder, name)).is_err(), "{name}");
    }
    assert_eq!(PrivateKey::from_pem(&read(folder, "locked.pem")).unwrap_err(), KeyError::Encrypted);
    let [one, two] = ["one.pem", "two.pem"].map(|name| PrivateKey::from_pem(&read(folder, name)).unwrap());
    let wrapped = one.public().wrap(&data_key()).unwrap();
    assert!(two.unwrap(&wrapped).is_err());
    assert!(one.unwrap(&wrapped[1..]).is_err());
    assert_eq!(format!("{one:?}"), "***");
}

#[test]
fn signatures_are_those_that_openssl_verifies_and_makes() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    openssl(folder, &["genpkey", "-algorithm", "ed25519", "-out", "sign.pem"]);
    openssl(folder, &["pkey", "-in", "sign.pem", "-pubout", "-out", "sign.pub"]);
    let signing = SigningKey::from_pem(&read(folder, "sign.pem")).unwrap();
    let verifying = VerifyingKey::from_pem(&read(folder, "sign.pub")).unwrap();
    assert_eq!(signing.verifying(), Some(verifying));
    std::fs::write(folder.join("text"), b"filemark").unwrap();
    openssl(
        folder,
        &["pkeyutl", "-sign", "-inkey", "sign.pem", "-rawin", "-in", "text", "-out", "signature"],
    );
    let signature = signing.sign(b"filemark").unwrap();
    assert_eq!(read(folder, "signature"), signature);
    assert!(verifying.verifies(b"filemark", &signature));
    assert!(!verifying.verifies(b"filemarks", &signature));
    assert!(!verifying.verifies(b"filemark", &signature[1..]));
    assert!(SigningKey::from_pem(&read(folder, "sign.pub")).is_err());
    assert!(VerifyingKey::from_pem(&read(folder, "sign.pem")).is_err());
}

#[test]
fn a_key_that_was_made_here_is_one_of_openssl_and_its_public_part_is_told_as_openssl_tells_it() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let pem = SigningKey::new_pem(&Randomness::system()).unwrap();
    std::fs::write(folder.join("sign.pem"), &*pem).unwrap();
    openssl(folder, &["pkey", "-in", "sign.pem", "-out", "again.pem"]);
    assert_eq!(read(folder, "again.pem"), *pem, "as openssl writes it");
    openssl(folder, &["pkey", "-in", "sign.pem", "-pubout", "-out", "sign.pub"]);
    openssl(folder, &["pkey", "-in", "sign.pem", "-pubout", "-outform", "DER", "-out", "sign.der"]);
    let key = SigningKey::from_pem(&pem).unwrap().verifying().unwrap();
    assert_eq!(key.to_pem().as_bytes(), read(folder, "sign.pub"));
    assert_eq!(key.der(), read(folder, "sign.der"));
    let print: String = key.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
    let told = String::from_utf8(openssl(folder, &["dgst", "-sha256", "-r", "sign.der"])).unwrap();
    assert_eq!(told.split(' ').next(), Some(print.as_str()));
    assert_ne!(*SigningKey::new_pem(&Randomness::system()).unwrap(), *pem);
    let broken = Randomness::from_fn(|_| Err(std::io::Error::other("no chance")));
    assert!(SigningKey::new_pem(&broken).is_err());
}
