//! The hook of the vault: checked before it counts, tried out by name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::support::scsi::{CHANGER, DRIVE};
use crate::support::{Server, eventually};
use crate::vault::{ended, exporting, exports_of};

fn script(path: &Path, text: &str, mode: u32) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_hook_that_cannot_be_run_stops_a_start_is_refused_at_a_reload_and_leaves_the_old_one_in_effect() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad, config) =
        (folder.path().join("good"), folder.path().join("bad"), folder.path().join("vtl.toml"));
    script(&good, "echo \"robot for $VTL_LABEL of $VTL_LIBRARY\" >&2", 0o700);
    script(&bad, "", 0o600);
    let name = |path: &Path| fs::write(&config, format!("hooks.post_vault = {path:?}\n")).unwrap();
    let argument = config.display().to_string();

    name(&bad);
    let (code, said) = Server::refused(folder.path(), &["--config", &argument]);
    assert!(code != Some(0) && said.contains("hooks.post_vault") && said.contains("chmod +x"), "{said}");
    name(&good);
    let server = Server::start(&["--config", &argument]);
    assert_eq!(server.get("/hooks")[0]["program"], json!(good));
    let test = server.api("POST", "/hooks/post-vault/test", &json!({}));
    assert_eq!((&test["ok"], &test["said"]), (&json!(true), &json!("robot for TST000L8 of test")), "{test}");

    for (mode, why) in [(0o600, "chmod +x"), (0o722, "chmod go-w")] {
        script(&bad, "", mode);
        name(&bad);
        for path in ["/system/reload", "/config/check"] {
            let (status, told) = server.ask("POST", path, &json!({}));
            let message = told["message"].as_str().unwrap();
            assert!(status == 400 && message.contains("hooks.post_vault"), "{told}");
            assert!(told.to_string().contains(why), "{told}");
        }
        assert_eq!(server.get("/hooks")[0]["program"], json!(good));
    }
    script(&bad, "echo broken >&2; exit 3", 0o755);
    server.api("POST", "/system/reload", &json!({}));
    let test = server.api("POST", "/hooks/post-vault/test", &json!({}));
    assert_eq!((&test["ok"], &test["said"]), (&json!(false), &json!("broken")), "{test}");
    assert!(test["why"].as_str().unwrap().contains("ended with 3"), "{test}");
    let (status, _) = server.ask("POST", "/hooks/pre-vault/test", &json!({}));
    assert_eq!(status, 404);
}

#[test]
fn a_job_ends_with_the_hook_that_it_has_begun_and_the_next_cartridge_meets_the_one_that_a_reload_brought() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (told, config) = (path("told"), path("vtl.toml"));
    let tell = |word: &str| format!("echo \"{word} $VTL_LABEL\" >>{}", told.display());
    let waits = format!("{}\nuntil test -e {}; do sleep 0.02; done", tell("old"), path("go").display());
    script(&path("old"), &waits, 0o700);
    script(&path("new"), &tell("new"), 0o700);
    let name = |hook: &str| fs::write(&config, format!("hooks.post_vault = {:?}\n", path(hook))).unwrap();
    name("old");
    let server = Server::start(&["--config", &config.display().to_string()]);
    let _remote = exporting(&server);
    let mut host = server.session(1);
    host.attentions(CHANGER);
    let elements = host.elements();
    let mut put_out = |slot: u16| {
        host.load(slot, 0);
        host.write(DRIVE, &[7; 4096]).good();
        host.attentions(CHANGER);
        host.move_medium(elements.drive, elements.import_export).good();
        exports_of(&server, slot)[0]["id"].clone()
    };
    let said = || fs::read_to_string(&told).unwrap_or_default();

    let first = put_out(1);
    eventually("the hook runs", || (said() == "old VTL001L8\n").then_some(()));
    name("new");
    server.api("POST", "/system/reload", &json!({}));
    assert_eq!(server.get("/hooks")[0]["program"], json!(path("new")));
    assert_eq!(server.get(&format!("/jobs/{first}"))["state"], "running");
    fs::write(path("go"), "").unwrap();
    assert_eq!(ended(&server, &first)["state"], "completed");
    assert_eq!(said(), "old VTL001L8\n");
    let second = put_out(2);
    assert_eq!(ended(&server, &second)["state"], "completed");
    assert_eq!(said(), "old VTL001L8\nnew VTL002L8\n");
}
