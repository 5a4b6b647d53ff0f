//! The iSCSI listeners that are open: those of the configuration, and those that an operator has added while the daemon runs.
//!
//! A listener that closes takes no new connections; those that came through it go on.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::portal;
use crate::sessions::Sessions;

/// Who wants a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The configuration: `iscsi.listen`.
    Configured,
    /// An operator, by the API; the inventory remembers it.
    Added,
}

/// All of them, in the order in which they were opened.
pub struct Listeners {
    /// Connections that may be open through all of them together.
    places: Arc<Semaphore>,
    open: Mutex<Vec<Open>>,
}

struct Open {
    address: SocketAddr,
    wanted: Wanted,
    accepts: JoinHandle<()>,
}

impl Listeners {
    /// None yet.
    pub fn new(max_connections: u32) -> Self {
        let places = usize::try_from(max_connections).unwrap_or(usize::MAX);
        Self { places: Arc::new(Semaphore::new(places)), open: Mutex::default() }
    }

    /// Accepts connections from now on. Within the runtime.
    ///
    /// # Errors
    /// The system does not say where it listens.
    pub fn open(
        &self,
        listener: TcpListener,
        wanted: Wanted,
        sessions: &Arc<Sessions>,
    ) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        let accepts = tokio::spawn(portal::listen(listener, sessions.clone(), self.places.clone()));
        self.lock().push(Open { address, wanted, accepts });
        Ok(address)
    }

    /// Addresses and who wants them.
    pub fn list(&self) -> Vec<(SocketAddr, Wanted)> {
        self.lock().iter().map(|open| (open.address, open.wanted)).collect()
    }

    /// Who wants this one, if it is open.
    pub fn wanted(&self, address: SocketAddr) -> Option<Wanted> {
        self.lock().iter().find(|open| open.address == address).map(|open| open.wanted)
    }

    /// Closes one; when this returns, the address is free again.
    pub async fn close(&self, address: SocketAddr) {
        let closing = {
            let mut open = self.lock();
            let at = open.iter().position(|open| open.address == address);
            at.map(|at| open.remove(at))
        };
        if let Some(closing) = closing {
            closing.accepts.abort();
            // It ends as told; how, nobody needs to know.
            let _ended = closing.accepts.await;
        }
    }

    /// Takes no new connections any more.
    pub fn close_all(&self) {
        for open in self.lock().drain(..) {
            open.accepts.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
