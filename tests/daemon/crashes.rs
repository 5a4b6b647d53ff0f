//! kill -9 at random points of exports and imports: no cartridge is lost or doubled, no job is stuck, nothing is left in staging, and what lies on the
//! remote is complete or says that it is not.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::exports::{
    LABEL, done, export, import, key, load_from_vault, read, remote, second, staging_is_empty, tape, write,
};
use crate::support::scsi::{DRIVE, REWIND};
use crate::support::{Server, rounds};

/// So many kills meet one job at most; it may go on to its end then.
const MOST_OF_ONE_JOB: u32 = 4;
/// The longest time after a start or a request until a kill; a job takes about as long.
const LONGEST_MS: u64 = 500;
/// The blank cartridges of a first start, [`LABEL`] among them.
const CARTRIDGES: usize = 10;

/// What kills are left, and when they come.
struct Kills {
    left: u32,
    done: u32,
    random: u64,
}

impl Kills {
    /// The seed is printed; `VTL_TEST_SEED` gives it again.
    fn some(left: u32) -> Self {
        let given = std::env::var("VTL_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + u64::from(left));
        println!("VTL_TEST_SEED={seed}: {left} kills");
        Self { left, done: 0, random: seed }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % n
    }

    /// Kills the server while it is at the job, and lets the job come to its end. `each` looks at the server after every start. The job's result.
    fn meet(&mut self, server: &mut Server, id: &Value, each: impl Fn(&Server, &str)) -> Value {
        for _ in 0..MOST_OF_ONE_JOB {
            if self.left == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(self.below(LONGEST_MS)));
            let state = server.get(&format!("/jobs/{id}"))["state"].clone();
            if state != "running" && state != "queued" {
                break;
            }
            server.kill();
            (self.left, self.done) = (self.left - 1, self.done + 1);
            server.start_again();
            each(server, &format!("kill {}, job {id}, which was {state}", self.done));
        }
        done(server, id)
    }
}

/// Labels, each once.
fn labels(server: &Server) -> Vec<String> {
    let all = server.get("/cartridges");
    let mut labels: Vec<String> =
        all.as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect();
    let listed = labels.len();
    labels.dedup();
    assert_eq!(labels.len(), listed, "none twice");
    labels
}

/// Folders on the remote: complete ones, and others.
fn folders(server: &Server, remote: &str) -> (usize, usize) {
    let listed = server.get(&format!("/exports?remote={remote}"));
    let (complete, others): (Vec<_>, Vec<_>) =
        listed.as_array().unwrap().iter().partition(|one| one["complete"] == true);
    (complete.len(), others.len())
}

/// Files that have no end and no object's name, which listings hide.
fn unfinished(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(unfinished(&path));
        } else if path.display().to_string().contains("/.vtl-part-") {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn killed_at_random_points_exports_and_imports_lose_double_and_leave_nothing() {
    killed("r");
}

#[test]
fn killed_at_random_points_they_do_neither_where_objects_are_staged() {
    killed("far");
}

/// `far`: the same folder as `r`, and not taken for one of this machine.
fn killed(to: &str) {
    let (keys, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Server::start(&["--set", "cartridge.size=1g", "--set", "transfer.retry.pause=1s"]);
    let mut other = second();
    for one in [&server, &other] {
        remote(one, place.path());
        key(one, keys.path());
        let far = json!({ "name": "far", "type": "faulty", "over": "r", "faults": ["drop:0%"] });
        one.api("POST", "/remotes", &far);
    }
    server.session(1).load(1, 0);
    // Some objects of some pieces each: a kill falls between two of them and into one.
    let asked = json!({ "remote": to, "key": "k", "chunk_size_bytes": 3 << 20 });
    let mut kills = Kills::some(rounds(6, 100));
    let mut round = 0;
    while kills.left > 0 {
        round += 1;
        let mut host = server.session(1);
        host.attentions(DRIVE);
        host.run(DRIVE, &REWIND, 0, &[]).good();
        write(&mut host, &tape(round, 24));
        drop(host);
        let before = usize::try_from(round).unwrap() - 1;
        let id = export(&server, &asked);
        let result = kills.meet(&mut server, &id, |server, when| {
            assert_eq!(labels(server).len(), CARTRIDGES, "{when}");
            let (complete, others) = folders(server, to);
            // The job's own is complete or not; all before it are.
            assert!((complete, others) == (before, 1) || (before..=before + 1).contains(&complete), "{when}");
            assert!(complete + others <= before + 1, "{when}: {complete} and {others} folders");
        });
        assert_eq!(result["exported"], true, "round {round}: {result}");
        assert_eq!(
            folders(&server, to),
            (before + 1, 0),
            "round {round}: one folder for each export, complete"
        );
        assert!(staging_is_empty(&server), "round {round}");
        assert_eq!(unfinished(place.path()), [] as [&str; 0], "round {round}");
        let folder = json!({ "remote": to, "folder": result["folder"] });
        let verified = server.api("POST", "/exports/verify", &folder);
        assert_eq!(done(&server, &verified["id"])["known"], true, "round {round}");

        let id = import(&other, &folder);
        kills.meet(&mut other, &id, |other, when| assert!(labels(other).len() <= 1, "{when}"));
        assert_eq!(labels(&other), [LABEL], "round {round}");
        assert!(staging_is_empty(&other), "round {round}");
        let mut host = load_from_vault(&other);
        assert!(read(&mut host) == tape(round, 24), "round {round}");
        drop(host);
        assert_eq!(other.api("POST", "/store/check", &Value::Null)["damage"], json!([]), "round {round}");
        other.api("POST", &format!("/cartridges/{LABEL}/move"), &json!({ "to": "vault", "force": true }));
        other.api("DELETE", &format!("/cartridges/{LABEL}"), &json!({ "now": true, "confirm": LABEL }));
        assert_eq!(labels(&other), [] as [&str; 0], "round {round}");
    }
    for one in [&server, &other] {
        let jobs = one.get("/jobs");
        assert!(jobs.as_array().unwrap().iter().all(|job| job["state"] == "completed"), "{jobs}");
    }
    println!("{} kills met {round} exports and their imports", kills.done);
}
