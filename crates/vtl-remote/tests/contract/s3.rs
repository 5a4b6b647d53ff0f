//! A real S3 server, written by others, on loopback: moto's, in a folder of Python packages below the target folder.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use vtl_remote::{
    BytesBody, Checkpoint, Class, CloudRemote, Content, Error, Held, Limiter, Mode, Put, Receipt, Remote,
    S3Config, Span, Style, Unwatched, Watch, verify,
};

use super::places::{Place, private_file};
use super::proxy::{Mischief, Proxy};
use super::server::{Server, tool};
use super::suite::{LARGE, bytes, get, name, put};

/// The smallest part that S3 takes.
const PART: u64 = 5 << 20;

/// One server for all tests of this process.
static SERVER: LazyLock<Moto> = LazyLock::new(|| Moto::start(&[]));

struct Moto {
    port: u16,
    _server: Server,
}

impl Moto {
    fn start(flags: &[&str]) -> Self {
        let server = Server::start(&tool("moto/bin/moto_server"), |port, _| {
            let port = port.to_string();
            [&["-H", "127.0.0.1", "-p", port.as_str()], flags]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect()
        });
        Self { port: server.port, _server: server }
    }

    /// Makes a bucket that no other test has.
    fn bucket(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let bucket = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.port
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        bucket
    }
}

/// A bucket, and the files with its keys.
struct Scene {
    folder: TempDir,
    bucket: String,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        private_file(&folder.path().join("access"), "testkey\n");
        private_file(&folder.path().join("secret"), "made-up-secret\n");
        Self { folder, bucket: SERVER.bucket() }
    }

    fn config(&self, port: u16) -> S3Config {
        S3Config {
            name: "cloud".to_owned(),
            endpoint: format!("http://127.0.0.1:{port}"),
            region: "us-east-1".to_owned(),
            bucket: self.bucket.clone(),
            prefix: "exports/here".to_owned(),
            style: Style::Path,
            ca_file: None,
            allow_http: true,
            access_key_file: self.folder.path().join("access"),
            secret_key_file: self.folder.path().join("secret"),
            checksums: true,
            part_size: PART,
        }
    }

    fn open(&self, port: u16) -> CloudRemote {
        self.config(port).open().unwrap()
    }
}

pub fn place() -> Place {
    let scene = Scene::new();
    let remote = Arc::new(scene.open(SERVER.port));
    Place { remote, behind: vec![Box::new(scene.folder)] }
}

/// Keeps the last checkpoint, and refuses after some: as if the power went then.
#[derive(Debug)]
struct Keeper {
    kept: Mutex<Option<Checkpoint>>,
    left: AtomicU32,
}

impl Keeper {
    fn refusing_after(count: u32) -> Self {
        Self { kept: Mutex::new(None), left: AtomicU32::new(count) }
    }

    fn last(&self) -> Option<Checkpoint> {
        self.kept.lock().unwrap().clone()
    }
}

impl Watch for Keeper {
    fn keep(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        if self.left.load(Ordering::Relaxed) == 0 {
            return Err("the power is gone".to_owned());
        }
        self.left.fetch_sub(1, Ordering::Relaxed);
        *self.kept.lock().unwrap() = Some(checkpoint.clone());
        Ok(())
    }

    fn beside(&self) -> Option<Held> {
        Some(Box::new(()))
    }
}

async fn resume(
    remote: &dyn Remote,
    sent: &Bytes,
    keeper: &Keeper,
    from: Option<&Checkpoint>,
) -> Result<Receipt, Error> {
    let (name, content, body, limiter) =
        (name("large"), Content::of(sent), BytesBody(sent.clone()), Limiter::unlimited());
    let put =
        Put { name: &name, content: &content, body: &body, resume: from, watch: keeper, limiter: &limiter };
    remote.put(put).await
}

async fn check(remote: &dyn Remote, sent: &Bytes, receipt: &Receipt) {
    for mode in [Mode::RemoteHash, Mode::Readback] {
        let limiter = Limiter::unlimited();
        verify(remote, &name("large"), &Content::of(sent), receipt, mode, &limiter).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_cut_off_goes_on_and_sends_no_part_twice() {
    let (scene, sent) = (Scene::new(), bytes(LARGE, 1));
    let proxy = Proxy::start(SERVER.port, Mischief::None).await;
    // The beginning and the first part are kept; then the power goes.
    let before = Keeper::refusing_after(2);
    let error = resume(&scene.open(proxy.port), &sent, &before, None).await.unwrap_err();
    assert_eq!(error.class(), Class::Local);
    let remote = scene.open(proxy.port);
    assert_eq!(remote.head(&name("large")).await.unwrap_err().class(), Class::NotThere);
    let went = proxy.bytes_to_server();
    let after = Keeper::refusing_after(100);
    let receipt = resume(&remote, &sent, &after, before.last().as_ref()).await.unwrap();
    let again = proxy.bytes_to_server() - went;
    assert!(again < LARGE as u64 - PART + 100_000, "{again} bytes went for the rest of {LARGE}");
    check(&remote, &sent, &receipt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_from_memory_waits_until_other_transfers_have_left_room_there() {
    let scene = Scene::new();
    let remote = scene.open(SERVER.port);
    for size in [1 << 20, LARGE] {
        let (sent, to, limiter) = (bytes(size, 13), name("large"), Limiter::unlimited());
        let (content, body) = (Content::of(&sent), BytesBody(sent.clone()));
        let put = Put {
            name: &to,
            content: &content,
            body: &body,
            resume: None,
            watch: &Unwatched,
            limiter: &limiter,
        };
        let others = limiter.room(u64::MAX).await;
        let mut sending = remote.put(put);
        let early = tokio::time::timeout(Duration::from_secs(2), &mut sending).await;
        assert!(early.is_err(), "{size} bytes went: {early:?}");
        drop(others);
        let receipt = sending.await.unwrap();
        check(&remote, &sent, &receipt).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_upload_whose_answer_was_lost_is_not_sent_again() {
    let (scene, sent) = (Scene::new(), bytes(LARGE, 2));
    let proxy = Proxy::start(SERVER.port, Mischief::None).await;
    let remote = scene.open(proxy.port);
    let keeper = Keeper::refusing_after(100);
    let receipt = resume(&remote, &sent, &keeper, None).await.unwrap();
    let went = proxy.bytes_to_server();
    let again = resume(&remote, &sent, &Keeper::refusing_after(100), keeper.last().as_ref()).await.unwrap();
    assert_eq!(again, receipt);
    assert!(proxy.bytes_to_server() - went < 100_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_the_server_forgot_or_that_was_of_another_body_starts_anew() {
    let (scene, sent) = (Scene::new(), bytes(LARGE, 3));
    let remote = scene.open(SERVER.port);
    let cut = Keeper::refusing_after(2);
    resume(&remote, &sent, &cut, None).await.unwrap_err();
    // moto has an error of its own for an upload that it does not know; the proxy says what S3 says.
    let proxy = Proxy::start(SERVER.port, Mischief::ForgetUpload).await;
    let through = scene.open(proxy.port);
    let receipt = resume(&through, &sent, &Keeper::refusing_after(100), cut.last().as_ref()).await.unwrap();
    assert!(proxy.was_bad());
    check(&remote, &sent, &receipt).await;
    let cut = Keeper::refusing_after(2);
    resume(&remote, &sent, &cut, None).await.unwrap_err();
    let left = cut.last().unwrap();
    for _ in 0..2 {
        remote.abandon(&left).await.unwrap();
    }
    let other = bytes(LARGE, 4);
    for left in [left, Checkpoint::new("not ours"), Checkpoint::new("s3 {}")] {
        let receipt = resume(&remote, &other, &Keeper::refusing_after(100), Some(&left)).await.unwrap();
        check(&remote, &other, &receipt).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_that_changes_on_the_way_is_never_a_success() {
    let scene = Scene::new();
    for (seed, size) in [(5, 1 << 20), (6, LARGE)] {
        let sent = bytes(size, seed);
        let proxy = Proxy::start(SERVER.port, Mischief::FlipAfter(500_000)).await;
        let remote = scene.open(proxy.port);
        let outcome = match resume(&remote, &sent, &Keeper::refusing_after(100), None).await {
            Err(error) => Err(error),
            Ok(receipt) => {
                let (content, limiter) = (Content::of(&sent), Limiter::unlimited());
                verify(&remote, &name("large"), &content, &receipt, Mode::RemoteHash, &limiter).await
            }
        };
        assert!(proxy.was_bad());
        assert_eq!(outcome.unwrap_err().class(), Class::Damaged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_an_error_that_may_pass() {
    let (scene, sent) = (Scene::new(), bytes(3 << 20, 7));
    put(&scene.open(SERVER.port), "x", &sent).await.unwrap();
    let proxy = Proxy::start(SERVER.port, Mischief::CloseAfterAnswering(1 << 20)).await;
    let error = get(&scene.open(proxy.port), "x", Span::whole()).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted, "{error}");
    let proxy = Proxy::start(SERVER.port, Mischief::CloseAfterAnswering(0)).await;
    let error = put(&scene.open(proxy.port), "x", &sent).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = put(&scene.open(nobody), "x", &sent).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_a_matter_of_settings() {
    let scene = Scene::new();
    let mut config = scene.config(SERVER.port);
    config.bucket = "no-such-bucket".to_owned();
    let remote = config.open().unwrap();
    let error = put(&remote, "x", &bytes(10, 8)).await.unwrap_err();
    assert_eq!(error.class(), Class::Misconfigured, "{error}");
    assert!(error.to_string().contains("create the bucket"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_lies_under_the_prefix_and_others_are_not_seen() {
    let scene = Scene::new();
    let remote = scene.open(SERVER.port);
    let mut config = scene.config(SERVER.port);
    config.prefix = String::new();
    let whole = config.open().unwrap();
    put(&remote, "e/one", &bytes(10, 9)).await.unwrap();
    put(&whole, "elsewhere", &bytes(10, 10)).await.unwrap();
    assert!(get(&whole, "exports/here/e/one", Span::whole()).await.is_ok());
    let page = remote.list(&vtl_remote::Folder::all(), None, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.entries[0].name.as_str()), (1, "e/one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_checks_signatures_takes_the_right_key_and_refuses_every_other() {
    let server = Server::start(&tool("rclone/bin/rclone"), |port, folder| {
        std::fs::create_dir_all(folder.join("root/tapes")).unwrap();
        let (address, root) = (format!("127.0.0.1:{port}"), folder.join("root").display().to_string());
        [
            "serve",
            "s3",
            "--addr",
            &address,
            "--auth-key",
            "testkey,made-up-secret",
            "--dir-cache-time",
            "0s",
            &root,
        ]
        .map(str::to_owned)
        .to_vec()
    });
    let folder = TempDir::new().unwrap();
    private_file(&folder.path().join("access"), "testkey");
    private_file(&folder.path().join("secret"), "made-up-secret");
    private_file(&folder.path().join("other"), "another-secret");
    let scene = Scene { folder, bucket: "tapes".to_owned() };
    let remote = scene.open(server.port);
    for (to, size) in [("e/small", 10_000), ("e/large", LARGE)] {
        let sent = bytes(size, 11);
        put(&remote, to, &sent).await.unwrap();
        assert!(get(&remote, to, Span::whole()).await.unwrap() == sent, "{to}");
    }
    remote.create(&name("e/new"), Bytes::from_static(b"m")).await.unwrap();
    assert_eq!(remote.list(&vtl_remote::Folder::all(), None, 10).await.unwrap().entries.len(), 3);
    remote.delete(&name("e/small")).await.unwrap();
    for (access, secret) in [("access", "other"), ("other", "secret")] {
        let mut config = scene.config(server.port);
        config.access_key_file = scene.folder.path().join(access);
        config.secret_key_file = scene.folder.path().join(secret);
        let remote = config.open().unwrap();
        let outcomes = [
            put(&remote, "e/x", &bytes(10, 12)).await.map(drop),
            put(&remote, "e/x", &bytes(LARGE, 12)).await.map(drop),
            get(&remote, "e/large", Span::whole()).await.map(drop),
            remote.list(&vtl_remote::Folder::all(), None, 10).await.map(drop),
            remote.delete(&name("e/large")).await,
        ];
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert_eq!(error.class(), Class::Denied, "{error}");
            assert!(!error.to_string().contains("secret-"), "{error}");
        }
    }
    assert_eq!(remote.head(&name("e/large")).await.unwrap().size, LARGE as u64);
}

/// A made-up authority and a certificate of it for this machine, by openssl.
fn certificates(folder: &Path) {
    let script = "set -e
        new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
        openssl req $new -keyout key.pem -out request -subj /CN=server
        echo 'subjectAltName=IP:127.0.0.1' >extensions
        openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem";
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_trusted_only_when_its_authority_is() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let server = Moto::start(&["-c", &file("cert.pem"), "-k", &file("key.pem")]);
    private_file(&folder.path().join("access"), "testkey");
    private_file(&folder.path().join("secret"), "made-up-secret");
    let ca_file = folder.path().join("ca.pem");
    let scene = Scene { folder, bucket: "no-such-bucket".to_owned() };
    let mut config = scene.config(0);
    config.endpoint = format!("https://127.0.0.1:{}", server.port);
    config.allow_http = false;
    let list = async |config: &S3Config| {
        let remote = config.clone().open().unwrap();
        remote.list(&vtl_remote::Folder::all(), None, 1).await.unwrap_err()
    };
    let error = list(&config).await;
    assert_eq!(error.class(), Class::Unavailable);
    assert!(error.to_string().contains("certificate"), "{error}");
    config.ca_file = Some(ca_file);
    // The server answers: there is no such bucket.
    let error = list(&config).await;
    assert_eq!(error.class(), Class::Misconfigured, "{error}");
}

#[test]
fn keys_are_in_no_text_of_a_remote() {
    let folder = TempDir::new().unwrap();
    private_file(&folder.path().join("access"), "testkey");
    private_file(&folder.path().join("secret"), "made-up-secret");
    let scene = Scene { folder, bucket: "bucket".to_owned() };
    let text = format!("{:?}", scene.open(1));
    assert!(!text.contains("made-up-secret") && !text.contains("testkey"), "{text}");
}
