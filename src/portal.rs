//! What initiators find: listeners, and the rules of login made from configuration and inventory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{error, warn};
use vtl_conf::{Config, Digest, TargetDoor};
use vtl_iscsi::config::{Auth, ChapIn, ChapOut, DigestOffer, Limits, Portal, TargetConfig};
use vtl_library::{KeptChap, LibraryError};
use vtl_meta::Tx;
use vtl_types::{ChapAccount, ChapLogin, IscsiName};

use crate::lobby::Lobby;
use crate::meta::SharedMeta;
use crate::sealing::Sealing;
use crate::sessions::Sessions;
use crate::state::next_inventory;

/// Target of the diagnostic disk.
pub const DIAGNOSTIC_TARGET: &str = "iqn.2026-11.internal.vtl:diag";
/// All our portals are one group.
const PORTAL_GROUP: u16 = 1;

/// How long a new connection waits for the place of one that was shown out: that one only has to notice.
const SHOWN_OUT: Duration = Duration::from_secs(1);

/// Accepts connections until the daemon stops. When the limit is reached, the one that has been logging in for the longest time
/// makes room: who says nothing must not keep others out. When all are in sessions, a new one is closed at once.
pub async fn listen(listener: TcpListener, sessions: Arc<Sessions>, places: Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => match place(&places, sessions.lobby()).await {
                Some(place) => welcome(socket, peer, &sessions, place),
                None => warn!(%peer, "connection refused: iscsi.max_connections are open"),
            },
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn place(places: &Arc<Semaphore>, lobby: &Lobby) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = places.clone().try_acquire_owned() {
        return Some(place);
    }
    if !lobby.show_out_oldest() {
        return None;
    }
    timeout(SHOWN_OUT, places.clone().acquire_owned()).await.ok()?.ok()
}

fn welcome(socket: TcpStream, peer: SocketAddr, sessions: &Arc<Sessions>, place: OwnedSemaphorePermit) {
    let served = sessions.clone();
    sessions.lobby().enter(async move {
        crate::connection::serve(socket, peer, served.clone()).await;
        served.lobby().leave();
        drop(place);
    });
}

/// A target's doors as configuration and inventory say together; the configuration wins where both speak.
struct Doors {
    name: IscsiName,
    chap: Asked,
    initiators: Vec<IscsiName>,
}

/// What a target asks of who logs in.
enum Asked {
    /// No CHAP.
    Nothing,
    Account(Box<ChapAccount>),
    /// There is an account, and nobody can tell what: nobody gets in.
    Unreadable,
}

impl Asked {
    /// Of what the inventory keeps; without `sealing` only that there is one counts.
    fn kept(iqn: &IscsiName, kept: KeptChap, sealing: Option<&Sealing>) -> Self {
        let Some(sealing) = sealing else { return Self::Unreadable };
        match sealing.chap(iqn, kept) {
            Ok(account) => Self::Account(Box::new(account)),
            Err(why) => {
                error!(%iqn, why, "the CHAP secret cannot be read, so nobody can log in: set it anew with vtl iscsi chap set");
                Self::Unreadable
            }
        }
    }

    fn unless(self, configured: Option<&ChapAccount>) -> Self {
        configured.map_or(self, |account| Self::Account(Box::new(account.clone())))
    }

    fn account(&self) -> Option<&ChapAccount> {
        match self {
            Self::Account(account) => Some(account),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

fn doors(config: &Config, tx: &Tx<'_>, sealing: Option<&Sealing>) -> Result<Vec<Doors>, LibraryError> {
    let diagnostic = config.iscsi.diagnostic_disk.and_then(|_| DIAGNOSTIC_TARGET.parse::<IscsiName>().ok());
    let mut doors = Vec::new();
    for target in vtl_library::targets(tx)? {
        let main = vtl_library::targets_of(tx, &target.library)?.main;
        let kept = vtl_library::chap(tx, &main)?;
        let chap = kept.map_or(Asked::Nothing, |kept| Asked::kept(&main, kept, sealing));
        let initiators = vtl_library::initiators(tx, &main)?;
        let all = Doors { name: main.clone(), chap, initiators }.and_configured(config);
        doors.push(if target.iqn == main { all } else { all.narrowed(config, target.iqn) });
    }
    let diagnostic = diagnostic.map(|name| Doors { name, chap: Asked::Nothing, initiators: Vec::new() });
    doors.extend(diagnostic.map(|door| door.and_configured(config)));
    Ok(doors)
}

impl Doors {
    /// With what the configuration says of the target: its CHAP instead of the inventory's, its initiators beside them.
    fn and_configured(mut self, config: &Config) -> Self {
        if let Some(access) = config.iscsi.targets.get(&self.name) {
            self.chap = self.chap.unless(access.chap.as_ref());
            self.initiators.extend(access.initiators.iter().cloned());
        }
        self
    }

    /// The door of a drive's own target: that of its library, unless the configuration says something of this very target.
    fn narrowed(mut self, config: &Config, name: IscsiName) -> Self {
        if let Some(access) = config.iscsi.targets.get(&name) {
            self.chap = self.chap.unless(access.chap.as_ref());
            if !access.initiators.is_empty() {
                self.initiators = access.initiators.iter().cloned().collect();
            }
        }
        Self { name, ..self }
    }
}

/// Which targets the inventory guards, for the check of wide listeners.
///
/// # Errors
/// The inventory cannot be read.
pub fn target_doors(config: &Config, meta: &SharedMeta) -> Result<Vec<TargetDoor>, LibraryError> {
    meta.read(|tx| target_doors_in(config, tx))
}

/// The same within a transaction: as it would be.
///
/// # Errors
/// The inventory cannot be read.
pub fn target_doors_in(config: &Config, tx: &Tx<'_>) -> Result<Vec<TargetDoor>, LibraryError> {
    Ok(doors(config, tx, None)?
        .into_iter()
        .map(|door| TargetDoor {
            guarded: !matches!(door.chap, Asked::Nothing) || !door.initiators.is_empty(),
            target: door.name,
        })
        .collect())
}

/// Looks at the listeners of `config` as a start does, in front of the targets of the inventory that it would take, which is only read. Before a first
/// start there are none.
///
/// # Errors
/// What is wrong with them; the inventory cannot be read.
pub fn check_doors(config: &Config) -> Result<(), String> {
    let inventory = next_inventory(&config.state);
    let known = match inventory.try_exists() {
        Ok(true) => {
            let meta = SharedMeta::open_copy(&inventory).map_err(|e| e.advised())?;
            target_doors(config, &meta).map_err(|e| e.advised())?
        }
        Ok(false) => Vec::new(),
        Err(error) => return Err(format!("{}: {error}", inventory.display())),
    };
    config.check_doors(&known).map_err(|errors| errors.to_string())
}

/// What new connections are told.
///
/// # Errors
/// The inventory cannot be read: nobody is let in on half a list.
pub fn portal(config: &Config, meta: &SharedMeta, sealing: &Sealing) -> Result<Portal, LibraryError> {
    let targets = meta.read(|tx| doors(config, tx, Some(sealing)))?.into_iter().map(target).collect();
    Ok(Portal { targets, discovery_auth: auth(config.iscsi.discovery_chap.as_ref()), limits: limits(config) })
}

fn target(door: Doors) -> TargetConfig {
    TargetConfig {
        name: door.name.to_string(),
        alias: None,
        portal_group_tag: PORTAL_GROUP,
        auth: auth(door.chap.account()),
        initiators: initiators(&door),
        portals: Vec::new(),
    }
}

/// Who may log in by name: all without a list, nobody where the account cannot be read.
fn initiators(door: &Doors) -> Option<Vec<String>> {
    match (&door.chap, door.initiators.as_slice()) {
        (Asked::Unreadable, _) => Some(Vec::new()),
        (_, []) => None,
        (_, list) => Some(list.iter().map(ToString::to_string).collect()),
    }
}

fn auth(account: Option<&ChapAccount>) -> Auth {
    let secret = |login: &ChapLogin| vtl_iscsi::secret::Secret::new(login.secret().expose().to_vec());
    Auth {
        chap: account.map(|a| ChapIn { user: a.login().user().to_owned(), secret: secret(a.login()) }),
        mutual: account
            .and_then(ChapAccount::mutual)
            .map(|m| ChapOut { user: m.user().to_owned(), secret: secret(m) }),
    }
}

fn limits(config: &Config) -> Limits {
    let iscsi = &config.iscsi;
    Limits {
        max_sessions: iscsi.max_sessions,
        max_connections: iscsi.max_connections,
        login_timeout_ns: u64::try_from(iscsi.login_timeout.as_nanos()).unwrap_or(u64::MAX),
        max_recv_data_segment_length: iscsi.max_recv_data_segment_length,
        max_burst_length: iscsi.max_burst_length,
        first_burst_length: iscsi.first_burst_length,
        max_outstanding_r2t: u32::from(iscsi.max_outstanding_r2t),
        command_window: iscsi.command_window,
        max_bytes_in_flight: iscsi.max_bytes_in_flight_session.0,
        header_digest: digest(&iscsi.header_digest),
        data_digest: digest(&iscsi.data_digest),
        ..Limits::default()
    }
}

fn digest(offers: &[Digest]) -> DigestOffer {
    match (offers.contains(&Digest::Crc32c), offers.contains(&Digest::None)) {
        (true, false) => DigestOffer::Required,
        (true, true) => DigestOffer::Allowed,
        (false, _) => DigestOffer::Off,
    }
}

/// Opens a listener on each address, so that a wrong one stops the start.
///
/// # Errors
/// The address and what the system says.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind_one(*address).await.map_err(|why| format!("iscsi.listen: {why}"))?);
    }
    Ok(listeners)
}

/// Opens one.
///
/// # Errors
/// The address and what the system says.
pub async fn bind_one(address: SocketAddr) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|e| format!("cannot listen on {address}: {e}; is another program there?"))
}
