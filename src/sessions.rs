//! All sessions of the daemon: who is logged in where, and the rule that one initiator port has one session with a target.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use scsi::NexusId;
use tokio::sync::{mpsc::UnboundedSender, watch};
use tokio::time::timeout;
use vtl_iscsi::config::Portal;
use vtl_iscsi::event::{AdmitRequest, CloseReason, SessionKind};
use vtl_iscsi::login::LoginStatus;

use crate::connection::Control;
use crate::connection::input::Supply;
use crate::in_flight::InFlight;
use crate::lobby::Lobby;
use crate::target::Target;

/// How long a new login waits for the session that it displaces.
const DISPLACE_WAIT: Duration = Duration::from_secs(10);

/// The registry. One for the daemon.
pub struct Sessions {
    portal: RwLock<Arc<Portal>>,
    targets: RwLock<HashMap<String, Arc<Target>>>,
    table: Mutex<Table>,
    lobby: Lobby,
    next_nexus: AtomicU64,
    in_flight: InFlight,
    buffers: Arc<Supply>,
}

#[derive(Default)]
struct Table {
    last_tsih: u16,
    sessions: HashMap<Key, Entry>,
}

/// What makes two logins the same session: RFC 7143, the initiator port's name and the target.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    initiator: String,
    isid: [u8; 6],
    /// `None`: discovery. Discovery sessions displace nobody, so their nexus tells them apart.
    target: Result<String, NexusId>,
}

struct Entry {
    tsih: u16,
    cid: u16,
    peer: SocketAddr,
    since_unix_s: u64,
    control: UnboundedSender<Control>,
    ended: watch::Receiver<()>,
}

/// What a login gets.
struct Place {
    tsih: Option<u16>,
    cid: u16,
    nexus: NexusId,
}

/// One row of `vtl iscsi session ls`.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Target session identifying handle.
    pub tsih: u16,
    /// iSCSI name.
    pub initiator: String,
    /// Target name; none for discovery.
    pub target: Option<String>,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Login time.
    pub since_unix_s: u64,
}

impl Sessions {
    /// An empty registry that logs initiators in as `portal` says.
    pub fn new(portal: Portal) -> Arc<Self> {
        Arc::new(Self {
            portal: RwLock::new(Arc::new(portal)),
            targets: RwLock::default(),
            table: Mutex::default(),
            lobby: Lobby::default(),
            next_nexus: AtomicU64::new(1),
            in_flight: InFlight::new(u64::MAX),
            buffers: Supply::of(u64::MAX),
        })
    }

    /// Bytes in flight over all sessions.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Large receive buffers of all connections.
    pub fn buffers(&self) -> &Arc<Supply> {
        &self.buffers
    }

    /// Connections that are still logging in.
    pub fn lobby(&self) -> &Lobby {
        &self.lobby
    }

    /// What a new connection is told.
    pub fn portal(&self) -> Arc<Portal> {
        self.portal.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// New connections see `portal` from now on; those that are logged in keep what they have.
    pub fn set_portal(&self, portal: Portal) {
        *self.portal.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(portal);
    }

    /// The target with this name.
    pub fn target(&self, name: &str) -> Option<Arc<Target>> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All targets, by name.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        let mut targets: Vec<_> =
            self.targets.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        targets.sort_by(|one, other| one.name.cmp(&other.name));
        targets
    }

    /// Makes a target known.
    pub fn add_target(&self, target: Arc<Target>) {
        self.targets.write().unwrap_or_else(PoisonError::into_inner).insert(target.name.clone(), target);
    }

    /// Forgets a target and closes its sessions.
    pub fn remove_target(&self, name: &str) {
        self.targets.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        for (_, entry) in self.table().sessions.iter().filter(|(key, _)| key.target.as_deref() == Ok(name)) {
            drop(entry.control.send(Control::Close(CloseReason::TargetRemoved)));
        }
    }

    /// Sessions now.
    pub fn list(&self) -> Vec<SessionRow> {
        let table = self.table();
        let mut rows: Vec<_> = table.sessions.iter().map(|(key, entry)| entry.row(key)).collect();
        rows.sort_by_key(|row| row.tsih);
        rows
    }

    /// Asks every session to end.
    pub fn close_all(&self) {
        for entry in self.table().sessions.values() {
            drop(entry.control.send(Control::Close(CloseReason::Shutdown)));
        }
    }

    /// Waits until every session has ended, at most `limit`.
    pub async fn ended(&self, limit: Duration) {
        self.ended_with(|_| true, limit).await;
    }

    /// The same for those whose target is among these.
    pub async fn ended_of(&self, targets: &[String], limit: Duration) {
        self.ended_with(|key| key.target.as_ref().is_ok_and(|target| targets.contains(target)), limit).await;
    }

    async fn ended_with(&self, which: impl Fn(&Key) -> bool, limit: Duration) {
        let watched: Vec<_> = {
            let table = self.table();
            let ending = table.sessions.iter().filter(|(key, _)| which(key));
            ending.map(|(_, entry)| entry.ended.clone()).collect()
        };
        let all = async {
            for mut ended in watched {
                // An error is the end: the sender is gone.
                while ended.changed().await.is_ok() {}
            }
        };
        if timeout(limit, all).await.is_err() {
            tracing::warn!("sessions are still open; their buffered data is made durable all the same");
        }
    }

    /// Lets a login in: session reinstatement closes the old session of the same initiator port first and waits until its tasks are gone.
    ///
    /// # Errors
    /// The status that refuses the login.
    pub async fn admit(
        self: &Arc<Self>,
        request: &AdmitRequest,
        peer: SocketAddr,
        control: &UnboundedSender<Control>,
    ) -> Result<Registration, LoginStatus> {
        let nexus = NexusId(self.next_nexus.fetch_add(1, Ordering::Relaxed));
        let target = match &request.kind {
            SessionKind::Discovery => Err(nexus),
            SessionKind::Normal { target } => Ok(target.clone()),
        };
        let key = Key { initiator: request.initiator.clone(), isid: request.isid, target };
        self.may_displace(&key, request)?;
        while let Some(mut ended) = self.displace(&key) {
            if timeout(DISPLACE_WAIT, ended.changed()).await.is_err() {
                return Err(LoginStatus::OutOfResources);
            }
        }
        let wanted =
            Place { tsih: (request.tsih_asked != 0).then_some(request.tsih_asked), cid: request.cid, nexus };
        self.register(key, wanted, peer, control)
    }

    /// A login with a handle is for a session that exists: the same connection takes its own place, another one finds none.
    fn may_displace(&self, key: &Key, request: &AdmitRequest) -> Result<(), LoginStatus> {
        if request.tsih_asked == 0 {
            return Ok(());
        }
        match self.table().sessions.get(key) {
            Some(entry) if entry.tsih == request.tsih_asked && entry.cid == request.cid => Ok(()),
            Some(entry) if entry.tsih == request.tsih_asked => Err(LoginStatus::TooManyConnections),
            _ => Err(LoginStatus::SessionDoesNotExist),
        }
    }

    /// Tells the session in the way to close; its end comes through the receiver. `None`: nobody is in the way.
    fn displace(&self, key: &Key) -> Option<watch::Receiver<()>> {
        let table = self.table();
        let entry = table.sessions.get(key)?;
        drop(entry.control.send(Control::Close(CloseReason::Reinstated)));
        Some(entry.ended.clone())
    }

    fn register(
        self: &Arc<Self>,
        key: Key,
        wanted: Place,
        peer: SocketAddr,
        control: &UnboundedSender<Control>,
    ) -> Result<Registration, LoginStatus> {
        let Place { cid, nexus, .. } = wanted;
        let limit = usize::try_from(self.portal().limits.max_sessions).unwrap_or(usize::MAX);
        let mut table = self.table();
        if table.sessions.len() >= limit {
            return Err(LoginStatus::OutOfResources);
        }
        let Some(tsih) = wanted.tsih.or_else(|| table.free_tsih()) else {
            return Err(LoginStatus::OutOfResources);
        };
        // Last of all: from here on it is a session, and not in anybody's way.
        if !self.lobby.leave() {
            return Err(LoginStatus::OutOfResources);
        }
        let (ended_to, ended) = watch::channel(());
        let since_unix_s = crate::clock::unix_seconds();
        let entry = Entry { tsih, cid, peer, since_unix_s, control: control.clone(), ended };
        table.sessions.insert(key.clone(), entry);
        Ok(Registration { sessions: self.clone(), key, tsih, nexus, _ended: ended_to })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The next handle after the last one given out, so that an old one is not soon met again. Zero is no handle.
    fn free_tsih(&mut self) -> Option<u16> {
        let taken: std::collections::HashSet<u16> = self.sessions.values().map(|e| e.tsih).collect();
        let after = (self.last_tsih..u16::MAX).map(|t| t + 1);
        let tsih = after.chain(1..=self.last_tsih).find(|t| !taken.contains(t))?;
        self.last_tsih = tsih;
        Some(tsih)
    }
}

impl Entry {
    fn row(&self, key: &Key) -> SessionRow {
        SessionRow {
            tsih: self.tsih,
            initiator: key.initiator.clone(),
            target: key.target.clone().ok(),
            peer: self.peer,
            since_unix_s: self.since_unix_s,
        }
    }
}

/// A place in the registry; given back when dropped.
pub struct Registration {
    sessions: Arc<Sessions>,
    key: Key,
    tsih: u16,
    nexus: NexusId,
    /// Dropped with this value, which wakes whoever waits to take the place.
    _ended: watch::Sender<()>,
}

impl Registration {
    /// The handle for the login response.
    pub fn tsih(&self) -> u16 {
        self.tsih
    }

    /// The nexus that this session is.
    pub fn nexus(&self) -> NexusId {
        self.nexus
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.sessions.table().sessions.remove(&self.key);
    }
}
