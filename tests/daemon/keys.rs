//! Keys as an operator meets them: imported from openssl's files, listed, given away in public, and gone only on purpose.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::Server;

fn openssl(folder: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_key_of_openssl_is_kept_over_a_crash_told_without_its_secret_and_removed_only_by_its_name_typed_again() {
    let mut server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), &["genrsa", "-out", "key.pem", "2048"]);
    let file = folder.path().join("key.pem");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let import = json!({ "name": "off-site", "file": file });
    let (status, told) = server.ask("POST", "/keys", &import);
    assert!(status == 400 && told["message"].as_str().unwrap().contains("chmod 600"), "{told}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    server.api("POST", "/keys", &import);
    for name in ["../off-site", "a/b"] {
        let (status, told) = server.ask("POST", "/keys", &json!({ "name": name, "file": file }));
        assert_eq!(status, 400, "{told}");
    }

    server.kill();
    server.start_again();
    openssl(folder.path(), &["rsa", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "public"]);
    let digest = String::from_utf8(openssl(folder.path(), &["dgst", "-sha256", "-r", "public"])).unwrap();
    let list = server.get("/keys");
    assert_eq!(
        list,
        json!([{
            "name": "off-site", "bits": 2048, "private": true, "problem": null,
            "fingerprint": digest.split(' ').next().unwrap()
        }])
    );
    let public = openssl(folder.path(), &["rsa", "-in", "key.pem", "-pubout"]);
    let told = server.get("/keys/off-site/public");
    assert_eq!(told["pem"], json!(String::from_utf8(public).unwrap()));

    let secret = fs::read_to_string(&file).unwrap();
    let line = secret.lines().nth(3).unwrap();
    for text in [list.to_string(), told.to_string(), server.get("/system/diag").to_string(), server.log()] {
        assert!(!text.contains(line));
    }
    let (status, told) = server.ask("DELETE", "/keys/off-site", &json!({}));
    assert!(status == 400 && told["remedy"].as_str().unwrap().contains("--confirm off-site"), "{told}");
    server.api("DELETE", "/keys/off-site", &json!({ "confirm": "off-site" }));
    assert_eq!(server.get("/keys"), json!([]));
    let (status, _) = server.ask("GET", "/keys/off-site/public", &Value::Null);
    assert_eq!(status, 404);
}
