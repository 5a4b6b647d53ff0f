use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use object_store::client::{DnsFuture, DnsResolver};

use bytes::Bytes;

use super::*;
use crate::cloud::{DEFAULT_PART_SIZE, MAX_PART_SIZE};
use crate::error::Class;
use crate::name::ObjectName;
use crate::remote::Remote as _;

fn config(folder: &std::path::Path) -> S3Config {
    for (file, text) in [("access", "testkey"), ("secret", "made-up-secret")] {
        let path = folder.join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    S3Config {
        name: "cloud".to_owned(),
        endpoint: "https://s3.example.com".to_owned(),
        region: "us-east-1".to_owned(),
        bucket: "bucket".to_owned(),
        prefix: String::new(),
        style: Style::Path,
        ca_file: None,
        allow_http: false,
        access_key_file: folder.join("access"),
        secret_key_file: folder.join("secret"),
        checksums: true,
        part_size: DEFAULT_PART_SIZE,
    }
}

/// Every name is this machine.
#[derive(Debug)]
struct Here;

impl DnsResolver for Here {
    fn resolve(&self, _name: &str) -> DnsFuture {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

/// Answers one request with an empty success; its head.
fn answer_once(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.extend(byte);
    }
    let answer = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer).unwrap();
    String::from_utf8(head).unwrap()
}

async fn head_of_a_create(style: Style) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || answer_once(&listener));
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.endpoint = format!("http://s3.example.com:{port}");
    config.allow_http = true;
    config.prefix = "p/".to_owned();
    config.style = style;
    let options = ClientOptions::new().with_dns_resolver(Arc::new(Here));
    let remote = config.open_with(options).unwrap();
    remote.create(&ObjectName::new("m").unwrap(), Bytes::new()).await.unwrap();
    server.join().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_stands_in_the_path_or_in_the_hosts_name() {
    let path = head_of_a_create(Style::Path).await;
    assert!(path.starts_with("PUT /bucket/p/m HTTP/1.1\r\n"), "{path}");
    assert!(path.contains("\r\nhost: s3.example.com:"), "{path}");
    let host = head_of_a_create(Style::VirtualHost).await;
    assert!(host.starts_with("PUT /p/m HTTP/1.1\r\n"), "{host}");
    assert!(host.contains("\r\nhost: bucket.s3.example.com:"), "{host}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_is_conditional_signed_and_has_a_checksum() {
    let head = head_of_a_create(Style::Path).await.to_lowercase();
    // SHA-256 of nothing, in base64 and in hexadecimal.
    for line in [
        "if-none-match: *",
        "x-amz-checksum-sha256: 47deqpj8hbsa+/timw+5jceuqerkm5nmpjwzg3hsuFU=".to_lowercase().as_str(),
        "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    assert!(head.contains("\r\nauthorization: aws4-hmac-sha256 credential=testkey/"), "{head}");
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let not_pem = folder.path().join("not.pem");
    std::fs::write(&not_pem, "no certificate").unwrap();
    let refused = |change: &dyn Fn(&mut S3Config)| {
        let mut config = config(folder.path());
        change(&mut config);
        let error = config.open().unwrap_err();
        assert_eq!(error.class(), Class::Misconfigured);
        (error.setting(), error.to_string())
    };
    type Change<'a> = &'a dyn Fn(&mut S3Config);
    let cases: [(Change<'_>, &str, &str); 10] = [
        (&|config| config.endpoint = "http://s3.example.com".to_owned(), "endpoint", "allow_http"),
        (&|config| config.endpoint = "s3.example.com".to_owned(), "endpoint", "https://HOST"),
        (&|config| config.endpoint = "https://s3.example.com/bucket".to_owned(), "endpoint", "of their own"),
        (&|config| config.endpoint = "https://key:made-up-secret@host".to_owned(), "endpoint", "files of"),
        (&|config| config.bucket = "Bucket/x".to_owned(), "bucket", "lower-case"),
        (&|config| config.region = "a b".to_owned(), "region", "us-east-1"),
        (&|config| config.part_size = 1 << 20, "part_size", "5 MiB"),
        (&|config| config.prefix = "a/../b".to_owned(), "prefix", ".."),
        (&|config| config.ca_file = Some(not_pem.clone()), "ca_file", "not.pem"),
        (&|config| config.secret_key_file = folder.path().join("none"), "secret_key_file", "none"),
    ];
    for (change, wrong, remedy) in cases {
        let (setting, text) = refused(change);
        assert_eq!(setting, Some(wrong), "{text}");
        assert!(text.contains(remedy), "{remedy} in {text}");
        assert!(!text.contains("made-up-secret"));
    }
    assert!(config(folder.path()).open().is_ok());
}

#[test]
fn a_remote_that_was_defined_with_larger_parts_than_there_are_sends_the_largest() {
    let folder = tempfile::tempdir().unwrap();
    for (asked, sent) in [(64 << 20, 64 << 20), (1 << 30, MAX_PART_SIZE)] {
        let remote = S3Config { part_size: asked, ..config(folder.path()) }.open().unwrap();
        assert_eq!(remote.place.part_size, sent);
    }
}
