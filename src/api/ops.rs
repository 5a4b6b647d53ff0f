//! The operations of the API on the daemon. Each is one request; those that change what exists run one at a time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use vtl_api::{
    AddInitiator, AddPortal, ApiError, BackupFile, CartridgeInfo, ConfigValue, CreateCartridges,
    CreateLibrary, Done, DriveInfo, ElementInfo, ErrorCode, LibraryDetail, LibraryInfo, LibraryTarget,
    MoveCartridge, PlaceInfo, PortalInfo, Problem, RemoveCartridge, SessionInfo, SetCartridge, SetChap,
    SetLibrary, SystemStatus, TargetInfo,
};
use vtl_cartridge::Protection;
use vtl_conf::{ConfErrors, Origin, Surroundings};
use vtl_library::{
    Cartridge, CartridgeState, Counts, Gates, Head, Layout, LibraryError, Moved, NewCartridges, NewPlace,
    Verdict,
};
use vtl_meta::{MetaError, Tx};
use vtl_store::OwnerId;
use vtl_types::{
    ByteCount, ChapAccount, ChapLogin, IscsiName, Label, LibraryName, MediaForm, MediaKind, Place, Secret,
};

use super::pools::set_pool;
use super::{not_carried, refused};
use crate::SESSIONS_END;
use crate::clock::rfc3339;
use crate::daemon::{Daemon, internal, invalid, lock, open_door};
use crate::drive::Work;
use crate::inventory::{Bay, Force};
use crate::kept::{Keep, parse_time};
use crate::library::LiveLibrary;
use crate::listeners::Wanted;
use crate::portal::{DIAGNOSTIC_TARGET, target_doors_in};
use crate::state::hexadecimal;
use crate::target::Target;
use crate::unit::Failed;

type Answer<T> = Result<T, ApiError>;

/// How a library comes about beside a listener that others can reach.
const DOOR_BEFORE_TARGET: &str = "close that listener (vtl iscsi portal rm, or restart without it), create the library, set its CHAP \
                                  (vtl iscsi chap set) or initiators, and open it again; or guard the target in the configuration file first";

/// `POST /vault/{label}/load`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadFromVault {
    library: String,
}

/// `POST /config/check`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckConfig {
    #[serde(default)]
    file: Option<PathBuf>,
}

/// `POST /system/rebuild`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebuild {
    #[serde(default)]
    plan: bool,
}

fn parse<T: std::str::FromStr>(text: &str) -> Answer<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| invalid(e.to_string(), ""))
}

fn parse_address(text: &str) -> Answer<SocketAddr> {
    let remedy = "write ADDR:PORT, such as 192.0.2.10:3260 or [2001:db8::1]:3260";
    text.parse().map_err(|_| invalid(format!("'{text}' is no address and port"), remedy))
}

/// Operations run beside the runtime's own threads, where they may wait for it.
fn runtime() -> Answer<Handle> {
    Handle::try_current().map_err(|e| internal(&e.to_string()))
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

fn parse_layout(text: &str) -> Answer<Layout> {
    let refused = || {
        let words = Layout::ALL.map(Layout::word).join(" or ");
        invalid(format!("targets cannot be '{text}'"), &format!("write {words}"))
    };
    Layout::from_word(text).ok_or_else(refused)
}

fn layout(live: &LiveLibrary) -> Layout {
    if live.targets().len() == 1 { Layout::One } else { Layout::PerDevice }
}

/// A target as `library show` lists it.
fn shown(live: &LiveLibrary, target: &Target) -> LibraryTarget {
    let of_drive = live.bays().iter().position(|bay| bay.target == target.name);
    let drive = of_drive.filter(|_| target.name != live.target.name).and_then(|n| u16::try_from(n).ok());
    let shows = match (drive, layout(live)) {
        (Some(_), _) => "drive",
        (None, Layout::PerDevice) => "changer",
        (None, Layout::One) => "library",
    };
    LibraryTarget { name: target.name.clone(), shows: shows.to_owned(), drive, luns: target.lun_numbers() }
}

fn parse_place(text: &str) -> Answer<Place> {
    text.parse()
        .map_err(|()| invalid(format!("'{text}' is no place"), "write slot:N, drive:N, mailslot:N or vault"))
}

/// Out of the vault into the first free slot, or else into a mailslot.
fn from_vault(
    tx: &mut Tx<'_>,
    label: Label,
    library: &LibraryName,
    gates: &Gates,
) -> Result<Moved, LibraryError> {
    match vtl_library::load_from_vault(tx, label, library, NewPlace::Slot, gates) {
        Err(LibraryError::NoRoom { .. }) => {
            vtl_library::load_from_vault(tx, label, library, NewPlace::Mailslot, gates)
        }
        outcome => outcome,
    }
}

/// A host that reserved the drive counts on the cartridge in it; an operator takes it only by force.
fn not_reserved(owner: &LiveLibrary, cartridge: &Cartridge) -> Answer<()> {
    let Place::Drive(number) = cartridge.place else { return Ok(()) };
    let Some(bay) = owner.bay(number) else { return Ok(()) };
    let holder = bay.unit.call(|drive| crate::drive::holder(drive)).map_err(failed)?;
    match holder {
        None => Ok(()),
        Some(holder) => Err(ApiError {
            code: ErrorCode::Conflict,
            message: format!("drive {number}, which holds {}, is reserved by {holder}", cartridge.label),
            remedy: Some("let that host release it, or use --force".to_owned()),
        }),
    }
}

/// The label decides what a cartridge is; who asks for WORM must not get another.
fn is_worm(label: Label) -> Answer<()> {
    let media = label.media();
    if media.form == MediaForm::Worm {
        return Ok(());
    }
    let worm = MediaKind { form: MediaForm::Worm, ..media };
    let message = format!("{label} is not the label of a WORM cartridge");
    Err(invalid(message, &format!("a label such as {}{} is", label.volume(), worm.id())))
}

fn failed(failed: Failed) -> ApiError {
    ApiError {
        code: ErrorCode::Internal,
        message: failed.to_string(),
        remedy: Some("restart vtld, and report what its log says".to_owned()),
    }
}

fn done(message: impl Into<String>, names: Vec<String>) -> Done {
    Done { message: message.into(), names }
}

impl Daemon {
    fn live(&self, name: &str) -> Answer<Arc<LiveLibrary>> {
        let name: LibraryName = parse(name)?;
        self.library(&name).ok_or_else(|| ApiError {
            code: ErrorCode::NotFound,
            message: format!("there is no library '{name}'"),
            remedy: Some("see vtl library ls".to_owned()),
        })
    }

    fn library_row(&self, live: &LiveLibrary) -> Answer<LibraryInfo> {
        let (library, elements) = self
            .meta
            .read(|tx| Ok((vtl_library::library(tx, &live.name)?, vtl_library::elements(tx, &live.name)?)))
            .map_err(|e| refused(&e))?;
        let counts = library.counts();
        let held = elements.iter().filter(|e| e.cartridge.is_some()).count();
        Ok(LibraryInfo {
            name: live.name.to_string(),
            profile: library.profile,
            drive_profile: library.drive_profile,
            target: live.target.name.clone(),
            layout: layout(live).word().to_owned(),
            serial: library.identity.serial,
            pool: self.pool_setting(&live.name)?.unwrap_or_default().to_string(),
            drives: counts.drives,
            slots: counts.slots,
            mailslots: counts.mailslots,
            cartridges: u32::try_from(held).unwrap_or(u32::MAX),
        })
    }

    pub(super) fn library_list(&self) -> Answer<Vec<LibraryInfo>> {
        self.libraries().iter().map(|live| self.library_row(live)).collect()
    }

    pub(super) fn library_show(&self, name: &str) -> Answer<LibraryDetail> {
        let live = self.live(name)?;
        let info = self.library_row(&live)?;
        let profile = crate::library::personality(&info.profile).map_err(|e| internal(&e.to_string()))?;
        let first = profile.elements.ok_or_else(|| internal("the profile has no elements"))?;
        let found = self.meta.read(|tx| vtl_library::elements(tx, &live.name)).map_err(|e| refused(&e))?;
        let elements = found.into_iter().filter_map(|element| {
            let number = element.place.number()?;
            let (address, mtx_number) = match element.place {
                Place::Slot(n) => (first.storage + (n - 1), n),
                Place::Mailslot(n) => (first.import_export + (n - 1), info.slots + n),
                Place::Drive(n) => (first.drive + n, n),
                Place::Vault => return None,
            };
            let label = element.cartridge.map(|c| c.label.to_string());
            Some(ElementInfo { kind: element.place.kind().to_owned(), number, mtx_number, address, label })
        });
        let targets = live.targets().iter().map(|target| shown(&live, target)).collect();
        let settings = self.library_settings(&live.name)?;
        Ok(LibraryDetail { targets, settings, elements: elements.collect(), info })
    }

    pub(super) fn library_create(&self, request: &CreateLibrary) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let name: LibraryName = parse(&request.name)?;
        let counts = Counts { drives: request.drives, slots: request.slots, mailslots: request.mailslots };
        let new = Self::new_library(&name, &request.profile, counts)?;
        // A new target asks for nothing yet: it must not stand open in front of a listener that others can reach.
        let pool = self.pool_to_set(request.pool.as_deref())?;
        let create = |tx: &mut Tx<'_>| {
            vtl_library::create_library(tx, &new)?;
            set_pool(tx, &name, pool.as_ref()).map(|()| true)
        };
        self.loosen(create).map_err(|error| {
            let is_door = error.code == ErrorCode::Conflict;
            ApiError {
                remedy: if is_door { Some(DOOR_BEFORE_TARGET.to_owned()) } else { error.remedy },
                ..error
            }
        })?;
        let library = self.meta.read(|tx| vtl_library::library(tx, &name)).map_err(|e| refused(&e))?;
        self.start_library(&library).map_err(|e| internal(&e))?;
        self.publish().map_err(|e| refused(&e))?;
        let target = self.library(&name).map(|live| live.target.name.clone()).unwrap_or_default();
        Ok(done(format!("library {name} is on target {target}"), vec![name.to_string()]))
    }

    pub(super) fn library_set(&self, name: &str, request: &SetLibrary) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let live = self.live(name)?;
        let wanted = request.targets.as_deref().map(parse_layout).transpose()?;
        let settings = self.set_library_settings(&live.name, &request.settings)?;
        if request.drives.or(request.slots).or(request.mailslots).is_some() {
            self.set_counts(&live, request)?;
        }
        if let Some(pool) = self.pool_to_set(request.pool.as_deref())? {
            self.meta.change(|tx| set_pool(tx, &live.name, Some(&pool))).map_err(|e| refused(&e))?;
        }
        if let Some(layout) = wanted {
            self.set_layout(live, layout, request.force)?;
        }
        let live = self.live(name)?;
        let info = self.library_row(&live)?;
        let targets = live.targets().len();
        let spread = if targets == 1 { "one target".to_owned() } else { format!("{targets} targets") };
        let counts =
            format!("{} drives, {} slots, {} mailslots in {spread}", info.drives, info.slots, info.mailslots);
        let settings = settings.map_or_else(String::new, |changed| format!("; {changed}"));
        Ok(done(format!("library {name} has {counts}{settings}"), vec![name.to_owned()]))
    }

    fn set_counts(&self, live: &LiveLibrary, request: &SetLibrary) -> Answer<()> {
        let now =
            self.meta.read(|tx| vtl_library::library(tx, &live.name)).map_err(|e| refused(&e))?.counts();
        let wanted = Counts {
            drives: request.drives.unwrap_or(now.drives),
            slots: request.slots.unwrap_or(now.slots),
            mailslots: request.mailslots.unwrap_or(now.mailslots),
        };
        self.meta.change(|tx| vtl_library::set_counts(tx, &live.name, wanted)).map_err(|e| refused(&e))?;
        let emptied = live.follow().map_err(|e| internal(&e.to_string()))?;
        emptied.iter().for_each(|target| self.sessions().remove_target(&target.name));
        live.targets().into_iter().for_each(|target| self.sessions().add_target(target));
        self.publish().map_err(|e| refused(&e))?;
        Ok(())
    }

    /// Spreads a library's devices over targets in another way. They go and come as with a power cycle of the library.
    fn set_layout(&self, live: Arc<LiveLibrary>, wanted: Layout, force: bool) -> Answer<()> {
        if layout(&live) == wanted {
            return Ok(());
        }
        let targets: Vec<String> = live.targets().iter().map(|target| target.name.clone()).collect();
        let mut sessions = self.sessions().list();
        sessions.retain(|row| row.target.as_ref().is_some_and(|target| targets.contains(target)));
        if let Some(one) = sessions.first().filter(|_| !force) {
            return Err(ApiError {
                code: ErrorCode::Conflict,
                message: format!(
                    "{} sessions with library {} are open, such as that of {}: its targets change",
                    sessions.len(),
                    live.name,
                    one.initiator
                ),
                remedy: Some("log these hosts out, or end their sessions with --force".to_owned()),
            });
        }
        let name = live.name.clone();
        self.loosen(|tx| vtl_library::set_layout(tx, &name, wanted).map(|()| true))?;
        drop(live);
        self.leave(&name, &targets)?;
        let library = self.meta.read(|tx| vtl_library::library(tx, &name)).map_err(|e| refused(&e))?;
        self.start_library(&library).map_err(|e| internal(&e))?;
        self.publish().map_err(|e| refused(&e))
    }

    /// Ends the sessions of a library's targets, and then its devices.
    fn leave(&self, name: &LibraryName, targets: &[String]) -> Answer<()> {
        targets.iter().for_each(|target| self.sessions().remove_target(target));
        runtime()?.block_on(self.sessions().ended_of(targets, SESSIONS_END));
        self.stop_library(name);
        Ok(())
    }

    pub(super) fn library_remove(&self, name: &str) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let live = self.live(name)?;
        self.meta.change(|tx| vtl_library::remove_library(tx, &live.name)).map_err(|e| refused(&e))?;
        self.stop_library(&live.name);
        self.publish().map_err(|e| refused(&e))?;
        Ok(done(format!("library {name} is removed"), vec![name.to_owned()]))
    }

    pub(super) fn drive_list(&self) -> Answer<Vec<DriveInfo>> {
        let mut rows = Vec::new();
        for live in self.libraries() {
            for (number, bay) in live.bays().iter().enumerate() {
                rows.push(self.drive_row(&live, u16::try_from(number).unwrap_or(u16::MAX), bay)?);
            }
        }
        Ok(rows)
    }

    pub(super) fn drive_show(&self, library: &str, number: &str) -> Answer<DriveInfo> {
        let live = self.live(library)?;
        let wanted = number.parse().ok();
        let found = wanted.and_then(|n: u16| live.bay(n).map(|bay| (n, bay)));
        let Some((number, bay)) = found else {
            return Err(ApiError {
                code: ErrorCode::NotFound,
                message: format!("library {library} has no drive '{number}'"),
                remedy: Some("see vtl drive ls".to_owned()),
            });
        };
        self.drive_row(&live, number, &bay)
    }

    fn drive_row(&self, live: &LiveLibrary, number: u16, bay: &Bay) -> Answer<DriveInfo> {
        let asked =
            bay.unit.call(|drive| (drive.status(), crate::drive::holder(drive), Work::of(drive))).ok();
        let (status, holder, work) =
            asked.map_or((None, None, None), |(status, holder, work)| (Some(status), holder, Some(work)));
        let profile = self
            .meta
            .read(|tx| vtl_library::library(tx, &live.name))
            .map_err(|e| refused(&e))?
            .drives
            .get(usize::from(number))
            .map_or_else(String::new, |d| d.profile.clone());
        let loaded = status.as_ref().filter(|status| status.state == scsi::tape::State::Loaded);
        Ok(DriveInfo {
            library: live.name.to_string(),
            number,
            target: bay.target.clone(),
            lun: bay.lun,
            serial: bay.identity.serial().to_owned(),
            profile,
            state: crate::drive::state_word(status.as_ref().map(|status| status.state)).to_owned(),
            block: loaded.map(|status| status.block),
            file: loaded.map(|status| status.file),
            partition: loaded.map(|status| status.partition),
            position_bytes: loaded.and(work.as_ref()).and_then(|work| work.position_bytes),
            written_bytes: work.as_ref().map(|work| work.totals.written_bytes),
            read_bytes: work.as_ref().map(|work| work.totals.read_bytes),
            compression: work.as_ref().map(|work| work.compresses),
            cartridge: status.and_then(|status| status.label),
            initiator: holder,
        })
    }

    fn cartridge_row(&self, cartridge: &Cartridge) -> CartridgeInfo {
        let media = cartridge.label.media();
        // A damaged one is told by check and status.
        let pool = self.pools.of(cartridge.id).ok();
        let lazy = self.lazy_row(cartridge.id);
        let owner = lazy.as_ref().map_or(cartridge.id, |row| row.pieces);
        let usage = pool.and_then(|pool| pool.store.usage(OwnerId(owner.0)).ok());
        let share = usage.and_then(|usage| usage.share);
        let (used_bytes, protection) = self.summary(cartridge);
        let now = self.retention.now();
        let (exports, exports_problem) = match self.exports_of(cartridge.id) {
            Ok(exports) => (exports, None),
            Err(error) => (Vec::new(), Some(error.message)),
        };
        CartridgeInfo {
            label: cartridge.label.to_string(),
            library: cartridge.library.as_ref().map(ToString::to_string),
            place: PlaceInfo { kind: cartridge.place.kind().to_owned(), number: cartridge.place.number() },
            capacity_bytes: cartridge.capacity.0,
            used_bytes,
            generation: media.generation.number(),
            exports,
            exports_problem,
            quarantined: self.quarantine_of(cartridge.id),
            pool: self.pools.name_of(cartridge.id).map_or_else(|_| String::new(), |name| name.to_string()),
            write_protected: cartridge.write_protected,
            worm: media.form == MediaForm::Worm,
            hold: protection.hold,
            retain_until: protection.retention.map(|retention| rfc3339(retention.until_s)),
            retention_ends: protection.retention.map(|retention| rfc3339(retention.ends_s(now))),
            created: rfc3339(u64::try_from(cartridge.created_s).unwrap_or(0)),
            lazy: lazy.as_ref().map(|row| self.lazy_info(row)),
            logical_bytes: usage.map(|usage| usage.logical_bytes),
            arrived_bytes: usage.map(|usage| usage.arrived_bytes),
            exclusive_bytes: share.map(|share| share.exclusive_bytes),
            shared_bytes: share.map(|share| share.shared_bytes),
        }
    }

    /// A loaded cartridge's drive knows best; otherwise its head says.
    fn summary(&self, cartridge: &Cartridge) -> (u64, Protection) {
        let loaded = match (&cartridge.library, cartridge.place) {
            (Some(name), Place::Drive(number)) => self.library(name).and_then(|live| live.bay(number)),
            _ => None,
        };
        let from_drive = loaded
            .and_then(|bay| bay.unit.call(|drive| drive.medium().map(crate::media::summary)).ok().flatten());
        from_drive.unwrap_or_else(|| self.shelf.summary(cartridge.id))
    }

    fn usable(&self) -> Answer<Vec<Cartridge>> {
        let all = self.meta.read(vtl_library::cartridges).map_err(|e| refused(&e))?;
        Ok(all.into_iter().filter(|c| c.state == CartridgeState::Normal).collect())
    }

    fn find(&self, label: &str) -> Answer<Cartridge> {
        let label: Label = parse(label)?;
        self.meta.read(|tx| vtl_library::cartridge(tx, label)).map_err(|e| refused(&e))
    }

    pub(super) fn cartridge_list(&self) -> Answer<Vec<CartridgeInfo>> {
        Ok(self.usable()?.iter().map(|c| self.cartridge_row(c)).collect())
    }

    pub(super) fn cartridge_show(&self, label: &str) -> Answer<CartridgeInfo> {
        self.find(label).map(|c| self.cartridge_row(&c))
    }

    pub(super) fn cartridge_create(&self, request: &CreateCartridges) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let first: Label = parse(&request.label)?;
        if request.worm {
            is_worm(first)?;
        }
        let library = match &request.library {
            Some(name) => self.live(name)?.name.clone(),
            None => self.only_library()?,
        };
        let new =
            NewCartridges { first, count: request.count, library: Some(library), place: NewPlace::Slot };
        let pool = self.pool_of_new(new.library.as_ref(), request.pool.as_deref())?;
        let made = self.make_cartridges_in(&pool, &new, request.size_bytes.map(ByteCount))?;
        if let Some(live) = new.library.as_ref().and_then(|name| self.library(name)) {
            live.contents_changed();
        }
        let names: Vec<String> = made.iter().map(|c| c.label.to_string()).collect();
        Ok(done(format!("made {}", names.join(", ")), names))
    }

    fn only_library(&self) -> Answer<LibraryName> {
        match self.libraries().as_slice() {
            [one] => Ok(one.name.clone()),
            [] => Err(invalid("there is no library".to_owned(), "make one with vtl library create")),
            _ => Err(invalid("there are several libraries".to_owned(), "name one with --library")),
        }
    }

    pub(super) fn cartridge_set(&self, label: &str, request: &SetCartridge) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let cartridge = self.find(label)?;
        let retain_until_s = request.retain_until.as_deref().map(parse_time).transpose()?;
        let keep = Keep { hold: request.hold, retain_until_s };
        if request.write_protect.is_none() && keep == Keep::default() {
            return Err(invalid(
                "there is nothing to set".to_owned(),
                "write-protect=on|off, retain-until=TIME or hold=on|off",
            ));
        }
        let mut done_so_far = Vec::new();
        if keep != Keep::default() {
            let protection = self.keep(&cartridge, keep)?;
            let until = protection.retention.map(|retention| rfc3339(retention.until_s));
            done_so_far.extend(until.map(|until| format!("{label} is retained until {until}")));
            let hold = if protection.hold { "on hold" } else { "not on hold" };
            done_so_far.extend(keep.hold.map(|_| format!("{label} is {hold}")));
        }
        if let Some(on) = request.write_protect {
            self.set_write_protect(&cartridge, on)?;
            let word = if on { "on" } else { "off" };
            done_so_far.push(format!("write protection of {label} is {word}"));
        }
        Ok(done(done_so_far.join("; "), vec![label.to_owned()]))
    }

    fn set_write_protect(&self, cartridge: &Cartridge, on: bool) -> Answer<()> {
        let changed = self
            .meta
            .change(|tx| vtl_library::set_write_protect(tx, cartridge.label, on))
            .map_err(|e| refused(&e))?;
        if let (Some(name), Place::Drive(number)) = (&changed.library, changed.place)
            && let Some(bay) = self.library(name).and_then(|live| live.bay(number))
        {
            bay.unit
                .call(move |drive| drive.medium_mut().map(|medium| medium.set_write_protected(on)))
                .map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn cartridge_move(&self, label: &str, request: &MoveCartridge) -> Answer<Done> {
        let cartridge = self.find(label)?;
        let to = parse_place(&request.to)?;
        let asked: Option<LibraryName> = request.library.as_deref().map(parse).transpose()?;
        let owner = match cartridge.library.clone().or_else(|| asked.clone()) {
            Some(name) => self.live(name.as_str())?,
            None => self.live(self.only_library()?.as_str())?,
        };
        let library = Some(owner.name.clone()).filter(|_| cartridge.library.is_none()).or(asked);
        self.carry(&owner, &cartridge, to, Force(request.force), library)
    }

    fn carry(
        &self,
        owner: &LiveLibrary,
        cartridge: &Cartridge,
        to: Place,
        force: Force,
        library: Option<LibraryName>,
    ) -> Answer<Done> {
        if !force.0 {
            not_reserved(owner, cartridge)?;
        }
        let (label, from) = (cartridge.label, cartridge.place);
        let moved = owner
            .changer
            .call(move |changer| {
                changer.inventory_mut().carry(&[from], force, |tx, gates| {
                    vtl_library::move_label(tx, label, library.as_ref(), to, gates).map(|moved| vec![moved])
                })
            })
            .map_err(failed)?
            .map_err(|e| not_carried(&e))?;
        owner.contents_changed();
        let place = moved.first().map_or(to, |m| m.to);
        Ok(done(format!("{label} is in {place}"), vec![label.to_string()]))
    }

    /// Removal refuses what is loaded. Without `now` the cartridge waits in the trash for seven days.
    pub(super) fn cartridge_remove(&self, label: &str, request: &RemoveCartridge) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        if request.now && request.confirm.as_deref() != Some(label) {
            return Err(invalid(
                format!("removing {label} at once cannot be undone"),
                &format!("type its label once more: --now --confirm {label}"),
            ));
        }
        let cartridge = self.find(label)?;
        self.refuse_kept(&cartridge)?;
        let now = crate::clock::unix_seconds();
        if !request.now && cartridge.state == CartridgeState::Normal {
            self.meta
                .note_trashed(cartridge.id, now)
                .map_err(|_| internal("the trash could not be written"))?;
        }
        let going =
            self.meta.change(|tx| vtl_library::begin_remove(tx, cartridge.label)).map_err(|e| refused(&e))?;
        if let Some(live) = cartridge.library.as_ref().and_then(|name| self.library(name)) {
            live.contents_changed();
        }
        if request.now {
            let left = self.left_behind(&going);
            self.destroy(&going)?;
            return Ok(done(format!("{label} is removed for good{left}"), vec![label.to_owned()]));
        }
        let until = rfc3339(now + crate::daemon::TRASH_SECONDS);
        Ok(done(format!("{label} is in the trash until {until}"), vec![label.to_owned()]))
    }

    /// Takes a cartridge back from the trash; it is in the vault then.
    pub(super) fn cartridge_restore(&self, label: &str) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let label: Label = parse(label)?;
        if self.find(label.as_str())?.state != CartridgeState::Removing {
            return Err(ApiError {
                code: ErrorCode::Conflict,
                message: format!("{label} is not in the trash"),
                remedy: None,
            });
        }
        let kept = self.meta.change(|tx| vtl_library::cancel_remove(tx, label)).map_err(|e| refused(&e))?;
        self.meta.forget_trashed(kept.id);
        Ok(done(format!("{label} is in the vault again"), vec![label.to_string()]))
    }

    pub(super) fn vault_list(&self) -> Answer<Vec<CartridgeInfo>> {
        Ok(self.usable()?.iter().filter(|c| c.place == Place::Vault).map(|c| self.cartridge_row(c)).collect())
    }

    pub(super) fn vault_load(&self, label: &str, request: &LoadFromVault) -> Answer<Done> {
        let cartridge = self.find(label)?;
        let live = self.live(&request.library)?;
        let (label, name) = (cartridge.label, live.name.clone());
        let moved = live
            .changer
            .call(move |changer| {
                changer.inventory_mut().carry(&[cartridge.place], Force(false), |tx, gates| {
                    from_vault(tx, label, &name, gates).map(|moved| vec![moved])
                })
            })
            .map_err(failed)?
            .map_err(|e| not_carried(&e))?;
        live.contents_changed();
        let place = moved.first().map_or_else(String::new, |m| m.to.to_string());
        Ok(done(format!("{label} is in {place} of {}", live.name), vec![label.to_string()]))
    }

    pub(super) fn vault_remove(&self, label: &str) -> Answer<Done> {
        if self.find(label)?.place != Place::Vault {
            return Err(ApiError {
                code: ErrorCode::Conflict,
                message: format!("{label} is not in the vault"),
                remedy: Some(format!("use vtl cartridge rm {label}")),
            });
        }
        self.cartridge_remove(label, &RemoveCartridge::default())
    }

    pub(super) fn portal_list(&self) -> Answer<Vec<PortalInfo>> {
        let rows = self.listeners().list().into_iter().map(|(address, wanted)| PortalInfo {
            address: address.to_string(),
            origin: match wanted {
                Wanted::Configured => "configuration".to_owned(),
                Wanted::Added => "added".to_owned(),
            },
        });
        Ok(rows.collect())
    }

    /// Opens a listener at once, and at every start from now on.
    pub(super) fn portal_add(&self, request: &AddPortal) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let asked = parse_address(&request.address)?;
        if self.listeners().wanted(asked).is_some() {
            return Err(ApiError {
                code: ErrorCode::Exists,
                message: format!("iSCSI listens on {asked} already"),
                remedy: None,
            });
        }
        let runtime = runtime()?;
        let address = runtime.block_on(self.open_listener(asked))?;
        if let Err(error) = self.meta.add_portal(address) {
            runtime.block_on(self.listeners().close(address));
            return Err(internal(&error.to_string()));
        }
        Ok(done(format!("iSCSI listens on {address}, also after a restart"), vec![address.to_string()]))
    }

    /// Closes a listener that was added. Sessions are not asked.
    pub(super) fn portal_remove(&self, address: &str) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let address = parse_address(address)?;
        let open = self.listeners().wanted(address);
        if open == Some(Wanted::Configured) {
            return Err(ApiError {
                code: ErrorCode::Conflict,
                message: format!("{address} is an address of the configuration"),
                remedy: Some(
                    "take it out of iscsi.listen (or of the arguments --listen) and restart vtld".to_owned(),
                ),
            });
        }
        let remembered = self.meta.forget_portal(address).map_err(|e| internal(&e.to_string()))?;
        if open.is_none() && !remembered {
            return Err(ApiError {
                code: ErrorCode::NotFound,
                message: format!("iSCSI does not listen on {address}"),
                remedy: Some("see vtl iscsi portal ls".to_owned()),
            });
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
            (Some(user), Some(secret)) => Some(login(user, secret).map_err(|e| invalid(e.to_string(), ""))?),
            (None, None) => None,
            _ => {
                return Err(invalid("mutual CHAP needs a user and a secret".to_owned(), "give both or none"));
            }
        };
        let account = login(&request.user, &request.secret)
            .and_then(|login| ChapAccount::new(login, mutual))
            .map_err(|e| invalid(e.to_string(), ""))?;
        self.meta.change(|tx| vtl_library::set_chap(tx, &target, &account)).map_err(|e| refused(&e))?;
        self.publish().map_err(|e| refused(&e))?;
        Ok(done(
            format!("new logins to {target} need CHAP; sessions that exist stay"),
            vec![target.to_string()],
        ))
    }

    pub(super) fn initiator_add(&self, library: &str, request: &AddInitiator) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let target = self.target_of(library)?;
        let initiator: IscsiName = parse(&request.initiator)?;
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
    fn loosen(&self, change: impl FnOnce(&mut Tx<'_>) -> Result<bool, LibraryError>) -> Answer<bool> {
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
            return Err(ApiError {
                code: ErrorCode::NotFound,
                message: format!("no CHAP is set for {target}"),
                remedy: Some("what the configuration file sets is removed there".to_owned()),
            });
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
            return Err(ApiError {
                code: ErrorCode::NotFound,
                message: format!("{initiator} is not on the list of {target}"),
                remedy: Some("what the configuration file lists is removed there".to_owned()),
            });
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

    pub(super) fn config_effective(&self) -> Answer<Vec<ConfigValue>> {
        let config = self.config();
        let rows = config.effective().iter().map(|setting| ConfigValue {
            key: setting.key.clone(),
            value: setting.value.clone(),
            origin: match &setting.origin {
                Origin::Default => "default".to_owned(),
                other => other.to_string(),
            },
        });
        Ok(rows.collect())
    }

    pub(super) fn config_check(&self, request: &CheckConfig) -> Answer<Done> {
        let root = rustix::process::geteuid().is_root();
        let Some(file) = request.file.as_deref().or(self.args.config.as_deref()) else {
            return Ok(done("there is no configuration file; the defaults are in effect", Vec::new()));
        };
        vtl_conf::check(file, &Surroundings::of_process(root)).map_err(|e| invalid(e.to_string(), ""))?;
        Ok(done(format!("{} is right", file.display()), Vec::new()))
    }

    pub(super) fn system_status(&self) -> Answer<SystemStatus> {
        let problems = self.problems();
        let pools = self.pools.open_ones();
        let pool_used_percent = pools.iter().map(|pool| pool.used_percent()).max().unwrap_or(0);
        Ok(SystemStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: if problems.is_empty() { "ok" } else { "problem" }.to_owned(),
            installation: self.installation(),
            started: rfc3339(self.started_unix_s),
            portals: self.portals().iter().map(ToString::to_string).collect(),
            sessions: u32::try_from(self.sessions().list().len()).unwrap_or(u32::MAX),
            free_bytes: pools.iter().map(|pool| pool.store.free_bytes()).fold(0, u64::saturating_add),
            pool_used_percent,
            pool_alarm: crate::room::alarm(pool_used_percent),
            scrub: self.scrub_lines(&pools),
            problems,
        })
    }

    pub(super) fn system_diag(&self) -> Answer<Value> {
        Ok(json!({
            "status": self.system_status()?,
            "config": self.config_effective()?,
            "libraries": self.library_list()?,
            "drives": self.drive_list()?,
            "sessions": self.session_list()?,
            "store": self.store_stats(None)?,
            "pools": self.pool_list()?,
            "trash": self.trash().map_err(|e| refused(&e))?.iter().map(|c| c.label.to_string()).collect::<Vec<_>>(),
        }))
    }

    pub(super) fn system_reload(&self) -> Answer<Done> {
        self.reload().map(|message| done(message, Vec::new()))
    }

    /// A copy of the inventory: with it and the store's folder everything is there again.
    pub(super) fn system_backup(&self, request: &BackupFile) -> Answer<Done> {
        let file = Path::new(&request.file);
        self.meta
            .with(|meta| meta.copy_to(file))
            .map_err(|e| invalid(e.to_string(), "name a file that does not exist yet"))?;
        Ok(done(
            format!("the inventory is copied to {}; the store itself is {}", request.file, self.pool_homes()),
            Vec::new(),
        ))
    }

    /// The inventory cannot be exchanged under running devices: the copy is checked and takes its place at the next start.
    pub(super) fn system_restore(&self, request: &BackupFile) -> Answer<Done> {
        crate::state::stage_restore(&self.state, Path::new(&request.file)).map_err(|e| invalid(e, ""))?;
        Ok(done("the copy is checked and takes the inventory's place at the next start of vtld", Vec::new()))
    }

    pub(super) fn system_rebuild(&self, request: &Rebuild) -> Answer<Vec<Value>> {
        if !request.plan {
            return Err(ApiError {
                code: ErrorCode::Unsupported,
                message: "a running inventory is not rebuilt".to_owned(),
                remedy: Some("see --plan; stop vtld, move inventory.db away and start it: it lists every cartridge again".to_owned()),
            });
        }
        let (heads, broken) = self.heads();
        let plan = self.meta.read(|tx| vtl_library::plan_rebuild(tx, &heads)).map_err(|e| refused(&e))?;
        let mut rows: Vec<Value> = plan
            .iter()
            .map(|one| {
                let action = match &one.verdict {
                    Verdict::Listed => "listed already".to_owned(),
                    Verdict::AsHinted => format!("to {} of {}", one.place, one.library.as_ref().map_or_else(String::new, ToString::to_string)),
                    Verdict::LabelTaken { .. } => "stays unlisted: its label is in use".to_owned(),
                    _ => "to the vault".to_owned(),
                };
                json!({ "label": one.head.label.to_string(), "id": hexadecimal(&one.head.id.0), "action": action })
            })
            .collect();
        rows.extend(
            broken.into_iter().map(|p| json!({ "label": null, "id": p.subject, "action": p.message })),
        );
        Ok(rows)
    }

    /// What every cartridge in the store says of itself.
    fn heads(&self) -> (Vec<Head>, Vec<Problem>) {
        let (mut heads, mut broken) = (Vec::new(), Vec::new());
        for pool in self.pools.open_ones() {
            for owner in pool.store.owners() {
                match self.shelf.head(&pool, vtl_types::CartridgeId(owner.0)) {
                    // An import that runs, or was cut off, is no cartridge.
                    Ok(head) if head.unfinished => {}
                    Ok(head) => heads.push(head.row),
                    Err(why) => broken.push(Problem {
                        subject: owner.to_string(),
                        message: why,
                        remedy: String::new(),
                    }),
                }
            }
        }
        (heads, broken)
    }
}
