//! Connections of the API: how many, and how long each may take over what. What a request is does not matter here, nor what carries the bytes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::daemon::lock;

/// So many connections are served at once; more are closed.
const MOST_CONNECTIONS: usize = 2048;
/// So many of them are left for who connects on this machine, so that it can be managed while others take all the rest.
const KEPT_FOR_LOOPBACK: usize = 256;
/// One other machine has so many of them. What shares an address, such as a proxy, shares them.
const MOST_FROM_ONE: usize = 256;
/// A request's head must have arrived by then; a connection without a request ends then, too.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// The longest head.
const HEAD_BYTES: usize = 16 << 10;
/// An answer of which nothing is taken for so long ends its connection.
const STALL: Duration = Duration::from_secs(30);
/// So long nobody is let in when the system gives no socket.
const NO_SOCKET: Duration = Duration::from_millis(100);

/// Serves until it is dropped, and all its connections with it.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, app: Router) {
    let room = Room::default();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, peer)) => {
                let Some(place) = room.take(peer.ip()) else {
                    debug!(%peer, "the API has too many connections, and closes this one");
                    continue;
                };
                let (app, tls) = (app.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => connection(socket, peer, app).await,
                        Some(tls) => shake_hands(socket, peer, &tls, app).await,
                    }
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

/// Where connections come from, as they are counted: who has an address of version 6 has 64 bits of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whence {
    Loopback,
    Four([u8; 4]),
    Six([u16; 4]),
}

impl Whence {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Loopback,
            IpAddr::V4(address) => Self::Four(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::Six([a, b, c, d])
            }
        }
    }
}

/// The connections that are served, by where they come from.
#[derive(Clone, Debug, Default)]
struct Room(Arc<Mutex<HashMap<Whence, usize>>>);

impl Room {
    /// A place for one more from there, if it may have one.
    fn take(&self, address: IpAddr) -> Option<Place> {
        let from = Whence::of(address);
        let mut taken = lock(&self.0);
        let (all, mine) = (taken.values().sum::<usize>(), taken.get(&from).copied().unwrap_or_default());
        let may = match from {
            Whence::Loopback => all < MOST_CONNECTIONS,
            _ => {
                let local = taken.get(&Whence::Loopback).copied().unwrap_or_default();
                let kept = KEPT_FOR_LOOPBACK.saturating_sub(local);
                mine < MOST_FROM_ONE && all.saturating_add(kept) < MOST_CONNECTIONS
            }
        };
        may.then(|| {
            taken.insert(from, mine.saturating_add(1));
            Place { room: self.clone(), from }
        })
    }
}

/// A connection that is served.
#[derive(Debug)]
struct Place {
    room: Room,
    from: Whence,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.room.0);
        match taken.get_mut(&self.from) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.from)),
        }
    }
}

/// The same with TLS; who connects and says nothing is given up.
async fn shake_hands(socket: TcpStream, peer: SocketAddr, tls: &TlsAcceptor, app: Router) {
    match tokio::time::timeout(HEAD_TIME, tls.accept(socket)).await {
        Ok(Ok(stream)) => connection(stream, peer, app).await,
        Ok(Err(error)) => debug!(%peer, %error, "a TLS handshake failed"),
        Err(_late) => debug!(%peer, "a TLS handshake took too long"),
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

    fn places(room: &Room, address: &str, most: usize) -> Vec<Place> {
        let address = address.parse().unwrap();
        (0..most).map_while(|_| room.take(address)).collect()
    }

    #[test]
    fn one_machine_does_not_take_all_connections_and_all_others_together_leave_some_for_this_one() {
        let room = Room::default();
        let first = places(&room, "192.0.2.1", 3000);
        assert_eq!(first.len(), 256);
        assert!(room.take("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same, written otherwise");
        let mut six = places(&room, "2001:db8:1:2::1", 200);
        six.extend(places(&room, "2001:db8:1:2:ffff::9", 3000));
        assert_eq!(six.len(), 256, "64 bits count");
        let others: Vec<_> = (2..20).flat_map(|n| places(&room, &format!("192.0.2.{n}"), 3000)).collect();
        assert_eq!(first.len() + six.len() + others.len(), 2048 - 256);
        let local = places(&room, "127.0.0.1", 200);
        assert!(room.take("192.0.2.99".parse().unwrap()).is_none());
        let rest = places(&room, "::1", 3000);
        assert_eq!(local.len() + rest.len(), 256);
        drop((first, six, others));
        assert_eq!(places(&room, "127.0.0.1", 3000).len(), 2048 - 256, "loopback has no bound of its own");
        assert_eq!(places(&room, "192.0.2.1", 3000).len(), 256);
        drop((local, rest));
        assert!(lock(&room.0).is_empty());
    }

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
