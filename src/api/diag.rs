//! A bundle for a fault report: what the server knows of itself, in one archive, without a secret.
//!
//! It must come about when something is wrong: no drive is waited for, and a part that cannot be told is named in `errors.txt` and missing.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::error;
use vtl_api::{ApiError, FormatInfo, UpgradeStore};
use vtl_jobs::Select;

use crate::clock::{rfc3339, unix_seconds};
use crate::daemon::{Daemon, internal};
use crate::unit::Gauge;

/// All files lie in this folder of the archive.
const FOLDER: &str = "vtl-diag";
/// So many jobs are told of, the newest.
const MOST_JOBS: usize = 1000;
const MODE: u32 = 0o600;

/// Files of a bundle, and what could not be told.
#[derive(Default)]
struct Bundle {
    files: Vec<(&'static str, Vec<u8>)>,
    errors: String,
}

impl Bundle {
    fn text(&mut self, name: &'static str, told: Result<String, String>) {
        match told {
            Ok(text) => self.files.push((name, text.into_bytes())),
            // A text in memory takes everything.
            Err(why) => drop(writeln!(self.errors, "{name}: {why}")),
        }
    }

    fn json<T: Serialize>(&mut self, name: &'static str, told: Result<T, ApiError>) {
        let text = told
            .map_err(|error| error.message)
            .and_then(|told| serde_json::to_string_pretty(&told).map_err(|error| error.to_string()));
        self.text(name, text);
    }

    /// A tar archive, compressed with gzip: what every machine can open.
    fn archive(mut self, at_s: u64) -> io::Result<Vec<u8>> {
        if !self.errors.is_empty() {
            self.files.push(("errors.txt", std::mem::take(&mut self.errors).into_bytes()));
        }
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (name, bytes) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(MODE);
            header.set_mtime(at_s);
            archive.append_data(&mut header, format!("{FOLDER}/{name}"), bytes.as_slice())?;
        }
        archive.into_inner()?.finish()
    }
}

/// The bundle as it is sent.
pub(super) async fn bundle(daemon: Arc<Daemon>) -> Response {
    match tokio::task::spawn_blocking(move || daemon.diag_bundle()).await {
        Ok(Ok(bytes)) => ([(header::CONTENT_TYPE, "application/gzip")], bytes).into_response(),
        Ok(Err(refused)) => super::error_response(&refused),
        Err(failed) => {
            error!(%failed, "a diagnostic bundle could not be made");
            super::error_response(&internal("the bundle could not be made; see the log"))
        }
    }
}

impl Daemon {
    /// The bundle of this moment.
    ///
    /// # Errors
    /// It cannot be put together.
    pub(crate) fn diag_bundle(&self) -> Result<Vec<u8>, ApiError> {
        let now_s = unix_seconds();
        let mut bundle = Bundle::default();
        bundle.json("versions.json", Ok(self.versions(now_s)));
        bundle.json("formats.json", self.store_upgrade(UpgradeStore { plan: true }));
        bundle.json("status.json", self.system_status());
        let settings = self.config();
        let lines: Vec<String> = settings.effective().iter().map(|setting| format!("{setting}\n")).collect();
        bundle.text("config.toml", Ok(lines.concat()));
        bundle.json("libraries.json", self.library_list());
        bundle.json("units.json", Ok(self.units_told()));
        bundle.json("sessions.json", self.session_list());
        bundle.json("pools.json", self.pool_list());
        bundle.json("store.json", self.store_stats(None));
        bundle.json("scrub.json", Ok(self.scrubs_told()));
        let newest = Select { down: true, most: Some(MOST_JOBS), ..Select::default() };
        bundle.json("jobs.json", self.job_select(&newest));
        bundle.json("remotes.json", self.remote_list());
        bundle.json("alerts.json", self.alert_list());
        bundle.text("metrics.txt", self.metrics());
        bundle.text("log.txt", Ok(crate::log::recent()));
        bundle.archive(now_s).map_err(|error| internal(&format!("the bundle cannot be made: {error}")))
    }

    /// What versions of formats there are. Nothing that this program can open is to be rewritten, so that doing and planning it are one.
    pub(crate) fn store_upgrade(&self, _asked: UpgradeStore) -> Result<Vec<FormatInfo>, ApiError> {
        let unreadable = "see the log, and check the disks of pools and state folder";
        crate::formats::found(&self.config())
            .map_err(|why| ApiError { remedy: Some(unreadable.to_owned()), ..internal(&why) })
    }

    fn versions(&self, now_s: u64) -> Value {
        let kernel = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let name = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        json!({
            "vtld": env!("CARGO_PKG_VERSION"),
            "installation": self.installation(),
            "started": rfc3339(self.started_unix_s),
            "made": rfc3339(now_s),
            "kernel": format!("{} {}", text(kernel.sysname()), text(kernel.release())),
            "machine": text(kernel.machine()),
            "system": name.map(|name| name.trim_matches('"')),
            "processors": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        })
    }

    fn units_told(&self) -> Value {
        let mut units = serde_json::Map::new();
        for library in self.libraries() {
            units.insert(format!("{}-changer", library.name), told(&library.changer.gauge()));
            for (number, bay) in library.bays().iter().enumerate() {
                units.insert(format!("{}-drive{number}", library.name), told(&bay.unit.gauge()));
            }
        }
        Value::Object(units)
    }

    fn scrubs_told(&self) -> Value {
        let pools = self.pools.open_ones();
        pools
            .iter()
            .map(|pool| {
                json!({
                    "pool": pool.name.to_string(),
                    "scrub": self.scrub_line(pool),
                    "damage": self.damage(pool),
                })
            })
            .collect()
    }
}

fn told(gauge: &Gauge) -> Value {
    json!({
        "waiting": gauge.waiting,
        "written_bytes": gauge.vitals.written_bytes,
        "read_bytes": gauge.vitals.read_bytes,
        "loads": gauge.vitals.loads,
        "tape_alerts": format!("{:016x}", gauge.vitals.tape_alerts),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_cannot_be_told_is_named_and_the_rest_is_there() {
        let mut bundle = Bundle::default();
        bundle.text("log.txt", Ok("a line\n".to_owned()));
        bundle.json::<Value>("jobs.json", Err(internal("the list is damaged")));
        let bytes = bundle.archive(1_774_224_000).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), text));
        }
        assert_eq!(
            found,
            [
                ("vtl-diag/log.txt".to_owned(), 0o600, "a line\n".to_owned()),
                ("vtl-diag/errors.txt".to_owned(), 0o600, "jobs.json: the list is damaged\n".to_owned()),
            ]
        );
    }
}
