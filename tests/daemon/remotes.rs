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

fn remedy(answer: &(u16, Value)) -> &str {
    answer.1["remedy"].as_str().unwrap()
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
        ("copies".to_owned(), "no absolute path"),
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
    let told = create(&server, &s3(&server.state().join("api.token")));
    assert!(told.0 == 400 && remedy(&told).contains("a folder of your own"), "{told:?}");
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

#[test]
fn a_remote_with_faults_is_over_one_that_works_and_keeps_it_from_being_forgotten() {
    let mut server = Server::start(&[]);
    let place = tempfile::tempdir().unwrap();
    let drill = |name: &str, over: &str, faults: &[&str]| json!({ "name": name, "type": "faulty", "over": over, "faults": faults });
    let told = create(&server, &drill("drill", "real", &["drop:100%"]));
    assert!(told.0 == 404 && message(&told).contains("no remote 'real'"), "{told:?}");
    server.api("POST", "/remotes", &json!({ "name": "real", "type": "folder", "path": place.path() }));
    for (faults, why) in [(&[][..], "such as drop:5%"), (&["melt:5%"], "one of drop, drop-answer")] {
        let told = create(&server, &drill("drill", "real", faults));
        assert!(told.0 == 400 && remedy(&told).contains(why), "{told:?}");
    }
    server.api("POST", "/remotes", &drill("drill", "real", &["drop:100%", "slow:1%:2s"]));
    let told = create(&server, &drill("other", "drill", &["drop:1%"]));
    assert!(told.0 == 400 && remedy(&told).contains("name one that works"), "{told:?}");
    server.kill();
    server.start_again();
    let shown = server.get("/remotes/drill");
    assert_eq!(shown["settings"]["fault"], json!(["drop:100%", "slow:1%:2s"]));
    assert_eq!(shown["place"], "real, with faults");
    let test = server.api("POST", "/remotes/drill/test", &json!({}));
    assert_eq!(test["usable"], false, "{test}");
    assert!(test["steps"][0]["why"].as_str().unwrap().contains("by plan"), "{test}");
    let told = server.ask("DELETE", "/remotes/real", &Value::Null);
    assert!(told.0 == 409 && message(&told).contains("remote drill"), "{told:?}");
    server.api("DELETE", "/remotes/drill", &Value::Null);
    server.api("DELETE", "/remotes/real", &Value::Null);
}

#[test]
fn remotes_of_each_cloud_are_defined_with_their_keys_in_files_and_say_where_they_are() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    // `made-up-secret` in base64.
    let key = file("key", "bWFkZS11cC1zZWNyZXQ=");
    let password = file("password", "made-up-secret");
    let account = file(
        "account.json",
        r#"{"client_email": "x@example.com", "private_key": "", "private_key_id": "", "disable_oauth": true}"#,
    );
    let asked = [
        json!({ "name": "a", "type": "azure", "account": "tapes", "container": "exports", "prefix": "p", "secret_key_file": key }),
        json!({ "name": "g", "type": "gcs", "bucket": "tapes", "credentials_file": account }),
        json!({
            "name": "w", "type": "webdav", "endpoint": "http://127.0.0.1:1/dav", "allow_http": true,
            "user": "u", "password_file": password
        }),
    ];
    for body in &asked {
        server.api("POST", "/remotes", body);
    }
    let places: Vec<Value> =
        server.get("/remotes").as_array().unwrap().iter().map(|row| row["place"].clone()).collect();
    assert_eq!(
        places,
        ["https://tapes.blob.core.windows.net/exports/p", "gs://tapes", "http://127.0.0.1:1/dav"]
    );
    let test = server.api("POST", "/remotes/w/test", &json!({}));
    assert_eq!((&test["usable"], &test["steps"][0]["finding"]), (&json!(false), &json!("failed")), "{test}");
    for text in [server.get("/remotes/a").to_string(), server.get("/remotes/w").to_string(), server.log()] {
        assert!(!text.contains("bWFkZS11") && !text.contains("made-up-secret"), "{text}");
    }
    let told =
        create(&server, &json!({ "name": "b", "type": "azure", "account": "tapes", "container": "exports" }));
    assert!(told.0 == 400 && message(&told).contains("secret_key_file"), "{told:?}");
}

fn by_rclone(name: &str, remote: &str, flags: &[&str]) -> Value {
    json!({ "name": name, "type": "rclone", "rclone_remote": remote, "rclone_flags": flags })
}

#[test]
fn no_remote_of_rclone_brings_a_program_a_file_or_options_of_its_own() {
    let server = Server::start(&[]);
    let proof = server.state().join("proof");
    let program = format!("--password-command=/usr/bin/touch {}", proof.display());
    for (flag, name) in [
        (program.as_str(), "--password-command"),
        ("--config=/etc/rclone.conf", "--config"),
        ("--log-file=/tmp/log", "--log-file"),
        ("--metadata-mapper=/bin/true", "--metadata-mapper"),
        ("--no-check-certificate", "--no-check-certificate"),
        ("--rc", "--rc"),
    ] {
        let told = create(&server, &by_rclone("r", "disk:", &["--bwlimit=1M", flag]));
        let why = message(&told);
        assert!(told.0 == 400 && why.contains(&format!("rclone_flag '{name}'")), "{told:?}");
        assert!(remedy(&told).contains("remotes.rclone_flags"), "{told:?}");
    }
    for remote in [
        ":local:/etc",
        ":sftp,ssh='/bin/sh -c x':",
        "disk,config=/etc/x:tapes",
        "disk,password_command=x:",
        "--config=/etc/x:",
        "/etc",
        "disk:../../etc",
    ] {
        let told = create(&server, &by_rclone("r", remote, &[]));
        assert!(told.0 == 400 && message(&told).contains("is no rclone remote"), "{remote}: {told:?}");
    }
    assert_eq!(server.get("/remotes"), json!([]));
    assert!(!proof.exists());
}

#[test]
fn a_flag_that_is_allowed_no_more_closes_the_remote_which_is_listed_and_can_be_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("rclone.conf");
    fs::write(&conf, "[disk]\ntype = local\n").unwrap();
    let flag = format!("--config={}", conf.display());
    let mut server =
        Server::start_at(folder.path(), &["--set", r#"remotes.rclone_flags=["--config", "--dump"]"#]);
    server.api("POST", "/remotes", &by_rclone("tapes", "disk:/srv", &[&flag, "--bwlimit=1M"]));
    let refused = create(&server, &by_rclone("other", "disk:/srv", &["--log-file=/tmp/x"]));
    assert_eq!(refused.0, 400, "{refused:?}");
    server.stop();
    drop(server);

    let server = Server::start_at(folder.path(), &[]);
    assert_eq!(server.get("/remotes")[0]["name"], json!("tapes"));
    assert_eq!(server.get("/remotes/tapes")["settings"]["rclone_flag"], json!([flag, "--bwlimit=1M"]));
    let told = server.ask("POST", "/remotes/tapes/test", &json!({}));
    assert!(told.0 == 400 && message(&told).contains("'--config'"), "{told:?}");
    assert!(remedy(&told).contains("remotes.rclone_flags"), "{told:?}");
    server.api("DELETE", "/remotes/tapes", &json!({}));
    assert_eq!(server.get("/remotes"), json!([]));
}
