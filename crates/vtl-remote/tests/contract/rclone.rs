//! rclone, run for real over a folder, and a script in its place that records how it is called.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use vtl_remote::{
    Class, Content, DEFAULT_RETRY_EXIT_CODES, FileBody, Finding, Limiter, Mode, Put, RcloneConfig,
    RcloneRemote, Receipt, Remote, Schedule, Span, Unwatched, probe, verify,
};

use super::places::{Place, private_file};
use super::suite::{bytes, get, name, put, put_body};

/// A folder that rclone reaches as `box:`, its configuration, and a spool.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for below in ["box", "spool"] {
            std::fs::create_dir(folder.path().join(below)).unwrap();
        }
        let text = format!(
            "[box]\ntype = alias\nremote = {}\n[nohash]\ntype = crypt\nremote = box:\npassword = {}\n",
            folder.path().join("box").display(),
            // A made-up password as rclone hides it.
            "9zQaIqcE_bG8D-Zzvc27wmEofowOiwQ"
        );
        private_file(&folder.path().join("rclone.conf"), &text);
        Self { folder }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn config(&self, remote: &str) -> RcloneConfig {
        RcloneConfig {
            name: "cloud".to_owned(),
            program: PathBuf::from("rclone"),
            remote: remote.to_owned(),
            flags: vec!["--config".to_owned(), self.path("rclone.conf").display().to_string()],
            spool: self.path("spool"),
            retry_exit_codes: DEFAULT_RETRY_EXIT_CODES.to_vec(),
        }
    }

    /// A script in place of rclone: it writes down its arguments, one a line, and does what `then` says. Another program writes it: what a test
    /// starts beside this one would have it open for writing for a moment, and then it cannot be run (ETXTBSY).
    fn stub(&self, then: &str) -> PathBuf {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let path = self.path("stub");
        let log = self.path("argv");
        let text = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" END >>'{}'\n{then}\n", log.display());
        let mut writer = Command::new("sh");
        writer.args(["-c", "cat >\"$0\" && chmod 0700 \"$0\""]).arg(&path).stdin(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        path
    }

    fn calls(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.path("argv")).unwrap_or_default();
        let calls = text.split("END\n").filter(|call| !call.is_empty());
        calls.map(|call| call.lines().map(str::to_owned).collect()).collect()
    }
}

fn must_be_installed() {
    let found = std::process::Command::new("rclone").arg("version").output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "rclone is not installed; `cargo xtask packages` installs it"
    );
}

fn open(config: RcloneConfig) -> Arc<RcloneRemote> {
    Arc::new(RcloneRemote::open(config).unwrap())
}

pub fn place() -> Place {
    must_be_installed();
    let scene = Scene::new();
    let remote = open(scene.config("box:exports"));
    Place { remote, behind: vec![Box::new(scene.folder)] }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn an_object_lies_exactly_where_its_name_says_and_the_spool_is_empty() {
    must_be_installed();
    let scene = Scene::new();
    for (remote, at) in [("box:", "box/e/one"), ("box:b", "box/b/e/one"), ("box:b/c/", "box/b/c/e/one")] {
        let remote = open(scene.config(remote));
        let sent = bytes(2_000, 1);
        put(remote.as_ref(), "e/one", &sent).await.unwrap();
        assert!(std::fs::read(scene.path(at)).unwrap() == sent, "{at}");
        let file = scene.path("file");
        std::fs::write(&file, &sent).unwrap();
        put_body(remote.as_ref(), "e/two", &Content::of(&sent), &FileBody::new(&file)).await.unwrap();
        assert!(file.exists() && std::fs::read(scene.path(at).with_file_name("two")).unwrap() == sent);
    }
    assert_eq!(files(&scene.path("spool")), 0);
}

#[tokio::test]
async fn a_provider_without_hashes_is_unverifiable_by_hash_and_verified_by_reading() {
    must_be_installed();
    let scene = Scene::new();
    let remote = open(scene.config("nohash:"));
    let sent = bytes(2_000, 2);
    let receipt = put(remote.as_ref(), "x", &sent).await.unwrap();
    let content = Content::of(&sent);
    let limiter = Limiter::unlimited();
    let check = async |mode| verify(remote.as_ref(), &name("x"), &content, &receipt, mode, &limiter).await;
    let error = check(Mode::RemoteHash).await.unwrap_err();
    assert_eq!(error.class(), Class::Unverifiable);
    assert!(error.to_string().contains("readback"), "{error}");
    check(Mode::Readback).await.unwrap();
    let report = probe(remote.as_ref()).await;
    assert!(report.is_usable() && matches!(report.step("hash"), Some(Finding::Limited(_))), "{report:?}");
}

#[tokio::test]
async fn what_is_told_of_an_object_that_may_have_gone_in_parts_is_not_taken_for_the_providers_word() {
    let scene = Scene::new();
    let sent = bytes(2_000, 9);
    let content = Content::of(&sent);
    let md5 = vtl_remote::hex(&content.md5);
    for (size, told) in [(4 << 20, 1), ((4 << 20) + 1, 0)] {
        let mut config = scene.config("box:");
        let stat = format!(r#"echo '{{"Path":"x","Name":"x","Size":{size},"IsDir":false}}'"#);
        config.program = scene.stub(&format!("case $1 in lsjson) {stat};; md5sum) echo '{md5}  x';; esac"));
        let remote = open(config);
        assert_eq!(remote.hashes(&name("x")).await.unwrap().len(), told, "{size}");
        let content = Content { size, ..content };
        let (receipt, limiter) = (Receipt::whole(), Limiter::unlimited());
        let by_hash =
            verify(remote.as_ref(), &name("x"), &content, &receipt, Mode::RemoteHash, &limiter).await;
        let class = by_hash.map_err(|error| error.class()).err();
        assert_eq!(class, (told == 0).then_some(Class::Unverifiable), "{size}");
    }
}

#[tokio::test]
async fn an_object_of_the_same_size_and_time_is_sent_again() {
    must_be_installed();
    let scene = Scene::new();
    let remote = open(scene.config("box:"));
    let file = scene.path("file");
    let time = std::time::SystemTime::now();
    for seed in [3, 4] {
        let sent = bytes(500, seed);
        std::fs::write(&file, &sent).unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        put_body(remote.as_ref(), "x", &Content::of(&sent), &FileBody::new(&file)).await.unwrap();
        assert!(get(remote.as_ref(), "x", Span::whole()).await.unwrap() == sent);
    }
}

#[tokio::test]
async fn flags_are_on_every_call_and_no_shell_reads_them() {
    let scene = Scene::new();
    let witness = scene.path("witness");
    let flag = format!("--x=a b; touch {}", witness.display());
    // One object is there, and nothing else.
    let stub = scene.stub(
        r#"case "$1 $*" in
        lsjson*--stat*/there) echo '{"Path":"there","Name":"there","Size":4,"IsDir":false}' ;;
        lsjson*--stat*) echo null ;;
        cat*) printf four ;;
        md5sum*) echo '8cbad96aced40b3838dd9f07f6ef5772  there' ;;
        esac"#,
    );
    let mut config = scene.config("gcloud:vtlremote1/");
    config.program = stub;
    config.flags.push(flag.clone());
    let remote = open(config);
    put(remote.as_ref(), "$(touch x)/a b", &bytes(10, 5)).await.unwrap();
    remote.create(&name("m"), Bytes::from_static(b"m")).await.unwrap();
    remote.delete(&name("m")).await.unwrap();
    let _ = remote.list(&vtl_remote::Folder::all(), None, 10).await.unwrap();
    let _ = get(remote.as_ref(), "m", Span::whole()).await.unwrap_err();
    assert_eq!(&get(remote.as_ref(), "there", Span::whole()).await.unwrap()[..], b"four");
    assert_eq!(remote.hashes(&name("there")).await.unwrap().len(), 1);
    remote.delete(&name("there")).await.unwrap();
    let calls = scene.calls();
    let commands: Vec<&str> = calls.iter().map(|call| call[0].as_str()).collect();
    let of_one_that_is_there = ["lsjson", "cat", "lsjson", "md5sum", "lsjson", "deletefile"];
    let before = ["copyto", "lsjson", "copyto", "lsjson", "lsjson", "lsjson"];
    assert_eq!(commands, [before, of_one_that_is_there].concat());
    for call in &calls {
        assert!(call.contains(&flag) && call.contains(&"--config".to_owned()), "{call:?}");
        assert!(call.contains(&"--retries=1".to_owned()), "{call:?}");
    }
    assert_eq!(calls[0].last().unwrap(), "gcloud:vtlremote1/$(touch x)/a b");
    assert!(!witness.exists() && !Path::new("x").exists());
}

#[tokio::test]
async fn exit_codes_say_whether_a_put_is_tried_again() {
    for (code, class, again) in [
        (1, Class::Misconfigured, false),
        (2, Class::Unavailable, true),
        (3, Class::Misconfigured, false),
        (4, Class::Misconfigured, false),
        (5, Class::Unavailable, true),
        (6, Class::Refused, false),
        (7, Class::Refused, false),
        (8, Class::Refused, false),
        (9, Class::Refused, false),
        (10, Class::Refused, false),
    ] {
        let scene = Scene::new();
        let mut config = scene.config("box:");
        config.program = scene.stub(&format!("echo 'what went wrong' >&2; exit {code}"));
        let error = put(open(config).as_ref(), "x", &bytes(10, 6)).await.unwrap_err();
        assert_eq!((error.class(), error.is_retryable()), (class, again), "exit code {code}");
        assert_eq!(error.exit_code(), Some(code));
        assert!(error.detail().contains("what went wrong"), "{error}");
        assert_eq!((scene.calls().len(), files(&scene.path("spool"))), (1, 0));
    }
}

#[tokio::test]
async fn what_rclone_says_is_bounded_and_an_object_cut_off_is_an_error() {
    let scene = Scene::new();
    let mut config = scene.config("box:");
    let stat = r#"echo '{"Path":"x","Name":"x","Size":100,"IsDir":false}'"#;
    config.program = scene.stub(&format!(
        "case $1 in lsjson) {stat};; cat) printf half; head -c 5000000 /dev/zero >&2; exit $(cat '{}');; esac",
        scene.path("code").display()
    ));
    let remote = open(config);
    for (code, class) in [("0", Class::Interrupted), ("5", Class::Unavailable), ("4", Class::NotThere)] {
        std::fs::write(scene.path("code"), code).unwrap();
        let error = get(remote.as_ref(), "x", Span::whole()).await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert!(error.to_string().len() < 2_000);
    }
}

#[tokio::test]
async fn a_program_that_is_missing_or_killed_is_an_error_with_the_remedy() {
    let scene = Scene::new();
    let mut config = scene.config("box:");
    config.program = scene.path("none");
    let error = put(open(config.clone()).as_ref(), "x", &bytes(10, 7)).await.unwrap_err();
    assert_eq!(error.class(), Class::Misconfigured);
    assert!(error.to_string().contains("install rclone"), "{error}");
    config.program = scene.stub("kill -9 $$");
    let error = put(open(config).as_ref(), "x", &bytes(10, 7)).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable);
}

#[tokio::test]
async fn a_bandwidth_limit_is_handed_to_rclone_divided() {
    let scene = Scene::new();
    let mut config = scene.config("box:");
    config.program = scene.stub("exit 0");
    let remote = open(config);
    let schedule: Schedule = "08:00,4m 20:00,off".parse().unwrap();
    let limiter = Limiter::new(schedule, 4, Arc::new(|| 0));
    let (sent, to) = (bytes(10, 8), name("x"));
    let (content, body) = (Content::of(&sent), vtl_remote::BytesBody(sent));
    let put =
        Put { name: &to, content: &content, body: &body, resume: None, watch: &Unwatched, limiter: &limiter };
    remote.put(put).await.unwrap();
    assert!(scene.calls()[0].contains(&"--bwlimit=08:00,1048576B 20:00,off".to_owned()));
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_remedy() {
    let scene = Scene::new();
    for remote in ["box", ":local:/tmp", "--config:x", ""] {
        let error = RcloneRemote::open(scene.config(remote)).unwrap_err();
        assert_eq!(error.class(), Class::Misconfigured);
        assert!(error.to_string().contains("listremotes"), "{error}");
    }
    let mut config = scene.config("box:");
    config.spool = scene.path("none");
    assert!(RcloneRemote::open(config).unwrap_err().to_string().contains("spool"));
}
