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
            return Err(ApiError {
                code: ErrorCode::NotFound,
                message: format!("library {library} has no drive '{number}'"),
                remedy: Some("see vtl drive ls".to_owned()),
            });
        };
        self.drive_row(&live, number, &bay)
    }

    fn drive_row(&self, live: &LiveLibrary, number: u16, bay: &Bay) -> Answer<DriveInfo> {
        let asked = bay.unit.call(|drive| (drive.status(), crate::drive::holder(drive)));
        let (status, holder) = asked.map_or((None, None), |(status, holder)| (Some(status), holder));
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
            cartridge: status.and_then(|status| status.label),
            initiator: holder,
        })
    }
}
