//! Stands between a client and a server, counts, and does harm when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What it does.
#[derive(Debug, Clone, Copy)]
pub enum Mischief {
    None,
    /// Turns a bit of the byte at this place of all that goes to the server, once.
    FlipAfter(u64),
    /// Closes each connection when so many bytes have come back on it.
    CloseAfterAnswering(u64),
    /// Answers the first request about an upload in the server's place, with S3's words for one that is not known.
    ForgetUpload,
}

pub struct Proxy {
    pub port: u16,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    to_server: AtomicU64,
    bad: AtomicBool,
}

impl Proxy {
    /// Lives as long as the runtime.
    pub async fn start(server: u16, mischief: Mischief) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counts = shared.clone();
                tokio::spawn(async move {
                    if matches!(mischief, Mischief::ForgetUpload) && forget(&client, &counts).await {
                        return;
                    }
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                        pass(client, server, mischief, counts).await;
                    }
                });
            }
        });
        Self { port, counts }
    }

    pub fn bytes_to_server(&self) -> u64 {
        self.counts.to_server.load(Ordering::Relaxed)
    }

    pub fn was_bad(&self) -> bool {
        self.counts.bad.load(Ordering::Relaxed)
    }
}

/// Takes the whole request and refuses it, when it is about an upload and none was refused before.
async fn forget(client: &TcpStream, counts: &Counts) -> bool {
    let mut start = vec![0; 4 << 10];
    let count = client.peek(&mut start).await.unwrap_or(0);
    let head = String::from_utf8_lossy(&start[..count]).to_lowercase();
    let length: Option<usize> =
        head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    let (true, Some(length)) = (head.contains("uploadid="), length) else { return false };
    if counts.bad.swap(true, Ordering::Relaxed) {
        return false;
    }
    let mut left = length + head.find("\r\n\r\n").map_or(0, |end| end + 4);
    let mut bytes = vec![0; 64 << 10];
    while left > 0 && client.readable().await.is_ok() {
        match client.try_read(&mut bytes) {
            Ok(count @ 1..) => left = left.saturating_sub(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    let text =
        "<Error><Code>NoSuchUpload</Code><Message>The specified upload does not exist.</Message></Error>";
    let answer = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    client.writable().await.is_ok() && client.try_write(answer.as_bytes()).is_ok()
}

async fn pass(client: TcpStream, server: TcpStream, mischief: Mischief, counts: Arc<Counts>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Either end closes both.
    tokio::select! {
        () = forth(from_client, to_server, mischief, &counts) => {}
        () = back(from_server, to_client, mischief) => {}
    }
}

async fn forth(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mischief: Mischief, counts: &Counts) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let before = counts.to_server.fetch_add(count as u64, Ordering::Relaxed);
        if let Mischief::FlipAfter(place) = mischief
            && (before..before + count as u64).contains(&place)
            && !counts.bad.swap(true, Ordering::Relaxed)
        {
            bytes[(place - before) as usize] ^= 0x04;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mischief: Mischief) {
    let mut left = match mischief {
        Mischief::CloseAfterAnswering(bytes) => bytes,
        _ => u64::MAX,
    };
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let count = left.min(count as u64) as usize;
        left -= count as u64;
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
