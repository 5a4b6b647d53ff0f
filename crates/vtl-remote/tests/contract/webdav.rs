//! WebDAV by two servers: wsgidav, and rclone's, which wants a password and tells hashes.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use tempfile::TempDir;
use vtl_remote::{
    Checkpoint, Class, Content, Folder, Limiter, Mode, Proof, Remote, Span, WebDavConfig, WebDavRemote,
    verify,
};

use super::places::{Place, private_file};
use super::proxy::{Mischief, Proxy};
use super::server::{Server, tool};
use super::suite::{bytes, get, name, put};

static WSGIDAV: LazyLock<Server> = LazyLock::new(|| {
    Server::start(&tool("wsgidav/bin/wsgidav"), |port, folder| {
        std::fs::create_dir(folder.join("root")).unwrap();
        [
            "--host=127.0.0.1",
            &format!("--port={port}"),
            &format!("--root={}", folder.join("root").display()),
            "--auth=anonymous",
            "--server=cheroot",
        ]
        .map(str::to_owned)
        .to_vec()
    })
});

static RCLONE: LazyLock<Server> = LazyLock::new(|| {
    Server::start(&tool("rclone/bin/rclone"), |port, folder| {
        std::fs::create_dir(folder.join("root")).unwrap();
        [
            "serve",
            "webdav",
            "--addr",
            &format!("127.0.0.1:{port}"),
            "--user",
            "u",
            "--pass",
            "made-up-password",
            "--etag-hash",
            "MD5",
            &folder.join("root").display().to_string(),
        ]
        .map(str::to_owned)
        .to_vec()
    })
});

/// A folder of its own on a server, whose name wants escapes.
fn folder_on(server: &Server) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let folder = format!("my tapes {}", NEXT.fetch_add(1, Ordering::Relaxed));
    // By the server, which may keep what it knows of its folders.
    let made = Command::new("curl")
        .args(["-sf", "-u", "u:made-up-password", "-X", "MKCOL"])
        .arg(format!("http://127.0.0.1:{}/{}/", server.port, folder.replace(' ', "%20")))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?} {}", server.log());
    folder
}

fn config(port: u16, folder: &str, password: Option<&Path>) -> WebDavConfig {
    WebDavConfig {
        name: "cloud".to_owned(),
        endpoint: format!("http://127.0.0.1:{port}/{folder}"),
        ca_file: None,
        allow_http: true,
        login: password.map(|file| ("u".to_owned(), file.to_owned())),
    }
}

pub fn wsgidav_place() -> Place {
    let remote = config(WSGIDAV.port, &folder_on(&WSGIDAV), None).open().unwrap();
    Place { remote: Arc::new(remote), behind: Vec::new() }
}

fn at_rclone() -> (TempDir, WebDavConfig) {
    let folder = TempDir::new().unwrap();
    let password = folder.path().join("password");
    private_file(&password, "made-up-password\n");
    let config = config(RCLONE.port, &folder_on(&RCLONE), Some(&password));
    (folder, config)
}

pub fn rclone_place() -> Place {
    let (folder, config) = at_rclone();
    Place { remote: Arc::new(config.open().unwrap()), behind: vec![Box::new(folder)] }
}

/// The files of a remote of wsgidav's.
fn wsgidav() -> (WebDavRemote, std::path::PathBuf) {
    let folder = folder_on(&WSGIDAV);
    let remote = config(WSGIDAV.port, &folder, None).open().unwrap();
    (remote, WSGIDAV.folder.path().join("root").join(folder))
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_tells_a_hash_is_asked_and_one_that_does_not_is_read_back() {
    let sent = bytes(100_000, 1);
    let content = Content::of(&sent);
    let (_folder, config) = at_rclone();
    let remote = config.open().unwrap();
    let receipt = put(&remote, "x", &sent).await.unwrap();
    let limiter = Limiter::unlimited();
    let proof = verify(&remote, &name("x"), &content, &receipt, Mode::RemoteHash, &limiter).await;
    assert_eq!(proof, Ok(Proof::RemoteHash("MD5")));
    let (remote, _) = wsgidav();
    let receipt = put(&remote, "x", &sent).await.unwrap();
    let by_hash = verify(&remote, &name("x"), &content, &receipt, Mode::RemoteHash, &limiter).await;
    let error = by_hash.unwrap_err();
    assert_eq!(error.class(), Class::Unverifiable);
    let by_reading = verify(&remote, &name("x"), &content, &receipt, Mode::Readback, &limiter).await;
    assert_eq!(by_reading, Ok(Proof::Readback));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_denied_and_said_nowhere() {
    let (folder, config) = at_rclone();
    let other = folder.path().join("other");
    private_file(&other, "another-made-up\n");
    for login in [Some(("u".to_owned(), other)), None] {
        let remote = WebDavConfig { login, ..config.clone() }.open().unwrap();
        let error = put(&remote, "x", &bytes(10, 2)).await.unwrap_err();
        assert_eq!(error.class(), Class::Denied, "{error}");
        assert!(!format!("{error} {remote:?}").contains("made-up"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_there_is_a_matter_of_settings_and_is_not_made() {
    for (port, login) in [(WSGIDAV.port, None), (RCLONE.port, at_rclone().1.login)] {
        let (keep, with) = at_rclone();
        let login = login.and(with.login);
        let remote = WebDavConfig { login, ..config(port, "no such folder", None) }.open().unwrap();
        let outcomes = [
            put(&remote, "a/x", &bytes(10, 3)).await.map(drop),
            put(&remote, "x", &bytes(10, 3)).await.map(drop),
            remote.head(&name("x")).await.map(drop),
            remote.list(&Folder::all(), None, 10).await.map(drop),
            remote.delete(&name("x")).await,
        ];
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert_eq!(error.class(), Class::Misconfigured, "{error}");
            assert!(error.to_string().contains("create it"), "{error}");
        }
        drop(keep);
    }
    assert!(!WSGIDAV.folder.path().join("root/no such folder").exists());
    assert!(!RCLONE.folder.path().join("root/no such folder").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cut_off_upload_has_left_is_not_listed_and_goes_with_its_checkpoint() {
    let (remote, folder) = wsgidav();
    put(&remote, "e/x", &bytes(10, 4)).await.unwrap();
    let left = folder.join("e/.vtl-part-0123");
    std::fs::write(&left, "half").unwrap();
    let page = remote.list(&Folder::all(), None, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.foreign.len()), (1, 0));
    for checkpoint in ["webdav e/x", "webdav e", "folder e/.vtl-part-0123"] {
        remote.abandon(&Checkpoint::new(checkpoint)).await.unwrap();
        assert_eq!(files(&folder.join("e")), 2, "{checkpoint}");
    }
    for _ in 0..2 {
        remote.abandon(&Checkpoint::new("webdav e/.vtl-part-0123")).await.unwrap();
        assert_eq!(files(&folder.join("e")), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_never_replaced_or_removed_as_if_it_were_an_object() {
    let (remote, folder) = wsgidav();
    put(&remote, "e/x", &bytes(10, 5)).await.unwrap();
    assert_eq!(put(&remote, "e", &bytes(10, 6)).await.unwrap_err().class(), Class::Refused);
    remote.delete(&name("e")).await.unwrap();
    assert!(folder.join("e/x").exists());
    assert_eq!(files(&folder), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_an_error_that_may_pass_and_leaves_the_object_as_it_was() {
    let folder = folder_on(&WSGIDAV);
    let sent = bytes(3 << 20, 7);
    put(&config(WSGIDAV.port, &folder, None).open().unwrap(), "x", &sent).await.unwrap();
    let proxy = Proxy::start(WSGIDAV.port, Mischief::CloseAfterAnswering(1 << 20)).await;
    let remote = config(proxy.port, &folder, None).open().unwrap();
    let error = get(&remote, "x", Span::whole()).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted, "{error}");
    let proxy = Proxy::start(WSGIDAV.port, Mischief::CloseAfterAnswering(0)).await;
    let error =
        put(&config(proxy.port, &folder, None).open().unwrap(), "x", &bytes(10, 8)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let whole = get(&config(WSGIDAV.port, &folder, None).open().unwrap(), "x", Span::whole()).await.unwrap();
    assert!(whole == sent);
}
