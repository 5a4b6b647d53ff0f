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
            "name": "off-site", "type": "rsa", "bits": 2048, "private": true, "problem": null,
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

#[test]
fn a_key_that_signs_is_made_here_given_away_in_public_and_kept_while_somebody_signs_with_it() {
    let server = Server::start(&[]);
    server.api("POST", "/keys/signer", &json!({}));
    let (status, told) = server.ask("POST", "/keys/signer", &json!({ "type": "ed25519" }));
    assert_eq!(status, 409, "{told}");
    let (status, told) = server.ask("POST", "/keys/k", &json!({ "type": "rsa" }));
    assert!(status == 501 && told["remedy"].as_str().unwrap().contains("openssl genrsa"), "{told}");
    let list = server.get("/keys");
    assert_eq!(
        (&list[0]["type"], &list[0]["private"], &list[0]["bits"]),
        (&json!("ed25519"), &json!(true), &json!(256))
    );
    let folder = tempfile::tempdir().unwrap();
    let pem = server.get("/keys/signer/public")["pem"].as_str().unwrap().to_owned();
    fs::write(folder.path().join("signer.pem"), pem).unwrap();
    let text = openssl(folder.path(), &["pkey", "-pubin", "-in", "signer.pem", "-noout", "-text"]);
    assert!(String::from_utf8(text).unwrap().to_uppercase().contains("ED25519"));

    let set = |value: &str| {
        server.ask("PATCH", "/libraries/lib0", &json!({ "settings": { "migrate.sign_with": value } }))
    };
    assert_eq!(set("signer").0, 200);
    let (status, told) = server.ask("DELETE", "/keys/signer", &json!({ "confirm": "signer" }));
    assert!(status == 409 && told["message"].as_str().unwrap().contains("library lib0"), "{told}");
    let (status, told) =
        server.ask("PATCH", "/libraries/lib0", &json!({ "settings": { "migrate.key": "signer" } }));
    assert!(
        status == 400 && told["message"].as_str().unwrap().contains("it signs, and cannot encrypt"),
        "{told}"
    );
    assert_eq!(set("").0, 200);
    server.api("DELETE", "/keys/signer", &json!({ "confirm": "signer" }));
    assert_eq!(set("signer").0, 404);
}
