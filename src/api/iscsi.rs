//! Requests about portals, targets, sessions, and who may log in.

use std::net::SocketAddr;

use vtl_api::{
    AddInitiator, AddPortal, ApiError, Done, ErrorCode, Paged, PortalInfo, SessionInfo, SetChap, TargetInfo,
};
use vtl_conf::ConfErrors;
use vtl_library::LibraryError;
use vtl_meta::{MetaError, Tx};
use vtl_types::{ChapAccount, ChapError, ChapLogin, IscsiName, Secret};

use super::page::{Page, Wanted};
use super::route::{Nothing, Route, delete, field, get, list, post, put};
use super::{Answer, done, parse, refused, runtime};
use crate::clock::rfc3339;
use crate::daemon::{Daemon, internal, invalid, lock, open_door};
use crate::listeners::Wanted as Listener;
use crate::portal::{DIAGNOSTIC_TARGET, target_doors_in};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/iscsi/portals", "Addresses that iSCSI listens on", |d, (), _: Nothing| d.portal_list()),
        post("/iscsi/portals", "Listen on an address", |d, (), b: AddPortal| d.portal_add(&b)),
        delete("/iscsi/portals/{address}", "Listen no more on an address", |d, a: String, _: Nothing| {
            d.portal_remove(&a)
        }),
        get("/iscsi/targets", "All targets", |d, (), _: Nothing| d.target_list()),
        list("/iscsi/sessions", "All sessions", |d, (), q: Paged| d.session_page(&q)),
        put("/iscsi/targets/{library}/chap", "Ask for CHAP", |d, n: String, b: SetChap| d.chap_set(&n, &b)),
        delete("/iscsi/targets/{library}/chap", "Ask for CHAP no more", |d, n: String, _: Nothing| {
            d.chap_remove(&n)
        }),
        post(
            "/iscsi/targets/{library}/initiators",
            "Let an initiator log in",
            |d, n: String, b: AddInitiator| d.initiator_add(&n, &b),
        ),
        delete(
            "/iscsi/targets/{library}/initiators/{initiator}",
            "Take an initiator off the list",
            |d, (n, i): (String, String), _: Nothing| d.initiator_remove(&n, &i),
        ),
    ]
}

fn parse_address(text: &str) -> Answer<SocketAddr> {
    let remedy = "write ADDR:PORT, such as 192.0.2.10:3260 or [2001:db8::1]:3260";
    text.parse().map_err(|_| invalid(format!("'{text}' is no address and port"), remedy))
}

/// What the other direction of CHAP has.
const MUTUAL: (&str, &str) = ("mutual_user", "mutual_secret");

/// A log-in that cannot be, of these members.
fn no_chap(error: ChapError, (user, secret): (&str, &str)) -> ApiError {
    let (member, remedy) = match error {
        ChapError::User => (user, "write the name as the other side has it"),
        ChapError::SecretLength(_) | ChapError::SameSecret => (secret, "make one up for this alone"),
    };
    invalid(error.to_string(), remedy).about(member)
}

/// Why a door was not opened.
enum NotLoosened {
    Library(LibraryError),
    Open(ConfErrors),
}

impl From<LibraryError> for NotLoosened {
    fn from(error: LibraryError) -> Self {
        Self::Library(error)
    }
}

impl From<MetaError> for NotLoosened {
    fn from(error: MetaError) -> Self {
        Self::Library(error.into())
    }
}

impl Daemon {
    pub(super) fn portal_list(&self) -> Answer<Vec<PortalInfo>> {
        let rows = self.listeners().list().into_iter().map(|(address, wanted)| PortalInfo {
            address: address.to_string(),
            origin: match wanted {
                Listener::Configured => "configuration".to_owned(),
                Listener::Added => "added".to_owned(),
            },
        });
        Ok(rows.collect())
    }

    /// Opens a listener at once, and at every start from now on.
    pub(super) fn portal_add(&self, request: &AddPortal) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let asked = field("address", parse_address(&request.address))?;
        if self.listeners().wanted(asked).is_some() {
            return Err(ApiError::new(
                ErrorCode::Exists,
                format!("iSCSI listens on {asked} already"),
                "see vtl iscsi portal ls",
            )
            .about("address"));
        }
        let runtime = runtime()?;
        let address = field("address", runtime.block_on(self.open_listener(asked)))?;
        if let Err(error) = self.meta.add_portal(address) {
            runtime.block_on(self.listeners().close(address));
            return Err(refused(&error.into()));
        }
        Ok(done(format!("iSCSI listens on {address}, also after a restart"), vec![address.to_string()]))
    }

    /// Closes a listener that was added. Sessions are not asked.
    pub(super) fn portal_remove(&self, address: &str) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let address = parse_address(address)?;
        let open = self.listeners().wanted(address);
        if open == Some(Listener::Configured) {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!("{address} is an address of the configuration"),
                "take it out of iscsi.listen (or of the arguments --listen) and restart vtld",
            ));
        }
        let remembered = self.meta.forget_portal(address).map_err(|e| refused(&e.into()))?;
        if open.is_none() && !remembered {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!("iSCSI does not listen on {address}"),
                "see vtl iscsi portal ls",
            ));
        }
        runtime()?.block_on(self.listeners().close(address));
        self.forget_problem(&format!("portal {address}"));
        Ok(done(
            format!("iSCSI takes no new connections on {address}; sessions that exist stay"),
            vec![address.to_string()],
        ))
    }

    pub(super) fn target_list(&self) -> Answer<Vec<TargetInfo>> {
        let portal = self.sessions().portal();
        Ok(portal
            .targets
            .iter()
            .map(|target| TargetInfo {
                name: target.name.clone(),
                library: self
                    .libraries()
                    .iter()
                    .find(|live| live.targets().iter().any(|own| own.name == target.name))
                    .map(|live| live.name.to_string()),
                luns: self.sessions().target(&target.name).map(|t| t.lun_numbers()).unwrap_or_default(),
                chap_user: target.auth.chap.as_ref().map(|chap| chap.user.clone()),
                initiators: target.initiators.clone(),
            })
            .collect())
    }

    pub(super) fn session_page(&self, asked: &Paged) -> Result<Page<SessionInfo>, ApiError> {
        let wanted = Wanted::of(asked.limit, asked.cursor.as_deref(), "tsih")?;
        Ok(wanted
            .cut(self.session_list()?, "tsih", |session| format!("{:05} {}", session.tsih, session.peer)))
    }

    pub(super) fn session_list(&self) -> Answer<Vec<SessionInfo>> {
        let rows = self.sessions().list().into_iter().map(|row| SessionInfo {
            tsih: row.tsih,
            initiator: row.initiator,
            target: row.target,
            peer: row.peer.to_string(),
            since: rfc3339(row.since_unix_s),
        });
        Ok(rows.collect())
    }

    fn target_of(&self, library: &str) -> Answer<IscsiName> {
        match library {
            "diag" => parse(DIAGNOSTIC_TARGET),
            _ => parse(&self.live(library)?.target.name),
        }
    }

    pub(super) fn chap_set(&self, library: &str, request: &SetChap) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let target = self.target_of(library)?;
        let login = |user: &str, secret: &str| ChapLogin::new(user, Secret::new(secret.as_bytes().to_vec()));
        let mutual = match (&request.mutual_user, &request.mutual_secret) {
            (Some(user), Some(secret)) => Some(login(user, secret).map_err(|error| no_chap(error, MUTUAL))?),
            (None, None) => None,
            (user, _) => {
                let missing = if user.is_none() { MUTUAL.0 } else { MUTUAL.1 };
                let error = invalid("mutual CHAP needs a user and a secret".to_owned(), "give both or none");
                return Err(error.about(missing));
            }
        };
        let own =
            login(&request.user, &request.secret).map_err(|error| no_chap(error, ("user", "secret")))?;
        let account = ChapAccount::new(own, mutual).map_err(|error| no_chap(error, MUTUAL))?;
        let kept = self.sealing.keep_chap(&target, &account).map_err(|e| internal(&e.to_string()))?;
        self.meta.change(|tx| vtl_library::set_chap(tx, &target, &kept)).map_err(|e| refused(&e))?;
        self.publish().map_err(|e| refused(&e))?;
        Ok(done(
            format!("new logins to {target} need CHAP; sessions that exist stay"),
            vec![target.to_string()],
        ))
    }

    pub(super) fn initiator_add(&self, library: &str, request: &AddInitiator) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let target = self.target_of(library)?;
        let initiator: IscsiName = field("initiator", parse(&request.initiator))?;
        self.meta
            .change(|tx| vtl_library::add_initiator(tx, &target, &initiator))
            .map_err(|e| refused(&e))?;
        self.publish().map_err(|e| refused(&e))?;
        Ok(done(
            format!("{initiator} may log in to {target}; only those on the list may"),
            vec![initiator.to_string()],
        ))
    }

    /// A change of who may log in that must not leave a target open in front of a listener that others can reach.
    pub(super) fn loosen(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<bool, LibraryError>,
    ) -> Answer<bool> {
        let config = self.config();
        let listeners = self.portals();
        let changed = self.meta.with(|meta| {
            meta.transaction(|tx| {
                let changed = change(tx)?;
                let known = target_doors_in(&config, tx)?;
                for address in &listeners {
                    config.check_listener(address, &known).map_err(NotLoosened::Open)?;
                }
                Ok(changed)
            })
        });
        changed.map_err(|why| match why {
            NotLoosened::Library(error) => refused(&error),
            NotLoosened::Open(errors) => open_door("then ", &errors),
        })
    }

    /// Stops asking for the CHAP that [`Daemon::chap_set`] set.
    pub(super) fn chap_remove(&self, library: &str) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let target = self.target_of(library)?;
        if !self.loosen(|tx| vtl_library::clear_chap(tx, &target))? {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!("no CHAP is set for {target}"),
                "what the configuration file sets is removed there",
            ));
        }
        self.publish().map_err(|e| refused(&e))?;
        Ok(done(
            format!("the CHAP that was set for {target} is no longer asked for"),
            vec![target.to_string()],
        ))
    }

    /// Takes an initiator off the list; without the last one, anybody may log in.
    pub(super) fn initiator_remove(&self, library: &str, initiator: &str) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let target = self.target_of(library)?;
        let initiator: IscsiName = parse(initiator)?;
        if !self.loosen(|tx| vtl_library::remove_initiator(tx, &target, &initiator))? {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!("{initiator} is not on the list of {target}"),
                "what the configuration file lists is removed there",
            ));
        }
        self.publish().map_err(|e| refused(&e))?;
        let list = self
            .sessions()
            .portal()
            .targets
            .iter()
            .find(|t| t.name == target.as_str())
            .map(|t| t.initiators.is_some());
        let left = match list {
            Some(true) => "others on the list may log in",
            _ => "the list is empty, so any initiator may try",
        };
        Ok(done(
            format!("{initiator} is off the list of {target}; {left}; sessions that exist stay"),
            vec![initiator.to_string()],
        ))
    }
}
