//! Connections of the API: how many, and how long each may take over what. What a request is does not matter here, nor what carries the bytes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tracing::{debug, warn};

/// So many connections are served at once; more wait.
const MOST_CONNECTIONS: usize = 2048;
/// A request's head must have arrived by then; a connection without a request ends then, too.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// The longest head.
const HEAD_BYTES: usize = 16 << 10;
/// An answer of which nothing is taken for so long ends its connection.
const STALL: Duration = Duration::from_secs(30);
/// So long nobody is let in when the system gives no socket.
const NO_SOCKET: Duration = Duration::from_millis(100);

/// Serves until it is dropped, and all its connections with it.
pub(super) async fn serve(listener: TcpListener, app: Router) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(place) = room.clone().acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, peer)) => {
                let app = app.clone();
                connections.spawn(async move {
                    connection(socket, peer, app).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "the API could not take a connection");
                tokio::time::sleep(NO_SOCKET).await;
            }
        }
    }
}

/// Serves one connection to its end. Requests know by [`ConnectInfo`] where they come from.
pub(super) async fn connection<S>(socket: S, peer: SocketAddr, app: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    patiently(socket, peer, app, HEAD_TIME, STALL).await;
}

async fn patiently<S>(socket: S, peer: SocketAddr, app: Router, head_time: Duration, stall: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        app.call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(socket, stall)), service)
        .await;
    if let Err(error) = served {
        debug!(%peer, %error, "a connection of the API has ended");
    }
}

/// A socket that is given up when it takes nothing for too long.
struct Patient<S> {
    socket: S,
    limit: Duration,
    /// Since it takes nothing.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Patient<S> {
    const fn new(socket: S, limit: Duration) -> Self {
        Self { socket, limit, waiting: None }
    }

    /// What the socket said, unless it says nothing for too long.
    fn in_time<T>(&mut self, said: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if said.is_ready() {
            self.waiting = None;
            return said;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.in_time(said, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.socket).poll_flush(context);
        self.in_time(said, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.socket).poll_shutdown(context);
        self.in_time(said, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.in_time(said, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
    const SOON: Duration = Duration::from_millis(100);
    const NEVER: Duration = Duration::from_secs(3600);

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_head_that_does_not_come_ends_the_connection() {
        block(async {
            let (mut client, server) = duplex(64);
            let served = tokio::spawn(patiently(server, PEER, Router::new(), SOON, NEVER));
            client.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
            served.await.unwrap();
        });
    }

    #[test]
    fn an_answer_that_nobody_takes_ends_the_connection() {
        block(async {
            let (mut client, server) = duplex(64);
            let app = Router::new().route("/", get(|| async { "x".repeat(1 << 20) }));
            let served = tokio::spawn(patiently(server, PEER, app, NEVER, SOON));
            client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            served.await.unwrap();
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            assert!(got.starts_with(b"HTTP/1.1 200 ") && got.len() <= 64, "{}", got.len());
        });
    }

    #[test]
    fn a_head_that_is_too_long_is_refused() {
        block(async {
            let (mut client, server) = duplex(1 << 16);
            tokio::spawn(patiently(server, PEER, Router::new(), NEVER, NEVER));
            let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
            client.write_all(long.as_bytes()).await.unwrap();
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            assert!(got.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&got));
        });
    }
}
