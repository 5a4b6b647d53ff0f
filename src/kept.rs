//! Cartridges that are kept: retention and hold, as requests see them. What keeps them is the cartridge itself and the store's guard; the
//! inventory has a note beside, for a cartridge whose head cannot be read any more.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use vtl_api::{ApiError, ErrorCode, Problem};
use vtl_cartridge::{CartridgeError, Now, Protection};
use vtl_library::{Cartridge, CartridgeState};
use vtl_meta::MetaError;
use vtl_store::{OwnerId, Store, StoreError};
use vtl_types::{CartridgeId, Label};

use crate::api::not_carried;
use crate::clock::rfc3339;
use crate::daemon::{Daemon, internal, invalid};
use crate::media::CartridgeMedium;

/// So far clock and count may part before the status says so.
const PARTED_S: u64 = 3_600;

/// What is asked of a cartridge. Several at once are done in this order, and end with the first that is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Whether it is on hold.
    pub hold: Option<bool>,
    /// Until when it is retained, in seconds since 1970 UTC.
    pub retain_until_s: Option<u64>,
}

/// RFC 3339, or a date, which begins at 0:00 UTC.
pub fn parse_time(text: &str) -> Result<u64, ApiError> {
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let day: Date = text.parse().ok()?;
        Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    let seconds = moment.and_then(|moment| u64::try_from(moment.as_second()).ok());
    seconds.ok_or_else(|| {
        invalid(
            format!("retain-until cannot be '{text}'"),
            "write a time such as 2030-01-31T00:00:00Z, or a date such as 2030-01-31",
        )
    })
}

impl Daemon {
    /// Retains a cartridge, or puts it on hold or takes it off; durable when it returns. What it is kept by then.
    ///
    /// # Errors
    /// What forbids it; a refusal changes nothing.
    pub(crate) fn keep(&self, cartridge: &Cartridge, keep: Keep) -> Result<Protection, ApiError> {
        if cartridge.state == CartridgeState::Removing {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!("{} is in the trash", cartridge.label),
                format!("vtl cartridge restore {}", cartridge.label),
            ));
        }
        // First: a cartridge that remembers this count must find no smaller one after a crash.
        self.retention.write();
        let done = match cartridge.library.as_ref().and_then(|name| self.library(name)) {
            Some(live) => {
                let label = cartridge.label;
                live.changer
                    .call(move |changer| {
                        changer.inventory_mut().on_cartridge(label, move |medium| kept(medium, keep))
                    })
                    .map_err(|failed| internal(&failed.to_string()))?
                    .map_err(|error| not_carried(&error))?
            }
            None => {
                self.shelf.use_closed(cartridge.id, |medium| kept(medium, keep)).map_err(|e| internal(&e))?
            }
        };
        let protection = done.map_err(|error| not_kept(cartridge, &error))?;
        self.note(cartridge, protection)?;
        Ok(protection)
    }

    fn note(&self, cartridge: &Cartridge, protection: Protection) -> Result<(), ApiError> {
        self.meta.note_kept(cartridge.id, protection).map_err(|error| not_noted(cartridge.label, &error))
    }

    /// Whether a cartridge may be removed. A retention that is over is let go.
    ///
    /// # Errors
    /// It is kept, and until when.
    pub(crate) fn refuse_kept(&self, cartridge: &Cartridge) -> Result<(), ApiError> {
        let (label, now) = (cartridge.label, self.retention.now());
        let protection = match self.shelf.protection(cartridge.id) {
            Ok(protection) => protection,
            // Its head is lost, or all of it: the note is all that there is.
            Err(_) => self.noted(&label.to_string(), cartridge.id)?.at(now),
        };
        let lift = format!("lift it first: vtl cartridge set {label} hold=off");
        refuse_protected(&label.to_string(), protection, now, &lift)
    }

    /// Whether one may be removed that the inventory does not list and that cannot be read: its note and the store's guard are all that there is.
    ///
    /// # Errors
    /// It is kept, and until when if that is known.
    pub(crate) fn refuse_kept_unlisted(&self, store: &Store, id: CartridgeId) -> Result<(), ApiError> {
        let back = "put its folder back from a copy of the store, and restart vtld, which lists it: then its hold can be lifted";
        let (name, now) = (id.to_string(), self.retention.now());
        refuse_protected(&name, self.noted(&name, id)?.at(now), now, back)?;
        match store.is_guarded(OwnerId(id.0)) {
            Ok(true) => {
                Err(not_removed(&name, "is retained or on hold, and for how long cannot be read", back))
            }
            // Of what the store cannot read nobody knows more than the note.
            Ok(false) | Err(_) => Ok(()),
        }
    }

    /// What is noted of a cartridge that cannot say itself what it is kept by.
    fn noted(&self, name: &str, id: CartridgeId) -> Result<Protection, ApiError> {
        self.meta.kept(id).map_err(|error| {
            ApiError::new(
                ErrorCode::Conflict,
                format!("{name} cannot be removed: whether it is kept cannot be read: {error}"),
                "put its folder back from a copy of the store, and restart vtld; or put a copy of the inventory back: vtl system restore FILE, and restart vtld",
            )
        })
    }

    /// Clock and count have parted while a cartridge is retained.
    pub(crate) fn retention_problem(&self) -> Option<Problem> {
        let ahead = self.retention.parted_s();
        if ahead.unsigned_abs() < PARTED_S || !self.meta.any_retained(self.retention.now()) {
            return None;
        }
        let (which, effect) = match ahead > 0 {
            true => ("ahead of", "the count decides"),
            false => ("behind", "the clock decides"),
        };
        Some(Problem {
            subject: "retention".to_owned(),
            message: format!(
                "the machine's clock is {} s {which} the seconds that were counted since the last start (it was set, or the machine was off): {effect}, so cartridges are kept longer",
                ahead.unsigned_abs()
            ),
            remedy:
                "set the clock right if it is wrong; else see vtl cartridge show LABEL for when retention is over, and restart vtld to be told no more"
                    .to_owned(),
        })
    }
}

/// Refuses to remove what is kept. `lift`: what helps when it is on hold.
fn refuse_protected(name: &str, protection: Protection, now: Now, lift: &str) -> Result<(), ApiError> {
    match protection {
        Protection { retention: Some(retention), .. } => Err(not_removed(
            name,
            &format!("is retained until {}", rfc3339(retention.ends_s(now))),
            "nothing lifts a retention but time; it can be removed after that",
        )),
        Protection { hold: true, .. } => Err(not_removed(name, "is on hold", lift)),
        Protection { .. } => Ok(()),
    }
}

fn not_removed(name: &str, why: &str, remedy: &str) -> ApiError {
    ApiError::new(ErrorCode::Conflict, format!("{name} cannot be removed: it {why}"), remedy)
}

/// On the cartridge's own thread.
fn kept(medium: &mut CartridgeMedium, keep: Keep) -> Result<Protection, CartridgeError> {
    let now = medium.release_if_over()?;
    let cartridge = medium.cartridge_mut();
    if let Some(on) = keep.hold {
        cartridge.set_hold(on)?;
    }
    if let Some(until_s) = keep.retain_until_s {
        cartridge.retain(until_s, now)?;
    }
    Ok(cartridge.protection())
}

/// The cartridge itself and the store have it, so nothing is taken back.
fn not_noted(label: Label, error: &MetaError) -> ApiError {
    let message = format!("{label} is changed, but the inventory could not note what it is kept by: {error}");
    ApiError::new(ErrorCode::Internal, message, error.remedy())
}

/// The one place where a cartridge's refusal becomes the API's.
fn not_kept(cartridge: &Cartridge, error: &CartridgeError) -> ApiError {
    let label = cartridge.label;
    let conflict = |message: String, remedy: &str| ApiError::new(ErrorCode::Conflict, message, remedy);
    match error {
        CartridgeError::RetentionTime { asked_s, now_s } => invalid(
            format!("{label} cannot be retained until {}: it is {}", rfc3339(*asked_s), rfc3339(*now_s)),
            "name a time that is not past and at most a century away",
        )
        .about("retain_until"),
        CartridgeError::RetentionShortened { until_s, asked_s } => conflict(
            format!(
                "{label} is retained until {}; {} would be shorter",
                rfc3339(*until_s),
                rfc3339(*asked_s)
            ),
            "name a later time: retention is never made shorter",
        )
        .about("retain_until"),
        CartridgeError::HoldUnderRetention { until_s } => conflict(
            format!("the hold of {label} stays while retention runs, until {}", rfc3339(*until_s)),
            "lift it after that",
        )
        .about("hold"),
        CartridgeError::PoolReadOnly { .. } | CartridgeError::Store(StoreError::ReadOnly { .. }) => {
            conflict(error.to_string(), "check the disk, then restart vtld: it verifies the pool")
        }
        CartridgeError::Incomplete => conflict(
            format!("{label}: {error}"),
            "wait for its import: vtl job ls; or import it once more, which fetches the rest",
        ),
        other => internal(&other.to_string()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use scsi::Persist as _;

    use super::*;
    use crate::daemon::tests::open_with;
    use crate::meta::KEPT;
    use crate::retention_clock::Reading;
    use crate::take_in::tests::{DamagedHead, damage_before_note, damage_behind, damage_note, stop};
    use crate::trash::{self, Wait};

    pub(crate) const DAY: u64 = 86_400;
    pub(crate) const START: u64 = 20_000 * DAY;

    /// A machine whose clock, run and time since boot are turned by hand.
    #[derive(Clone)]
    pub(crate) struct Hands(Arc<[AtomicU64; 3]>);

    impl Hands {
        pub(crate) fn new() -> Self {
            Self(Arc::new([AtomicU64::new(START), AtomicU64::new(1), AtomicU64::new(0)]))
        }

        pub(crate) fn set_clock(&self, wall_s: u64) {
            self.0[0].store(wall_s, Ordering::Relaxed);
        }

        /// Time passes, and the clock shows it.
        pub(crate) fn pass(&self, seconds: u64) {
            self.0[0].fetch_add(seconds, Ordering::Relaxed);
            self.0[2].fetch_add(seconds, Ordering::Relaxed);
        }

        pub(crate) fn boot(&self) {
            self.0[1].fetch_add(1, Ordering::Relaxed);
            self.0[2].store(0, Ordering::Relaxed);
        }

        pub(crate) fn daemon(&self, folder: &Path) -> Arc<Daemon> {
            let hands = self.clone();
            let read = move || {
                let [wall_s, boot, since_boot_s] =
                    hands.0.each_ref().map(|hand| hand.load(Ordering::Relaxed));
                Reading { wall_s, boot: [boot as u8; 16], since_boot_s }
            };
            open_with(folder, &[], Arc::new(read))
        }
    }

    fn row(daemon: &Daemon, label: &str) -> Cartridge {
        daemon.meta.read(|tx| vtl_library::cartridge(tx, label.parse().unwrap())).unwrap()
    }

    fn retain(daemon: &Daemon, label: &str, until_s: u64) -> Result<Protection, ApiError> {
        daemon.keep(&row(daemon, label), Keep { retain_until_s: Some(until_s), hold: None })
    }

    fn hold(daemon: &Daemon, label: &str, on: bool) -> Result<Protection, ApiError> {
        daemon.keep(&row(daemon, label), Keep { hold: Some(on), retain_until_s: None })
    }

    fn may_go(daemon: &Daemon, label: &str) -> bool {
        let row = row(daemon, label);
        let allowed = daemon.refuse_kept(&row).is_ok();
        // The store says the same, whatever was asked before.
        let kept = daemon.shelf.protection(row.id).unwrap().is_on();
        assert_eq!(allowed, !kept);
        allowed
    }

    #[test]
    fn a_clock_that_is_set_forward_or_back_while_the_machine_runs_frees_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        retain(&daemon, "VTL001L8", START + 10 * DAY).unwrap();
        hands.set_clock(START + 4_000 * DAY);
        assert!(!may_go(&daemon, "VTL001L8"));
        let problem = daemon.problems().into_iter().find(|problem| problem.subject == "retention");
        assert!(problem.unwrap().message.contains("ahead"));
        hands.pass(10 * DAY - 1);
        assert!(!may_go(&daemon, "VTL001L8"));
        hands.set_clock(START);
        hands.pass(1);
        assert!(!may_go(&daemon, "VTL001L8"), "the seconds have passed, and the clock is behind");
        hands.set_clock(START + 10 * DAY);
        assert!(may_go(&daemon, "VTL001L8"));
        daemon.stop();
    }

    #[test]
    fn restarts_of_the_program_and_of_the_machine_with_a_clock_set_forward_gain_a_day_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        retain(&daemon, "VTL001L8", START + 10 * DAY).unwrap();
        daemon.stop();
        drop(daemon);
        for boot in 0..12 {
            if boot % 2 == 1 {
                hands.boot();
            }
            hands.set_clock(START + (boot + 1) * 365 * DAY);
            let daemon = hands.daemon(folder.path());
            assert!(!may_go(&daemon, "VTL001L8"), "start {boot}");
            daemon.stop();
        }
        let daemon = hands.daemon(folder.path());
        hands.pass(9 * DAY - 1);
        assert!(!may_go(&daemon, "VTL001L8"));
        hands.pass(1);
        assert!(may_go(&daemon, "VTL001L8"));
        daemon.stop();
    }

    #[test]
    fn without_its_file_the_count_goes_on_from_what_the_cartridge_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        hands.pass(100 * DAY);
        retain(&daemon, "VTL001L8", START + 110 * DAY).unwrap();
        hands.pass(5 * DAY);
        daemon.stop();
        drop(daemon);
        for file in ["retention.clock", "inventory.db", "inventory.db-wal", "inventory.db-shm"] {
            let path = folder.path().join("state").join(file);
            assert!(std::fs::remove_file(&path).is_ok() || file.ends_with("-wal") || file.ends_with("-shm"));
        }
        hands.set_clock(START + 4_000 * DAY);
        let daemon = hands.daemon(folder.path());
        hands.pass(10 * DAY - 1);
        assert!(!may_go(&daemon, "VTL001L8"), "the five days are lost, nothing else");
        hands.pass(1);
        assert!(may_go(&daemon, "VTL001L8"));
        daemon.stop();
    }

    #[test]
    fn retention_is_made_longer_only_and_a_hold_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let label = "VTL001L8";
        hold(&daemon, label, true).unwrap();
        retain(&daemon, label, START + 2 * DAY).unwrap();
        let shorter = retain(&daemon, label, START + DAY).unwrap_err();
        assert_eq!(shorter.code, ErrorCode::Conflict);
        assert!(shorter.message.contains("2024-10-06T00:00:00Z"), "{}", shorter.message);
        assert_eq!(hold(&daemon, label, false).unwrap_err().code, ErrorCode::Conflict);
        retain(&daemon, label, START + 3 * DAY).unwrap();
        hands.pass(2 * DAY);
        assert!(hold(&daemon, label, false).is_err());
        hands.pass(DAY);
        assert!(!may_go(&daemon, label), "the hold is still there");
        hold(&daemon, label, false).unwrap();
        assert!(may_go(&daemon, label));
        daemon.stop();
    }

    #[test]
    fn a_kept_cartridge_is_not_destroyed_whatever_the_inventory_says_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Hands::new().daemon(folder.path());
        for (label, retained) in [("VTL001L8", true), ("VTL002L8", false)] {
            match retained {
                true => drop(retain(&daemon, label, START + DAY).unwrap()),
                false => drop(hold(&daemon, label, true).unwrap()),
            }
            // As an older copy of the inventory might have it.
            let going =
                daemon.meta.change(|tx| vtl_library::begin_remove(tx, label.parse().unwrap())).unwrap();
            daemon.meta.change(|tx| Ok(trash::note(tx, going.id, Wait::Not)?)).unwrap();
            assert_eq!(daemon.destroy(&going).unwrap_err().code, ErrorCode::Conflict);
            daemon.empty_trash_now(daemon.pools.default());
            let owner = vtl_store::OwnerId(going.id.0);
            let store = &daemon.pools.default().store;
            assert!(store.owners().contains(&owner));
            assert!(matches!(store.remove(owner), Err(StoreError::Guarded { .. })));
            assert!(daemon.keep(&row(&daemon, label), Keep::default()).is_err(), "it is in the trash");
        }
        daemon.stop();
    }

    #[test]
    fn a_blank_cartridge_that_is_kept_is_listed_again_and_not_taken_for_a_creation_that_was_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        hold(&daemon, "VTL001L8", true).unwrap();
        let [kept, blank] = ["VTL001L8", "VTL002L8"].map(|label| row(&daemon, label).id);
        for label in ["VTL001L8", "VTL002L8"] {
            let label = label.parse().unwrap();
            let going = daemon.meta.change(|tx| vtl_library::begin_remove(tx, label)).unwrap();
            daemon.meta.change(|tx| vtl_library::finish_remove(tx, going.id)).unwrap();
        }
        daemon.stop();
        drop(daemon);
        let daemon = hands.daemon(folder.path());
        let owners = daemon.pools.default().store.owners();
        assert!(owners.contains(&vtl_store::OwnerId(kept.0)));
        assert!(!owners.contains(&vtl_store::OwnerId(blank.0)));
        assert!(!may_go(&daemon, "VTL001L8"));
        daemon.stop();
    }

    #[test]
    fn a_kept_cartridge_whose_head_cannot_be_read_is_not_given_up_either() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        retain(&daemon, "VTL001L8", START + DAY).unwrap();
        let ids = ["VTL001L8", "VTL002L8"].map(|label| row(&daemon, label).id);
        daemon.stop();
        drop(daemon);
        for id in ids {
            let owner = vtl_store::OwnerId(id.0).to_string();
            let head = folder.path().join("state/store/owners").join(owner).join("head");
            let mut bytes = std::fs::read(&head).unwrap();
            bytes[40] ^= 1;
            std::fs::write(&head, bytes).unwrap();
        }
        let daemon = hands.daemon(folder.path());
        assert!(daemon.refuse_kept(&row(&daemon, "VTL001L8")).is_err());
        assert!(daemon.refuse_kept(&row(&daemon, "VTL002L8")).is_ok());
        hands.pass(DAY);
        assert!(daemon.refuse_kept(&row(&daemon, "VTL001L8")).is_ok());
        daemon.stop();
    }

    #[test]
    fn a_cartridge_of_which_neither_head_nor_note_can_be_read_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        hold(&daemon, "VTL001L8", true).unwrap();
        let id = row(&daemon, "VTL001L8").id;
        stop(daemon);
        DamagedHead::of(&folder.path().join("state/store"), id);
        damage_note(folder.path(), KEPT, id);
        let daemon = hands.daemon(folder.path());
        let refused = daemon.refuse_kept(&row(&daemon, "VTL001L8")).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains("whether it is kept cannot be read"), "{refused:?}");
        assert!(refused.remedy.unwrap().contains("vtl system restore"));
        daemon.stop();
    }

    #[test]
    fn a_cartridge_without_a_head_is_not_removed_where_a_note_has_lost_its_key() {
        // The last digit of the id, and a letter of the word before it.
        for back in [1, 32 + 3] {
            let folder = tempfile::tempdir().unwrap();
            let daemon = Hands::new().daemon(folder.path());
            hold(&daemon, "VTL001L8", true).unwrap();
            let id = row(&daemon, "VTL001L8").id;
            stop(daemon);
            DamagedHead::of(&folder.path().join("state/store"), id);
            damage_before_note(folder.path(), KEPT, id, back);
            let daemon = Hands::new().daemon(folder.path());
            let refused = daemon.refuse_kept(&row(&daemon, "VTL001L8")).unwrap_err();
            assert!(refused.message.contains("whether it is kept cannot be read"), "{back}: {refused:?}");
            daemon.refuse_kept(&row(&daemon, "VTL002L8")).unwrap();
            daemon.stop();
        }
    }

    #[test]
    fn a_damaged_note_of_something_else_keeps_no_cartridge_that_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Hands::new().daemon(folder.path());
        hold(&daemon, "VTL002L8", true).unwrap();
        daemon.meta.device("SERIAL0001").save("reservations", b"some").unwrap();
        let [one, other] = ["VTL001L8", "VTL002L8"].map(|label| row(&daemon, label).id);
        stop(daemon);
        DamagedHead::of(&folder.path().join("state/store"), one);
        damage_note(folder.path(), KEPT, other);
        damage_behind(folder.path(), "SERIAL0001reservations", 0);
        let daemon = Hands::new().daemon(folder.path());
        daemon.refuse_kept(&row(&daemon, "VTL001L8")).unwrap();
        daemon.stop();
    }

    #[test]
    fn a_note_that_the_inventory_does_not_take_is_told_with_its_reason_and_its_advice() {
        let full = || MetaError::Io {
            operation: "write",
            path: "/made-up/inventory.db".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        let told = not_noted("VTL001L8".parse().unwrap(), &full());
        assert!(told.message.contains("VTL001L8") && told.message.contains(&full().to_string()), "{told:?}");
        assert_eq!(told.remedy, Some(full().remedy()));
    }

    #[test]
    fn times_are_rfc_3339_or_dates() {
        assert_eq!(parse_time("2026-03-23T00:00:00Z").unwrap(), 1_774_224_000);
        assert_eq!(parse_time("2026-03-23").unwrap(), 1_774_224_000);
        assert_eq!(parse_time("2026-03-23T01:00:00+01:00").unwrap(), 1_774_224_000);
        for text in ["", "tomorrow", "2026-13-01", "1960-01-01", "1774224000"] {
            assert!(parse_time(text).unwrap_err().remedy.unwrap().contains("2030-01-31"), "{text}");
        }
    }
}
