//! Requests about libraries.

use std::sync::Arc;

use axum::http::Method;
use vtl_api::{
    ApiError, CreateLibrary, Done, ElementInfo, ErrorCode, LibraryDetail, LibraryInfo, LibraryTarget,
    SetLibrary,
};
use vtl_auth::Permission;
use vtl_library::{Counts, Layout};
use vtl_meta::Tx;
use vtl_types::{LibraryName, Place};

use super::pools::set_pool;
use super::route::{Nothing, Route, change_as_granted, delete, field, get, post};
use super::{Answer, done, parse, refused, runtime};
use crate::SESSIONS_END;
use crate::access::rules::Granted;
use crate::daemon::{Daemon, internal, invalid, lock};
use crate::library::LiveLibrary;
use crate::target::Target;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/libraries", "All libraries", |d, (), _: Nothing| d.library_list()),
        post("/libraries", "Make a library", |d, (), b: CreateLibrary| d.library_create(&b)),
        get("/libraries/{name}", "One library with its elements", |d, n: String, _: Nothing| {
            d.library_show(&n)
        }),
        change_as_granted(
            Method::PATCH,
            "/libraries/{name}",
            "Set settings of a library",
            |d, n: String, b: SetLibrary, granted| d.library_set(&n, &b, granted),
        ),
        delete("/libraries/{name}", "Remove an empty library", |d, n: String, _: Nothing| {
            d.library_remove(&n)
        }),
    ]
}

/// How a library comes about beside a listener that others can reach.
const DOOR_BEFORE_TARGET: &str = "close that listener (vtl iscsi portal rm, or restart without it), create the library, set its CHAP \
                                  (vtl iscsi chap set) or initiators, and open it again; or guard the target in the configuration file first";

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

impl Daemon {
    pub(crate) fn live(&self, name: &str) -> Answer<Arc<LiveLibrary>> {
        let name: LibraryName = parse(name)?;
        self.library(&name).ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("there is no library '{name}'"), "see vtl library ls")
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

    pub(super) fn library_create(&self, request: &CreateLibrary) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let name: LibraryName = field("name", parse(&request.name))?;
        let counts = Counts { drives: request.drives, slots: request.slots, mailslots: request.mailslots };
        let new = Self::new_library(&name, &request.profile, counts)?;
        // A new target asks for nothing yet: it must not stand open in front of a listener that others can reach.
        let pool = field("pool", self.pool_to_set(request.pool.as_deref()))?;
        let create = |tx: &mut Tx<'_>| {
            vtl_library::create_library(tx, &new)?;
            set_pool(tx, &name, pool.as_ref()).map(|()| true)
        };
        self.loosen(create).map_err(|error| match error.code {
            ErrorCode::Conflict => ApiError { remedy: Some(DOOR_BEFORE_TARGET.to_owned()), ..error },
            ErrorCode::Exists => error.about("name"),
            _ => error,
        })?;
        let library = self.meta.read(|tx| vtl_library::library(tx, &name)).map_err(|e| refused(&e))?;
        self.start_library(&library)?;
        self.publish().map_err(|e| refused(&e))?;
        let target = self.library(&name).map(|live| live.target.name.clone()).unwrap_or_default();
        Ok(done(format!("library {name} is on target {target}"), vec![name.to_string()]))
    }

    pub(super) fn library_set(
        &self,
        name: &str,
        request: &SetLibrary,
        granted: &Granted,
    ) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let live = self.live(name)?;
        let deletes = self.settings_for(Some(&live.name))?.would_delete(&request.settings);
        granted.covers(deletes.then_some(Permission::Destroy))?;
        let wanted = field("targets", request.targets.as_deref().map(parse_layout).transpose())?;
        let settings = self.set_library_settings(&live.name, &request.settings)?;
        if request.drives.or(request.slots).or(request.mailslots).is_some() {
            self.set_counts(&live, request)?;
        }
        if let Some(pool) = field("pool", self.pool_to_set(request.pool.as_deref()))? {
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
        let emptied = live.follow()?;
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
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!(
                    "{} sessions with library {} are open, such as that of {}: its targets change",
                    sessions.len(),
                    live.name,
                    one.initiator
                ),
                "log these hosts out, or end their sessions with --force",
            ));
        }
        let name = live.name.clone();
        self.loosen(|tx| vtl_library::set_layout(tx, &name, wanted).map(|()| true))?;
        drop(live);
        self.leave(&name, &targets)?;
        let library = self.meta.read(|tx| vtl_library::library(tx, &name)).map_err(|e| refused(&e))?;
        self.start_library(&library)?;
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
}
