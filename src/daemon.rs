//! The daemon as a whole: what is open, what runs, and the halves that a crash may have left.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use scsi::disk::RamDisk;
use scsi::spc::Identity;
use tracing::{info, warn};
use vtl_api::{ErrorCode, Problem};
use vtl_conf::{ConfErrors, Config, DefaultLibrary, Waiting};
use vtl_durable::{Blame, RealDisk};
use vtl_library::{
    CartridgeState, Counts, InstallationId, LibraryError, NewCartridges, NewLibrary, NewPlace,
};
use vtl_meta::Tx;
use vtl_migrate::Lazies;
use vtl_store::{Health, OwnerId, Store};
use vtl_types::{ByteCount, CartridgeId, Generation, Label, LibraryName, PoolName};

use crate::access::Access;
use crate::alerts::Alerts;
use crate::api::refused;
use crate::args::Args;
use crate::ballast::Ballast;
use crate::eject::Ejection;
use crate::events::Bus;
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::library::{LiveError, LiveLibrary, changers, personality};
use crate::listeners::{Listeners, Wanted};
use crate::media::Shelf;
use crate::meta::SharedMeta;
use crate::policies::Policies;
use crate::pools::{Pool, PoolError, Pools, SEE_DISK, rows, subject};
use crate::portal::{DIAGNOSTIC_TARGET, portal, target_doors};
use crate::remotes::Remotes;
use crate::retention_clock::{Machine, RetentionClock, machine};
use crate::sealing::{self, Sealing};
use crate::sessions::Sessions;
use crate::state::{StateFolder, hexadecimal};
use crate::survey::{Seen, Sight};
use crate::target::{Lun, Target};
use crate::tls::{Fresh, Tls};
use crate::trash;
use crate::unit::Unit;

/// What an empty state begins with (the surface that stays).
const FIRST_LIBRARY: &str = "lib0";
const FIRST_COUNTS: Counts = Counts { drives: 2, slots: 24, mailslots: 4 };
const FIRST_LABEL: &str = "VTL001L8";
const FIRST_CARTRIDGES: u32 = 10;
/// Set when the default library has been made, or is not to be.
pub(crate) const FIRST_START_DONE: &str = "first-start-done";
/// Personality of a library that nobody chose another for.
pub const CHANGER_PROFILE: &str = "ibm-03584l32";
/// Personality of its drives.
pub const DRIVE_PROFILE: &str = "ibm-ult3580-td8";

/// So long before its end the status names a certificate.
const CERTIFICATE_NEAR_END_S: u64 = 14 * 24 * 60 * 60;

/// Below this the status says so; drives report early warning from the same figure on.
pub(crate) const LOW_POOL_BYTES: u64 = 256 << 20;

/// Everything that is open.
pub struct Daemon {
    pub(crate) args: Args,
    config: RwLock<Arc<Config>>,
    pub(crate) state: StateFolder,
    pub(crate) meta: SharedMeta,
    pub(crate) pools: Arc<Pools>,
    pub(crate) shelf: Shelf,
    pub(crate) retention: Arc<RetentionClock>,
    sessions: Arc<Sessions>,
    libraries: RwLock<BTreeMap<LibraryName, Arc<LiveLibrary>>>,
    listeners: Listeners,
    installation: InstallationId,
    pub(crate) started_unix_s: u64,
    standing: Mutex<Vec<Problem>>,
    /// Requests that change what exists, one at a time: store and inventory are two files.
    pub(crate) changes: Mutex<()>,
    /// One reload at a time, by a signal or by a request: what is told of it is the configuration that is in effect.
    reloading: Mutex<()>,
    /// What new connections are told is made and set by one at a time: what was made earlier does not follow what is newer.
    publishing: Mutex<()>,
    pub(crate) jobs: Jobs,
    /// For threads that are started later.
    me: Weak<Self>,
    pub(crate) remotes: Remotes,
    pub(crate) keys: Keys,
    pub(crate) sealing: Sealing,
    pub(crate) ejection: Ejection,
    pub(crate) policies: Policies,
    pub(crate) access: Access,
    /// None: the API speaks plain HTTP, on loopback.
    pub(crate) tls: Option<Tls>,
    pub(crate) alerts: Alerts,
    /// What happens, for whoever listens.
    pub(crate) events: Arc<Bus>,
}

impl Daemon {
    /// Opens everything, finishes what a crash left half done, and starts the libraries.
    ///
    /// # Errors
    /// What stops the start, in words for the operator.
    pub fn open(args: Args, config: Config, state: StateFolder) -> Result<Arc<Self>, String> {
        Self::open_on(args, config, state, machine())
    }

    /// The same with the clocks of this machine.
    pub(crate) fn open_on(
        args: Args,
        config: Config,
        mut state: StateFolder,
        machine: Machine,
    ) -> Result<Arc<Self>, String> {
        let disk = Arc::new(RealDisk::new());
        // Before anything changes: a wrong key ends the start here.
        let sealing = Sealing::open(&config.secrets, disk.as_ref(), state.path())?;
        state.put_restored().map_err(|e| e.to_string())?;
        state.seal_with(sealing.clone());
        let meta = SharedMeta::open(&state.inventory()).map_err(|e| e.advised())?;
        let installation = install(&meta)?;
        let keys = Keys::open(disk, state.path(), sealing.clone()).map_err(|e| e.to_string())?;
        let not_sealed = sealing::rest::seal_all(&state, &meta, &keys, &sealing)?;
        let (access, audit_problems) = Access::open(meta.clone(), &state)?;
        let tls = config.api.tls.as_ref().map(|tls| Tls::open(tls, &config.api, &state)).transpose()?;
        let pools = Arc::new(Pools::open(&config, &meta)?);
        let most_s = config.retention.max_clock_step_s;
        let (retention, time_lost) =
            RetentionClock::open(state.path(), machine, most_s, || remembered(&pools));
        let retention = Arc::new(retention);
        let remotes = Remotes::new(meta.clone(), state.path(), pools.clone()).map_err(|e| e.to_string())?;
        let (of_shelf, defaults, clock) = (pools.clone(), config.cartridge.clone(), retention.clone());
        let new_shelf = |me: &Weak<Self>| {
            let lazies = Arc::new(Lazies::new(crate::jobs::world(me.clone())));
            Shelf::new(of_shelf, defaults, clock, lazies)
        };
        let ejection = Ejection::new(pools.clone());
        let sessions = Sessions::new(vtl_iscsi::config::Portal {
            targets: Vec::new(),
            discovery_auth: vtl_iscsi::config::Auth::default(),
            limits: vtl_iscsi::config::Limits::default(),
        });
        let listeners = Listeners::new(config.iscsi.max_connections);
        let daemon = Arc::new_cyclic(|me| Self {
            args,
            config: RwLock::new(Arc::new(config)),
            state,
            meta,
            pools,
            shelf: new_shelf(me),
            retention,
            sessions,
            libraries: RwLock::default(),
            listeners,
            installation,
            started_unix_s: crate::clock::unix_seconds(),
            standing: Mutex::default(),
            changes: Mutex::new(()),
            reloading: Mutex::new(()),
            publishing: Mutex::new(()),
            jobs: Jobs::default(),
            me: me.clone(),
            remotes,
            keys,
            sealing,
            ejection,
            policies: Policies::default(),
            access,
            tls,
            alerts: Alerts::default(),
            events: Bus::new(crate::random::number()),
        });
        audit_problems.into_iter().chain(not_sealed).for_each(|problem| daemon.note_problem(problem));
        daemon.heed();
        daemon.access.heed(&daemon.config());
        daemon.note_names();
        time_lost.into_iter().for_each(|problem| daemon.note_problem(problem));
        daemon.note_put_back().map_err(vtl_api::ApiError::advised)?;
        daemon.finish_halves().map_err(vtl_api::ApiError::advised)?;
        daemon.tell_if_it_was_lost().map_err(vtl_api::ApiError::advised)?;
        daemon.first_start().map_err(vtl_api::ApiError::advised)?;
        daemon.check_doors().map_err(vtl_api::ApiError::advised)?;
        daemon.start_libraries()?;
        daemon.start_diagnostic_disk()?;
        daemon.publish().map_err(|e| e.advised())?;
        daemon.ballast().fill_if_there_is_room();
        Ok(daemon)
    }

    /// For threads and work that may outlive it.
    pub(crate) fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    /// The space kept for a start on a full file system.
    pub fn ballast(&self) -> &Ballast {
        self.state.ballast()
    }

    /// The configuration in effect.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The registry of sessions.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Addresses that iSCSI listens on.
    pub fn portals(&self) -> Vec<SocketAddr> {
        self.listeners.list().into_iter().map(|(address, _)| address).collect()
    }

    /// The iSCSI listeners.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Opens the listeners that operators have added. One that cannot be opened is a problem for the status and keeps nothing from starting.
    ///
    /// # Errors
    /// The inventory cannot be read.
    pub async fn open_remembered(&self) -> Result<(), String> {
        for address in self.meta.portals().map_err(|e| e.advised())? {
            if self.listeners.wanted(address).is_none()
                && let Err(why) = self.open_listener(address).await
            {
                self.note_problem(Problem {
                    subject: format!("portal {address}"),
                    message: format!("it is not open: {}", why.message),
                    remedy: format!(
                        "{}; or forget it: vtl iscsi portal rm {address}",
                        why.remedy.unwrap_or_else(|| "see what is there, and restart vtld".to_owned())
                    ),
                });
            }
        }
        Ok(())
    }

    /// Opens a listener that is not of the configuration, when no target would be open to all who reach it.
    pub(crate) async fn open_listener(&self, asked: SocketAddr) -> Result<SocketAddr, vtl_api::ApiError> {
        let known = target_doors(&self.config(), &self.meta).map_err(|e| refused(&e))?;
        self.config().check_listener(&asked, &known).map_err(|errors| open_door("", &errors))?;
        let remedy = "end what else has the address, or take one of this machine that is free";
        let listener = crate::portal::bind_one(asked).await.map_err(|why| invalid(why, remedy))?;
        let opened = self.listeners.open(listener, Wanted::Added, &self.sessions);
        opened.map_err(|e| internal(&e.to_string()))
    }

    /// The installation id in hexadecimal.
    pub fn installation(&self) -> String {
        hexadecimal(&self.installation.0)
    }

    /// The library of this name, if it runs.
    pub fn library(&self, name: &LibraryName) -> Option<Arc<LiveLibrary>> {
        self.libraries.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All running libraries by name.
    pub fn libraries(&self) -> Vec<Arc<LiveLibrary>> {
        self.libraries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Problems found at start, and those of the moment; of pools as they were seen.
    pub(crate) fn problems_of_all(&self, seen: &Seen) -> Vec<Problem> {
        let mut problems = lock(&self.standing).clone();
        problems.extend(self.ballast().problem());
        problems.extend(self.retention_problem());
        problems.extend(seen.open.iter().flat_map(|(pool, sight)| self.problems_of(pool, sight)));
        problems.extend(seen.closed.iter().map(|closed| Problem {
            subject: subject(&closed.row.name),
            message: format!("it is not open, so its cartridges cannot be loaded: {}", closed.why),
            remedy: format!(
                "{}; or, when nothing is in it, forget it: vtl pool rm {}",
                closed.remedy(),
                closed.row.name
            ),
        }));
        problems.extend(self.certificate_problem());
        problems.extend(self.sealing.chap_problems(&self.meta));
        problems.extend(self.access.oidc_problem());
        problems.extend(self.jobs.problems());
        problems.extend(self.policies.problems());
        problems.extend(self.alerts.problems());
        problems.extend(self.lazy_problems());
        problems.extend(self.trash_problems());
        problems.extend(self.sessions.targets().iter().flat_map(|target| target.failures()).map(|failure| {
            Problem {
                subject: failure.unit,
                message: format!(
                    "it has failed and answers HARDWARE ERROR to everything; what was in it and not durable is lost: {}",
                    failure.why
                ),
                remedy: "restart vtld, and report what its log says: this is a fault of the program".to_owned(),
            }
        }));
        problems
    }

    /// A certificate that nobody renewed.
    fn certificate_problem(&self) -> Option<Problem> {
        let ends_s = self.tls.as_ref()?.expires_s();
        let is_near = ends_s.saturating_sub(crate::clock::unix_seconds()) < CERTIFICATE_NEAR_END_S;
        is_near.then(|| Problem {
            subject: "certificate".to_owned(),
            message: format!("the certificate of the API ends at {}", crate::clock::rfc3339(ends_s)),
            remedy: "renew it (one made here: remove api.pem of the state folder), then: systemctl reload vtld (vtl system reload wants one that has not ended)"
                .to_owned(),
        })
    }

    /// What an operator should know of one pool.
    fn problems_of(&self, pool: &Pool, sight: &Sight) -> Vec<Problem> {
        // What else there is would be told as if it were so now.
        if let Some(hung) = pool.hung_problem(sight) {
            return vec![hung];
        }
        let mut problems = Vec::new();
        problems.extend(pool.keeper.problem(self, pool, sight));
        problems.extend(pool.room_problem(sight));
        problems.extend(pool.scrub.problems(self, pool));
        problems.extend(crate::api::folder_problems(&sight.folders));
        let option = if pool.name.is_default() { String::new() } else { format!(" --pool {}", pool.name) };
        if pool.store.key_status().is_some_and(|keyring| !keyring.exported) {
            problems.push(Problem {
                subject: pool.subject(),
                message: "the keyring of the encrypted pool has not been exported since its last change: were it lost, nothing in the pool could be read again"
                    .to_owned(),
                remedy: format!("run vtl store key export FILE{option}, and keep the file and the key apart from this machine"),
            });
        }
        if let Health::ReadOnly { why } = pool.store.health() {
            problems.push(Problem {
                subject: pool.subject(),
                message: format!("the pool takes no writes: {why}"),
                remedy: "check the disk, then restart vtld: it verifies the pool".to_owned(),
            });
        }
        problems
    }

    /// Starts what looks after a pool, for one that is made while the server runs.
    pub(crate) fn look_after(&self, pool: &Arc<Pool>) -> Result<(), String> {
        let me = self.me.upgrade().ok_or_else(|| "the server stops".to_owned())?;
        crate::survey::Survey::start(pool)?;
        crate::keeper::Keeper::start(&me, pool)?;
        crate::scrub::Scrub::start(&me, pool)
    }

    pub(crate) fn note_problem(&self, problem: Problem) {
        warn!(subject = problem.subject, problem.message, remedy = problem.remedy);
        lock(&self.standing).push(problem);
    }

    /// What was wrong with `subject` is not any more.
    pub(crate) fn forget_problem(&self, subject: &str) {
        lock(&self.standing).retain(|problem| problem.subject != subject);
    }

    /// Starts the units of a library that is in the inventory, and makes its target known.
    ///
    /// # Errors
    /// What stops it.
    pub fn start_library(&self, library: &vtl_library::Library) -> Result<(), LiveError> {
        let targets = self.meta.read(|tx| vtl_library::targets_of(tx, &library.name))?;
        let (live, left_out) =
            LiveLibrary::start(library, &targets, &self.meta, &self.shelf, &self.ejection)?;
        for (label, message) in left_out {
            self.note_problem(Problem {
                subject: label.to_string(),
                message,
                remedy: "see vtl store check; move the cartridge to a slot to use the drive".to_owned(),
            });
        }
        live.targets().into_iter().for_each(|target| self.sessions.add_target(target));
        self.libraries.write().unwrap_or_else(PoisonError::into_inner).insert(library.name.clone(), live);
        Ok(())
    }

    /// Forgets a library that was removed; its sessions end.
    pub fn stop_library(&self, name: &LibraryName) {
        let live = self.libraries.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(live) = live {
            live.targets().iter().for_each(|target| self.sessions.remove_target(&target.name));
            live.stop();
        }
    }

    /// Tells new connections what configuration and inventory say now.
    ///
    /// # Errors
    /// The inventory cannot be read; the old rules stay.
    pub fn publish(&self) -> Result<(), LibraryError> {
        let _one_at_a_time = lock(&self.publishing);
        let config = self.config();
        self.tell(portal(&config, &self.meta, &self.sealing)?, &config);
        Ok(())
    }

    /// Nothing of it can fail. `told` was made of this configuration.
    fn tell(&self, told: vtl_iscsi::config::Portal, config: &Config) {
        self.sessions.set_portal(told);
        self.sessions.in_flight().set_limit(config.iscsi.max_bytes_in_flight.0);
        self.sessions.buffers().set_bytes(config.iscsi.max_bytes_in_flight.0);
    }

    /// Reads the configuration again. What can change while running does; a wrong file changes nothing, and neither does one that cannot be taken as a
    /// whole: all that can fail comes before the first change.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn reload(&self) -> Result<String, vtl_api::ApiError> {
        let _alone = lock(&self.reloading);
        let fresh = crate::load(&self.args).map_err(|errors| invalid(errors.to_string(), OLD_STAYS))?;
        self.check_doors_of(&fresh)?.map_err(|errors| invalid(errors.to_string(), OLD_STAYS))?;
        self.check_names(&fresh)?;
        // What it listens on until it ends is as open then as the rest of the file leaves it.
        let taken = fresh.clone().taken_by(&self.config());
        self.check_doors_of(&taken)?.map_err(|errors| invalid(errors.to_string(), LISTENS_STILL))?;
        let known = target_doors(&taken, &self.meta).map_err(|e| refused(&e))?;
        for (address, _) in self.listeners.list().iter().filter(|(_, wanted)| *wanted == Wanted::Added) {
            taken.check_listener(address, &known).map_err(|errors| open_door("", &errors))?;
        }
        let certificate = self.certificate_of(&fresh)?;
        let _one_at_a_time = lock(&self.publishing);
        let doors = portal(&taken, &self.meta, &self.sealing).map_err(|e| refused(&e))?;
        if let Some((tls, certificate)) = certificate {
            tls.show(certificate);
        }
        let told = configuration_read(taken.waiting());
        let taken = Arc::new(taken);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = taken.clone();
        // First, since they decide who gets in.
        self.access.heed(&taken);
        self.tell(doors, &taken);
        self.heed();
        self.jobs.heed(&taken);
        self.alerts.heed(self);
        Ok(told)
    }

    /// The certificate of this configuration, and what is to show it. Its disk may hang: nothing that a change waits for is held meanwhile.
    fn certificate_of(&self, fresh: &Config) -> Result<Option<(&Tls, Fresh)>, vtl_api::ApiError> {
        let (Some(tls), Some(wanted)) = (&self.tls, &fresh.api.tls) else { return Ok(None) };
        let read = Tls::read(wanted, &fresh.api, &self.state);
        let read = read.map_err(|why| invalid(why, "the old configuration and certificate stay in effect"));
        Ok(Some((tls, read?)))
    }

    /// Unloads every drive, so that everything is durable and closed. Jobs come to a safe point and go on with the next start; a collection ends after the
    /// pack in hand.
    pub fn stop(&self) {
        self.alerts.stop();
        self.policies.stop();
        self.shelf.lazies().stop();
        self.jobs.stop();
        let pools = self.pools.open_ones();
        pools.iter().for_each(|pool| pool.stop());
        for library in self.libraries() {
            library.stop();
        }
        pools.iter().for_each(|pool| pool.join());
        self.retention.write();
        // The units' threads end when the process does, and have the stores until then.
        pools.iter().for_each(|pool| pool.store.close());
        self.access.stop();
        info!("stopped");
    }

    /// The text of the first and every start; its last line begins with `ready`.
    pub fn welcome(&self, api: SocketAddr) -> String {
        let portals: Vec<String> = self.portals().iter().map(ToString::to_string).collect();
        let host = self.portals().first().map_or_else(|| "127.0.0.1:3260".to_owned(), ToString::to_string);
        let mut lines =
            vec![format!("vtld {}: state in {}", env!("CARGO_PKG_VERSION"), self.state.path().display())];
        for library in self.libraries() {
            let (drives, targets) = (library.bays().len(), library.targets().len());
            let own = if targets > 1 { ", each in a target of its own" } else { "" };
            lines.push(format!(
                "library {}: target {}, {drives} drives{own}",
                library.name, library.target.name
            ));
        }
        lines.push(format!("log in:  iscsiadm -m discovery -t sendtargets -p {host} && iscsiadm -m node -l"));
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        lines.push(format!(
            "API and web address: {scheme}://{api} (token in {})",
            self.state.path().join("api.token").display()
        ));
        if let Some(tls) = &self.tls {
            lines.push(format!(
                "certificate: SHA-256 {}, until {}",
                tls.fingerprint(),
                crate::clock::rfc3339(tls.expires_s())
            ));
        }
        match self.access.new_setup() {
            Ok(None) => {}
            Ok(Some(token)) => {
                let link = format!("{scheme}://{api}/#setup={}", token.as_str());
                lines.push(format!("first user: {link} (counts for an hour, once)"));
            }
            Err(error) => warn!(%error, "no link for the first user can be made"),
        }
        if let Some(open) = self.open_on_loopback() {
            lines.push(format!(
                "note: {open} asks for no CHAP, so every local account can read and write its tapes"
            ));
        }
        lines.push(format!("ready: iSCSI on {}", portals.join(", ")));
        lines.join("\n")
    }

    fn open_on_loopback(&self) -> Option<String> {
        let doors = target_doors(&self.config(), &self.meta).ok()?;
        doors.into_iter().find(|door| !door.guarded).map(|door| door.target.to_string())
    }

    fn check_doors(&self) -> Result<(), vtl_api::ApiError> {
        self.check_doors_of(&self.config())?.map_err(|e| invalid(e.to_string(), ""))
    }

    /// What is wrong with the listeners of `config` in front of the targets that there are.
    ///
    /// # Errors
    /// The inventory cannot be read.
    pub(crate) fn check_doors_of(
        &self,
        config: &Config,
    ) -> Result<Result<(), ConfErrors>, vtl_api::ApiError> {
        let known = target_doors(config, &self.meta).map_err(|e| refused(&e))?;
        Ok(config.check_doors(&known))
    }

    /// An inventory that has never been used gets the default library. A crash in between is finished by the next start.
    fn first_start(&self) -> Result<(), vtl_api::ApiError> {
        if self.meta.flag(FIRST_START_DONE).map_err(|e| refused(&e.into()))? {
            return Ok(());
        }
        if let Some(name) = self.first_library()? {
            self.first_cartridges(&name)?;
        }
        self.meta.set_flag(FIRST_START_DONE).map_err(|e| refused(&e.into()))
    }

    /// The default library, if there is to be one; made when it is not there.
    pub(crate) fn first_library(&self) -> Result<Option<LibraryName>, vtl_api::ApiError> {
        if self.config().library.default == DefaultLibrary::None {
            return Ok(None);
        }
        let name: LibraryName =
            FIRST_LIBRARY.parse().map_err(|_| internal("the default library has no usable name"))?;
        if self.meta.read(|tx| vtl_library::library(tx, &name)).is_err() {
            self.create_library_row(&name, CHANGER_PROFILE, FIRST_COUNTS)?;
        }
        Ok(Some(name))
    }

    /// All or none of their rows are there, since they are written in one transaction.
    fn first_cartridges(&self, library: &LibraryName) -> Result<(), vtl_api::ApiError> {
        let known = self.meta.read(vtl_library::cartridges).map_err(|e| refused(&e))?;
        if !known.is_empty() {
            return Ok(());
        }
        let first: Label = FIRST_LABEL.parse().map_err(|_| internal("the first label is none"))?;
        let new = NewCartridges {
            first,
            count: FIRST_CARTRIDGES,
            library: Some(library.clone()),
            place: NewPlace::Slot,
        };
        self.make_cartridges(&new, None).map(drop)
    }

    /// Writes the rows of a new library.
    fn create_library_row(
        &self,
        name: &LibraryName,
        profile: &str,
        counts: Counts,
    ) -> Result<vtl_library::Library, vtl_api::ApiError> {
        let new = Self::new_library(name, profile, counts)?;
        self.meta.change(|tx| vtl_library::create_library(tx, &new)).map_err(|e| refused(&e))
    }

    /// What the rows of a new library say.
    pub(crate) fn new_library(
        name: &LibraryName,
        profile: &str,
        counts: Counts,
    ) -> Result<NewLibrary, vtl_api::ApiError> {
        let known: Vec<&str> = changers().collect();
        if !known.contains(&profile) {
            let message = format!("there is no changer with the profile '{profile}'");
            return Err(invalid(message, &format!("write {}", known.join(" or "))).about("profile"));
        }
        let target = vtl_library::default_target(name)
            .map_err(|why| invalid(why.to_string(), "take a shorter name").about("name"))?;
        Ok(NewLibrary {
            name: name.clone(),
            profile: profile.to_owned(),
            drive_profile: DRIVE_PROFILE.to_owned(),
            drive_generation: Generation::Lto8,
            counts,
            target,
        })
    }

    /// Makes cartridges in the pool that their library puts new ones into.
    pub(crate) fn make_cartridges(
        &self,
        new: &NewCartridges,
        size: Option<ByteCount>,
    ) -> Result<Vec<vtl_library::Cartridge>, vtl_api::ApiError> {
        let pool = self.pool_of_new(new.library.as_ref(), None)?;
        self.make_cartridges_in(&pool, new, size)
    }

    /// The same in this pool: the store first, the rows second, so that a row never lacks its bytes.
    pub(crate) fn make_cartridges_in(
        &self,
        pool: &Pool,
        new: &NewCartridges,
        size: Option<ByteCount>,
    ) -> Result<Vec<vtl_library::Cartridge>, vtl_api::ApiError> {
        self.make_cartridges_with(pool, new, size, |_| Ok(()))
    }

    /// The same, with something else in the transaction that lists them.
    pub(crate) fn make_cartridges_with(
        &self,
        pool: &Pool,
        new: &NewCartridges,
        size: Option<ByteCount>,
        also: impl FnOnce(&mut Tx<'_>) -> Result<(), LibraryError>,
    ) -> Result<Vec<vtl_library::Cartridge>, vtl_api::ApiError> {
        let size = size
            .or(self.config().cartridge.size)
            .unwrap_or_else(|| new.first.media().generation.native_capacity());
        let planned = self.meta.read(|tx| vtl_library::plan_cartridges(tx, new)).map_err(|e| refused(&e))?;
        let created_s = crate::clock::unix_seconds();
        let mut ids = Vec::new();
        for one in &planned {
            let id = CartridgeId(crate::random::id());
            match self.shelf.create(pool, id, one, new.library.as_ref(), size, created_s) {
                Ok(()) => ids.push(id),
                Err(why) => {
                    forget_unused(pool, &ids);
                    let remedy = "see vtl system status and the log";
                    return Err(vtl_api::ApiError::new(ErrorCode::Internal, why, remedy));
                }
            }
        }
        let created = i64::try_from(created_s).unwrap_or(0);
        let made = self.meta.change(|tx| {
            also(tx)?;
            ids.iter().try_for_each(|id| rows::put_in(tx, *id, &pool.name))?;
            vtl_library::create_cartridges(tx, new, &ids, size, created)
        });
        made.map_err(|e| {
            forget_unused(pool, &ids);
            refused(&e)
        })
    }

    /// Store and inventory are two files; a crash between them leaves halves, found here.
    fn finish_halves(&self) -> Result<(), vtl_api::ApiError> {
        let pools = self.pools.open_ones();
        self.list_what_is_in(&pools)?;
        let owners: Vec<CartridgeId> = pools.iter().flat_map(owners).collect();
        let found = self.meta.read(|tx| vtl_library::reconcile(tx, &owners)).map_err(|e| refused(&e))?;
        // What is in a pool that is not open is not lost.
        found
            .missing
            .iter()
            .filter(|one| self.pools.of(one.id).is_ok())
            .for_each(|one| self.note_missing(one));
        self.let_trash_of_copy_wait(&found.to_finish).map_err(|e| refused(&e))?;
        self.empty_trash(found.to_finish);
        Ok(())
    }

    pub(crate) fn note_missing(&self, cartridge: &vtl_library::Cartridge) {
        self.note_problem(Problem {
            subject: cartridge.label.to_string(),
            message: "the inventory lists it, but the store has no data of it".to_owned(),
            remedy: "check that store.path is the right folder; otherwise restore the store from its copy"
                .to_owned(),
        });
    }

    /// Lists what is in these pools and not in the inventory. One of them may be open and not among the others yet.
    pub(crate) fn list_what_is_in(&self, pools: &[Arc<Pool>]) -> Result<(), vtl_api::ApiError> {
        let mut all = self.pools.open_ones();
        all.extend(pools.iter().filter(|pool| self.pools.named(&pool.name).is_err()).cloned());
        self.note_pools(&all)?;
        self.remove_lone_rows(&all)?;
        let (mut heads, mut asked) = (Vec::new(), Vec::new());
        for pool in pools {
            let found = self.meta.read(|tx| vtl_library::reconcile(tx, &owners(pool)));
            let (of_pool, its) = self.unlisted_heads(pool, found.map_err(|e| refused(&e))?.unlisted)?;
            heads.extend(of_pool);
            asked.push((pool, its));
        }
        let has_unread = asked.iter().any(|(_, its)| its.has_unread);
        let waiting = self.take_in(&all, heads, has_unread)?;
        asked.iter().try_for_each(|(pool, its)| self.note_compared(pool, its, &waiting))
    }

    /// A cartridge is where its bytes are: an older copy of the inventory may say otherwise. Where two pools have it, what is noted counts.
    fn note_pools(&self, pools: &[Arc<Pool>]) -> Result<(), vtl_api::ApiError> {
        for pool in pools {
            for id in owners(pool) {
                let noted = self.pools.name_of(id)?;
                if noted == pool.name {
                    continue;
                }
                let there = pools.iter().any(|other| other.name == noted && other.has(id));
                if !there {
                    info!(cartridge = %id, pool = %pool.name, %noted, "a cartridge is in another pool than the inventory says");
                    self.meta.change(|tx| Ok(rows::put_in(tx, id, &pool.name)?)).map_err(|e| refused(&e))?;
                }
            }
        }
        Ok(())
    }

    /// The second half of a removal: the store frees it, then the row goes.
    pub(crate) fn destroy(&self, cartridge: &vtl_library::Cartridge) -> Result<(), vtl_api::ApiError> {
        let pool = match self.pools.of(cartridge.id) {
            Ok(pool) => Some(pool),
            // Who asks for this gives the listing up. The data is in the pool, and is listed again with it.
            Err(PoolError::Closed(_)) => None,
            Err(error) => return Err(error.into()),
        };
        self.destroy_in(pool.as_ref(), cartridge)
    }

    /// The same with the pool that the cartridge is in. None: its data stays.
    pub(crate) fn destroy_in(
        &self,
        pool: Option<&Arc<Pool>>,
        cartridge: &vtl_library::Cartridge,
    ) -> Result<(), vtl_api::ApiError> {
        self.refuse_kept(cartridge)?;
        if let Some(pool) = pool {
            self.remove_from(pool, cartridge.id)?;
            pool.keeper.removed();
        }
        self.meta
            .change(|tx| {
                rows::take_out(tx, cartridge.id)?;
                vtl_migrate::lazy_forget(tx, cartridge.id)?;
                trash::forget(tx, cartridge.id)?;
                let mark = vtl_library::quarantined(tx, cartridge.id)?.filter(|_| pool.is_none());
                vtl_library::finish_remove(tx, cartridge.id)?;
                // What is listed again is in quarantine still.
                mark.map_or(Ok(()), |why| vtl_library::quarantine(tx, cartridge.id, &why))
            })
            .map_err(|e| refused(&e))?;
        self.meta.forget_kept(cartridge.id);
        info!(label = %cartridge.label, "removed for good");
        Ok(())
    }

    /// Cartridges that are listed for a pool, those in the trash too.
    pub(crate) fn listed_in(&self, pool: &PoolName) -> Result<Vec<vtl_library::Cartridge>, LibraryError> {
        self.meta.read(|tx| {
            let mut listed = Vec::new();
            for one in vtl_library::cartridges(tx)? {
                if rows::pool_of(tx, one.id)? == *pool {
                    listed.push(one);
                }
            }
            Ok(listed)
        })
    }

    /// What waits in the trash.
    pub(crate) fn trash(&self) -> Result<Vec<vtl_library::Cartridge>, LibraryError> {
        let all = self.meta.read(vtl_library::cartridges)?;
        Ok(all.into_iter().filter(|c| c.state == CartridgeState::Removing).collect())
    }

    fn start_libraries(&self) -> Result<(), String> {
        let libraries = self.meta.read(vtl_library::libraries).map_err(|e| e.advised())?;
        let started = libraries.iter().try_for_each(|library| self.start_library(library));
        started.map_err(|error| vtl_api::ApiError::from(error).advised())
    }

    fn start_diagnostic_disk(&self) -> Result<(), String> {
        let Some(size) = self.config().iscsi.diagnostic_disk else { return Ok(()) };
        let profile = personality("vtl-disk").map_err(|e| e.to_string())?;
        let device = self.installation.identity(u32::MAX);
        let identity = Identity::new(&profile, &device.serial, device.naa).with_port(DIAGNOSTIC_TARGET, 1);
        let disk = RamDisk::new(identity.clone(), size.0, self.meta.device(&device.serial));
        let unit = Unit::start("diagnostic-disk", disk).map_err(|e| e.to_string())?;
        let target = Target::new(DIAGNOSTIC_TARGET.to_owned(), identity.clone());
        target.add(0, Lun { identity, front: Arc::new(unit) });
        self.sessions.add_target(target);
        Ok(())
    }
}

fn install(meta: &SharedMeta) -> Result<InstallationId, String> {
    meta.change(|tx| match vtl_library::installation(tx)? {
        Some(id) => Ok(id),
        None => {
            let id = InstallationId(crate::random::id());
            vtl_library::install(tx, id)?;
            Ok(id)
        }
    })
    .map_err(|e| e.advised())
}

/// The cartridges that are in a pool, listed or not.
fn owners(pool: &Arc<Pool>) -> Vec<CartridgeId> {
    pool.store.owners().into_iter().map(|owner| CartridgeId(owner.0)).collect()
}

pub(crate) fn forget_unused(pool: &Pool, ids: &[CartridgeId]) {
    for id in ids {
        if let Err(error) = pool.store.remove(OwnerId(id.0)) {
            warn!(%error, "a cartridge that was not made after all is removed at the next start");
        }
    }
}

/// The highest count of seconds that a cartridge remembers having been retained at.
fn remembered(pools: &Pools) -> Option<u64> {
    let noted = |store: &Store, id| {
        let facts = vtl_cartridge::Cartridge::inspect(store, id).ok()?;
        facts.protection.retention.map(|retention| retention.noted_at_s)
    };
    let pools = pools.open_ones();
    let each = |pool: &Arc<Pool>| owners(pool).into_iter().filter_map(|id| noted(&pool.store, id)).max();
    pools.iter().filter_map(each).max()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn internal(message: &str) -> vtl_api::ApiError {
    vtl_api::ApiError::new(ErrorCode::Internal, message, "")
}

/// A listener that others can reach in front of a target that nobody guards. `when`: what would lead to it.
pub(crate) fn open_door(when: &str, errors: &ConfErrors) -> vtl_api::ApiError {
    let problems: Vec<&str> = errors.0.iter().map(|error| error.problem.as_str()).collect();
    let remedy = errors.0.first().map_or("", |error| error.remedy.as_str());
    vtl_api::ApiError::new(ErrorCode::Conflict, format!("{when}{}", problems.join("; ")), remedy)
}

/// What helps when a reload takes nothing of a file.
const OLD_STAYS: &str = "the old configuration stays in effect";
/// The same, where a start would take the file.
const LISTENS_STILL: &str = "this server listens there until it ends: restart vtld for what the file says; \
    until then the old configuration stays in effect";

/// What a reload says; of what has changed it names what waits.
fn configuration_read(waiting: &[Waiting]) -> String {
    let keys: Vec<&str> = waiting.iter().map(|one| one.key).collect();
    match keys.as_slice() {
        [] => "configuration read".to_owned(),
        [key] => format!("configuration read; {key} changes at the next start"),
        [first @ .., last] => {
            format!("configuration read; {} and {last} change at the next start", first.join(", "))
        }
    }
}

pub(crate) fn invalid(message: String, remedy: &str) -> vtl_api::ApiError {
    vtl_api::ApiError::new(ErrorCode::Invalid, message, remedy)
}

/// What helps when the disk of a file or folder that was named is full.
const FREE_OR_ELSEWHERE: &str = "free space there, or name one on another disk";
/// What helps when the server only reads where it was to write: the unit opens nothing but its state, as `docs/operations.md` has it.
const OPEN_TO_VTLD: &str = "name one where vtld may write: its unit opens the state folder alone; \
    add others as ReadWritePaths=-/FOLDER (systemctl edit vtld), and restart vtld";

/// The file or folder that `field` of a request names could not be read or written. `remedy` is for those errors that another path helps against.
pub(crate) fn not_at(field: &str, told: String, blame: Blame, remedy: &str) -> vtl_api::ApiError {
    match blame {
        Blame::Path => invalid(told, remedy).about(field),
        Blame::ReadOnly => invalid(told, OPEN_TO_VTLD).about(field),
        Blame::Space => vtl_api::ApiError::new(ErrorCode::Full, told, FREE_OR_ELSEWHERE).about(field),
        Blame::InUse | Blame::Disk => vtl_api::ApiError::new(ErrorCode::Internal, told, SEE_DISK),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::state::StateError;

    impl Daemon {
        /// What the status names now.
        pub(crate) fn problems(&self) -> Vec<Problem> {
            self.problems_of_all(&self.pools.seen())
        }
    }

    /// A daemon in this process, with its state in `folder`/state; no listeners.
    pub(crate) fn open(folder: &Path, set: &[&str]) -> Arc<Daemon> {
        open_with(folder, set, machine())
    }

    /// The same on a machine with these clocks.
    pub(crate) fn open_with(folder: &Path, set: &[&str], machine: Machine) -> Arc<Daemon> {
        open_as(&args(folder, set), &machine)
    }

    /// The same with the configuration file `folder`/vtl.toml.
    pub(crate) fn open_file(folder: &Path, set: &[&str]) -> Arc<Daemon> {
        open_as(&Args { config: Some(folder.join("vtl.toml")), ..args(folder, set) }, &machine())
    }

    fn args(folder: &Path, set: &[&str]) -> Args {
        let set = set.iter().map(|&text| text.to_owned()).collect();
        Args { state: Some(folder.join("state")), set, ..Args::default() }
    }

    /// One try of a start. Not yet when a daemon before it holds the state or the store still: its threads may take a moment to let go, and a program that
    /// another test starts has its locks until it runs.
    pub(crate) fn try_open(args: &Args, machine: &Machine) -> Option<Result<Arc<Daemon>, String>> {
        let config = crate::load(args).unwrap();
        let state = match StateFolder::open(&config.state) {
            Err(StateError::InUse(..)) => return None,
            state => state.unwrap(),
        };
        let opened = Daemon::open_on(args.clone(), config, state, machine.clone());
        if opened.as_ref().is_err_and(|why| is_held(why)) { None } else { Some(opened) }
    }

    fn is_held(why: &str) -> bool {
        why.contains("another process uses this")
    }

    fn open_as(args: &Args, machine: &Machine) -> Arc<Daemon> {
        for _ in 0..1000 {
            match try_open(args, machine) {
                None => {}
                Some(opened) => {
                    let daemon = opened.unwrap();
                    if !daemon.pools.closed_ones().iter().any(|closed| is_held(&closed.why)) {
                        return daemon;
                    }
                    daemon.stop();
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the daemon before does not let go of the store");
    }

    #[test]
    fn a_drive_that_panics_is_named_in_the_status_and_does_not_hold_up_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let library = daemon.libraries()[0].clone();
        assert!(!daemon.problems().iter().any(|problem| problem.subject.contains("drive")));
        let drive = library.bay(1).unwrap().unit;
        assert!(drive.call(|_| panic!("made to fail")).is_err());
        // The panic unwinds, and then it is noted: what is asked next is answered after that.
        assert!(drive.call(|_| ()).is_err());
        let problems = daemon.problems();
        let told = problems.iter().find(|problem| problem.subject == "lib0-drive1").unwrap();
        assert!(told.message.contains("made to fail") && told.remedy.contains("restart"), "{told:?}");
        daemon.stop();
    }

    /// Writes the configuration file of [`open_file`].
    pub(crate) fn write_file(folder: &Path, text: &str) {
        std::fs::write(folder.join("vtl.toml"), text).unwrap();
    }

    /// What guards the target of the default library.
    pub(crate) const GUARDED: &str =
        "[iscsi.target.\"iqn.2026-11.internal.vtl:lib0\"]\ninitiators = \"iqn.1993-08.org.debian:01:abc\"\n";

    #[test]
    fn a_reload_names_every_key_that_waits_for_a_start_each_time_and_takes_the_others() {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), "");
        let daemon = open_file(folder.path(), &[]);
        assert_eq!(daemon.reload().unwrap(), "configuration read");
        write_file(
            folder.path(),
            "log.level = \"debug\"\nlog.format = \"json\"\niscsi.max_connections = 129\n\
             cartridge.early_warning = \"1m\"\nretention.max_clock_step_s = 1\njobs.max_running = 3\n",
        );
        for _ in 0..2 {
            assert_eq!(
                daemon.reload().unwrap(),
                "configuration read; iscsi.max_connections, cartridge.early_warning, retention.max_clock_step_s, log.level and log.format change at the next start"
            );
        }
        let config = daemon.config();
        assert_eq!((config.iscsi.max_connections, config.jobs.max_running), (128, 3));
        write_file(folder.path(), "store.gc = \"manual\"\nlog.level = \"warn\"\n");
        assert_eq!(daemon.reload().unwrap(), "configuration read; log.level changes at the next start");
        daemon.stop();
    }

    #[test]
    fn a_reload_that_would_open_what_the_server_listens_on_until_it_ends_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), &format!("iscsi.listen = \"192.0.2.10:3260\"\n{GUARDED}"));
        let daemon = open_file(folder.path(), &[]);
        write_file(folder.path(), "jobs.max_running = 3\n");
        let refused = daemon.reload().unwrap_err();
        assert!(refused.message.contains("192.0.2.10:3260 is reachable"), "{refused:?}");
        assert!(refused.remedy.as_ref().unwrap().contains("restart vtld"), "{refused:?}");
        assert_eq!((daemon.config().jobs.max_running, daemon.config().iscsi.targets.len()), (2, 1));
        write_file(folder.path(), &format!("iscsi.listen = \"127.0.0.1:3260\"\n{GUARDED}"));
        assert_eq!(daemon.reload().unwrap(), "configuration read; iscsi.listen changes at the next start");
        daemon.stop();
    }
}
