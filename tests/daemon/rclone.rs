//! rclone as the daemon runs it, with a script in its place: what its exit codes make of an export, and what a small staging disk does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::durability::SmallDisk;
use crate::exports::{done, until_ended};
use crate::support::scsi::{CHANGER, DRIVE, ONE_FILEMARK};
use crate::support::{Initiator, Server, eventually, noise};

const BLOCK: usize = 1 << 18;

/// The script as `rclone` in a folder of its own.
struct Stub(tempfile::TempDir);

impl Stub {
    fn new() -> Self {
        let stub = Self(tempfile::tempdir().unwrap());
        fs::create_dir(stub.path("remotes")).unwrap();
        fs::write(stub.path("rclone"), include_str!("rclone.sh")).unwrap();
        fs::set_permissions(stub.path("rclone"), fs::Permissions::from_mode(0o700)).unwrap();
        stub
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn start(&self, arguments: &[&str]) -> Server {
        let all: Vec<&str> = ["--set", "cartridge.size=64m"].iter().chain(arguments).copied().collect();
        Server::start_with_programs(self.0.path(), &all)
    }

    /// A remote whose first objects end with these codes.
    fn remote(&self, server: &Server, name: &str, codes: &[u8]) {
        let lines: String = codes.iter().map(|code| format!("{code}\n")).collect();
        fs::write(self.path(&format!("remotes/{name}.codes")), lines).unwrap();
        let remote = json!({ "name": name, "type": "rclone", "rclone_remote": format!("{name}:") });
        server.api("POST", "/remotes", &remote);
    }

    /// When objects were sent to a remote, in seconds.
    fn tries(&self, name: &str) -> Vec<u64> {
        let text = fs::read_to_string(self.path(&format!("remotes/{name}.tries"))).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

/// Writes so many blocks to the cartridge in a slot, and takes it back there.
fn write(host: &mut Initiator, slot: u16, blocks: u64) {
    host.load(slot, 0);
    for n in 0..blocks {
        host.write(DRIVE, &noise(n, BLOCK)).good();
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage + slot - 1).good();
}

fn export(server: &Server, slot: u16, body: &Value) -> Value {
    server.api("POST", &format!("/cartridges/VTL{slot:03}L8/export"), body)["id"].clone()
}

#[test]
fn an_export_is_tried_again_after_codes_that_ask_for_it_as_often_as_is_set_with_a_pause_and_after_others_not()
{
    let stub = Stub::new();
    let server = stub.start(&[
        "--set",
        "transfer.retry.attempts=3",
        "--set",
        "transfer.retry.pause=1s",
        "--set",
        "transfer.retry.max_pause=1s",
        "--set",
        "jobs.max_running=3",
    ]);
    let mut host = server.session(1);
    let remotes: [(&str, &[u8]); 3] = [("twice", &[5, 5]), ("fatal", &[7]), ("always", &[5; 9])];
    for (slot, (name, codes)) in (1..).zip(remotes) {
        stub.remote(&server, name, codes);
        write(&mut host, slot, 1);
    }
    let [twice, fatal, always] = [(1, "twice"), (2, "fatal"), (3, "always")]
        .map(|(slot, name)| export(&server, slot, &json!({ "remote": name })));

    let job = until_ended(&server, &twice);
    assert_eq!((&job["state"], &job["attempts"]), (&json!("completed"), &json!(3)), "{job}");
    assert_eq!(stub.tries("twice").len(), 4, "an object three times and a manifest");
    let job = until_ended(&server, &fatal);
    assert_eq!((&job["state"], &job["attempts"]), (&json!("failed"), &json!(1)), "{job}");
    assert_eq!(stub.tries("fatal").len(), 1);
    assert!(job["error"].as_str().unwrap().contains("made to end with 7"), "{job}");
    let job = until_ended(&server, &always);
    assert_eq!((&job["state"], &job["attempts"]), (&json!("failed"), &json!(3)), "{job}");
    assert_eq!(stub.tries("always").len(), 3);
    assert!(job["error"].as_str().unwrap().contains("made to end with 5"), "{job}");
    for tries in [&stub.tries("twice")[..3], &stub.tries("always")[..]] {
        assert!(tries.is_sorted_by(|before, after| after - before >= 1), "{tries:?}");
    }
}

#[test]
fn an_export_waits_while_others_fill_a_small_staging_disk_and_fails_at_once_when_an_object_can_never_fit() {
    let Some(disk) = SmallDisk::of_mib(32) else { return };
    let stub = Stub::new();
    let server = stub.start(&["--set", &format!("migrate.staging_dir={}", disk.path().display())]);
    stub.remote(&server, "r", &[]);
    let mut host = server.session(1);
    write(&mut host, 1, 32);
    write(&mut host, 2, 120);
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0xaa; 20 << 20]).unwrap();

    // 8 MiB fit on the disk, though not beside the filler.
    let waits = export(&server, 1, &json!({ "remote": "r" }));
    eventually("it waits for room", || {
        let job = server.get(&format!("/jobs/{waits}"));
        job["events"].to_string().contains("bytes are needed").then_some(())
    });
    // 30 MiB do not, with a quarter of it left to others.
    let never = until_ended(&server, &export(&server, 2, &json!({ "remote": "r" })));
    assert_eq!((&never["state"], &never["attempts"]), (&json!("failed"), &json!(1)), "{never}");
    let told = never["error"].as_str().unwrap();
    assert!(told.contains("too small") && told.contains("holds 33554432"), "{never}");
    assert!(told.contains(&disk.path().display().to_string()), "{never}");
    assert!(never["remedy"].as_str().unwrap().contains("migrate.chunk_size"), "{never}");

    assert_eq!(server.get(&format!("/jobs/{waits}"))["state"], "running");
    fs::remove_file(&filler).unwrap();
    assert_eq!(done(&server, &waits)["objects"], 1);
    let smaller = export(&server, 2, &json!({ "remote": "r", "chunk_size_bytes": 4 << 20 }));
    assert!(done(&server, &smaller)["objects"].as_u64().unwrap() >= 8);
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0, "nothing stays");
}
