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
/// Discovery sessions at once. They are no part of `iscsi.max_sessions`: whoever asks for names keeps no host out.
const MAX_DISCOVERY_SESSIONS: usize = 16;

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
    nexus: NexusId,
    tsih: u16,
    cid: u16,
    peer: SocketAddr,
    since_unix_s: u64,
    control: UnboundedSender<Control>,
    ended: watch::Receiver<()>,
}

/// What a login asks for.
#[derive(Clone, Copy)]
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
        let wanted =
            Place { tsih: (request.tsih_asked != 0).then_some(request.tsih_asked), cid: request.cid, nexus };
        loop {
            let mut ended = match self.register(&key, wanted, peer, control) {
                Ok(registration) => return Ok(registration),
                Err(Denied::Refused(status)) => return Err(status),
                Err(Denied::Taken(ended)) => ended,
            };
            if timeout(DISPLACE_WAIT, ended.changed()).await.is_err() {
                return Err(LoginStatus::OutOfResources);
            }
        }
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

    /// Takes the place, if nobody is in the way. All of it under one lock: of two that come at once the second finds the first.
    fn register(
        self: &Arc<Self>,
        key: &Key,
        wanted: Place,
        peer: SocketAddr,
        control: &UnboundedSender<Control>,
    ) -> Result<Registration, Denied> {
        let Place { cid, nexus, .. } = wanted;
        let limit = self.limit_of(key);
        let mut table = self.table();
        // Whoever removes a target forgets it first, and then closes what is in the table.
        if key.target.as_ref().is_ok_and(|name| self.target(name).is_none()) {
            return Err(Denied::Refused(LoginStatus::TargetRemoved));
        }
        if let Some(entry) = table.sessions.get(key) {
            drop(entry.control.send(Control::Close(CloseReason::Reinstated)));
            return Err(Denied::Taken(entry.ended.clone()));
        }
        if table.count_like(key) >= limit {
            return Err(Denied::Refused(LoginStatus::OutOfResources));
        }
        let Some(tsih) = wanted.tsih.or_else(|| table.free_tsih()) else {
            return Err(Denied::Refused(LoginStatus::OutOfResources));
        };
        // Last of all: from here on it is a session, and not in anybody's way.
        if !self.lobby.leave() {
            return Err(Denied::Refused(LoginStatus::OutOfResources));
        }
        let (ended_to, ended) = watch::channel(());
        let since_unix_s = crate::clock::unix_seconds();
        let entry = Entry { nexus, tsih, cid, peer, since_unix_s, control: control.clone(), ended };
        table.sessions.insert(key.clone(), entry);
        Ok(Registration { sessions: self.clone(), key: key.clone(), tsih, nexus, _ended: ended_to })
    }

    /// How many sessions of this kind there may be.
    fn limit_of(&self, key: &Key) -> usize {
        match key.target {
            Ok(_) => usize::try_from(self.portal().limits.max_sessions).unwrap_or(usize::MAX),
            Err(_) => MAX_DISCOVERY_SESSIONS,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a login has no place.
enum Denied {
    /// It gets none.
    Refused(LoginStatus),
    /// Another session has it and is told to close; its end comes through the receiver.
    Taken(watch::Receiver<()>),
}

impl Table {
    /// Sessions with targets, or for discovery, as `key` is.
    fn count_like(&self, key: &Key) -> usize {
        self.sessions.keys().filter(|other| other.target.is_ok() == key.target.is_ok()).count()
    }

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
        let mut table = self.sessions.table();
        // Never the row of another.
        if table.sessions.get(&self.key).is_some_and(|entry| entry.nexus == self.nexus) {
            table.sessions.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use scsi::Identity;
    use scsi::disk::RamDisk;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::sync::oneshot;

    use super::*;

    /// What saves nothing.
    struct Nothing;

    impl scsi::Persist for Nothing {
        fn load(&self, _key: &str) -> Option<Vec<u8>> {
            None
        }

        fn save(&mut self, _key: &str, _value: &[u8]) -> Result<(), scsi::PersistFault> {
            Ok(())
        }
    }

    const TARGET: &str = "iqn.2026-11.internal.vtl:t";

    /// One target, and as many sessions with it as are said.
    fn sessions(max_sessions: u32) -> Arc<Sessions> {
        let limits = vtl_iscsi::config::Limits { max_sessions, ..vtl_iscsi::config::Limits::default() };
        let sessions = Sessions::new(Portal { limits, ..Portal::default() });
        let face = Identity::new(&RamDisk::<Nothing>::personality().unwrap(), "D", 1);
        sessions.add_target(Target::new(TARGET.to_owned(), face));
        sessions
    }

    fn request(host: u8, kind: SessionKind) -> AdmitRequest {
        AdmitRequest {
            initiator: "iqn.test:host".to_owned(),
            isid: [0, 0, 0, 0, 0, host],
            tsih_asked: 0,
            cid: 0,
            kind,
        }
    }

    fn normal(host: u8) -> AdmitRequest {
        request(host, SessionKind::Normal { target: TARGET.to_owned() })
    }

    type LoggedIn = (Result<Registration, LoginStatus>, UnboundedReceiver<Control>);

    /// A connection that asks for its place; what it gets, and what it is told later.
    fn log_in(sessions: &Arc<Sessions>, request: AdmitRequest) -> oneshot::Receiver<LoggedIn> {
        let (to, outcome) = oneshot::channel();
        let here = sessions.clone();
        sessions.lobby().enter(async move {
            let (control, told) = unbounded_channel();
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let got = here.admit(&request, peer, &control).await;
            drop(to.send((got, told)));
        });
        outcome
    }

    #[tokio::test]
    async fn of_two_logins_of_one_port_at_once_the_second_displaces_the_first() {
        let sessions = sessions(8);
        let (first, mut told) = log_in(&sessions, normal(1)).await.unwrap();
        let first = first.unwrap();
        let both = [log_in(&sessions, normal(1)), log_in(&sessions, normal(1))];
        for _ in 0..2 {
            assert!(matches!(told.recv().await, Some(Control::Close(CloseReason::Reinstated))));
        }
        drop(first);
        // Whichever comes first is told to make room for the other, and its end leaves the other's row alone.
        let mut got = Vec::new();
        for outcome in both {
            got.push(tokio::spawn(async move {
                let (registration, mut told) = outcome.await.unwrap();
                let registration = registration.unwrap();
                let displaced = timeout(Duration::from_millis(500), told.recv()).await.is_ok();
                (!displaced).then_some(registration)
            }));
        }
        let mut left = Vec::new();
        for task in got {
            left.extend(task.await.unwrap());
        }
        let rows = sessions.list();
        assert_eq!((left.len(), rows.len()), (1, 1));
        assert_eq!(rows[0].tsih, left[0].tsih());
    }

    #[tokio::test]
    async fn a_place_that_is_taken_is_not_given_a_second_time() {
        let sessions = sessions(8);
        let (first, mut told) = log_in(&sessions, normal(1)).await.unwrap();
        let first = first.unwrap();
        let (to, outcome) = oneshot::channel();
        let (here, key) = (sessions.clone(), first.key.clone());
        sessions.lobby().enter(async move {
            let wanted = Place { tsih: None, cid: 0, nexus: NexusId(7) };
            let peer = SocketAddr::from(([127, 0, 0, 1], 2));
            let second = here.register(&key, wanted, peer, &unbounded_channel().0);
            let _ = to.send(matches!(second, Err(Denied::Taken(_))));
        });
        assert_eq!(outcome.await, Ok(true));
        assert!(matches!(told.recv().await, Some(Control::Close(CloseReason::Reinstated))));
        assert_eq!(sessions.list()[0].tsih, first.tsih());
    }

    #[tokio::test]
    async fn the_end_of_a_session_leaves_the_row_of_another_alone() {
        let sessions = sessions(8);
        let (first, _told) = log_in(&sessions, normal(1)).await.unwrap();
        let first = first.unwrap();
        let (ended_to, _ended) = watch::channel(());
        let other = Registration {
            sessions: sessions.clone(),
            key: first.key.clone(),
            tsih: first.tsih,
            nexus: NexusId(u64::MAX),
            _ended: ended_to,
        };
        drop(other);
        assert_eq!(sessions.list().len(), 1);
        drop(first);
        assert_eq!(sessions.list().len(), 0);
    }

    #[tokio::test]
    async fn a_login_while_its_target_goes_away_is_refused() {
        let sessions = sessions(8);
        sessions.remove_target(TARGET);
        let (got, _told) = log_in(&sessions, normal(1)).await.unwrap();
        assert_eq!(got.map(drop), Err(LoginStatus::TargetRemoved));
        assert_eq!(sessions.list().len(), 0);
    }

    #[tokio::test]
    async fn discovery_sessions_have_a_limit_of_their_own_and_keep_no_host_out() {
        let sessions = sessions(2);
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(log_in(&sessions, request(9, SessionKind::Discovery)).await.unwrap().0.unwrap());
        }
        let (more, _told) = log_in(&sessions, request(9, SessionKind::Discovery)).await.unwrap();
        assert_eq!(more.map(drop), Err(LoginStatus::OutOfResources));
        for host in 1..=2 {
            held.push(log_in(&sessions, normal(host)).await.unwrap().0.unwrap());
        }
        let (third, _told) = log_in(&sessions, normal(3)).await.unwrap();
        assert_eq!(third.map(drop), Err(LoginStatus::OutOfResources));
        drop(held.remove(0));
        held.push(log_in(&sessions, request(9, SessionKind::Discovery)).await.unwrap().0.unwrap());
    }
}
