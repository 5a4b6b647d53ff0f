//! The program on folders that another program made, and on those that the product makes; beside it the decoder in Python.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use vtl_bundle::{Settings, Sink, Stored, Writer};
use vtl_codec::{Method, PrivateKey, PublicKey, Randomness};

const NAME: &str = "VTL001L8-20261126_031500";
const VECTORS: [&str; 7] =
    ["lz4-plain", "marks-only", "none-plain", "none-sealed", "replaced", "zstd-sealed", "zstd-several"];

/// A copy of a vector, its keys with the right mode.
struct Case {
    scratch: TempDir,
    folder: PathBuf,
}

impl Case {
    fn new(vector: &str) -> Self {
        let home =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/vtl-bundle/tests/vectors").join(vector);
        let scratch = tempfile::tempdir().unwrap();
        copy(&home, scratch.path());
        let folder = scratch.path().join(NAME);
        fs::create_dir(&folder).unwrap();
        copy(&home.join(NAME), &folder);
        Self { scratch, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vtl-decode"))
            .args(args)
            .current_dir(self.scratch.path())
            .output()
            .unwrap()
    }

    fn python(&self, args: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vtl_decode.py");
        let mut command = Command::new(python());
        let output = command.arg(script).args(args).current_dir(self.scratch.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.contains("was not checked"), "{told}");
        output
    }

    /// The arguments that decode it to `out`.
    fn decode<'a>(&self, out: &'a str) -> Vec<&'a str> {
        let mut args = vec!["decode", NAME, "--out", out];
        if self.path("made-up-key-1.pem").exists() {
            args.extend(["--key", "made-up-key-1.pem"]);
        }
        args
    }

    fn image_sha256(&self) -> String {
        let expected: serde_json::Value =
            serde_json::from_slice(&fs::read(self.path("expected.json")).unwrap()).unwrap();
        expected["image_sha256"].as_str().unwrap().to_owned()
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            let to = to.join(entry.file_name());
            fs::copy(entry.path(), &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// Where the Python is that has what the second decoder imports.
fn environment() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(target).join("tools/decode")
}

fn python() -> PathBuf {
    environment().join("bin/python")
}

/// Whether the second decoder can run here. It says why it cannot, and is a failure then where `CI` is set.
fn has_python() -> bool {
    let made = environment().join("installed");
    if !made.exists() {
        let why = format!("{} is missing: cargo xtask servers makes it", made.display());
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        assert!(!is_ci, "{why}");
        eprintln!("skipped: {why}");
    }
    made.exists()
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(output: Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn every_vector_is_verified_and_decoded_to_its_image() {
    for vector in VECTORS {
        let case = Case::new(vector);
        assert!(ok(case.run(&["verify", NAME])).contains("VTL001L8.img.000001"));
        ok(case.run(&case.decode("image")));
        assert_eq!(sha256(&case.path("image")), case.image_sha256(), "{vector}");
        assert!(!case.path("image.part").exists());
    }
}

#[test]
fn the_second_decoder_agrees_on_every_vector() {
    if !has_python() {
        return;
    }
    for vector in VECTORS {
        let case = Case::new(vector);
        ok(case.python(&["verify", NAME]));
        ok(case.python(&case.decode("image")));
        assert_eq!(sha256(&case.path("image")), case.image_sha256(), "{vector}");
    }
}

#[test]
fn one_file_between_filemarks_is_decoded_alone() {
    let case = Case::new("none-plain");
    let decode = |number: &str, out: &str| {
        ok(case.run(&["decode", NAME, "--file", number, "--out", out]));
        fs::read(case.path(out)).unwrap()
    };
    assert_eq!(decode("0", "zero"), "MARKER in clear ".repeat(8).as_bytes());
    assert_eq!(decode("1", "one").len(), 100);
    assert!(decode("3", "three").is_empty());
    let error = refused(case.run(&["decode", NAME, "--file", "4", "--out", "four"]));
    assert!(error.contains("there is no file 4") && !case.path("four").exists(), "{error}");
    if has_python() {
        for (number, wanted) in [("0", "zero"), ("1", "one"), ("2", "three"), ("3", "three")] {
            let out = format!("python-{number}");
            ok(case.python(&["decode", NAME, "--file", number, "--out", &out]));
            assert_eq!(fs::read(case.path(&out)).unwrap(), fs::read(case.path(wanted)).unwrap(), "{number}");
        }
        assert!(
            refused(case.python(&["decode", NAME, "--file", "4", "--out", "four"])).contains("no file 4")
        );
    }
    let standard = case.run(&["decode", NAME, "--file", "0", "--out", "-"]);
    assert_eq!(standard.stdout, "MARKER in clear ".repeat(8).as_bytes());
}

#[test]
fn a_key_that_others_may_read_is_missing_or_is_another_one_is_refused() {
    let case = Case::new("none-sealed");
    for mode in [0o640, 0o604, 0o660, 0o777] {
        fs::set_permissions(case.path("made-up-key-1.pem"), fs::Permissions::from_mode(mode)).unwrap();
        let error = refused(case.run(&case.decode("image")));
        assert!(error.contains(&format!("its mode is {mode:04o}")) && error.contains("chmod 600"), "{error}");
    }
    fs::set_permissions(case.path("made-up-key-1.pem"), fs::Permissions::from_mode(0o400)).unwrap();
    ok(case.run(&case.decode("image")));
    let error = refused(case.run(&["decode", NAME, "--out", "other"]));
    assert!(error.contains("the bundle is encrypted for"), "{error}");
    let other = Case::new("zstd-sealed");
    let error = refused(case.run(&[
        "decode",
        NAME,
        "--out",
        "other",
        "--key",
        other.path("made-up-key-1.pem").to_str().unwrap(),
    ]));
    assert!(error.contains("no data key for this private key"), "{error}");
    assert!(!case.path("other").exists() && !case.path("other.part").exists());
}

#[test]
fn damage_is_named_by_verify_and_decode_and_no_file_is_left() {
    let case = Case::new("zstd-sealed");
    let object = case.folder.join("VTL001L8.img.000002");
    let mut bytes = fs::read(&object).unwrap();
    bytes[120] ^= 1;
    fs::write(&object, bytes).unwrap();
    fs::copy(&object, case.folder.join("VTL001L8.img.000004")).unwrap();
    let output = case.run(&["verify", NAME]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("VTL001L8.img.000002, frame 2: it is damaged"), "{told}");
    assert!(told.contains("VTL001L8.img.000004: the manifest does not know it"), "{told}");
    assert!(refused(output).contains("2 of 4 objects"));
    let error = refused(case.run(&case.decode("image")));
    assert!(error.contains("VTL001L8.img.000002, frame 2"), "{error}");
    assert!(!case.path("image").exists() && !case.path("image.part").exists());
    if has_python() {
        let error = refused(case.python(&["decode", NAME, "--out", "image"]));
        assert!(error.contains("VTL001L8.img.000004"), "{error}");
    }
}

/// Changes a digit of the BLAKE3 in a manifest that has no key, and makes its own hash fit.
const OTHER_BLAKE3: &str = r#"
import base64, hashlib, json, sys
first = open(sys.argv[1], "rb").read().split(b"\n")[0]
text = json.loads(first)["inside"]["text"].encode()
inside = bytearray(base64.b64decode(text))
at = inside.index(b'"blake3":"') + 10
inside[at] = ord("1") if inside[at] == ord("0") else ord("0")
first = first.replace(text, base64.b64encode(inside))
second = json.dumps({"sha256": hashlib.sha256(first).hexdigest()}, separators=(",", ":")).encode()
open(sys.argv[1], "wb").write(first + b"\n" + second + b"\n")
"#;

#[test]
fn content_with_another_blake3_than_the_manifests_is_refused_by_both_decoders() {
    if !has_python() {
        return;
    }
    let case = Case::new("none-plain");
    let manifest = case.folder.join("VTL001L8.manifest");
    ok(Command::new(python()).args(["-c", OTHER_BLAKE3]).arg(manifest).output().unwrap());
    ok(case.run(&["verify", NAME]));
    assert!(refused(case.run(&case.decode("image"))).contains("the content's BLAKE3 is not the one"));
    ok(case.python(&["verify", NAME]));
    assert!(refused(case.python(&case.decode("again"))).contains("the content's BLAKE3 is another one"));
    assert!(!case.path("image").exists() && !case.path("again").exists());
}

#[test]
fn a_folder_without_a_manifest_and_a_signer_who_did_not_sign_are_refused() {
    let case = Case::new("lz4-plain");
    let other = Case::new("none-plain");
    let signer = other.path("signer.pub.pem");
    let error = refused(case.run(&["verify", NAME, "--signer", signer.to_str().unwrap()]));
    assert!(error.contains("is not signed"), "{error}");
    ok(other.run(&["verify", NAME, "--signer", "signer.pub.pem"]));
    fs::remove_file(case.folder.join("VTL001L8.manifest")).unwrap();
    let error = refused(case.run(&["list", NAME]));
    assert!(error.contains("has 0 manifests") && error.contains("cut off"), "{error}");
}

#[test]
fn a_manifest_that_replaces_another_one_counts_when_it_is_whole_and_not_before() {
    let case = Case::new("replaced");
    let (named, new) = (case.folder.join("VTL001L8.manifest"), case.folder.join("VTL001L8.manifest.new"));
    // The new one is for the first key, the old one for the second.
    let decode = |key: &str, out: &str| case.run(&["decode", NAME, "--key", key, "--out", out]);
    let python = |key: &str, out: &str| case.python(&["decode", NAME, "--key", key, "--out", out]);
    assert!(refused(decode("made-up-key-2.pem", "no")).contains("no data key for this private key"));
    let whole = fs::read(&new).unwrap();
    fs::rename(&named, case.path("old")).unwrap();
    ok(decode("made-up-key-1.pem", "alone"));
    if has_python() {
        assert!(refused(python("made-up-key-2.pem", "no")).contains("no data key for this private key"));
        ok(python("made-up-key-1.pem", "python-alone"));
    }
    fs::rename(case.path("old"), &named).unwrap();
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&new, &whole[..cut]).unwrap();
        let out = format!("cut-{cut}");
        ok(decode("made-up-key-2.pem", &out));
        assert_eq!(sha256(&case.path(&out)), case.image_sha256(), "{cut}");
        if has_python() {
            ok(python("made-up-key-2.pem", &format!("python-{out}")));
        }
    }
    fs::remove_file(&named).unwrap();
    assert!(refused(decode("made-up-key-1.pem", "no")).contains("the manifest "), "nothing else is left");
}

#[test]
fn both_decoders_take_only_what_the_signer_signed_who_is_named() {
    let (signed, other, plain) = (Case::new("replaced"), Case::new("none-plain"), Case::new("lz4-plain"));
    let theirs = other.path("signer.pub.pem");
    let theirs = theirs.to_str().unwrap();
    let told = ok(signed.run(&["list", NAME, "--json", "--signer", "signer.pub.pem"]));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    // SHA-256 of the public key as openssl writes it.
    let der = Command::new("openssl")
        .args(["pkey", "-pubin", "-in", "signer.pub.pem", "-outform", "DER", "-out", "signer.der"])
        .current_dir(signed.scratch.path())
        .output()
        .unwrap();
    assert!(der.status.success(), "{der:?}");
    assert_eq!(told["signer"], sha256(&signed.path("signer.der")));
    assert!(refused(signed.run(&["verify", NAME, "--signer", theirs])).contains("signed by another"));
    if has_python() {
        ok(signed.python(&["verify", NAME, "--signer", "signer.pub.pem"]));
        assert!(refused(signed.python(&["verify", NAME, "--signer", theirs])).contains("signed by another"));
        assert!(refused(plain.python(&["verify", NAME, "--signer", theirs])).contains("is not signed"));
    }
}

#[test]
fn a_list_tells_more_with_the_key() {
    let case = Case::new("zstd-sealed");
    let list = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&ok(case.run(&[&["list", NAME, "--json"], args].concat()))).unwrap()
    };
    let without = list(&[]);
    assert_eq!((&without["label"], &without["blocks"]), (&"VTL001L8".into(), &serde_json::Value::Null));
    assert_eq!(without["objects"].as_array().unwrap().len(), 3);
    let with = list(&["--key", "made-up-key-2.pem"]);
    assert_eq!(with["attributes"]["serial"], "VTLTEST001");
    assert_eq!(with["filemarks"], 3);
    assert!(ok(case.run(&["list", NAME])).contains("filemarks: (give a key to see it)"));
}

/// Writes objects into a folder.
struct Folder(PathBuf, Option<fs::File>);

impl Sink for Folder {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.1 = Some(fs::File::create_new(self.0.join(name))?);
        Ok(())
    }

    fn write(&mut self, bytes: &bytes::Bytes) -> io::Result<()> {
        io::Write::write_all(self.1.as_mut().unwrap(), bytes)
    }

    fn end(&mut self, _: &Stored) -> io::Result<()> {
        self.1 = None;
        Ok(())
    }
}

/// The other direction: what the product writes, the decoder in Python reads.
#[test]
fn the_second_decoder_reads_what_the_product_writes() {
    if !has_python() {
        return;
    }
    for codec in [Method::Raw, Method::Zstd, Method::Lz4] {
        for sealed in [false, true] {
            let case = Case::new("none-sealed");
            fs::remove_dir_all(&case.folder).unwrap();
            fs::create_dir(&case.folder).unwrap();
            let key = PrivateKey::from_pem(&fs::read(case.path("made-up-key-1.pem")).unwrap()).unwrap();
            let public = PublicKey::from_der(key.public().der()).unwrap();
            let settings = Settings {
                version: vtl_bundle::Version::default(),
                label: "VTL001L8".parse().unwrap(),
                created: "20261126_031500".parse().unwrap(),
                generation: 1,
                attributes: Default::default(),
                codec,
                level: 1,
                chunk_bytes: 1 << 20,
                recipients: if sealed { vec![public] } else { Vec::new() },
                signing: None,
                random: Randomness::system(),
            };
            let mut writer = Writer::new(settings, Folder(case.folder.clone(), None)).unwrap();
            let mut image = Vec::new();
            for number in 0..600_u32 {
                let block =
                    format!("{number} of a made-up backup, {} ", u64::from(number).pow(5)).repeat(100);
                writer.block(block.as_bytes()).unwrap();
                writer.filemarks(u64::from(number % 7 == 0)).unwrap();
                image.extend_from_slice(block.as_bytes());
            }
            writer.finish().unwrap();
            ok(case.python(&["verify", NAME]));
            ok(case.python(&case.decode("image")));
            assert!(fs::read(case.path("image")).unwrap() == image, "{codec:?} {sealed}");
            ok(case.run(&case.decode("again")));
            assert!(fs::read(case.path("again")).unwrap() == image, "{codec:?} {sealed}");
        }
    }
}
