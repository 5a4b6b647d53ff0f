//! Requests about cartridges.

use std::sync::Arc;

use vtl_api::{
    ApiError, CartridgeInfo, CartridgeOrder, CreateCartridges, Done, ErrorCode, ListCartridges,
    MoveCartridge, Paged, PlaceInfo, PlaceKind, RemoveCartridge, SetCartridge, TrashInfo,
};
use vtl_cartridge::Protection;
use vtl_library::{By, Cartridge, CartridgeState, NewCartridges, NewPlace, Order};
use vtl_store::OwnerId;
use vtl_types::{ByteCount, CartridgeId, Label, LibraryName, MediaForm, MediaKind, Place};

use super::page::{Cursor, Page, Wanted};
use super::route::{Nothing, Route, delete, field, get, list, patch, post};
use super::{Answer, done, failed, not_carried, parse, refused};
use crate::clock::rfc3339;
use crate::daemon::{Daemon, invalid, lock};
use crate::exports::Beside;
use crate::inventory::Force;
use crate::kept::{Keep, parse_time};
use crate::library::LiveLibrary;
use crate::trash::{self, Wait};

/// The order of the trash.
const BY_LABEL: &str = "label";
/// So many labels are named in what is said of new cartridges.
const NAMED: usize = 10;

pub(super) fn routes() -> Vec<Route> {
    vec![
        list("/cartridges", "All cartridges", |d, (), q: ListCartridges| d.cartridge_list(&q)),
        post("/cartridges", "Make blank cartridges", |d, (), b: CreateCartridges| d.cartridge_create(&b)),
        get("/cartridges/{label}", "One cartridge", |d, l: String, _: Nothing| d.cartridge_show(&l)),
        get("/cartridges/{label}/map", "What is on a tape", |d, l: String, _: Nothing| d.cartridge_map(&l)),
        patch("/cartridges/{label}", "Set what a cartridge is kept by", |d, l: String, b: SetCartridge| {
            d.cartridge_set(&l, &b)
        }),
        delete("/cartridges/{label}", "Remove a cartridge", |d, l: String, b: RemoveCartridge| {
            d.cartridge_remove(&l, &b)
        }),
        post("/cartridges/{label}/move", "Move a cartridge", |d, l: String, b: MoveCartridge| {
            d.cartridge_move(&l, &b)
        }),
        list("/trash", "Removed cartridges that can be taken back", |d, (), q: Paged| d.trash_list(&q)),
        post(
            "/cartridges/{label}/restore",
            "Take a cartridge back from the trash",
            |d, l: String, _: Nothing| d.cartridge_restore(&l),
        ),
        post(
            "/cartridges/{label}/release",
            "Take a cartridge out of quarantine",
            |d, l: String, _: Nothing| d.cartridge_release(&l),
        ),
    ]
}

/// The orders that the inventory has.
const fn order(sort: CartridgeOrder) -> Order {
    let (by, down) = match sort {
        CartridgeOrder::Label => (By::Label, false),
        CartridgeOrder::LabelDown => (By::Label, true),
        CartridgeOrder::Created => (By::Created, false),
        CartridgeOrder::CreatedDown => (By::Created, true),
        CartridgeOrder::Capacity => (By::Capacity, false),
        CartridgeOrder::CapacityDown => (By::Capacity, true),
    };
    Order { by, down }
}

/// What waits in the trash.
enum Waiting {
    Removed(Cartridge),
    GivenUp(CartridgeId),
}

impl Waiting {
    /// What it is known by. No id has the length of a label.
    fn key(&self) -> String {
        match self {
            Self::Removed(cartridge) => cartridge.label.to_string(),
            Self::GivenUp(id) => id.to_string(),
        }
    }
}

fn cursor_of(sort: CartridgeOrder, (cartridge, _): &(Cartridge, CartridgeInfo)) -> Cursor {
    let (value, key) = order(sort).key_of(cartridge);
    Cursor { sort: sort.word().to_owned(), value, key }
}

fn infos(rows: Vec<(Cartridge, CartridgeInfo)>) -> Vec<CartridgeInfo> {
    rows.into_iter().map(|(_, info)| info).collect()
}

/// A few are named, and of many the ends: labels count up.
fn made_text(names: &[String]) -> String {
    match names {
        [first, .., last] if names.len() > NAMED => {
            format!("made {} cartridges, {first} to {last}", names.len())
        }
        few => format!("made {}", few.join(", ")),
    }
}

fn parse_place(text: &str) -> Answer<Place> {
    text.parse()
        .map_err(|()| invalid(format!("'{text}' is no place"), "write slot:N, drive:N, mailslot:N or vault"))
}

/// A host that reserved the drive counts on the cartridge in it; an operator takes it only by force.
fn not_reserved(owner: &LiveLibrary, cartridge: &Cartridge) -> Answer<()> {
    let Place::Drive(number) = cartridge.place else { return Ok(()) };
    let Some(bay) = owner.bay(number) else { return Ok(()) };
    let holder = bay.unit.call(|drive| crate::drive::holder(drive)).map_err(failed)?;
    match holder {
        None => Ok(()),
        Some(holder) => Err(ApiError::new(
            ErrorCode::Conflict,
            format!("drive {number}, which holds {}, is reserved by {holder}", cartridge.label),
            "let that host release it, or use --force",
        )),
    }
}

/// What a new cartridge is to hold, as `cartridge.size` may say it.
pub(crate) fn new_size(bytes: u64) -> Answer<ByteCount> {
    match vtl_conf::CARTRIDGE_BYTES.contains(&bytes) {
        true => Ok(ByteCount(bytes)),
        false => {
            let message = format!("a cartridge of {bytes} bytes cannot be");
            Err(invalid(message, "write a size from 1m (1048576) to 64t, or leave it out"))
        }
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

impl Daemon {
    fn cartridge_row(&self, cartridge: &Cartridge, beside: Beside) -> CartridgeInfo {
        let media = cartridge.label.media();
        // A damaged one is told by check and status.
        let pool = self.pools.of(cartridge.id).ok();
        let lazy = beside.may_be_lazy.then(|| self.lazy_row(cartridge.id)).flatten();
        let owner = lazy.as_ref().map_or(cartridge.id, |row| row.pieces);
        let usage = pool.and_then(|pool| pool.store.usage(OwnerId(owner.0)).ok());
        let share = usage.and_then(|usage| usage.share);
        let (used_bytes, protection) = self.summary(cartridge);
        let now = self.retention.now();
        CartridgeInfo {
            label: cartridge.label.to_string(),
            library: cartridge.library.as_ref().map(ToString::to_string),
            place: PlaceInfo { kind: cartridge.place.kind().to_owned(), number: cartridge.place.number() },
            capacity_bytes: cartridge.capacity.0,
            used_bytes,
            generation: media.generation.number(),
            exports: beside.exports,
            exports_problem: beside.exports_problem,
            quarantined: beside.quarantined,
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

    /// A loaded cartridge's drive knows best, as it was after the last thing that it did; otherwise its head says.
    fn summary(&self, cartridge: &Cartridge) -> (u64, Protection) {
        let loaded = match (&cartridge.library, cartridge.place) {
            (Some(name), Place::Drive(number)) => self.library(name).and_then(|live| live.bay(number)),
            _ => None,
        };
        let label = cartridge.label.to_string();
        let is_it = |seen: &crate::drive::Seen| seen.status.label.as_deref() == Some(label.as_str());
        let seen = loaded.and_then(|bay| bay.seen()).map(|(seen, _)| seen).filter(is_it);
        match seen.and_then(|seen| seen.summary) {
            Some((used_bytes, protection)) => (used_bytes, protection.at(self.retention.now())),
            None => self.shelf.summary(cartridge.id),
        }
    }

    pub(super) fn find(&self, label: &str) -> Answer<Cartridge> {
        let label: Label = parse(label)?;
        self.meta.read(|tx| vtl_library::cartridge(tx, label)).map_err(|e| refused(&e))
    }

    /// A page of those that can be used. What is read of the inventory is the page, as long as nothing is asked that only the store knows.
    pub(super) fn cartridge_list(&self, asked: &ListCartridges) -> Result<Page<CartridgeInfo>, ApiError> {
        let sort = asked.sort.unwrap_or_default();
        let wanted = Wanted::of(asked.limit, asked.cursor.as_deref(), sort.word())?;
        let library: Option<LibraryName> = field("library", asked.library.as_deref().map(parse).transpose())?;
        let mut select = vtl_library::Select {
            library,
            place: asked.place.map(PlaceKind::word),
            prefix: asked.label.clone(),
            order: order(sort),
            after: wanted.after.map(|cursor| (cursor.value, cursor.key)),
            most: Some(wanted.most + 1),
        };
        let mut rows = Vec::new();
        loop {
            let found = self.meta.read(|tx| vtl_library::select(tx, &select)).map_err(|e| refused(&e))?;
            let was_all = found.len() <= wanted.most;
            select.after = found.last().map(|last| select.order.key_of(last));
            let besides = self.besides(&found);
            for (cartridge, beside) in found.into_iter().zip(besides) {
                if rows.len() == wanted.most {
                    return Ok(Page { next: rows.last().map(|row| cursor_of(sort, row)), rows: infos(rows) });
                }
                let row = self.cartridge_row(&cartridge, beside);
                if asked.blank.is_none_or(|blank| blank == (row.used_bytes == 0)) {
                    rows.push((cartridge, row));
                }
            }
            if was_all {
                return Ok(Page { rows: infos(rows), next: None });
            }
        }
    }

    pub(super) fn cartridge_show(&self, label: &str) -> Answer<CartridgeInfo> {
        let found = self.find(label)?;
        let beside = self.besides(std::slice::from_ref(&found)).pop().unwrap_or_default();
        Ok(self.cartridge_row(&found, beside))
    }

    pub(super) fn cartridge_create(&self, request: &CreateCartridges) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let first: Label = field("label", parse(&request.label))?;
        if request.worm {
            field("label", is_worm(first))?;
        }
        let library = match &request.library {
            Some(name) => field("library", self.live(name))?.name.clone(),
            None => field("library", self.only_library())?,
        };
        let new =
            NewCartridges { first, count: request.count, library: Some(library), place: NewPlace::Slot };
        let pool = field("pool", self.pool_of_new(new.library.as_ref(), request.pool.as_deref()))?;
        let size = field("size_bytes", request.size_bytes.map(new_size).transpose())?;
        let made = self.make_cartridges_in(&pool, &new, size)?;
        if let Some(live) = new.library.as_ref().and_then(|name| self.library(name)) {
            live.contents_changed();
        }
        let names: Vec<String> = made.iter().map(|c| c.label.to_string()).collect();
        Ok(done(made_text(&names), names))
    }

    pub(super) fn only_library(&self) -> Answer<LibraryName> {
        match self.libraries().as_slice() {
            [one] => Ok(one.name.clone()),
            [] => Err(invalid("there is no library".to_owned(), "make one with vtl library create")),
            _ => Err(invalid("there are several libraries".to_owned(), "name one with --library")),
        }
    }

    /// Devices are waited for when others can change things again.
    pub(super) fn cartridge_set(&self, label: &str, request: &SetCartridge) -> Result<Done, ApiError> {
        let one_at_a_time = lock(&self.changes);
        let cartridge = self.find(label)?;
        let retain_until_s =
            field("retain_until", request.retain_until.as_deref().map(parse_time).transpose())?;
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
        let turned = request.write_protect.map(|on| self.set_write_protect(&cartridge, on)).transpose()?;
        drop(one_at_a_time);
        if let Some(turned) = &turned {
            let word = if turned.write_protected { "on" } else { "off" };
            done_so_far.push(format!("write protection of {label} is {word}"));
        }
        let message = done_so_far.join("; ");
        match turned.and_then(|turned| self.follow_switch(&turned)) {
            Some(error) => Err(ApiError { message: format!("{message}, but {}", error.message), ..error }),
            None => Ok(done(message, vec![label.to_owned()])),
        }
    }

    /// The switch of the row, which is what holds.
    fn set_write_protect(&self, cartridge: &Cartridge, on: bool) -> Answer<Cartridge> {
        let label = cartridge.label;
        self.meta.change(|tx| vtl_library::set_write_protect(tx, label, on)).map_err(|e| refused(&e))
    }

    /// A move that is under way may have read the row before: the changer, who does one thing at a time, turns the medium's switch behind it.
    /// Out of the vault a cartridge may be on its way into any library. All are asked; what failed is told as one.
    fn follow_switch(&self, changed: &Cartridge) -> Option<ApiError> {
        let label = changed.label;
        let libraries = self.libraries();
        let may_have_it =
            |live: &&Arc<LiveLibrary>| changed.library.as_ref().is_none_or(|name| *name == live.name);
        let follow = |live: &Arc<LiveLibrary>| {
            let followed = live.changer.call(move |changer| changer.inventory_mut().follow_switch(label));
            let (device, error) = match followed {
                Ok(done) => ("", not_carried(&done.err()?)),
                Err(fault) => ("changer: ", failed(fault)),
            };
            Some(ApiError { message: format!("{}: {device}{}", live.name, error.message), ..error })
        };
        let add = |all: ApiError, one: ApiError| ApiError {
            message: format!("{}; {}", all.message, one.message),
            ..all
        };
        libraries.iter().filter(may_have_it).filter_map(follow).reduce(add)
    }

    pub(super) fn cartridge_move(&self, label: &str, request: &MoveCartridge) -> Result<Done, ApiError> {
        let cartridge = self.find(label)?;
        let to = field("to", parse_place(&request.to))?;
        let asked: Option<LibraryName> = field("library", request.library.as_deref().map(parse).transpose())?;
        let owner = match (&cartridge.library, &asked) {
            (Some(own), _) => self.live(own.as_str())?,
            (None, Some(asked)) => field("library", self.live(asked.as_str()))?,
            (None, None) => self.live(field("library", self.only_library())?.as_str())?,
        };
        if let Some(asked) = asked.as_ref().filter(|asked| **asked != owner.name) {
            let message = format!("{label} is in library {}, and cannot be moved into {asked}", owner.name);
            let remedy = format!("move it to the vault first: vtl cartridge move {label} --to vault");
            return Err(invalid(message, &remedy).about("library"));
        }
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
            let error = invalid(
                format!("removing {label} at once cannot be undone"),
                &format!("type its label once more: --now --confirm {label}"),
            );
            return Err(error.about("confirm"));
        }
        let cartridge = self.find(label)?;
        self.refuse_kept(&cartridge)?;
        self.refuse_mended(cartridge.id)?;
        let now = self.retention.now();
        let wait = if request.now { Wait::Not } else { Wait::from_now_on(now) };
        let going =
            self.meta.change(|tx| trash::put_in(tx, cartridge.label, wait)).map_err(|e| refused(&e))?;
        if let Some(live) = cartridge.library.as_ref().and_then(|name| self.library(name)) {
            live.contents_changed();
        }
        if request.now {
            let left = self.left_behind(&going);
            if let Err(error) = self.destroy(&going) {
                self.unmark_mended(&cartridge)?;
                return Err(error);
            }
            return Ok(done(format!("{label} is removed for good{left}"), vec![label.to_owned()]));
        }
        let until = self.trash_ends(going.id).unwrap_or(now.wall_s);
        Ok(done(format!("{label} is in the trash until {}", rfc3339(until)), vec![label.to_owned()]))
    }

    /// What was mended while it was marked, or may have been, is not marked any more; `before`: as it was listed then. One that was in the trash is there,
    /// and its seven days begin anew.
    fn unmark_mended(&self, before: &Cartridge) -> Answer<()> {
        if self.refuse_mended(before.id).is_ok() {
            return Ok(());
        }
        let wait = Wait::from_now_on(self.retention.now());
        let unmarked = self.meta.change(|tx| match before.state {
            CartridgeState::Normal => trash::take_back(tx, before.label),
            CartridgeState::Removing => Ok(trash::note(tx, before.id, wait)?),
        });
        unmarked.map_err(|e| refused(&e))
    }

    /// What waits in the trash.
    pub(super) fn trash_list(&self, asked: &Paged) -> Result<Page<TrashInfo>, ApiError> {
        let wanted = Wanted::of(asked.limit, asked.cursor.as_deref(), BY_LABEL)?;
        let removed = self.trash().map_err(|e| refused(&e))?.into_iter().map(Waiting::Removed);
        let given_up = self.given_up().map_err(|e| refused(&e))?.into_iter().map(Waiting::GivenUp);
        let Page { rows, next } = wanted.cut(removed.chain(given_up).collect(), BY_LABEL, Waiting::key);
        let row = |one: &Waiting| match one {
            Waiting::Removed(cartridge) => self.removed_row(cartridge),
            Waiting::GivenUp(id) => self.given_up_row(*id),
        };
        Ok(Page { rows: rows.iter().map(row).collect(), next })
    }

    fn given_up_row(&self, id: CartridgeId) -> TrashInfo {
        let (since_s, ends_s) = self.given_up_times(id);
        TrashInfo {
            label: String::new(),
            id: Some(id.to_string()),
            pool: self.pools.name_of(id).map_or_else(|_| String::new(), |name| name.to_string()),
            capacity_bytes: 0,
            used_bytes: 0,
            generation: 0,
            removed: since_s.map(rfc3339),
            until: ends_s.map(rfc3339),
        }
    }

    fn removed_row(&self, removed: &Cartridge) -> TrashInfo {
        let (used_bytes, _) = self.summary(removed);
        TrashInfo {
            label: removed.label.to_string(),
            id: None,
            pool: self.pools.name_of(removed.id).map_or_else(|_| String::new(), |name| name.to_string()),
            capacity_bytes: removed.capacity.0,
            used_bytes,
            generation: removed.label.media().generation.number(),
            removed: self.trash_since(removed.id).map(rfc3339),
            until: self.trash_ends(removed.id).map(rfc3339),
        }
    }

    /// Takes a cartridge back from the trash; it is in the vault then.
    pub(super) fn cartridge_restore(&self, label: &str) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let label: Label = parse(label)?;
        let removed = self.find(label.as_str())?;
        if removed.state != CartridgeState::Removing {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!("{label} is not in the trash"),
                "vtl cartridge trash shows what is there",
            ));
        }
        if self.pools.of(removed.id).is_ok_and(|pool| !pool.has(removed.id)) {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!("{label} cannot be taken back: the store has no data of it"),
                format!(
                    "bring the store back from a copy, or give it up: vtl cartridge rm {label} --now --confirm {label}"
                ),
            ));
        }
        self.meta.change(|tx| trash::take_back(tx, label)).map_err(|e| refused(&e))?;
        Ok(done(format!("{label} is in the vault again"), vec![label.to_string()]))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use scsi::{Fault, Medium as _};
    use vtl_api::CreateLibrary;

    use super::*;
    use crate::daemon::tests::open;
    use crate::library::Changer;
    use crate::take_in::tests::{DamagedHead, begin_lazily, stop};

    #[test]
    fn what_is_put_back_under_the_running_server_is_not_marked_for_a_removal_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = open(folder.path(), &[]);
        let listed: Label = "VTL001L8".parse().unwrap();
        let state =
            |daemon: &Daemon, label| daemon.meta.read(|tx| vtl_library::cartridge(tx, label)).unwrap().state;
        let id = daemon.meta.read(|tx| vtl_library::cartridge(tx, listed)).unwrap().id;
        let [_, pieces] = begin_lazily(&daemon, "UNF001L8");
        for (label, damaged) in [(listed, id), ("UNF001L8".parse().unwrap(), pieces)] {
            stop(daemon);
            let head = DamagedHead::of(&folder.path().join("state/store"), damaged);
            daemon = open(folder.path(), &[]);
            head.mend();
            let at_once = RemoveCartridge { now: true, confirm: Some(label.to_string()) };
            for request in [RemoveCartridge::default(), at_once] {
                let refused = daemon.cartridge_remove(label.as_str(), &request).unwrap_err();
                assert_eq!(refused.code, ErrorCode::Conflict, "{refused:?}");
                assert!(refused.message.contains("not removed unseen"), "{refused:?}");
                assert!(refused.remedy.unwrap().contains("restart vtld"));
            }
            assert_eq!(state(&daemon, label), CartridgeState::Normal);
            stop(daemon);
            daemon = open(folder.path(), &[]);
            assert_eq!(state(&daemon, label), CartridgeState::Normal);
            assert!(daemon.pools.default().has(damaged), "{label}");
        }
        stop(daemon);
    }

    fn turn(daemon: &Daemon, label: &str, on: bool) {
        let asked = SetCartridge { write_protect: Some(on), ..SetCartridge::default() };
        daemon.cartridge_set(label, &asked).unwrap();
    }

    fn carry(daemon: &Daemon, label: &str, to: &str) {
        daemon
            .cartridge_move(label, &MoveCartridge { to: to.to_owned(), library: None, force: false })
            .unwrap();
    }

    /// How a drive shows the switch of what is in it, and what it says to a filemark.
    fn in_drive(daemon: &Daemon, number: u16) -> (bool, Result<(), Fault>) {
        let drive = daemon.libraries()[0].bay(number).unwrap().unit;
        let look = |medium: &mut crate::media::CartridgeMedium| {
            (medium.facts().write_protected, medium.write_filemarks(1).map(drop))
        };
        drive.call(move |drive| drive.medium_mut().map(look)).unwrap().unwrap()
    }

    /// The switch is turned on while a move that has read the row waits for its drive, which is at something.
    fn turn_under_way(daemon: &Arc<Daemon>, label: &str, from: Place, to: u16) {
        let live = daemon.libraries()[0].clone();
        let (end_work, work) = mpsc::channel::<()>();
        live.bay(to).unwrap().unit.post(move |_| work.recv().unwrap());
        let (planned, plan) = mpsc::channel();
        let (name, moved): (LibraryName, Label) = (live.name.clone(), label.parse().unwrap());
        let carry = move |changer: &mut Changer| {
            changer.inventory_mut().carry(&[from], Force(false), |tx, gates| {
                let done = vtl_library::move_label(tx, moved, Some(&name), Place::Drive(to), gates)?;
                planned.send(()).unwrap();
                Ok(vec![done])
            })
        };
        std::thread::scope(|scope| {
            let moving = scope.spawn(|| live.changer.call(carry).unwrap().unwrap());
            plan.recv().unwrap();
            let turning = scope.spawn(|| turn(daemon, label, true));
            while !daemon.find(label).unwrap().write_protected {
                std::thread::sleep(Duration::from_millis(1));
            }
            end_work.send(()).unwrap();
            turning.join().unwrap();
            assert_eq!(in_drive(daemon, to), (true, Err(Fault::WriteProtected)), "{from} to drive {to}");
            moving.join().unwrap();
        });
    }

    #[test]
    fn a_switch_that_is_turned_while_a_move_is_under_way_holds_when_the_answer_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let label = "VTL001L8";
        turn_under_way(&daemon, label, Place::Slot(1), 0);
        turn(&daemon, label, false);
        assert_eq!(in_drive(&daemon, 0), (false, Ok(())));
        turn_under_way(&daemon, label, Place::Drive(0), 1);
        carry(&daemon, label, "vault");
        turn(&daemon, label, false);
        // No library has it then, and any may be taking it.
        turn_under_way(&daemon, label, Place::Vault, 0);
        daemon.stop();
    }

    #[test]
    fn whoever_turns_a_switch_waits_for_the_changer_while_others_change_things() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let label = "VTL001L8";
        let (end_work, work) = mpsc::channel::<()>();
        daemon.libraries()[0].changer.post(move |_| work.recv().unwrap());
        std::thread::scope(|scope| {
            let turning = scope.spawn(|| turn(&daemon, label, true));
            let is_free = || daemon.find(label).unwrap().write_protected && daemon.changes.try_lock().is_ok();
            let freed = (0..5000).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                is_free()
            });
            let waits = !turning.is_finished();
            end_work.send(()).unwrap();
            turning.join().unwrap();
            assert!(freed && waits, "free {freed}, waits {waits}");
        });
        daemon.stop();
    }

    #[test]
    fn a_switch_that_is_turned_is_told_as_turned_with_each_device_that_has_failed() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let (loaded, vaulted) = ("VTL001L8", "VTL002L8");
        carry(&daemon, loaded, "drive:1");
        carry(&daemon, vaulted, "vault");
        let second = CreateLibrary {
            name: "second".to_owned(),
            profile: crate::daemon::CHANGER_PROFILE.to_owned(),
            drives: 1,
            slots: 1,
            mailslots: 1,
            pool: None,
        };
        daemon.library_create(&second).unwrap();
        let refused = |label: &str| {
            let asked = SetCartridge { write_protect: Some(true), ..SetCartridge::default() };
            let error = daemon.cartridge_set(label, &asked).unwrap_err();
            assert!(daemon.find(label).unwrap().write_protected, "{label}");
            assert_eq!(error.code, ErrorCode::Internal);
            error.message
        };
        let drive = daemon.libraries()[0].bay(1).unwrap().unit;
        assert!(drive.call(|_| panic!("made to fail")).is_err());
        let told = refused(loaded);
        assert!(told.starts_with("write protection of VTL001L8 is on, but lib0: drive 1: "), "{told}");
        for live in daemon.libraries() {
            assert!(live.changer.call(|_| panic!("made to fail")).is_err());
        }
        let told = refused(vaulted);
        assert!(told.starts_with("write protection of VTL002L8 is on, but lib0: changer: "), "{told}");
        assert!(told.contains("; second: changer: "), "{told}");
        daemon.stop();
    }

    #[test]
    fn a_tape_whose_switch_was_turned_in_its_slot_is_loaded_from_a_pool_that_takes_no_writes() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let (on, off) = ("VTL001L8", "VTL002L8");
        carry(&daemon, off, "drive:0");
        turn(&daemon, off, true);
        carry(&daemon, off, "slot:2");
        let far = folder.path().join("far");
        std::fs::create_dir(&far).unwrap();
        daemon.pools.default().store.add_folder(&far).unwrap();
        daemon.stop();
        drop(daemon);
        // Nobody names that folder: the pool is for reading.
        let daemon = open(folder.path(), &["store.degraded=true"]);
        turn(&daemon, on, true);
        turn(&daemon, off, false);
        carry(&daemon, on, "drive:0");
        carry(&daemon, off, "drive:1");
        assert_eq!(in_drive(&daemon, 0), (true, Err(Fault::WriteProtected)));
        assert_eq!(in_drive(&daemon, 1), (false, Err(Fault::WriteProtected)), "by its pool");
        daemon.stop();
    }

    #[test]
    fn the_trash_says_since_when_and_until_when_and_another_removal_does_not_put_that_off() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        daemon.cartridge_remove("VTL001L8", &RemoveCartridge::default()).unwrap();
        let id = daemon.find("VTL001L8").unwrap().id;
        let later = Wait::Since { wall_s: 2_000_000_000, counted_s: Some(0) };
        daemon.meta.change(|tx| Ok(trash::note(tx, id, later)?)).unwrap();
        let row = daemon.trash_list(&Paged::default()).unwrap().rows.remove(0);
        assert_eq!((row.label.as_str(), row.pool.as_str(), row.generation), ("VTL001L8", "default", 8));
        assert_eq!((row.capacity_bytes, row.used_bytes), (12_000_000_000_000, 0));
        assert_eq!(row.removed.as_deref(), Some("2033-05-18T03:33:20Z"));
        assert_eq!(row.until.as_deref(), Some("2033-05-25T03:33:20Z"));
        let again = daemon.cartridge_remove("VTL001L8", &RemoveCartridge::default()).unwrap();
        assert_eq!(again.message, "VTL001L8 is in the trash until 2033-05-25T03:33:20Z");
        daemon.stop();
    }

    #[test]
    fn a_removal_at_once_that_is_cut_off_is_finished_at_the_next_start_also_from_the_trash() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let label = "VTL001L8";
        daemon.cartridge_remove(label, &RemoveCartridge::default()).unwrap();
        let owner = OwnerId(daemon.find(label).unwrap().id.0);
        let now = RemoveCartridge { now: true, confirm: Some(label.to_owned()) };
        let store = daemon.pools.default().store.clone();
        let in_use = store.open_stream(owner).unwrap();
        daemon.cartridge_remove(label, &now).unwrap_err();
        drop(in_use);
        // The store has removed it, and the crash comes before its row goes.
        store.remove(owner).unwrap();
        drop(store);
        let refused = daemon.cartridge_restore(label).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains("no data"), "{}", refused.message);
        daemon.nothing_is_lost(daemon.pools.default()).unwrap();
        daemon.stop();
        drop(daemon);
        let daemon = open(folder.path(), &[]);
        assert_eq!(daemon.find(label).unwrap_err().code, ErrorCode::NotFound);
        daemon.stop();
    }

    #[test]
    fn a_few_new_cartridges_are_named_and_of_many_the_ends() {
        let names = |count: usize| (1..=count).map(|n| format!("VTL{n:03}L8")).collect::<Vec<_>>();
        assert_eq!(made_text(&names(2)), "made VTL001L8, VTL002L8");
        assert_eq!(made_text(&names(11)), "made 11 cartridges, VTL001L8 to VTL011L8");
    }
}
