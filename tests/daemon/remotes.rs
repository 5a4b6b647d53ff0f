//! Remotes as an operator meets them: defined, tried out, kept over a crash, forgotten.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::Server;

fn create(server: &Server, body: &Value) -> (u16, Value) {
    server.ask("POST", "/remotes", body)
}

fn message(answer: &(u16, Value)) -> &str {
    answer.1["message"].as_str().unwrap()
}

#[test]
fn a_folder_remote_is_tried_out_step_by_step_and_is_there_after_a_crash_until_it_is_forgotten() {
    let mut server = Server::start(&[]);
    let place = tempfile::tempdir().unwrap();
    assert_eq!(server.get("/remotes"), json!([]));
    let asked = json!({ "name": "off-site", "type": "folder", "path": place.path() });
    server.api("POST", "/remotes", &asked);
    let (status, told) = create(&server, &asked);
    assert_eq!((status, &told["code"]), (409, &json!("exists")));

    server.kill();
    server.start_again();
    let row = server.get("/remotes")[0].clone();
    assert_eq!(
        (&row["name"], &row["type"], &row["place"]),
        (&json!("off-site"), &json!("folder"), &json!(place.path()))
    );
    let shown = server.get("/remotes/off-site");
    assert_eq!((&shown["settings"], &shown["used_by"]), (&json!({ "path": place.path() }), &json!([])));

    let test = server.api("POST", "/remotes/off-site/test", &json!({}));
    assert_eq!(test["usable"], true, "{test}");
    let steps: Vec<&str> =
        test["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(
        steps,
        ["create", "create again", "size", "read", "read a range", "hash", "list", "replace", "delete"]
    );
    let left = fs::read_dir(place.path()).unwrap().flatten().filter(|entry| entry.path().is_file()).count();
    assert_eq!(left, 0, "the probe's object is gone");

    fs::create_dir_all(place.path().join("a/b")).unwrap();
    for (name, bytes) in [("a/b/one", 3), ("a/two", 5), ("three", 7)] {
        fs::write(place.path().join(name), vec![0; bytes]).unwrap();
    }
    let names = |query: &str| {
        let told = server.get(&format!("/remotes/off-site/objects{query}"));
        let row =
            |one: &Value| (one["name"].as_str().unwrap().to_owned(), one["size_bytes"].as_u64().unwrap());
        told["objects"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let named = |rows: &[(&str, u64)]| {
        rows.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect::<Vec<_>>()
    };
    assert_eq!(names(""), named(&[("a/b/one", 3), ("a/two", 5), ("three", 7)]));
    assert_eq!(names("?folder=a"), named(&[("b/one", 3), ("two", 5)]));
    assert_eq!(names("?after=a%2Ftwo"), named(&[("three", 7)]));
    let (status, told) = server.ask("GET", "/remotes/off-site/objects?folder=..", &Value::Null);
    assert_eq!(status, 400, "{told}");

    server.api("DELETE", "/remotes/off-site", &Value::Null);
    assert_eq!(server.get("/remotes"), json!([]));
    for (method, path) in
        [("GET", "/remotes/off-site"), ("DELETE", "/remotes/off-site"), ("POST", "/remotes/off-site/test")]
    {
        let (status, told) = server.ask(method, path, &json!({}));
        assert_eq!((status, &told["code"]), (404, &json!("not-found")), "{method} {path}: {told}");
    }
}

#[test]
fn a_place_that_cannot_be_or_must_not_be_a_remote_is_refused_by_name() {
    let server = Server::start(&[]);
    let outside = tempfile::tempdir().unwrap();
    let inside = server.state().join("copies");
    fs::create_dir(&inside).unwrap();
    let link = outside.path().join("link");
    std::os::unix::fs::symlink(&inside, &link).unwrap();
    let missing = outside.path().join("not-mounted");
    for (path, why) in [
        (inside.display().to_string(), "lie one in the other"),
        (link.display().to_string(), "lie one in the other"),
        (server.state().parent().unwrap().display().to_string(), "lie one in the other"),
        ("copies".to_owned(), "write an absolute path"),
        (missing.display().to_string(), "not-mounted"),
    ] {
        let told = create(&server, &json!({ "name": "r", "type": "folder", "path": path }));
        assert!(told.0 == 400 && message(&told).contains(why), "{path}: {told:?}");
    }
    assert!(!missing.exists(), "nothing is made");
    for name in ["", "..", "a/b", "-x"] {
        let told = create(&server, &json!({ "name": name, "type": "folder", "path": outside.path() }));
        assert!(told.0 == 400 && message(&told).contains("is no name"), "{name}: {told:?}");
    }
    assert_eq!(server.get("/remotes"), json!([]));
}

#[test]
fn credentials_stay_in_their_files() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let id = file("id", "AKIAEXAMPLE0123\n", 0o600);
    let secret = file("secret", "wJalrXUtnFEMIexample\n", 0o600);
    let loose = file("loose", "wJalrXUtnFEMIexample\n", 0o644);
    let s3 = |secret: &std::path::Path| {
        json!({
            "name": "cloud", "type": "s3", "endpoint": "http://127.0.0.1:1", "bucket": "tapes", "allow_http": true,
            "access_key_file": id, "secret_key_file": secret
        })
    };
    let told = create(&server, &s3(&loose));
    assert!(told.0 == 400 && message(&told).contains("chmod 600"), "{told:?}");
    server.api("POST", "/remotes", &s3(&secret));
    let shown = server.get("/remotes/cloud");
    assert_eq!(shown["settings"]["secret_key_file"], json!(secret));
    let test = server.api("POST", "/remotes/cloud/test", &json!({}));
    assert_eq!((&test["usable"], &test["steps"][0]["finding"]), (&json!(false), &json!("failed")), "{test}");
    for text in [shown.to_string(), test.to_string(), server.log()] {
        assert!(!text.contains("wJalrXUtnFEMI"), "{text}");
    }
    for entry in fs::read_dir(server.state()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = fs::read(entry.path()).unwrap();
        let found = bytes.windows(13).any(|part| part == b"wJalrXUtnFEMI");
        assert!(!found, "{}", entry.path().display());
    }
}
