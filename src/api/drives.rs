//! Requests about drives.

use vtl_api::{ApiError, DriveInfo, ErrorCode};

use super::route::{Nothing, Route, get};
use super::{Answer, refused};
use crate::daemon::Daemon;
use crate::inventory::Bay;
use crate::library::LiveLibrary;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/drives", "All drives", |d, (), _: Nothing| d.drive_list()),
        get(
            "/libraries/{name}/drives/{number}",
            "One drive",
            |d, (n, number): (String, String), _: Nothing| d.drive_show(&n, &number),
        ),
    ]
}

impl Daemon {
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
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!("library {library} has no drive '{number}'"),
                "see vtl drive ls",
            ));
        };
        self.drive_row(&live, number, &bay)
    }

    fn drive_row(&self, live: &LiveLibrary, number: u16, bay: &Bay) -> Answer<DriveInfo> {
        let seen = bay.seen();
        let busy = seen.as_ref().is_some_and(|(_, is_busy)| *is_busy);
        let (status, holder, work) =
            seen.map_or((None, None, None), |(seen, _)| (Some(seen.status), seen.holder, Some(seen.work)));
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
            busy,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use crate::daemon::tests::open;

    #[test]
    fn a_drive_that_is_at_something_is_told_as_it_was_before_and_nobody_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let bay = daemon.libraries()[0].bay(0).unwrap();
        let (go, wait) = mpsc::channel::<()>();
        bay.unit.post(move |_| {
            let _ = wait.recv();
        });
        while !bay.unit.is_busy() {
            std::thread::yield_now();
        }
        let (to, told) = mpsc::channel();
        let asker = daemon.clone();
        std::thread::spawn(move || drop(to.send((asker.drive_list(), asker.drive_show("lib0", "0")))));
        let (list, one) = told.recv_timeout(Duration::from_secs(10)).expect("an answer while it is busy");
        let (list, one) = (list.unwrap(), one.unwrap());
        let shown = |at: usize| (list[at].number, list[at].state.as_str(), list[at].busy);
        assert_eq!((shown(0), shown(1)), ((0, "empty", true), (1, "empty", false)));
        assert_eq!((one.number, one.busy), (0, true));
        go.send(()).unwrap();
        bay.unit.call(|_| ()).unwrap();
        assert!(!daemon.drive_show("lib0", "0").unwrap().busy);
        daemon.stop();
    }
}
